"""FIFO queues through an official client: one body, run over AWS JSON and over AWS Query."""

import time
import uuid
from hashlib import md5
from typing import Any

import pytest

from tests.clients.calls import arn_of, fails, receive

SHA256_OF_SAME = "0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5"
EXPIRED = "Reason: The receipt handle has expired."
NOT_AVAILABLE = "not available for visibility timeout change"


def create(sqs: Any, **attributes: str) -> str:
    url: str = sqs.create_queue(
        QueueName=f"q-{uuid.uuid4().hex}.fifo", Attributes={"FifoQueue": "true", **attributes}
    )["QueueUrl"]
    return url


@pytest.fixture
def fifo(sqs: Any) -> str:
    """The URL of a fresh FIFO queue."""
    return create(sqs)


def send(sqs: Any, queue: str, body: str, group: str = "g", **options: Any) -> dict[str, Any]:
    options.setdefault("MessageDeduplicationId", uuid.uuid4().hex)
    answer: dict[str, Any] = sqs.send_message(
        QueueUrl=queue, MessageBody=body, MessageGroupId=group, **options
    )
    return answer


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["Body"] for message in messages]


# --- Queues ---------------------------------------------------------------------------------------


def test_a_fifo_queue_has_sixteen_attributes(sqs: Any, fifo: str) -> None:
    everything = sqs.get_queue_attributes(QueueUrl=fifo, AttributeNames=["All"])["Attributes"]
    assert len(everything) == 16
    assert everything["FifoQueue"] == "true"
    assert everything["DeduplicationScope"] == "queue"
    assert everything["FifoThroughputLimit"] == "perQueue"
    assert everything["ContentBasedDeduplication"] == "false"
    assert everything["QueueArn"] == arn_of(fifo)


@pytest.mark.parametrize(
    ("name", "attributes", "code"),
    [
        ("q.fifo", {}, "InvalidParameterValue"),
        ("q", {"FifoQueue": "true"}, "InvalidParameterValue"),
        ("q.fifo", {"FifoQueue": "false"}, "InvalidParameterValue"),
        ("q", {"ContentBasedDeduplication": "true"}, "InvalidAttributeName"),
        (
            "q.fifo",
            {"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"},
            "InvalidAttributeValue",
        ),
    ],
)
def test_create_queue_refuses(sqs: Any, name: str, attributes: dict[str, str], code: str) -> None:
    fails(lambda: sqs.create_queue(QueueName=name, Attributes=attributes), code)


def test_the_type_of_a_queue_does_not_change(sqs: Any, fifo: str, queue: str) -> None:
    for url, value, code in (
        (fifo, "false", "InvalidAttributeValue"),
        (queue, "true", "InvalidAttributeName"),
        (queue, "false", "InvalidAttributeName"),
    ):
        fails(
            lambda url=url, value=value: sqs.set_queue_attributes(
                QueueUrl=url, Attributes={"FifoQueue": value}
            ),
            code,
        )
    sqs.set_queue_attributes(
        QueueUrl=fifo,
        Attributes={
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
            "ContentBasedDeduplication": "true",
        },
    )


# --- Sending --------------------------------------------------------------------------------------


def test_what_a_message_carries(sqs: Any, fifo: str) -> None:
    sent = send(sqs, fifo, "x", MessageDeduplicationId="d")
    assert len(sent["SequenceNumber"]) == 20
    (message,) = receive(sqs, fifo, AttributeNames=["All"])
    assert message["MessageId"] == sent["MessageId"]
    assert (
        message["Attributes"].items()
        >= {
            "MessageGroupId": "g",
            "MessageDeduplicationId": "d",
            "SequenceNumber": sent["SequenceNumber"],
            "ApproximateReceiveCount": "1",
        }.items()
    )
    assert "DeadLetterQueueSourceArn" not in message["Attributes"]


def test_a_repeat_is_answered_with_the_first_and_sent_once(sqs: Any, fifo: str) -> None:
    first = send(sqs, fifo, "x", MessageDeduplicationId="d")
    again = send(sqs, fifo, "other", group="h", MessageDeduplicationId="d")
    for member in ("MessageId", "SequenceNumber"):
        assert again[member] == first[member]
    assert again["MD5OfMessageBody"] == md5(b"other").hexdigest()
    (message,) = receive(sqs, fifo, MaxNumberOfMessages=10)
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=message["ReceiptHandle"])
    assert send(sqs, fifo, "x", MessageDeduplicationId="d")["MessageId"] == first["MessageId"]
    assert receive(sqs, fifo) == []


def test_ids_of_another_group_may_be_other_messages(sqs: Any) -> None:
    queue = create(sqs, DeduplicationScope="messageGroup")
    first = send(sqs, queue, "x", MessageDeduplicationId="d")
    other = send(sqs, queue, "y", group="h", MessageDeduplicationId="d")
    assert other["MessageId"] != first["MessageId"]
    assert send(sqs, queue, "z", MessageDeduplicationId="d")["MessageId"] == first["MessageId"]


def test_the_body_alone_may_be_the_id(sqs: Any) -> None:
    queue = create(sqs, ContentBasedDeduplication="true")
    color = {"color": {"DataType": "String", "StringValue": "blue"}}
    call = {"QueueUrl": queue, "MessageBody": "same", "MessageGroupId": "g"}
    first = sqs.send_message(**call)
    assert sqs.send_message(**call, MessageAttributes=color)["MessageId"] == first["MessageId"]
    (message,) = receive(sqs, queue, AttributeNames=["MessageDeduplicationId"])
    assert message["Attributes"] == {"MessageDeduplicationId": SHA256_OF_SAME}


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"MessageDeduplicationId": "d"}, "MissingParameter", "MessageGroupId"),
        ({"MessageGroupId": "g"}, "InvalidParameterValue", "ContentBasedDeduplication enabled"),
        (
            {"MessageGroupId": "a b", "MessageDeduplicationId": "d"},
            "InvalidParameterValue",
            "MessageGroupId can only include",
        ),
        (
            {"MessageGroupId": "g", "MessageDeduplicationId": "d", "DelaySeconds": 5},
            "InvalidParameterValue",
            "Value 5 for parameter DelaySeconds is invalid.",
        ),
    ],
)
def test_send_refuses(sqs: Any, fifo: str, options: dict[str, Any], code: str, text: str) -> None:
    fails(lambda: sqs.send_message(QueueUrl=fifo, MessageBody="x", **options), code, text=text)


def test_a_batch_is_in_order_and_knows_its_repeats(sqs: Any, fifo: str) -> None:
    def entry(number: int, **options: Any) -> dict[str, Any]:
        ids = {"MessageGroupId": "g", "MessageDeduplicationId": str(number)}
        return {"Id": str(number), "MessageBody": f"body {number}", **ids, **options}

    entries = [entry(0), entry(1), entry(2, DelaySeconds=1), entry(3)]
    entries.append(entry(4, MessageDeduplicationId="0"))
    answer = sqs.send_message_batch(QueueUrl=fifo, Entries=entries)
    assert [sent["Id"] for sent in answer["Successful"]] == ["0", "1", "3", "4"]
    assert [(failed["Id"], failed["Code"]) for failed in answer["Failed"]] == [
        ("2", "InvalidParameterValue")
    ]
    sequence_numbers = [sent["SequenceNumber"] for sent in answer["Successful"]]
    assert sequence_numbers[:3] == sorted(set(sequence_numbers))
    assert sequence_numbers[3] == sequence_numbers[0]
    received = receive(sqs, fifo, MaxNumberOfMessages=10)
    assert bodies(received) == ["body 0", "body 1", "body 3"]


def test_the_queues_delay_is_for_messages_already_there(sqs: Any, fifo: str) -> None:
    send(sqs, fifo, "x", DelaySeconds=0)
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"DelaySeconds": "900"})
    assert receive(sqs, fifo) == []
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"DelaySeconds": "0"})
    assert bodies(receive(sqs, fifo)) == ["x"]


# --- Receiving ------------------------------------------------------------------------------------


def test_a_group_is_in_order_and_blocked_while_one_is_in_flight(sqs: Any, fifo: str) -> None:
    for number in range(3):
        send(sqs, fifo, f"g{number}")
    send(sqs, fifo, "h0", group="h")
    (first,) = receive(sqs, fifo)
    assert first["Body"] == "g0"
    assert bodies(receive(sqs, fifo, MaxNumberOfMessages=10)) == ["h0"]
    assert receive(sqs, fifo) == []
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=first["ReceiptHandle"])
    assert bodies(receive(sqs, fifo, MaxNumberOfMessages=10)) == ["g1", "g2"]


def test_a_long_poll_wakes_when_a_group_is_free_again(sqs: Any, fifo: str) -> None:
    send(sqs, fifo, "x")
    receive(sqs, fifo, VisibilityTimeout=1)
    started = time.monotonic()
    (message,) = receive(sqs, fifo, WaitTimeSeconds=10, AttributeNames=["All"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"
    assert 0.5 < time.monotonic() - started < 3


def test_the_same_attempt_gets_the_same_messages(sqs: Any, fifo: str) -> None:
    for number in range(3):
        send(sqs, fifo, str(number), group=str(number))
    attempt = {"MaxNumberOfMessages": 2, "ReceiveRequestAttemptId": "attempt-1"}
    first = receive(sqs, fifo, **attempt)
    assert receive(sqs, fifo, **attempt) == first
    assert len(first) == 2
    assert len(receive(sqs, fifo, ReceiveRequestAttemptId="attempt-2")) == 1
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=first[0]["ReceiptHandle"])
    assert receive(sqs, fifo, **attempt) == []


def test_an_attempt_id_is_checked(sqs: Any, fifo: str, queue: str) -> None:
    for url, attempt, text in (
        (fifo, "a b", "ReceiveRequestAttemptId can only include"),
        (queue, "a", "not valid for this queue type"),
    ):
        fails(
            lambda url=url, attempt=attempt: receive(sqs, url, ReceiveRequestAttemptId=attempt),
            "InvalidParameterValue",
            text=text,
        )


def test_too_much_in_flight_is_no_error(sqs: Any, fifo: str) -> None:
    for batch in range(6):
        entries = [
            {
                "Id": str(n),
                "MessageBody": "x",
                "MessageGroupId": f"{batch}-{n}",
                "MessageDeduplicationId": f"{batch}-{n}",
            }
            for n in range(10)
        ]
        sqs.send_message_batch(QueueUrl=fifo, Entries=entries)
    for _ in range(5):
        assert len(receive(sqs, fifo, MaxNumberOfMessages=10)) == 10
    assert receive(sqs, fifo) == []


# --- Handles --------------------------------------------------------------------------------------


def test_a_handle_ends_with_its_window(sqs: Any, fifo: str) -> None:
    send(sqs, fifo, "x")
    (message,) = receive(sqs, fifo)
    handle = message["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=fifo, ReceiptHandle=handle, VisibilityTimeout=0)
    fails(
        lambda: sqs.delete_message(QueueUrl=fifo, ReceiptHandle=handle),
        "InvalidParameterValue",
        text=f"Value {handle} for parameter ReceiptHandle is invalid. {EXPIRED}",
    )
    fails(
        lambda: sqs.change_message_visibility(
            QueueUrl=fifo, ReceiptHandle=handle, VisibilityTimeout=10
        ),
        "InvalidParameterValue",
        text=NOT_AVAILABLE,
    )
    (again,) = receive(sqs, fifo)
    deleted = sqs.delete_message_batch(
        QueueUrl=fifo,
        Entries=[
            {"Id": "late", "ReceiptHandle": handle},
            {"Id": "latest", "ReceiptHandle": again["ReceiptHandle"]},
        ],
    )
    assert [entry["Id"] for entry in deleted["Successful"]] == ["latest"]
    (failed,) = deleted["Failed"]
    assert (failed["Id"], failed["Code"]) == ("late", "InvalidParameterValue")
    assert failed["Message"].endswith(EXPIRED)


def test_deleting_twice_is_success_and_frees_the_group(sqs: Any, fifo: str) -> None:
    for number in range(3):
        send(sqs, fifo, str(number))
    first, second = receive(sqs, fifo, MaxNumberOfMessages=2)
    for _ in range(2):
        sqs.delete_message(QueueUrl=fifo, ReceiptHandle=second["ReceiptHandle"])
    assert receive(sqs, fifo) == []
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=first["ReceiptHandle"])
    assert bodies(receive(sqs, fifo)) == ["2"]
