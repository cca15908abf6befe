"""Every action through an official client: one body, run over AWS JSON and over AWS Query."""

import time
import uuid
from hashlib import md5
from typing import Any

import pytest

from tests.clients.calls import ACCOUNT, QUERY, fails, missing_text, receive
from tests.clients.conftest import PURGE_INTERVAL_S, QUARANTINE_S

TEXT = "line\r\nnext\ttab <&>\"' é ✓ \U0001f600"


# --- Queues ---------------------------------------------------------------------------------------


def test_create_queue_is_idempotent_for_equal_attributes(sqs: Any) -> None:
    name = f"q-{uuid.uuid4().hex}"
    url = sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "5"}, tags={"k": "v"})
    assert url["QueueUrl"].endswith(f"/{ACCOUNT}/{name}")
    again = sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "5"})
    assert again["QueueUrl"] == url["QueueUrl"]
    fails(
        lambda: sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "6"}),
        "QueueAlreadyExists",
        text="DelaySeconds",
    )


@pytest.mark.parametrize(
    ("name", "attributes", "code"),
    [
        ("not good!", {}, "InvalidParameterValue"),
        ("x" * 81, {}, "InvalidParameterValue"),
        ("q.fifo", {}, "InvalidParameterValue"),
        ("q", {"FifoQueue": "false"}, "InvalidAttributeName"),
        ("q", {"Nonsense": "1"}, "InvalidAttributeName"),
        ("q", {"DelaySeconds": "901"}, "InvalidAttributeValue"),
    ],
)
def test_create_queue_refuses(sqs: Any, name: str, attributes: dict[str, str], code: str) -> None:
    fails(lambda: sqs.create_queue(QueueName=name, Attributes=attributes), code)


def test_get_queue_url(sqs: Any, queue: str) -> None:
    name = queue.rpartition("/")[2]
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == queue
    fails(
        lambda: sqs.get_queue_url(QueueName="absent"),
        "AWS.SimpleQueueService.NonExistentQueue",
        text=missing_text(),
    )
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="absent")


def test_list_queues_pages(sqs: Any) -> None:
    prefix = f"page-{uuid.uuid4().hex}-"
    urls = [sqs.create_queue(QueueName=f"{prefix}{n}")["QueueUrl"] for n in range(5)]
    pages = sqs.get_paginator("list_queues").paginate(
        QueueNamePrefix=prefix, PaginationConfig={"PageSize": 2}
    )
    assert [page["QueueUrls"] for page in pages] == [urls[:2], urls[2:4], urls[4:]]
    assert "NextToken" not in sqs.list_queues(QueueNamePrefix=prefix)
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix="absent-")


def test_delete_queue_then_quarantine(sqs: Any, queue: str) -> None:
    sqs.delete_queue(QueueUrl=queue)
    fails(lambda: sqs.delete_queue(QueueUrl=queue), "AWS.SimpleQueueService.NonExistentQueue")
    name = queue.rpartition("/")[2]
    fails(
        lambda: sqs.create_queue(QueueName=name),
        "AWS.SimpleQueueService.QueueDeletedRecently",
        text="You must wait 60 seconds",
    )
    time.sleep(QUARANTINE_S)
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == queue


def test_attributes(sqs: Any, queue: str) -> None:
    everything = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert len(everything) == 12
    assert everything["QueueArn"] == f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{queue.rpartition('/')[2]}"
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "7"})
    some = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout", "Policy"])
    assert some["Attributes"] == {"VisibilityTimeout": "7"}
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue)
    fails(
        lambda: sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "-1"}),
        "InvalidAttributeValue",
        text="Invalid value for the parameter VisibilityTimeout.",
    )
    fails(
        lambda: sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Nonsense"]),
        "InvalidAttributeName",
        text="Unknown Attribute Nonsense.",
    )


def test_tags(sqs: Any, queue: str) -> None:
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=queue)
    sqs.tag_queue(QueueUrl=queue, Tags={"team": "stock", "env": "prod"})
    sqs.tag_queue(QueueUrl=queue, Tags={"env": "test"})
    assert sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"team": "stock", "env": "test"}
    sqs.untag_queue(QueueUrl=queue, TagKeys=["team", "absent"])
    assert sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"env": "test"}


def test_permissions(sqs: Any, queue: str) -> None:
    sqs.add_permission(
        QueueUrl=queue, Label="partner", AWSAccountIds=["123456789012"], Actions=["SendMessage"]
    )
    policy = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])["Attributes"]
    assert '"Sid":"partner"' in policy["Policy"]
    sqs.remove_permission(QueueUrl=queue, Label="partner")
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])
    fails(
        lambda: sqs.remove_permission(QueueUrl=queue, Label="partner"),
        "InvalidParameterValue",
        text="can't find label on existing policy",
    )


def test_purge_once_per_interval(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="old")
    sqs.purge_queue(QueueUrl=queue)
    assert receive(sqs, queue) == []
    fails(
        lambda: sqs.purge_queue(QueueUrl=queue),
        "AWS.SimpleQueueService.PurgeQueueInProgress",
        403,
    )
    time.sleep(PURGE_INTERVAL_S)
    sqs.purge_queue(QueueUrl=queue)


# --- Messages -------------------------------------------------------------------------------------


def test_send_receive_delete(sqs: Any, queue: str) -> None:
    attributes = {
        "color": {"DataType": "String", "StringValue": "blue"},
        "count": {"DataType": "Number", "StringValue": "3"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x01\x02\x03"},
    }
    sent = sqs.send_message(
        QueueUrl=queue,
        MessageBody=TEXT,
        MessageAttributes=attributes,
        MessageSystemAttributes={
            "AWSTraceHeader": {"DataType": "String", "StringValue": "some-trace-id"}
        },
    )
    assert sent["MD5OfMessageBody"] == md5(TEXT.encode()).hexdigest()
    assert sent["MD5OfMessageAttributes"] == "d838729972a4b70e2d2acd9d59ac847c"
    assert sent["MD5OfMessageSystemAttributes"] == "fdce4f2818803f2f73becc09a54792c0"

    (message,) = receive(
        sqs, queue, AttributeNames=["All"], MessageAttributeNames=["col.*", "count"]
    )
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == TEXT
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MessageAttributes"] == {k: attributes[k] for k in ("color", "count")}
    system = message["Attributes"]
    assert system["SenderId"] == ACCOUNT
    assert system["ApproximateReceiveCount"] == "1"
    assert system["AWSTraceHeader"] == "some-trace-id"
    assert abs(int(system["SentTimestamp"]) / 1000 - time.time()) < 60

    for _ in range(2):
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    counts = sqs.get_queue_attributes(
        QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
    )
    assert counts["Attributes"] == {"ApproximateNumberOfMessagesNotVisible": "0"}


def test_an_empty_receive_has_no_messages_member(sqs: Any, queue: str) -> None:
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)


def test_batches(sqs: Any, queue: str) -> None:
    sent = sqs.send_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "a", "MessageBody": "1"},
            {"Id": "b", "MessageBody": "2", "DelaySeconds": 901},
            {"Id": "c", "MessageBody": "3"},
        ],
    )
    assert [entry["Id"] for entry in sent["Successful"]] == ["a", "c"]
    (failed,) = sent["Failed"]
    assert (failed["Id"], failed["Code"]) == ("b", "InvalidParameterValue")
    assert failed["SenderFault"] is True

    handles = [m["ReceiptHandle"] for m in receive(sqs, queue, MaxNumberOfMessages=10)]
    changed = sqs.change_message_visibility_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": 100}
            for n, handle in enumerate(handles)
        ],
    )
    assert [entry["Id"] for entry in changed["Successful"]] == ["0", "1"]
    assert not changed.get("Failed")
    deleted = sqs.delete_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "good", "ReceiptHandle": handles[0]},
            {"Id": "bad", "ReceiptHandle": "made-up"},
        ],
    )
    assert [entry["Id"] for entry in deleted["Successful"]] == ["good"]
    assert [entry["Code"] for entry in deleted["Failed"]] == ["ReceiptHandleIsInvalid"]


def entry(entry_id: str, body: str = "x") -> dict[str, str]:
    return {"Id": entry_id, "MessageBody": body}


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([entry(str(n)) for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([entry("no good")], "InvalidBatchEntryId"),
        ([entry("a"), entry("a")], "BatchEntryIdsNotDistinct"),
        ([entry("a", "x" * 600_000), entry("b", "x" * 600_000)], "BatchRequestTooLong"),
    ],
)
def test_a_batch_that_fails_whole(
    sqs: Any, queue: str, entries: list[dict[str, str]], code: str
) -> None:
    fails(
        lambda: sqs.send_message_batch(QueueUrl=queue, Entries=entries),
        f"AWS.SimpleQueueService.{code}",
    )


def test_visibility(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (first,) = receive(sqs, queue)
    assert receive(sqs, queue) == []
    handle = first["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)
    (second,) = receive(sqs, queue, AttributeNames=["ApproximateReceiveCount"])
    assert second["Attributes"] == {"ApproximateReceiveCount": "2"}
    assert second["ReceiptHandle"] != handle
    for stale in (handle, second["ReceiptHandle"]):
        fails(
            lambda stale=stale: sqs.change_message_visibility(
                QueueUrl=queue, ReceiptHandle=stale, VisibilityTimeout=43_200
            ),
            "InvalidParameterValue",
        )
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)  # superseded: success, but stays
    sqs.change_message_visibility(
        QueueUrl=queue, ReceiptHandle=second["ReceiptHandle"], VisibilityTimeout=0
    )
    assert len(receive(sqs, queue)) == 1


def test_handles_are_checked(sqs: Any, queue: str) -> None:
    other = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex}")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (message,) = receive(sqs, queue)
    for url, handle in ((queue, "garbage"), (other, message["ReceiptHandle"])):
        fails(
            lambda url=url, handle=handle: sqs.delete_message(QueueUrl=url, ReceiptHandle=handle),
            "ReceiptHandleIsInvalid",
            404,
            f'The input receipt handle "{handle}" is not a valid receipt handle.',
        )


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"MessageBody": ""}, "MissingParameter"),
        ({"MessageBody": "bell \x07"}, "InvalidMessageContents"),
        ({"MessageBody": "x", "DelaySeconds": -1}, "InvalidParameterValue"),
        ({"MessageBody": "x", "MessageDeduplicationId": "d"}, "InvalidParameterValue"),
        ({"MessageBody": "x" * 1_048_577}, "InvalidParameterValue"),
        (
            {
                "MessageBody": "x",
                "MessageAttributes": {"a": {"DataType": "Odd", "StringValue": "v"}},
            },
            "InvalidParameterValue",
        ),
        (
            {
                "MessageBody": "x",
                "MessageAttributes": {"a": {"DataType": "String", "StringListValues": ["v"]}},
            },
            "AWS.SimpleQueueService.UnsupportedOperation",
        ),
    ],
)
def test_send_refuses(sqs: Any, queue: str, options: dict[str, Any], code: str) -> None:
    fails(lambda: sqs.send_message(QueueUrl=queue, **options), code)


def test_the_largest_message(sqs: Any, queue: str) -> None:
    body = "é" * 524_288
    sent = sqs.send_message(QueueUrl=queue, MessageBody=body)
    (message,) = receive(sqs, queue)
    assert message["Body"] == body
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]


@pytest.mark.parametrize(
    "options", [{"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21}, {"VisibilityTimeout": 43_201}]
)
def test_receive_refuses(sqs: Any, queue: str, options: dict[str, int]) -> None:
    ((name, value),) = options.items()
    fails(
        lambda: receive(sqs, queue, **options),
        "InvalidParameterValue",
        text=f"Value {value} for parameter {name} is invalid.",
    )


def test_a_long_poll_wakes_when_a_delay_ends(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=1)
    started = time.monotonic()
    (message,) = receive(sqs, queue, WaitTimeSeconds=10)
    assert message["Body"] == "later"
    assert 0.5 < time.monotonic() - started < 3


def test_in_flight_cap(sqs: Any, queue: str) -> None:
    for batch in range(6):
        entries = [{"Id": str(n), "MessageBody": f"{batch}-{n}"} for n in range(10)]
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    for _ in range(5):
        assert len(receive(sqs, queue, MaxNumberOfMessages=10)) == 10
    fails(lambda: receive(sqs, queue), "OverLimit", 403)
    assert receive(sqs, queue, WaitTimeSeconds=1) == []


def test_fair_queue_groups_are_kept(sqs: Any, queue: str) -> None:
    if QUERY:
        sqs.send_message(QueueUrl=queue, MessageBody="x", MessageGroupId="tenant-1")
    else:
        entries = [{"Id": "a", "MessageBody": "x", "MessageGroupId": "tenant-1"}]
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    (message,) = receive(sqs, queue, AttributeNames=["MessageGroupId"])
    assert message["Attributes"] == {"MessageGroupId": "tenant-1"}
