"""Keys are looked up as seldom as is safe, and nobody is believed without a signature."""

import asyncio
from typing import Any, cast

import pytest

from stanchion.access.authenticator import (
    KNOWN_TTL_S,
    UNKNOWN_TTL_S,
    DevAuthenticator,
    SignatureAuthenticator,
)
from stanchion.access.identity import Identity
from stanchion.http.message import HttpRequest
from stanchion.model.errors import InvalidClientTokenId, ServiceError, SignatureDoesNotMatch
from stanchion.store.contract import AccessKey, Command, GetAccessKey
from tests.access.signing import ACCESS_KEY_ID, SECRET, SIGNED_AT_S, presigned, signed

ACCOUNT_ID = "000000000000"


class FixedClock:
    def __init__(self) -> None:
        self.at_s: float = SIGNED_AT_S

    def now_ms(self) -> int:
        return int(self.at_s * 1000)

    def wall_s(self) -> float:
        return self.at_s


class Keys:
    """A store that holds access keys and counts how often it is asked."""

    def __init__(self) -> None:
        self.secrets = {ACCESS_KEY_ID: SECRET}
        self.asked: list[str] = []

    async def run(self, command: Command[Any]) -> Any:
        access_key_id = cast(GetAccessKey, command).access_key_id
        self.asked.append(access_key_id)
        secret = self.secrets.get(access_key_id)
        return AccessKey(access_key_id, secret, ACCOUNT_ID) if secret else None


class Bench:
    def __init__(self, remembered_max: int = 100) -> None:
        self.keys = Keys()
        self.clock = FixedClock()
        self.authenticator = SignatureAuthenticator(
            self.keys, self.clock, remembered_max=remembered_max
        )

    def authenticate(self, request: HttpRequest) -> Identity:
        return asyncio.run(self.authenticator.authenticate(request))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_root_user_of_an_account(bench: Bench) -> None:
    identity = bench.authenticate(signed(region="eu-west-1"))
    assert identity.region == "eu-west-1"
    assert identity.caller.account_id == identity.caller.sender_id == ACCOUNT_ID
    assert identity.caller.arn == "arn:aws:iam::000000000000:root"
    assert identity.caller.access_key_id == ACCESS_KEY_ID


def test_a_remembered_key_is_not_awaited(bench: Bench) -> None:
    bench.authenticate(signed())
    call = bench.authenticator.authenticate(signed())
    with pytest.raises(StopIteration) as answer:
        call.send(None)
    assert isinstance(answer.value.value, Identity)
    assert bench.keys.asked == [ACCESS_KEY_ID]


def test_a_known_key_is_read_again_in_time(bench: Bench) -> None:
    bench.authenticate(signed())
    bench.keys.secrets[ACCESS_KEY_ID] = "replaced"
    bench.authenticate(signed())
    bench.clock.at_s += KNOWN_TTL_S
    with pytest.raises(SignatureDoesNotMatch):
        bench.authenticate(signed())
    assert bench.authenticate(signed(secret="replaced"))


def test_an_unknown_key_is_asked_for_once_in_a_while(bench: Bench) -> None:
    for _ in range(3):
        with pytest.raises(InvalidClientTokenId) as caught:
            bench.authenticate(signed(access_key_id="AKIDNOBODY"))
    assert caught.value.message == "The security token included in the request is invalid."
    assert bench.keys.asked == ["AKIDNOBODY"]
    bench.keys.secrets["AKIDNOBODY"] = SECRET
    bench.clock.at_s += UNKNOWN_TTL_S
    assert bench.authenticate(signed(access_key_id="AKIDNOBODY"))


def test_a_clock_that_steps_back_does_not_prolong_what_is_unknown(bench: Bench) -> None:
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed(access_key_id="AKIDNEW"))
    bench.keys.secrets["AKIDNEW"] = SECRET
    bench.clock.at_s -= 600
    assert bench.authenticate(signed(access_key_id="AKIDNEW"))


def test_a_flood_of_made_up_keys_takes_no_more_memory_and_pushes_nobody_out() -> None:
    bench = Bench(remembered_max=2)
    bench.authenticate(signed())
    for n in range(10):
        with pytest.raises(InvalidClientTokenId):
            bench.authenticate(signed(access_key_id=f"AKIDFLOOD{n}"))
    assert len(bench.authenticator._unknown._entries) == 2
    bench.authenticate(signed())
    assert bench.keys.asked.count(ACCESS_KEY_ID) == 1


@pytest.mark.parametrize("access_key_id", ["a b", "é", "\udcff", "'", "x" * 129, "a/b"])
def test_what_cannot_be_a_key_is_not_asked_for(bench: Bench, access_key_id: str) -> None:
    request = signed()
    request.headers["authorization"] = request.headers["authorization"].replace(
        ACCESS_KEY_ID, access_key_id
    )
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(request)
    assert bench.keys.asked == []


@pytest.mark.parametrize(
    "request_",
    [
        signed(token="session"),
        presigned("https://h/?Action=ListQueues", token="session"),
        signed(url="https://h/?X-Amz-Security%2DToken=t"),
    ],
    ids=["header", "presigned", "query"],
)
def test_a_session_token_is_never_ignored(bench: Bench, request_: HttpRequest) -> None:
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(request_)


def test_the_key_is_looked_up_before_the_scope_is_judged(bench: Bench) -> None:
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed(access_key_id="AKIDNOBODY", service="sns"))


def test_nothing_about_a_key_excuses_it_from_its_signature(bench: Bench) -> None:
    for access_key_id in ("000000000000", "test", "ASIAEXAMPLE", ACCESS_KEY_ID):
        with pytest.raises(ServiceError):
            bench.authenticate(signed(access_key_id=access_key_id, secret="wrong"))


# --- Development --------------------------------------------------------------------------------


def dev(request: HttpRequest) -> Identity:
    return asyncio.run(DevAuthenticator().authenticate(request))


def plain(authorization: str | None = None) -> HttpRequest:
    headers = {} if authorization is None else {"authorization": authorization}
    return HttpRequest("POST", "/", "", headers, b"", False, "127.0.0.1")


@pytest.mark.parametrize("authorization", [None, "", "Basic eDp5", "AWS4-HMAC-SHA256 Credential="])
def test_dev_needs_no_credentials(authorization: str | None) -> None:
    identity = dev(plain(authorization))
    assert (identity.caller.account_id, identity.region) == (ACCOUNT_ID, "us-east-1")


def test_dev_takes_the_region_from_the_scope() -> None:
    assert dev(signed(region="eu-north-1", secret="any", token="any")).region == "eu-north-1"
    assert dev(presigned("http://h/?Action=ListQueues")).region == "us-east-1"
    assert dev(plain("AWS4-HMAC-SHA256 Credential=a/20260102/ap-south-1/sqs/")).region == (
        "ap-south-1"
    )


@pytest.mark.parametrize(
    ("access_key_id", "account_id"),
    [
        ("123456789012", "123456789012"),
        ("12345678901", ACCOUNT_ID),
        ("1234567890123", ACCOUNT_ID),
        ("test", ACCOUNT_ID),
    ],
)
def test_dev_takes_twelve_digits_for_an_account(access_key_id: str, account_id: str) -> None:
    caller = dev(signed(access_key_id=access_key_id)).caller
    assert caller.account_id == caller.sender_id == account_id
    assert caller.access_key_id == access_key_id
