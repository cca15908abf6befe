"""Keys of issuers: when they are fetched, for how long they are kept, and what is refused."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from stanchion.sts import issuers as module
from stanchion.sts.https import FetchFailed
from stanchion.sts.issuers import Issuers, Jwk
from tests.sqs.harness import TurnedClock
from tests.sts.issuer import URL, Issuer

ABOUT, KEYS = f"{URL}/.well-known/openid-configuration", f"{URL}/keys"


class Asked:
    """Issuers that ask a fake one."""

    def __init__(self, **more: Any) -> None:
        self.issuer = Issuer()
        self.issuer.keys = [{"kid": "one"}, {"kid": "two"}]
        self.clock = TurnedClock()
        self.issuers = Issuers(self.clock, **({"fetch": self.issuer.fetch} | more))

    async def keys(self, kid: str | None = "one") -> tuple[Jwk, ...]:
        return await self.issuers.keys(URL, kid)

    async def fails(self, kid: str | None = "one") -> str:
        with pytest.raises(FetchFailed) as failure:
            await self.keys(kid)
        return str(failure.value)

    def break_down(self) -> None:
        self.issuer.answers[KEYS] = FetchFailed("it is away")

    def recover(self) -> None:
        del self.issuer.answers[KEYS]


def run(test: Callable[[Asked], Awaitable[None]], **more: Any) -> None:
    async def main() -> None:
        await test(Asked(**more))

    asyncio.run(main())


def test_keys_are_found_where_discovery_says() -> None:
    async def test(asked: Asked) -> None:
        assert await asked.keys() == ({"kid": "one"},)
        assert await asked.keys(None) == ({"kid": "one"}, {"kid": "two"})
        assert asked.issuer.asked == [ABOUT, KEYS]

    run(test)


def test_keys_are_kept_for_an_hour() -> None:
    async def test(asked: Asked) -> None:
        await asked.keys()
        asked.clock.advance(3599.9)
        await asked.keys()
        assert len(asked.issuer.asked) == 2
        asked.clock.advance(0.1)
        asked.issuer.keys = [{"kid": "three"}]
        assert await asked.keys("three") == ({"kid": "three"},)
        assert await asked.keys("one") == ()

    run(test)


def test_an_unknown_key_is_asked_for_once_in_a_while() -> None:
    async def test(asked: Asked) -> None:
        await asked.keys()
        asked.issuer.keys.append({"kid": "new"})
        for _ in range(5):
            assert await asked.keys("new") == ()
        assert len(asked.issuer.asked) == 2
        asked.clock.advance(30)
        assert await asked.keys("new") == ({"kid": "new"},)
        for _ in range(5):
            assert await asked.keys("made-up") == ()
        assert len(asked.issuer.asked) == 4

    run(test)


def test_an_issuer_that_failed_is_left_alone_for_a_while() -> None:
    async def test(asked: Asked) -> None:
        asked.break_down()
        assert await asked.fails() == "it is away"
        asked.recover()
        for _ in range(5):
            assert await asked.fails() == "it is away"
        assert asked.issuer.asked == [ABOUT, KEYS]
        asked.clock.advance(5)
        assert await asked.keys() == ({"kid": "one"},)

    run(test)


def test_made_up_keys_do_not_take_good_ones_away() -> None:
    """An issuer that is down is asked because of a made-up key; the keys it had still count."""

    async def test(asked: Asked) -> None:
        await asked.keys()
        asked.break_down()
        asked.clock.advance(31)
        for _ in range(3):
            assert await asked.keys("made-up") == ()
        assert len(asked.issuer.asked) == 4
        assert await asked.keys() == ({"kid": "one"},)
        asked.clock.advance(3570)
        assert await asked.fails() == "it is away"

    run(test)


def test_callers_share_a_fetch_even_when_the_first_one_leaves() -> None:
    async def test(asked: Asked) -> None:
        gate = asyncio.Event()
        fetch = asked.issuer.fetch

        async def slow(url: str) -> bytes:
            await gate.wait()
            return await fetch(url)

        asked.issuers = Issuers(asked.clock, fetch=slow)
        first, *others = (asyncio.create_task(asked.keys()) for _ in range(5))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert first.cancelled()
        gate.set()
        assert await asyncio.gather(*others) == [({"kid": "one"},)] * 4
        assert asked.issuer.asked == [ABOUT, KEYS]

    run(test)


def test_while_new_keys_are_fetched_the_old_ones_serve() -> None:
    async def test(asked: Asked) -> None:
        gate = asyncio.Event()
        gate.set()
        fetch = asked.issuer.fetch

        async def slow(url: str) -> bytes:
            await gate.wait()
            return await fetch(url)

        asked.issuers = Issuers(asked.clock, fetch=slow)
        await asked.keys()
        asked.clock.advance(31)
        gate.clear()
        unknown = asyncio.create_task(asked.keys("made-up"))
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            assert await asked.keys() == ({"kid": "one"},)
        gate.set()
        assert await unknown == ()

    run(test)


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        (ABOUT, b"{}"),
        (ABOUT, b"not JSON"),
        (ABOUT, b"\xff"),
        (ABOUT, b"[" * 100_000),
        (ABOUT, b"[]"),
        (ABOUT, json.dumps({"issuer": "https://x.example.com", "jwks_uri": KEYS}).encode()),
        (ABOUT, json.dumps({"issuer": f"{URL}/", "jwks_uri": KEYS}).encode()),
        (ABOUT, json.dumps({"issuer": URL}).encode()),
        (ABOUT, json.dumps({"issuer": URL, "jwks_uri": 4}).encode()),
        (ABOUT, json.dumps({"issuer": URL, "jwks_uri": KEYS.replace("https", "http")}).encode()),
        (ABOUT, json.dumps({"issuer": URL, "jwks_uri": "file:///etc/passwd"}).encode()),
        (KEYS, b"{}"),
        (KEYS, b'{"keys": {}}'),
        (KEYS, json.dumps({"keys": [{}] * 201}).encode()),
    ],
)
def test_answers_of_no_use(url: str, answer: bytes) -> None:
    async def test(asked: Asked) -> None:
        asked.issuer.answers[url] = answer
        await asked.fails()
        assert asked.issuer.asked[-1] == url

    run(test)


def test_an_issuer_may_end_with_a_slash() -> None:
    async def test(asked: Asked) -> None:
        about = json.dumps({"issuer": f"{URL}/", "jwks_uri": KEYS}).encode()
        asked.issuer.answers[ABOUT] = about
        assert len(await asked.issuers.keys(f"{URL}/", None)) == 2

    run(test)


def test_keys_of_files_are_read_again_too(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"

    async def test(asked: Asked) -> None:
        assert "No such file" in await asked.fails()
        path.write_text('{"keys": [{"kid": "one"}]}')
        asked.clock.advance(5)
        assert await asked.keys() == ({"kid": "one"},)
        path.write_text('{"keys": [{"kid": "new"}]}')
        asked.clock.advance(30)
        assert await asked.keys("new") == ({"kid": "new"},)
        assert asked.issuer.asked == []

    run(test, jwks_files={URL: path})


def test_only_so_many_issuers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ISSUERS_MAX", 2)

    async def fetch(url: str) -> bytes:
        fetched.append(url)
        issuer = url.removesuffix("/.well-known/openid-configuration")
        return json.dumps({"issuer": issuer, "jwks_uri": f"{url}/k", "keys": []}).encode()

    fetched: list[str] = []

    async def test(asked: Asked) -> None:
        for name in ("a", "b", "a", "c", "b", "a"):
            await asked.issuers.keys(f"https://{name}", None)
        # The third push the first out; "b" was still there, "a" was not.
        assert [url[8] for url in fetched[::2]] == ["a", "b", "c", "a"]

    run(test, fetch=fetch)


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("not a certificate")
    for file in (path, tmp_path / "gone.pem"):
        with pytest.raises(OSError):  # noqa: PT011
            Issuers(TurnedClock(), ca_file=file)
