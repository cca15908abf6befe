"""A KMS elsewhere, over real sockets: Stanchion's own, and one that fails as it is told to."""

import asyncio
import base64
import json
import threading
from collections.abc import Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from stanchion.keys import external
from stanchion.keys.data_keys import DataKeys, Use
from stanchion.keys.external import ExternalKms, Patience
from stanchion.keys.providers import (
    KMS,
    ProviderThrottled,
    ProviderUnavailable,
    kms_unwrapped,
    kms_wrapped,
)
from stanchion.keys.sealing import Unsealable
from stanchion.model import kms as model
from stanchion.model.errors import AccessDenied
from tests import server
from tests.keys.conftest import TurnedClock

REGION = "eu-central-1"
KEY_ARN = f"arn:aws:kms:{REGION}:999999999999:key/00000000-0000-4000-8000-000000000001"
OTHER_ARN = KEY_ARN[:-1] + "2"
CONTEXT = {"aws:sqs:arn": "arn:aws:sqs:eu-central-1:123456789012:q"}
ONCE = Patience(connect_timeout_s=1, read_timeout_s=1, attempts_max=1)
PLAINTEXT = b"p" * 32


class Permissions:
    """Lets do everything that is not `denied`, and remembers what it was asked."""

    def __init__(self, *denied: tuple[str, str]) -> None:
        self.denied = denied
        self.asked: list[tuple[Any, ...]] = []
        self.epoch = 0

    def check(self, on_behalf: Any, permission: str, key_arn: str, context: Any) -> None:
        self.asked.append((on_behalf, permission, key_arn, dict(context)))
        if (permission, key_arn) in self.denied:
            raise AccessDenied(permission)


class Endpoint:
    """What answers in place of a KMS. `calls` are the operations and parameters it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.key_arn = KEY_ARN
        self.failures: list[tuple[int, bytes]] = []
        self.is_silent = False
        self.asked = threading.Event()
        self.released = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                operation = self.headers["X-Amz-Target"].removeprefix("TrentService.")
                endpoint.calls.append((operation, body))
                endpoint.asked.set()
                if endpoint.is_silent:
                    endpoint.released.wait(30)
                    self.close_connection = True
                    return
                self.answer(*endpoint.reply(operation))

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def reply(self, operation: str) -> tuple[int, bytes]:
        if self.failures:
            return self.failures.pop(0)
        replies: dict[str, Any] = {
            "DescribeKey": {"KeyMetadata": {"KeyId": self.key_arn[-36:], "Arn": self.key_arn}},
            "GenerateDataKey": {
                "KeyId": self.key_arn,
                "Plaintext": base64.b64encode(PLAINTEXT).decode(),
                "CiphertextBlob": base64.b64encode(b"blob").decode(),
            },
            "Decrypt": {
                "KeyId": self.key_arn,
                "Plaintext": base64.b64encode(PLAINTEXT).decode(),
                "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            },
        }
        return 200, json.dumps(replies[operation]).encode()

    def fail(self, status: int, code: str, message: str = "why") -> None:
        """The next call fails."""
        self.failures.append((status, json.dumps({"__type": code, "message": message}).encode()))

    def operations(self) -> list[str]:
        return [operation for operation, _ in self.calls]

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.SECRET_ACCESS_KEY)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def run(
    url: str,
    story: Any,
    permissions: Permissions | None = None,
    patience: Patience | None = ONCE,
) -> Any:
    """What `story` makes of a provider, which is closed after it."""

    async def work() -> Any:
        judge = permissions or Permissions()
        provider = ExternalKms(url, REGION, judge, lambda: judge.epoch, patience)
        try:
            return await story(provider)
        finally:
            await provider.close()

    return asyncio.run(work())


def generate(provider: ExternalKms, key_id: str = KEY_ARN) -> Coroutine[Any, Any, Any]:
    return provider.generate(key_id, CONTEXT, "alice")


def unwrap(provider: ExternalKms) -> Coroutine[Any, Any, Any]:
    return provider.unwrap(kms_wrapped(KEY_ARN, b"blob"), CONTEXT, "alice")


# --- Stanchion's own KMS --------------------------------------------------------------------------


def test_a_data_key_comes_back_from_a_real_kms(tmp_path: Path) -> None:
    with server.running(tmp_path / "data") as kms:
        client = boto3.client("kms", region_name=REGION, endpoint_url=kms.url)
        key_id = client.create_key()["KeyMetadata"]["KeyId"]
        client.create_alias(AliasName="alias/a", TargetKeyId=key_id)

        async def story(provider: ExternalKms) -> None:
            made = await generate(provider, "alias/a")
            assert len(made.key) == 32
            assert kms_unwrapped(made.wrapped)[0].endswith(key_id)
            assert await provider.unwrap(made.wrapped, CONTEXT, "bob") == made.key
            with pytest.raises(Unsealable):
                await provider.unwrap(made.wrapped, {"aws:sqs:arn": "another"}, "bob")
            with pytest.raises(model.NotFoundException):
                await generate(provider, "alias/none")
            client.disable_key(KeyId=key_id)
            with pytest.raises(model.DisabledException, match="is disabled"):
                await provider.unwrap(made.wrapped, CONTEXT, "bob")

        run(kms.url, story, patience=None)
        client.close()


# --- What it is asked -----------------------------------------------------------------------------


def test_what_the_endpoint_is_asked(endpoint: Endpoint) -> None:
    async def story(provider: ExternalKms) -> None:
        made = await generate(provider)
        assert made == (PLAINTEXT, kms_wrapped(KEY_ARN, b"blob"))
        assert await provider.unwrap(made.wrapped, CONTEXT, "bob") == PLAINTEXT

    run(endpoint.url, story)
    blob = base64.b64encode(b"blob").decode()
    assert endpoint.calls == [
        (
            "GenerateDataKey",
            {"KeyId": KEY_ARN, "NumberOfBytes": 32, "EncryptionContext": CONTEXT},
        ),
        ("Decrypt", {"KeyId": KEY_ARN, "CiphertextBlob": blob, "EncryptionContext": CONTEXT}),
    ]


def test_permissions_are_asked_for_the_key_itself(endpoint: Endpoint) -> None:
    permissions = Permissions()

    async def story(provider: ExternalKms) -> None:
        await generate(provider, "alias/a")
        await generate(provider, "alias/a")
        await unwrap(provider)

    run(endpoint.url, story, permissions)
    assert endpoint.operations() == ["DescribeKey", "GenerateDataKey", "GenerateDataKey", "Decrypt"]
    both = [
        ("alice", permission, KEY_ARN, CONTEXT)
        for permission in ("kms:GenerateDataKey", "kms:Decrypt")
    ]
    assert permissions.asked == [*both, *both, both[1]]


@pytest.mark.parametrize("permission", ["kms:GenerateDataKey", "kms:Decrypt"])
def test_who_may_not_is_refused_before_the_endpoint_is_asked(
    endpoint: Endpoint, permission: str
) -> None:
    permissions = Permissions((permission, KEY_ARN))

    async def story(provider: ExternalKms) -> None:
        with pytest.raises(AccessDenied, match=permission):
            await generate(provider)
        if permission == "kms:Decrypt":
            with pytest.raises(AccessDenied, match=permission):
                await unwrap(provider)

    run(endpoint.url, story, permissions)
    assert endpoint.calls == []


def test_an_alias_that_moves_on_is_judged_anew(endpoint: Endpoint) -> None:
    permissions = Permissions(("kms:Decrypt", OTHER_ARN))

    async def story(provider: ExternalKms) -> None:
        await generate(provider, "alias/a")
        endpoint.key_arn = OTHER_ARN
        with pytest.raises(AccessDenied):
            await generate(provider, "alias/a")
        permissions.denied = ()
        made = await generate(provider, "alias/a")
        assert kms_unwrapped(made.wrapped)[0] == OTHER_ARN

    run(endpoint.url, story, permissions)


def test_few_arns_are_remembered(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "ARNS_MAX", 2)

    async def story(provider: ExternalKms) -> None:
        for name in ("a", "b", "a", "c", "a", "b"):
            await generate(provider, f"alias/{name}")

    run(endpoint.url, story)
    assert endpoint.operations().count("DescribeKey") == 4


# --- What can go wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "AccessDeniedException", AccessDenied),
        (400, "DisabledException", model.DisabledException),
        (400, "KMSInvalidStateException", model.KMSInvalidStateException),
        (400, "NotFoundException", model.NotFoundException),
        (400, "InvalidKeyUsageException", model.InvalidKeyUsageException),
        (400, "InvalidArnException", model.InvalidArnException),
        (400, "InvalidCiphertextException", Unsealable),
        (400, "IncorrectKeyException", Unsealable),
        (400, "ThrottlingException", ProviderThrottled),
        (400, "LimitExceededException", ProviderThrottled),
        (500, "KMSInternalException", ProviderUnavailable),
        (500, "KeyUnavailableException", ProviderUnavailable),
        (503, "DependencyTimeoutException", ProviderUnavailable),
        (400, "UnrecognizedClientException", ProviderUnavailable),
        (403, "ExpiredTokenException", ProviderUnavailable),
    ],
)
def test_error_replies(endpoint: Endpoint, status: int, code: str, error: Any) -> None:
    async def story(provider: ExternalKms) -> None:
        for work in (generate, unwrap):
            endpoint.fail(status, code)
            with pytest.raises(Exception, match=r"why|does not open") as refusal:
                await work(provider)
            assert type(refusal.value) is error

    run(endpoint.url, story)


@pytest.mark.parametrize("reply", [(200, b"{}"), (200, b"<html>"), (502, b"<html>"), (200, b"[")])
def test_what_is_no_kms(endpoint: Endpoint, reply: tuple[int, bytes]) -> None:
    async def story(provider: ExternalKms) -> None:
        endpoint.failures.append(reply)
        with pytest.raises(ProviderUnavailable):
            await unwrap(provider)

    run(endpoint.url, story)


def test_a_fault_that_passes_is_not_noticed(endpoint: Endpoint) -> None:
    endpoint.fail(500, "KMSInternalException")
    made = run(endpoint.url, generate, patience=Patience(attempts_max=2))
    assert made.key == PLAINTEXT
    assert endpoint.operations() == ["GenerateDataKey"] * 2


def test_silence_ends_after_the_time_to_read(endpoint: Endpoint) -> None:
    endpoint.is_silent = True

    async def story(provider: ExternalKms) -> None:
        with pytest.raises(ProviderUnavailable, match="timeout"):
            await unwrap(provider)

    run(endpoint.url, story, patience=Patience(read_timeout_s=0.05, attempts_max=1))


def test_waiting_for_a_thread_ends_too(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "THREADS", 1)
    endpoint.is_silent = True

    async def story(provider: ExternalKms) -> None:
        calls = (unwrap(provider), unwrap(provider))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [str(answer) for answer in answers] == ["the KMS takes too long"] * 2
        endpoint.released.set()

    run(endpoint.url, story, patience=Patience(total_s=0.05, attempts_max=1))
    assert len(endpoint.calls) == 1, "the other was given up before it began"


def test_too_many_do_not_wait(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "WAITING_MAX", 1)

    async def story(provider: ExternalKms) -> None:
        answers = await asyncio.gather(unwrap(provider), unwrap(provider), return_exceptions=True)
        assert answers[0] == PLAINTEXT
        assert type(answers[1]) is ProviderUnavailable
        assert await unwrap(provider) == PLAINTEXT

    run(endpoint.url, story)


def test_the_loop_goes_on_while_the_endpoint_thinks(endpoint: Endpoint) -> None:
    endpoint.is_silent = True

    async def story(provider: ExternalKms) -> None:
        call = asyncio.create_task(unwrap(provider))
        assert await asyncio.to_thread(endpoint.asked.wait, 10)
        assert not call.done()
        endpoint.released.set()
        with pytest.raises(ProviderUnavailable):
            await call

    run(endpoint.url, story)


def test_nobody_is_there(endpoint: Endpoint) -> None:
    endpoint.close()

    async def story(provider: ExternalKms) -> None:
        for work in (generate(provider), generate(provider, "alias/a"), unwrap(provider)):
            with pytest.raises(ProviderUnavailable, match="cannot be reached"):
                await work

    run(endpoint.url, story)


@pytest.mark.parametrize("url", ["no url", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    async def story(provider: ExternalKms) -> None:
        with pytest.raises(ProviderUnavailable):
            await unwrap(provider)

    run(url, story)


def test_no_credentials(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")

    async def story(provider: ExternalKms) -> None:
        with pytest.raises(ProviderUnavailable, match="credentials"):
            await unwrap(provider)

    run(endpoint.url, story)
    assert endpoint.calls == []


def test_cached_keys_go_on_working_in_an_outage(endpoint: Endpoint) -> None:
    async def story(provider: ExternalKms) -> None:
        clock = TurnedClock()
        keys = DataKeys({KMS: provider}, clock)
        use = Use("alice", "alice", CONTEXT, 300)
        key = await keys.new_sealing_key(KMS, 1, KEY_ARN, use)
        clock.advance(301)
        assert keys.sealing_key(1, KEY_ARN, "alice") is None
        for code in ("KMSInternalException", "ThrottlingException"):
            endpoint.fail(400, code)
            assert await keys.new_sealing_key(KMS, 1, KEY_ARN, use) is key
        endpoint.fail(400, "DisabledException")
        with pytest.raises(model.DisabledException):
            await keys.new_sealing_key(KMS, 1, KEY_ARN, use)
        endpoint.fail(500, "KMSInternalException")
        with pytest.raises(ProviderUnavailable):
            await keys.new_sealing_key(KMS, 1, KEY_ARN, use)

    run(endpoint.url, story)


def test_an_edit_of_permissions_counts_at_once_even_in_an_outage(endpoint: Endpoint) -> None:
    permissions, wrapped = Permissions(), kms_wrapped(KEY_ARN, b"blob")

    async def story(provider: ExternalKms) -> None:
        keys, use = DataKeys({KMS: provider}, TurnedClock()), Use("alice", "alice", CONTEXT, 300)
        sealing = await keys.new_sealing_key(KMS, 1, KEY_ARN, use)
        opening = await keys.new_opening_key(wrapped, use)
        permissions.epoch += 1
        assert keys.sealing_key(1, KEY_ARN, "alice") is keys.opening_key(wrapped, "alice") is None
        endpoint.failures = [(500, b"{}")] * 2
        assert await keys.new_sealing_key(KMS, 1, KEY_ARN, use) is sealing
        assert await keys.new_opening_key(wrapped, use) is opening
        permissions.epoch += 1
        permissions.denied = (("kms:Decrypt", KEY_ARN),)
        with pytest.raises(AccessDenied):
            await keys.new_sealing_key(KMS, 1, KEY_ARN, use)
        with pytest.raises(AccessDenied):
            await keys.new_opening_key(wrapped, use)

    run(endpoint.url, story, permissions)
