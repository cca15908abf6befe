"""Keys are looked up as seldom as is safe, and nobody is believed without a signature."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from msgspec import structs

from stanchion.access.authenticator import (
    UNKNOWN_TTL_S,
    DevAuthenticator,
    SignatureAuthenticator,
)
from stanchion.access.directory import Directory
from stanchion.access.entities import AccessKey, Account, Role, User
from stanchion.access.identity import Identity
from stanchion.access.root import RootKey, set_root_key
from stanchion.access.sessions import Credentials, Session, Sessions
from stanchion.http.message import HttpRequest
from stanchion.model.errors import (
    ExpiredToken,
    InvalidClientTokenId,
    ServiceError,
    SignatureDoesNotMatch,
)
from stanchion.store.documents import Document, Draft
from tests.access.memory import NOW_MS, Memory
from tests.access.signing import ACCESS_KEY_ID, SECRET, SIGNED_AT_S, presigned, signed

ACCOUNT_ID = "000000000000"
Answer = TypeVar("Answer")


class FixedClock:
    def __init__(self) -> None:
        self.at_s: float = SIGNED_AT_S

    def now_ms(self) -> int:
        return int(self.at_s * 1000)

    def wall_s(self) -> float:
        return self.at_s


class Bench:
    def __init__(self, remembered_max: int = 100) -> None:
        self.memory = Memory()
        self.documents = self.memory.documents
        self.directory = Directory(self.documents)
        self.sessions = Sessions(self.memory.ring)
        self.clock = FixedClock()
        self.authenticator = SignatureAuthenticator(
            self.directory, self.memory.ring, self.clock, remembered_max=remembered_max
        )
        self.set_root_key(SECRET)
        self.memory.store.commands.clear()

    def set_root_key(self, secret: str, access_key_id: str = ACCESS_KEY_ID) -> None:
        key = RootKey(access_key_id, secret)
        run(set_root_key(self.documents, self.memory.ring, ACCOUNT_ID, key, NOW_MS))

    def put(self, document: Document, account_id: str, name: str) -> None:
        async def work(draft: Draft) -> None:
            draft.put(document, account_id, name)

        run(self.documents.change(work))

    def authenticate(self, request: HttpRequest) -> Identity:
        return run(self.authenticator.authenticate(request))

    def asked(self) -> list[str]:
        """The access keys that the store was asked for."""
        return self.memory.store.reads("access_key")

    def add_user(self, name: str = "alice") -> User:
        user = User(name=name, id="AIDAALICE", created_at_ms=0, access_key_ids=("AKIDALICE",))
        sealed = self.memory.ring.seal("access-key:AKIDALICE", SECRET.encode())
        key = AccessKey(
            access_key_id="AKIDALICE",
            account_id=ACCOUNT_ID,
            user=name,
            sealed_secret=sealed,
            created_at_ms=0,
        )
        self.put(user, ACCOUNT_ID, name)
        self.put(key, "", "AKIDALICE")
        return user

    def session(self, **changes: Any) -> Credentials:
        """A session of the role `worker`, which is made if need be."""
        role = Role(name="worker", id="AROAWORKER", created_at_ms=0, trust="{}")
        self.put(role, ACCOUNT_ID, "worker")
        values: dict[str, Any] = {
            "access_key_id": "ASIASESSION",
            "secret": SECRET,
            "kind": "role",
            "account_id": ACCOUNT_ID,
            "name": "worker",
            "entity_id": "AROAWORKER",
            "session_name": "me",
            "issued_at_s": SIGNED_AT_S - 10,
            "expires_at_s": SIGNED_AT_S + 900,
        }
        return self.sessions.issue(Session(**{**values, **changes}))


def run(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(coroutine)


def signed_with(credentials: Credentials) -> HttpRequest:
    return signed(
        access_key_id=credentials.access_key_id,
        secret=credentials.secret,
        token=credentials.token,
    )


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- Keys -----------------------------------------------------------------------------------------


def test_the_root_user_of_an_account(bench: Bench) -> None:
    identity = bench.authenticate(signed(region="eu-west-1"))
    assert identity.region == "eu-west-1"
    assert identity.caller.kind == "root"
    assert identity.caller.account_id == identity.caller.sender_id == ACCOUNT_ID
    assert identity.caller.arn == "arn:aws:iam::000000000000:root"
    assert identity.caller.access_key_id == ACCESS_KEY_ID


def test_a_user(bench: Bench) -> None:
    bench.add_user()
    caller = bench.authenticate(signed(access_key_id="AKIDALICE")).caller
    assert (caller.kind, caller.arn) == ("user", "arn:aws:iam::000000000000:user/alice")
    assert caller.sender_id == caller.entity_id == "AIDAALICE"


def test_somebody_unknown(bench: Bench) -> None:
    identity = bench.authenticate(plain())
    assert identity.caller.kind == "anonymous"
    assert (identity.caller.account_id, identity.caller.sender_id) == ("", "127.0.0.1")
    assert bench.asked() == []


def test_a_remembered_key_is_not_awaited(bench: Bench) -> None:
    bench.authenticate(signed())
    call = bench.authenticator.authenticate(signed())
    with pytest.raises(StopIteration) as answer:
        call.send(None)
    assert isinstance(answer.value.value, Identity)
    assert bench.asked() == [ACCESS_KEY_ID]


def test_an_edit_counts_from_the_next_request_on(bench: Bench) -> None:
    bench.authenticate(signed())
    bench.set_root_key("replaced")
    with pytest.raises(SignatureDoesNotMatch):
        bench.authenticate(signed())
    assert bench.authenticate(signed(secret="replaced"))


def test_an_edit_elsewhere_counts_once_it_is_noticed(bench: Bench) -> None:
    run(bench.documents.refresh())
    bench.authenticate(signed())
    elsewhere = type(bench.documents)(bench.memory.store)
    key = RootKey(ACCESS_KEY_ID, "replaced")
    run(set_root_key(elsewhere, bench.memory.ring, ACCOUNT_ID, key, NOW_MS))
    bench.authenticate(signed())
    run(bench.documents.refresh())
    with pytest.raises(SignatureDoesNotMatch):
        bench.authenticate(signed())


def test_a_key_that_is_switched_off_is_as_good_as_unknown(bench: Bench) -> None:
    bench.add_user()
    assert bench.authenticate(signed(access_key_id="AKIDALICE"))
    key = run(bench.documents.get(AccessKey, "", "AKIDALICE"))
    assert key is not None
    bench.put(structs.replace(key, is_active=False), "", "AKIDALICE")
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed(access_key_id="AKIDALICE"))


def test_the_key_of_a_user_who_is_gone(bench: Bench) -> None:
    bench.add_user()

    async def delete(draft: Draft) -> None:
        draft.delete(User, ACCOUNT_ID, "alice")

    run(bench.documents.change(delete))
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed(access_key_id="AKIDALICE"))


def test_a_secret_sealed_for_another_key_is_not_used(bench: Bench) -> None:
    bench.add_user()
    key = run(bench.documents.get(AccessKey, "", "AKIDALICE"))
    root = run(bench.documents.get(AccessKey, "", ACCESS_KEY_ID))
    assert key is not None
    assert root is not None
    bench.put(structs.replace(root, sealed_secret=key.sealed_secret), "", ACCESS_KEY_ID)
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed())


def test_an_unknown_key_is_asked_for_once_in_a_while(bench: Bench) -> None:
    for _ in range(3):
        with pytest.raises(InvalidClientTokenId) as caught:
            bench.authenticate(signed(access_key_id="AKIDNOBODY"))
    assert caught.value.message == "The security token included in the request is invalid."
    assert bench.asked() == ["AKIDNOBODY"]
    bench.set_root_key(SECRET, "AKIDNOBODY")
    bench.clock.at_s += UNKNOWN_TTL_S
    assert bench.authenticate(signed(access_key_id="AKIDNOBODY"))


def test_a_clock_that_steps_back_does_not_prolong_what_is_unknown(bench: Bench) -> None:
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed(access_key_id="AKIDNEW"))
    bench.set_root_key(SECRET, "AKIDNEW")
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
    assert bench.asked().count(ACCESS_KEY_ID) == 1


@pytest.mark.parametrize("access_key_id", ["a b", "é", "\udcff", "'", "x" * 129, "a/b"])
def test_what_cannot_be_a_key_is_not_asked_for(bench: Bench, access_key_id: str) -> None:
    request = signed()
    request.headers["authorization"] = request.headers["authorization"].replace(
        ACCESS_KEY_ID, access_key_id
    )
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(request)
    assert bench.asked() == []


def test_the_key_is_looked_up_before_the_scope_is_judged(bench: Bench) -> None:
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed(access_key_id="AKIDNOBODY", service="sns"))


def test_nothing_about_a_key_excuses_it_from_its_signature(bench: Bench) -> None:
    for access_key_id in ("000000000000", "test", "ASIAEXAMPLE", ACCESS_KEY_ID):
        with pytest.raises(ServiceError):
            bench.authenticate(signed(access_key_id=access_key_id, secret="wrong"))


# --- Sessions -------------------------------------------------------------------------------------


def test_who_asks_without_the_token_of_a_session_does_not_keep_it_out(bench: Bench) -> None:
    credentials = bench.session()
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed_with(structs.replace(credentials, token="")))
    bench.authenticate(signed_with(credentials))


def test_a_session_of_a_role(bench: Bench) -> None:
    caller = bench.authenticate(signed_with(bench.session())).caller
    assert caller.arn == "arn:aws:sts::000000000000:assumed-role/worker/me"
    assert caller.role_arn == "arn:aws:iam::000000000000:role/worker"
    assert caller.sender_id == "AROAWORKER:me"


@pytest.mark.parametrize(
    "request_",
    [
        signed(token="session"),
        presigned("https://h/?Action=ListQueues", token="session"),
        signed(url="https://h/?X-Amz-Security%2DToken=t"),
        signed(token=" "),
    ],
    ids=["header", "presigned", "query", "blank"],
)
def test_a_session_token_is_never_ignored(bench: Bench, request_: HttpRequest) -> None:
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(request_)


def test_a_session_without_its_token(bench: Bench) -> None:
    credentials = bench.session()
    assert bench.authenticate(signed_with(credentials))
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed(access_key_id=credentials.access_key_id))


def test_a_token_goes_with_its_own_key_only(bench: Bench) -> None:
    one = bench.session()
    other = bench.session(access_key_id="ASIAOTHER")
    assert bench.authenticate(signed_with(one))
    assert bench.authenticate(signed_with(other))
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed(access_key_id=one.access_key_id, token=other.token))


def test_an_altered_token_is_refused_even_after_the_real_one_was_seen(bench: Bench) -> None:
    credentials = bench.session()
    assert bench.authenticate(signed_with(credentials))
    token = credentials.token
    for place in range(0, len(token) - 4, 7):
        letter = "A" if token[place] != "A" else "B"
        altered = token[:place] + letter + token[place + 1 :]
        with pytest.raises(InvalidClientTokenId):
            bench.authenticate(signed(access_key_id=credentials.access_key_id, token=altered))


def test_a_session_ends(bench: Bench) -> None:
    credentials = bench.session(expires_at_s=SIGNED_AT_S + 1)
    assert bench.authenticate(signed_with(credentials))
    bench.clock.at_s += 1
    with pytest.raises(ExpiredToken):
        bench.authenticate(signed_with(credentials))


def test_who_cannot_sign_does_not_hear_that_a_session_has_ended(bench: Bench) -> None:
    credentials = bench.session(expires_at_s=SIGNED_AT_S - 1)
    with pytest.raises(SignatureDoesNotMatch):
        bench.authenticate(
            signed(access_key_id="ASIASESSION", secret="wrong", token=credentials.token)
        )


def test_a_session_ends_with_its_role_even_if_another_takes_the_name(bench: Bench) -> None:
    credentials = bench.session()
    assert bench.authenticate(signed_with(credentials))
    bench.put(
        Role(name="worker", id="AROALATER", created_at_ms=0, trust="{}"), ACCOUNT_ID, "worker"
    )
    with pytest.raises(InvalidClientTokenId):
        bench.authenticate(signed_with(credentials))


# --- Development --------------------------------------------------------------------------------


def dev(request: HttpRequest, bench: Bench | None = None) -> Identity:
    bench = bench or Bench()
    authenticator = DevAuthenticator(bench.directory, bench.memory.ring, bench.clock)
    return run(authenticator.authenticate(request))


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


def test_dev_knows_the_keys_and_sessions_that_were_made_there() -> None:
    bench = Bench()
    bench.add_user()
    user = dev(signed(access_key_id="AKIDALICE", secret="any"), bench).caller
    assert user.arn == "arn:aws:iam::000000000000:user/alice"
    session = dev(signed_with(bench.session()), bench).caller
    assert session.arn == "arn:aws:sts::000000000000:assumed-role/worker/me"


def without_accounts() -> Bench:
    bench = Bench()

    async def work(draft: Draft) -> None:
        draft.delete(Account, "", ACCOUNT_ID)

    run(bench.documents.change(work))
    return bench


@pytest.mark.parametrize("request_", [plain(), signed(access_key_id="123456789012")])
def test_dev_has_the_account_of_everybody_who_calls(request_: HttpRequest) -> None:
    bench = without_accounts()
    account_id = dev(request_, bench).caller.account_id
    found, version = run(bench.documents.read(Account, "", account_id))
    assert found == Account(id=account_id, created_at_ms=SIGNED_AT_S * 1000)
    dev(request_, bench)
    assert run(bench.documents.read(Account, "", account_id)) == (found, version)


def test_dev_knows_sessions_of_accounts_that_nobody_made() -> None:
    bench = without_accounts()
    dev(plain(), bench)
    session = dev(signed_with(bench.session()), bench).caller
    assert session.arn == "arn:aws:sts::000000000000:assumed-role/worker/me"
