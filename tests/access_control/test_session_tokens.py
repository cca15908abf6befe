"""Session tokens that are over, were altered, or never were; and what ends a session early."""

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from stanchion.access.sessions import Session, Sessions
from stanchion.cli import offline
from stanchion.config import Settings
from stanchion.keys.ring import KeyRing
from tests.access_control.stage import (
    ACCOUNT,
    ROOT,
    Key,
    Stage,
    allow,
    deny,
    document,
    refusal,
)

INVALID = (403, "InvalidClientTokenId", "The security token included in the request is invalid.")
EXPIRED = (403, "ExpiredToken", "The security token included in the request is expired")
STS = f"arn:aws:sts::{ACCOUNT}"
IAM = f"arn:aws:iam::{ACCOUNT}"


@pytest.fixture(scope="module")
def gate(stage: Stage) -> Key:
    """Somebody who may become any role that lets the account decide."""
    return stage.user("gate", allow("sts:AssumeRole", "sts:TagSession"))


@pytest.fixture(scope="module")
def queue(stage: Stage) -> str:
    return stage.queue("q", tags={"team": "blue"})


@pytest.fixture(scope="module")
def session(stage: Stage, gate: Key) -> Key:
    return stage.assume(gate, stage.role("sender", allow("sqs:SendMessage")))


@pytest.fixture(scope="module")
def reissued(stage: Stage, session: Key) -> Callable[..., Key]:
    """Makes the session anew with other members, under the key ring of the data directory."""
    settings = Settings(data_dir=str(stage.data_dir))
    with offline.documents(settings) as run:
        sealer: KeyRing = run(lambda found: offline.ring(settings, found))
    sessions = Sessions(sealer)
    genuine = sessions.open(session.access_key_id, session.token or "")

    def reissue(**members: Any) -> Key:
        made = sessions.issue(structs.replace(genuine, **members))
        return Key(made.access_key_id, made.secret, made.token)

    return reissue


def test_an_expired_token(stage: Stage, queue: str, reissued: Callable[..., Key]) -> None:
    now_s = int(time.time())
    assert stage.sends(reissued(expires_at_s=now_s + 60), queue)
    expired = reissued(expires_at_s=now_s - 1)
    assert stage.refuses_send(expired, queue) == EXPIRED
    wrong = expired._replace(secret="x" * 40)
    assert stage.refuses_send(wrong, queue).code == "SignatureDoesNotMatch"
    found = refusal(lambda: stage.client("sts", expired).get_caller_identity())
    assert found.code == "ExpiredToken"


def test_a_session_of_somebody_who_never_was(
    stage: Stage, queue: str, reissued: Callable[..., Key]
) -> None:
    for members in (
        {"entity_id": "AROANEVERNEVERNEVER"},
        {"name": "never"},
        {"account_id": "999999999999"},
        {"account_id": ACCOUNT, "kind": "user"},
    ):
        assert stage.refuses_send(reissued(**members), queue) == INVALID


def test_a_token_that_was_altered(stage: Stage, session: Key, queue: str) -> None:
    token = session.token or ""
    middle = len(token) // 2
    other = "A" if token[middle] != "A" else "B"
    for altered in (
        token[:middle] + other + token[middle + 1 :],
        token[:-8],
        token + "AAAA",
        "A" * len(token),
        "x",
        "%00",
        urlsafe_b64encode(b"{}").decode(),
    ):
        assert stage.refuses_send(session._replace(token=altered), queue) == INVALID
    assert stage.sends(session, queue)


def test_a_token_and_a_key_that_do_not_belong_together(
    stage: Stage, gate: Key, session: Key, queue: str
) -> None:
    another = stage.assume(gate, f"{IAM}:role/sender")
    assert stage.refuses_send(session._replace(token=another.token), queue) == INVALID
    assert stage.refuses_send(another._replace(token=session.token), queue) == INVALID
    assert stage.refuses_send(session._replace(token=None), queue) == INVALID
    # A token beside a key that needs none is not overlooked.
    assert stage.refuses_send(ROOT._replace(token=session.token), queue) == INVALID
    assert stage.refuses_send(gate._replace(token="made-up"), queue) == INVALID
    wrong = session._replace(secret=another.secret)
    assert stage.refuses_send(wrong, queue).code == "SignatureDoesNotMatch"
    assert stage.sends(session, queue)


def test_a_token_sealed_by_another_installation(stage: Stage, session: Key, queue: str) -> None:
    sessions = Sessions(KeyRing.ephemeral())
    now_s = int(time.time())
    made = sessions.issue(
        Session(
            access_key_id=session.access_key_id,
            secret=session.secret,
            kind="root",
            account_id=ACCOUNT,
            issued_at_s=now_s,
            expires_at_s=now_s + 3600,
        )
    )
    assert stage.refuses_send(session._replace(token=made.token), queue) == INVALID


def test_edits_of_a_role_count_for_its_sessions_at_once(
    stage: Stage, gate: Key, queue: str
) -> None:
    arn = stage.role("edited", allow("sqs:SendMessage"))
    running = stage.assume(gate, arn)
    assert stage.sends(running, queue)
    stage.iam.delete_role_policy(RoleName="edited", PolicyName="own")
    assert stage.refuses_send(running, queue).code == "AccessDenied"
    policy = document(allow("sqs:SendMessage"))
    stage.iam.put_role_policy(RoleName="edited", PolicyName="own", PolicyDocument=policy)
    assert stage.sends(running, queue)
    stage.iam.delete_role_policy(RoleName="edited", PolicyName="own")
    stage.iam.delete_role(RoleName="edited")
    assert stage.refuses_send(running, queue) == INVALID
    stage.role("edited", allow("sqs:SendMessage"))
    assert stage.refuses_send(running, queue) == INVALID
    assert stage.sends(stage.assume(gate, arn), queue)


def test_sessions_can_be_ended_by_their_time_of_issue(stage: Stage, gate: Key, queue: str) -> None:
    """What the console of AWS does to revoke them."""
    arn = stage.role("revoked", allow("sqs:SendMessage"))
    running = stage.assume(gate, arn)
    assert stage.sends(running, queue)
    older = {"DateLessThan": {"aws:TokenIssueTime": "2099-01-01T00:00:00Z"}}
    revoke = document(deny("*", Condition=older))
    stage.iam.put_role_policy(RoleName="revoked", PolicyName="revoke", PolicyDocument=revoke)
    assert "explicit deny in an identity-based policy" in stage.refuses_send(running, queue).text
