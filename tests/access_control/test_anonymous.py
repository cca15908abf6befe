"""Requests without a signature: let in where a queue's policy names everybody, and nowhere else."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.access_control.operations import chosen, queue_parameters
from tests.access_control.stage import (
    ACCOUNT,
    OTHER,
    REGION,
    Stage,
    allow,
    open_stage,
)
from tests.access_control.wire import SERVICES, Wire, as_get, request
from tests.wire.oracle import CALLS


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """What is not signed belongs to the first of the regions."""
    folder = tmp_path_factory.mktemp("anonymous")
    with open_stage(folder, {"regions": f"{REGION},us-east-1"}) as opened:
        yield opened


@pytest.fixture(scope="module")
def wire(stage: Stage) -> Iterator[Wire]:
    opened = Wire(stage.http)
    yield opened
    opened.close()


SENDING = {"SendMessage", "SendMessageBatch"}
OF_OWNERS = {
    "AddPermission",
    "CancelMessageMoveTask",
    "CreateQueue",
    "DeleteQueue",
    "ListMessageMoveTasks",
    "ListQueueTags",
    "ListQueues",
    "RemovePermission",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
}
SQS_CALLS = [(way, operation) for way, operation in CALLS if SERVICES[way] == "sqs"]


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}])
@pytest.mark.parametrize("granted", ["sqs:SendMessage", "sqs:*"])
def test_somebody_unknown_may_what_is_granted_to_everybody(
    stage: Stage, wire: Wire, granted: str, principal: Any
) -> None:
    name = f"open-{uuid.uuid4().hex}"
    stage.queue(name, allow(granted, Principal=principal))
    for way, operation in SQS_CALLS:
        given = chosen(way, operation, queue_parameters(stage.http, name))
        written = request(stage.http, way, operation, given)
        for asked in (written, as_get(written)) if way == "query" else (written,):
            reply = wire.send(asked)
            may = operation in SENDING or (granted == "sqs:*" and operation not in OF_OWNERS)
            # A receipt that is none, or a queue that is no dead-letter queue, is heard of inside.
            is_in = reply.code != "AccessDenied"
            assert is_in == may, (way, operation, reply)
            if operation in SENDING and may:
                assert reply.status == 200


@pytest.mark.parametrize(
    "principal",
    [
        {"AWS": ACCOUNT},
        {"AWS": OTHER},
        {"Service": "sns.amazonaws.com"},
        {"Federated": "accounts.example.com"},
        {"CanonicalUser": "a" * 64},
    ],
)
def test_what_is_granted_to_somebody_is_not_granted_to_everybody(
    stage: Stage, wire: Wire, principal: dict[str, str]
) -> None:
    name = f"named-{uuid.uuid4().hex}"
    url = stage.queue(name, allow("sqs:*", Principal=principal))
    reply = wire.send(
        request(stage.http, "json", "SendMessage", {"QueueUrl": url, "MessageBody": "b"})
    )
    assert reply == (403, "AccessDenied", f"Access to the resource {url} is denied.")


def test_a_grant_to_everybody_with_a_condition(stage: Stage, wire: Wire) -> None:
    """What an unknown caller does not have cannot be asked for, whoever negates it."""
    for number, (condition, may) in enumerate(
        (
            ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
            ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
            ({"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}, False),
            ({"StringLike": {"aws:PrincipalArn": "*"}}, False),
            ({"Bool": {"aws:SecureTransport": "true"}}, False),
            ({"StringEquals": {"aws:PrincipalType": "Anonymous"}}, True),
            ({"Bool": {"aws:PrincipalIsAWSService": "true"}}, False),
        )
    ):
        url = stage.queue(
            f"if-{number}", allow("sqs:SendMessage", Principal="*", Condition=condition)
        )
        message = {"QueueUrl": url, "MessageBody": "b"}
        reply = wire.send(request(stage.http, "json", "SendMessage", message))
        assert (reply.status == 200) == may, condition


def test_a_message_of_somebody_unknown_says_where_it_came_from(stage: Stage, wire: Wire) -> None:
    url = stage.queue("guestbook", allow("sqs:SendMessage", Principal="*"))
    message = {"QueueUrl": url, "MessageBody": "hello"}
    assert wire.send(request(stage.http, "json", "SendMessage", message)).status == 200
    (found,) = stage.sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["SenderId"])[
        "Messages"
    ]
    assert found["Attributes"] == {"SenderId": "127.0.0.1"}
