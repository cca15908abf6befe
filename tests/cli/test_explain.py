"""`stanchion policy explain`. With a running server: see `test_offline.py`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ACCOUNT, Installation

HERE = ("--account", ACCOUNT)
OTHER_ACCOUNT = "444455556666"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:jobs"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/staff/alice"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci/deploy"


def document(effect: str, action: str, **more: Any) -> str:
    statement = {"Sid": "It", "Effect": effect, "Action": action, "Resource": "*", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def cli(installed: Installation) -> Installation:
    """User alice may send over TLS; role deploy may receive from one address."""
    installed.does("account", "create", "--id", OTHER_ACCOUNT)
    installed.does("user", "create", "alice", "--path", "/staff/", *HERE)
    role = ("role", "create", "deploy", "--path", "/ci/", "--trust-account", ACCOUNT)
    installed.does(*role, *HERE)
    by_tls = {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}
    from_here = {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}
    put = ("policy", "put", *HERE)
    send = document("Allow", "sqs:SendMessage", **by_tls)
    receive = document("Allow", "sqs:ReceiveMessage", **from_here)
    installed.does(*put, "user", "alice", "send", "-", stdin=send)
    installed.does(*put, "role", "deploy", "receive", "-", stdin=receive)
    return installed


def ask(cli: Installation, principal: str, action: str, *more: str, stdin: str = "") -> Any:
    who = ("--principal", principal, "--action", action)
    resource = () if "--resource" in more else ("--resource", QUEUE)
    return cli.json("policy", "explain", *who, *resource, *more, stdin=stdin)


def test_what_decides_is_named(cli: Installation) -> None:
    arguments = ("--principal", ALICE, "--action", "sqs:sendmessage", "--resource", QUEUE)
    secure = ("--context", "aws:SecureTransport=true")
    result = cli.run("policy", "explain", *arguments, *secure)
    assert result.stdout.splitlines() == [
        f"ALLOWED: {ALICE} sqs:SendMessage {QUEUE}",
        "reason: allowed by an identity-based policy",
        "policy: user/alice inline policy send",
        "statement: It",
    ]
    assert result.stderr == "No policy of the queue was looked at.\n"
    assert cli.does("policy", "explain", *arguments).splitlines() == [
        f"DENIED: {ALICE} sqs:SendMessage {QUEUE}",
        "reason: because no identity-based policy allows the sqs:SendMessage action",
    ]


def test_a_role_and_its_sessions(cli: Installation) -> None:
    here = ("--context", "aws:SourceIp=10.1.2.3")
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/night"
    for principal in (ROLE, session):
        assert ask(cli, principal, "sqs:ReceiveMessage", *here)["allowed"]
        assert not ask(cli, principal, "sqs:ReceiveMessage")["allowed"]
    only_night = document("Deny", "sqs:*", Principal={"AWS": session})
    found = [
        ask(cli, who, "sqs:ReceiveMessage", *here, "--queue-policy", "-", stdin=only_night)
        for who in (ROLE, session)
    ]
    assert [each["allowed"] for each in found] == [True, False]
    assert found[1]["reason"] == "with an explicit deny in a resource-based policy"


def test_the_policy_of_the_queue(cli: Installation, tmp_path: Path) -> None:
    file = tmp_path / "queue.json"
    file.write_text(document("Allow", "sqs:ReceiveMessage", Principal={"AWS": ALICE}))
    found = ask(cli, ALICE, "sqs:ReceiveMessage", "--queue-policy", str(file))
    assert (found["allowed"], found["with_queue_policy"]) == (True, True)
    assert (found["policy"], found["statement"]) == ("the queue's policy", "It")
    assert not ask(cli, ALICE, "sqs:ReceiveMessage")["allowed"]


@pytest.mark.parametrize(
    ("principal", "named"),
    [
        ("anonymous", "*"),
        ("events.amazonaws.com", {"Service": "events.amazonaws.com"}),
        (f"arn:aws:iam::{OTHER_ACCOUNT}:root", {"AWS": OTHER_ACCOUNT}),
    ],
)
def test_others_need_the_policy_of_the_queue(
    cli: Installation, principal: str, named: object
) -> None:
    with_policy = ("--queue-policy", "-")
    policy = document("Allow", "sqs:*", Principal=named)
    assert ask(cli, principal, "sqs:SendMessage", *with_policy, stdin=policy)["allowed"]
    assert not ask(cli, principal, "sqs:SendMessage")["allowed"]
    # What no queue's policy can give away.
    assert not ask(cli, principal, "sqs:DeleteQueue", *with_policy, stdin=policy)["allowed"]


def test_a_key_of_several_values_and_actions_of_iam(cli: Installation) -> None:
    tags = {"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}
    policy = document("Allow", "iam:CreateUser", Condition=tags)
    cli.does("policy", "put", "user", "alice", "make", "-", *HERE, stdin=policy)
    about = ("--resource", f"arn:aws:iam::{ACCOUNT}:user/bob")
    keys = ("--context", "aws:TagKeys=%s", "--context", "aws:TagKeys=a")
    for key, allowed in (("b", True), ("c", False)):
        given = tuple(text.replace("%s", key) for text in keys)
        assert ask(cli, ALICE, "iam:CreateUser", *about, *given)["allowed"] is allowed


def test_root_may(cli: Installation) -> None:
    found = ask(cli, f"arn:aws:iam::{ACCOUNT}:root", "sqs:ListQueues", "--resource", "*")
    assert (found["allowed"], found["reason"]) == (True, "the account's root user")


@pytest.mark.parametrize(
    ("changed", "code", "message"),
    [
        ({"--principal": "alice"}, 2, "--principal: 'alice' is not the ARN of a root user, user"),
        ({"--principal": f"arn:aws:iam::{ACCOUNT}:user/alice"}, 1, "There is no arn:aws:iam::"),
        ({"--principal": f"arn:aws:iam::{ACCOUNT}:role/deploy"}, 1, "There is no arn:aws:iam::"),
        ({"--principal": "arn:aws:iam::999999999999:root"}, 1, "There is no account 999999999999"),
        ({"--action": "sqs:Send"}, 2, "--action: 'sqs:Send' is no action of SQS or IAM"),
        ({"--action": "sqs:SendMessageBatch"}, 2, "--action: sqs:SendMessageBatch needs the perm"),
        ({"--resource": "jobs"}, 2, "--resource: 'jobs' is neither an ARN nor *"),
        ({"--resource": "*", "--queue-policy": "-"}, 2, "--resource: only a queue has a policy"),
        ({"--context": "here"}, 2, "--context: 'here' is not of the form aws:SourceIp=10.0.0.1"),
        ({"--queue-policy": "-"}, 2, "standard input: document: is not JSON"),
        (
            {"--queue-policy": "-", "--endpoint-url": "http://127.0.0.1:1"},
            2,
            "the queue's policy: give either --queue-policy or --endpoint-url",
        ),
    ],
)
def test_mistakes(cli: Installation, changed: dict[str, str], code: int, message: str) -> None:
    options = {"--principal": ALICE, "--action": "sqs:SendMessage", "--resource": QUEUE, **changed}
    found = cli.refuses("policy", "explain", *(part for pair in options.items() for part in pair))
    assert found[0] == code
    assert found[1].startswith(message)


def test_a_queue_policy_that_names_nobody(cli: Installation) -> None:
    nobody = document("Allow", "sqs:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"})
    arguments = ("--principal", ALICE, "--action", "sqs:SendMessage", "--resource", QUEUE)
    code, message = cli.refuses(
        "policy", "explain", *arguments, "--queue-policy", "-", stdin=nobody
    )
    assert code == 2
    assert message.startswith("standard input: Invalid principal in policy: ")
