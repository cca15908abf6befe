"""STS through boto3: temporary credentials, what they may do on queues, and when they are over."""

import time
from functools import partial

import pytest

from tests.access_control.stage import (
    ACCOUNT,
    MINUTES_15_S,
    OTHER,
    ROOT,
    Key,
    Stage,
    allow,
    denied,
    deny,
    document,
    key_of,
    not_allowed,
    queue_arn,
    refusal,
    root_arn,
    trusting,
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


# --- AssumeRole -----------------------------------------------------------------------------------


def test_an_assumed_role_uses_queues(stage: Stage, gate: Key, queue: str) -> None:
    arn = stage.role("worker", allow("sqs:SendMessage", "sqs:ReceiveMessage"))
    answer = stage.client("sts", gate).assume_role(
        RoleArn=arn, RoleSessionName="shift@1", DurationSeconds=MINUTES_15_S
    )
    role_id = stage.iam.get_role(RoleName="worker")["Role"]["RoleId"]
    session_arn = f"{STS}:assumed-role/worker/shift@1"
    assert answer["AssumedRoleUser"] == {
        "AssumedRoleId": f"{role_id}:shift@1",
        "Arn": session_arn,
    }
    left_s = answer["Credentials"]["Expiration"].timestamp() - time.time()
    assert MINUTES_15_S - 60 < left_s <= MINUTES_15_S
    worker = key_of(answer["Credentials"])
    assert stage.identity(worker) == (f"{role_id}:shift@1", ACCOUNT, session_arn)
    for secure in (False, True):
        stage.sends(worker, queue, secure=secure)
    (message,) = stage.client("sqs", worker).receive_message(
        QueueUrl=queue, MessageSystemAttributeNames=["SenderId"]
    )["Messages"]
    assert message["Attributes"]["SenderId"] == f"{role_id}:shift@1"
    denied(
        lambda: stage.client("sqs", worker).purge_queue(QueueUrl=queue),
        not_allowed(session_arn, "PurgeQueue", queue_arn("q")),
    )


def test_a_session_policy_narrows(stage: Stage, gate: Key, queue: str) -> None:
    arn = stage.role("wide", allow("sqs:*"))
    policy = document(allow("sqs:ReceiveMessage", "iam:*"))
    narrow = stage.assume(gate, arn, Policy=policy)
    stage.client("sqs", narrow).receive_message(QueueUrl=queue)
    reason = "because no session policy allows the sqs:sendmessage action"
    session_arn = f"{STS}:assumed-role/wide/run-1"
    expected = not_allowed(session_arn, "SendMessage", queue_arn("q"), reason)
    assert stage.refuses_send(narrow, queue).text == expected
    # It never widens.
    denied(lambda: stage.client("iam", narrow).list_users())
    denying = stage.assume(gate, arn, Policy=document(allow("*"), deny("sqs:SendMessage")))
    assert "explicit deny in a session policy" in stage.refuses_send(denying, queue).text
    read_only = stage.assume(
        gate, arn, PolicyArns=[{"arn": "arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess"}]
    )
    stage.client("sqs", read_only).get_queue_url(QueueName="q")
    assert stage.refuses_send(read_only, queue).code == "AccessDenied"


def test_a_grant_to_the_session_itself_is_not_narrowed(stage: Stage, gate: Key) -> None:
    arn = stage.role("named")
    only_get = document(allow("sqs:GetQueueUrl"))
    session = stage.assume(gate, arn, "exact", Policy=only_get)
    to_role = stage.queue("to-role", allow("sqs:SendMessage", Principal={"AWS": arn}))
    assert "no session policy allows" in stage.refuses_send(session, to_role).text
    session_arn = f"{STS}:assumed-role/named/exact"
    to_session = stage.queue("to-session", allow("sqs:SendMessage", Principal={"AWS": session_arn}))
    assert stage.sends(session, to_session)
    assert stage.refuses_send(stage.assume(gate, arn, "other"), to_session).code == "AccessDenied"


def test_session_tags_decide(stage: Stage, gate: Key, queue: str) -> None:
    same_team = {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    arn = stage.role(
        "teams",
        allow("sqs:SendMessage", Condition=same_team),
        trust=trusting(root_arn(ACCOUNT), "sts:AssumeRole", "sts:TagSession"),
    )
    team = {name: [{"Key": "team", "Value": name}] for name in ("blue", "red")}
    assert stage.sends(stage.assume(gate, arn, Tags=team["blue"]), queue)
    for tags in (team["red"], []):
        session = stage.assume(gate, arn, Tags=tags)
        assert stage.refuses_send(session, queue).code == "AccessDenied"
    untagged = stage.role("no-tags", allow("sqs:SendMessage"))
    denied(
        lambda: stage.assume(gate, untagged, Tags=team["blue"]),
        f"User: {IAM}:user/gate is not authorized to perform: sts:TagSession on resource: "
        f"{untagged}",
    )


def test_an_external_id_that_was_agreed_on(stage: Stage, gate: Key) -> None:
    trust = trusting(root_arn(ACCOUNT), Condition={"StringEquals": {"sts:ExternalId": "agreed"}})
    arn = stage.role("vendor", trust=trust)
    denied(lambda: stage.assume(gate, arn), f"{IAM}:user/gate", "sts:AssumeRole")
    denied(lambda: stage.assume(gate, arn, ExternalId="guess"))
    assert stage.assume(gate, arn, ExternalId="agreed").token


def test_how_long_a_session_may_be(stage: Stage, gate: Key) -> None:
    arn = stage.role("brief", MaxSessionDuration=7200)
    assert stage.assume(gate, arn, DurationSeconds=7200)
    for duration_s in (7201, MINUTES_15_S - 1):
        too_long = refusal(partial(stage.assume, gate, arn, DurationSeconds=duration_s))
        assert (too_long.status, too_long.code) == (400, "ValidationError")


def test_a_role_becomes_another_role(stage: Stage, gate: Key, queue: str) -> None:
    second = stage.role("second", allow("sqs:SendMessage"))
    stage.role("first", allow("sts:AssumeRole", Resource=second))
    first = stage.assume(gate, f"{IAM}:role/first")
    session = stage.assume(first, second, "chained")
    assert stage.identity(session)[2] == f"{STS}:assumed-role/second/chained"
    assert stage.sends(session, queue)
    stage.iam.update_role(RoleName="second", MaxSessionDuration=7200)
    too_long = refusal(lambda: stage.assume(first, second, DurationSeconds=3601))
    assert "role chaining" in too_long.text
    denied(lambda: stage.assume(session, f"{IAM}:role/first"))
    # What a session may not, it may not become either.
    narrow = stage.assume(gate, f"{IAM}:role/first", Policy=document(allow("sqs:*")))
    denied(lambda: stage.assume(narrow, second), "sts:AssumeRole")


def test_session_names(stage: Stage, gate: Key) -> None:
    arn = stage.role("session-names")
    for name in ("a b", "a/b", "x" * 65):
        bad = refusal(partial(stage.assume, gate, arn, name))
        assert (bad.status, bad.code) == (400, "ValidationError")
    required = trusting(
        root_arn(ACCOUNT),
        Condition={"StringLike": {"sts:RoleSessionName": "${aws:username}"}},
    )
    stage.iam.update_assume_role_policy(RoleName="session-names", PolicyDocument=required)
    assert stage.assume(gate, arn, "gate")
    denied(lambda: stage.assume(gate, arn, "somebody"))


def test_both_the_role_and_the_caller_must_agree(stage: Stage, gate: Key) -> None:
    bystander = stage.user("bystander")
    arn = stage.role("delegated")
    denied(lambda: stage.assume(bystander, arn))
    named = stage.role("naming", trust=trusting(f"{IAM}:user/bystander"))
    assert stage.assume(bystander, named)
    denied(lambda: stage.assume(gate, named))
    denied(lambda: stage.assume(ROOT, arn), "root")
    # What is not there is refused in the same words.
    missing = refusal(lambda: stage.assume(gate, f"{IAM}:role/nambing"))
    found = refusal(lambda: stage.assume(gate, named))
    assert missing == found._replace(text=found.text.replace("naming", "nambing"))


def test_a_trust_policy_means_the_very_one(stage: Stage) -> None:
    key = stage.user("trusted")
    arn = stage.role("trusting", trust=trusting(f"{IAM}:user/trusted"))
    assert stage.assume(key, arn)
    user_id = stage.iam.get_user(UserName="trusted")["User"]["UserId"]
    stage.iam.delete_access_key(UserName="trusted", AccessKeyId=key.access_key_id)
    stage.iam.delete_user(UserName="trusted")
    namesake = stage.user("trusted", allow("sts:AssumeRole"))
    denied(lambda: stage.assume(namesake, arn))
    role = stage.iam.get_role(RoleName="trusting")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"AWS": user_id}


# --- The other ways to a session ------------------------------------------------------------------


def test_a_session_of_a_user(stage: Stage, queue: str) -> None:
    key = stage.user("alice", allow("sqs:*", "iam:*", "sts:*"))
    sts = stage.client("sts", key)
    session = key_of(sts.get_session_token(DurationSeconds=MINUTES_15_S)["Credentials"])
    assert stage.identity(session) == stage.identity(key)
    assert stage.sends(session, queue)
    denied(lambda: stage.client("iam", session).list_users())
    of_session = stage.client("sts", session)
    denied(lambda: of_session.get_session_token())
    denied(lambda: of_session.get_federation_token(Name="guest"))
    assert stage.assume(session, stage.role("by-session"))
    stage.iam.delete_user_policy(UserName="alice", PolicyName="own")
    assert stage.refuses_send(session, queue).code == "AccessDenied"


def test_a_session_of_root(stage: Stage, queue: str) -> None:
    session = key_of(stage.sts.get_session_token()["Credentials"])
    assert stage.identity(session) == (ACCOUNT, ACCOUNT, root_arn(ACCOUNT)) == stage.identity(ROOT)
    assert stage.sends(session, queue)
    denied(lambda: stage.client("iam", session).list_users())


def test_a_federated_user(stage: Stage, queue: str) -> None:
    key = stage.user("broker", allow("sqs:SendMessage", "sts:GetFederationToken"))
    sts = stage.client("sts", key)
    policy = document(allow("sqs:*"))
    guest = key_of(sts.get_federation_token(Name="guest", Policy=policy)["Credentials"])
    assert stage.identity(guest) == (f"{ACCOUNT}:guest", ACCOUNT, f"{STS}:federated-user/guest")
    assert stage.sends(guest, queue)
    denied(
        lambda: stage.client("sqs", guest).receive_message(QueueUrl=queue),
        not_allowed(f"{STS}:federated-user/guest", "ReceiveMessage", queue_arn("q")),
    )
    unbound = key_of(sts.get_federation_token(Name="nothing")["Credentials"])
    assert stage.refuses_send(unbound, queue).code == "AccessDenied"
    bystander = stage.client("sts", stage.user("no-broker"))
    denied(
        lambda: bystander.get_federation_token(Name="guest", Policy=policy),
        "sts:GetFederationToken",
    )


def test_identities_of_the_other_account(stage: Stage) -> None:
    root = stage.root_of(OTHER)
    assert stage.identity(root) == (OTHER, OTHER, root_arn(OTHER))
    key = stage.user("theirs", account_id=OTHER)
    assert stage.identity(key)[1:] == (OTHER, f"arn:aws:iam::{OTHER}:user/theirs")
