"""Whole policies as people write them for their queues, and whom they let do what."""

import json
from collections.abc import Mapping
from typing import Any

from stanchion.access.identity import Caller, Grants, NamedPolicy, anonymous, root_of
from stanchion.access.policy.context import Values
from stanchion.access.policy.decision import Decision, Reason, Request, decide
from stanchion.access.policy.document import Kind, parse
from tests.access.policy import table

ACCOUNT, ELSEWHERE = "111111111111", "222222222222"
QUEUE = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:orders"
TLS = {"aws:securetransport": ("true",)}

Written = Mapping[str, str | list[str]]
NO_OTHERS: Written = {}


def statement(effect: str, action: str | list[str], **members: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": QUEUE, **members}


def policy(*statements: dict[str, Any], kind: Kind = "identity") -> NamedPolicy:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return NamedPolicy(kind, parse(json.dumps(document), kind))


def queue_policy(*statements: dict[str, Any]) -> NamedPolicy:
    return policy(*statements, kind="resource")


def session_of(role: str, *identity: NamedPolicy, account_id: str = ACCOUNT, **tags: str) -> Caller:
    keys: dict[str, Values] = {f"aws:principaltag/{name}": (tag,) for name, tag in tags.items()}
    role_arn = f"arn:aws:iam::{account_id}:role/{role}"
    return Caller(
        kind="role",
        account_id=account_id,
        arn=f"arn:aws:sts::{account_id}:assumed-role/{role}/run-1",
        sender_id="AROAROLEROLEROLEROLE:run-1",
        role_arn=role_arn,
        grants=Grants(identity),
        keys={**keys, "aws:principalarn": (role_arn,), "aws:principalaccount": (account_id,)},
    )


def service(name: str, source_arn: str, source_account: str) -> Caller:
    keys: dict[str, Values] = {
        "aws:sourcearn": (source_arn,),
        "aws:sourceaccount": (source_account,),
    }
    return Caller("service", "", name, name, keys=keys)


def ask(
    caller: Caller,
    action: str,
    attached: NamedPolicy | None = None,
    keys: Written = NO_OTHERS,
) -> Decision:
    request = Request(action, QUEUE, ACCOUNT)
    context = table.context(caller, {**TLS, **table.keys(keys)})
    return decide(caller, request, context, attached)


# --- One role may send, nobody else, and that is all it may ---------------------------------------

PRODUCER = f"arn:aws:iam::{ACCOUNT}:role/producer"
ONE_PRODUCER = statement("Allow", "sqs:SendMessage", Principal={"AWS": PRODUCER}, Sid="Producer")
NO_OTHER = statement(
    "Deny",
    "sqs:SendMessage",
    Principal="*",
    Sid="NoOther",
    Condition={"ArnNotEquals": {"aws:PrincipalArn": PRODUCER}},
)


def test_a_role_sends_by_the_queue_policy_alone() -> None:
    decision = ask(session_of("producer"), "sqs:SendMessage", queue_policy(ONE_PRODUCER))
    assert decision == Decision(True, Reason.ALLOWED_BY_RESOURCE, "resource", "Producer")


def test_it_does_not_receive() -> None:
    decision = ask(session_of("producer"), "sqs:ReceiveMessage", queue_policy(ONE_PRODUCER))
    assert decision == Decision(False, Reason.NO_IDENTITY)


def test_another_role_does_not_send() -> None:
    decision = ask(session_of("consumer"), "sqs:SendMessage", queue_policy(ONE_PRODUCER))
    assert decision == Decision(False, Reason.NO_IDENTITY)


def test_a_role_of_the_same_name_elsewhere_does_not_send() -> None:
    everything = policy(statement("Allow", "sqs:*"))
    namesake = session_of("producer", everything, account_id=ELSEWHERE)
    decision = ask(namesake, "sqs:SendMessage", queue_policy(ONE_PRODUCER))
    assert decision == Decision(False, Reason.NO_RESOURCE)


def test_somebody_unknown_does_not_send() -> None:
    decision = ask(anonymous("198.51.100.9"), "sqs:SendMessage", queue_policy(ONE_PRODUCER))
    assert decision == Decision(False, Reason.NO_RESOURCE)


def test_an_administrator_sends_unless_all_others_are_denied() -> None:
    admin = session_of("admin", policy({**statement("Allow", "*"), "Resource": "*"}))
    assert ask(admin, "sqs:SendMessage", queue_policy(ONE_PRODUCER)).allowed
    decision = ask(admin, "sqs:SendMessage", queue_policy(ONE_PRODUCER, NO_OTHER))
    assert decision == Decision(
        False, Reason.DENIED_BY_RESOURCE, "resource", "NoOther", ("aws:principalarn",)
    )
    assert ask(admin, "sqs:SetQueueAttributes", queue_policy(ONE_PRODUCER, NO_OTHER)).allowed


def test_the_role_sends_though_all_others_are_denied() -> None:
    attached = queue_policy(ONE_PRODUCER, NO_OTHER)
    assert ask(session_of("producer"), "sqs:SendMessage", attached).allowed


# --- Only over TLS --------------------------------------------------------------------------------

ONLY_TLS = statement(
    "Deny",
    "sqs:*",
    Principal="*",
    Sid="OnlyTls",
    Condition={"Bool": {"aws:SecureTransport": "false"}},
)


def test_over_plain_http_everybody_is_denied_and_the_key_is_named() -> None:
    attached = queue_policy(ONE_PRODUCER, ONLY_TLS)
    plain = {"aws:SecureTransport": "false"}
    for caller in (session_of("producer"), root_of(ACCOUNT, ""), anonymous("198.51.100.9")):
        decision = ask(caller, "sqs:SendMessage", attached, keys=plain)
        assert (decision.allowed, decision.reason) == (False, Reason.DENIED_BY_RESOURCE)
        assert decision.condition_keys == ("aws:securetransport",)


def test_over_tls_it_changes_nothing() -> None:
    attached = queue_policy(ONE_PRODUCER, ONLY_TLS)
    assert ask(session_of("producer"), "sqs:SendMessage", attached).allowed
    assert ask(root_of(ACCOUNT, ""), "sqs:SendMessage", attached).allowed
    assert not ask(session_of("consumer"), "sqs:SendMessage", attached).allowed


# --- The caller's tag is the queue's --------------------------------------------------------------

OWN_TEAM = policy(
    {
        "Sid": "OwnTeam",
        "Effect": "Allow",
        "Action": ["sqs:SendMessage", "sqs:ReceiveMessage"],
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}},
    }
)


def tagged(team: str) -> Written:
    return {"aws:ResourceTag/team": team}


def test_a_team_uses_its_queues() -> None:
    decision = ask(session_of("app", OWN_TEAM, team="blue"), "sqs:SendMessage", keys=tagged("blue"))
    assert decision == Decision(True, Reason.ALLOWED_BY_IDENTITY, "identity", "OwnTeam")


def test_a_team_does_not_use_those_of_another() -> None:
    blue = session_of("app", OWN_TEAM, team="blue")
    assert ask(blue, "sqs:SendMessage", keys=tagged("red")).reason is Reason.NO_IDENTITY
    assert ask(blue, "sqs:SendMessage", keys=tagged("Blue")).reason is Reason.NO_IDENTITY
    assert ask(blue, "sqs:SendMessage").reason is Reason.NO_IDENTITY


def test_without_a_team_there_is_no_queue_not_even_an_untagged_one() -> None:
    nobody = session_of("app", OWN_TEAM)
    for keys in (NO_OTHERS, tagged(""), tagged("blue"), tagged("${aws:PrincipalTag/team}")):
        assert ask(nobody, "sqs:SendMessage", keys=keys).reason is Reason.NO_IDENTITY


def test_a_team_called_star_is_just_that() -> None:
    star = session_of("app", OWN_TEAM, team="*")
    assert not ask(star, "sqs:SendMessage", keys=tagged("blue")).allowed


# --- A queue is made with its tags, or not at all -------------------------------------------------

TAGGED_AT_BIRTH = policy(
    {
        "Sid": "Create",
        "Effect": "Allow",
        "Action": ["sqs:CreateQueue", "sqs:TagQueue"],
        "Resource": f"arn:aws:sqs:*:{ACCOUNT}:*",
        "Condition": {
            "StringEquals": {"aws:RequestTag/team": ["blue", "red"]},
            "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "cost-center"]},
            "Null": {"aws:RequestTag/team": "false"},
        },
    }
)
MAKER = session_of("maker", TAGGED_AT_BIRTH)


def makes(**tags: str) -> bool:
    """CreateQueue with tags asks for both actions."""
    keys: dict[str, str | list[str]] = {f"aws:RequestTag/{key}": tag for key, tag in tags.items()}
    if tags:
        keys["aws:TagKeys"] = list(tags)
    actions = ["sqs:CreateQueue", "sqs:TagQueue"] if tags else ["sqs:CreateQueue"]
    return all(ask(MAKER, action, keys=keys).allowed for action in actions)


def test_with_a_right_tag() -> None:
    assert makes(team="blue")
    assert makes(**{"team": "red", "cost-center": "42"})


def test_without_a_tag_or_with_a_wrong_one() -> None:
    assert not makes()
    assert not makes(team="green")
    assert not makes(**{"cost-center": "42"})


def test_with_a_tag_too_many() -> None:
    assert not makes(team="blue", owner="me")


# --- A topic sends, and no other ------------------------------------------------------------------

TOPIC = f"arn:aws:sns:eu-central-1:{ACCOUNT}:news"
FROM_TOPIC = statement(
    "Allow",
    "sqs:SendMessage",
    Principal={"Service": "sns.amazonaws.com"},
    Sid="Topic",
    Condition={
        "ArnEquals": {"aws:SourceArn": TOPIC},
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
    },
)


def test_a_topic_sends() -> None:
    sns = service("sns.amazonaws.com", TOPIC, ACCOUNT)
    decision = ask(sns, "sqs:SendMessage", queue_policy(FROM_TOPIC))
    assert decision == Decision(True, Reason.ALLOWED_BY_RESOURCE, "resource", "Topic")
    assert ask(sns, "sqs:ReceiveMessage", queue_policy(FROM_TOPIC)).reason is Reason.NO_RESOURCE


def test_another_topic_service_or_account_does_not() -> None:
    for caller in (
        service("sns.amazonaws.com", TOPIC + "-2", ACCOUNT),
        service("sns.amazonaws.com", TOPIC, ELSEWHERE),
        service("s3.amazonaws.com", TOPIC, ACCOUNT),
    ):
        decision = ask(caller, "sqs:SendMessage", queue_policy(FROM_TOPIC))
        assert decision == Decision(False, Reason.NO_RESOURCE)


# --- Another account consumes ---------------------------------------------------------------------

CONSUME = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
TO_ACCOUNT = statement("Allow", CONSUME, Principal={"AWS": ELSEWHERE}, Sid="Consumers")


def test_another_account_consumes_where_both_sides_say_so() -> None:
    consumer = session_of("consumer", policy(statement("Allow", CONSUME)), account_id=ELSEWHERE)
    for action in CONSUME:
        decision = ask(consumer, action, queue_policy(TO_ACCOUNT))
        assert decision == Decision(True, Reason.ALLOWED_BY_BOTH, "resource", "Consumers")
    assert not ask(consumer, "sqs:SendMessage", queue_policy(TO_ACCOUNT)).allowed
    assert ask(consumer, CONSUME[0]).reason is Reason.NO_RESOURCE
    without = session_of("consumer", account_id=ELSEWHERE)
    assert ask(without, CONSUME[0], queue_policy(TO_ACCOUNT)).reason is Reason.NO_IDENTITY
