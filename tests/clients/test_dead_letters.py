"""Dead-letter queues and move tasks through an official client, over AWS JSON and AWS Query."""

import json
import uuid
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from tests.clients.calls import arn_of, attribute, eventually, fails, missing_text, receive


def create(sqs: Any, suffix: str = "", **attributes: str) -> str:
    if suffix:
        attributes["FifoQueue"] = "true"
    url: str = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex}{suffix}", Attributes=attributes)[
        "QueueUrl"
    ]
    return url


def redrive(target: str, count: object = 1) -> str:
    return json.dumps({"deadLetterTargetArn": arn_of(target), "maxReceiveCount": count})


def create_source(sqs: Any, dead: str, suffix: str = "") -> str:
    return create(sqs, suffix, VisibilityTimeout="0", RedrivePolicy=redrive(dead))


def kill(sqs: Any, source: str, body: str, **options: Any) -> dict[str, Any]:
    """Send a message to a source and receive it as often as it may be, which is once."""
    sent: dict[str, Any] = sqs.send_message(QueueUrl=source, MessageBody=body, **options)
    assert [message["Body"] for message in receive(sqs, source)] == [body]
    return sent


# --- Policies -------------------------------------------------------------------------------------


def test_policies_read_back_compact(sqs: Any, queue: str) -> None:
    source = create(sqs, RedrivePolicy=redrive(queue, "5"))
    assert attribute(sqs, source, "RedrivePolicy") == (
        f'{{"deadLetterTargetArn":"{arn_of(queue)}","maxReceiveCount":5}}'
    )
    allow = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [arn_of(source)]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedriveAllowPolicy": allow})
    assert attribute(sqs, queue, "RedriveAllowPolicy") == (
        f'{{"redrivePermission":"byQueue","sourceQueueArns":["{arn_of(source)}"]}}'
    )
    for url, name in ((source, "RedrivePolicy"), (queue, "RedriveAllowPolicy")):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={name: ""})
        assert attribute(sqs, url, name) is None


def test_policies_are_checked(sqs: Any, queue: str) -> None:
    fifo = create(sqs, ".fifo")
    for policy, text in (
        ("x", "Redrive policy is not a valid JSON map."),
        ("{}", "Redrive policy does not contain mandatory attribute: maxReceiveCount."),
        (redrive(queue, 1001), "Invalid value for maxReceiveCount: 1001, valid values are from 1"),
        (redrive("absent"), "Dead letter target does not exist."),
        (redrive(fifo), "Dead-letter queue must be same type of queue as the source.."),
    ):
        fails(
            lambda policy=policy: sqs.set_queue_attributes(
                QueueUrl=queue, Attributes={"RedrivePolicy": policy}
            ),
            "InvalidParameterValue",
            text=text,
        )
    fails(
        lambda: sqs.create_queue(
            QueueName="new", Attributes={"RedriveAllowPolicy": '{"redrivePermission":"byQueue"}'}
        ),
        "InvalidParameterValue",
        text="you must also specify one or more sourceQueueArns values.",
    )


def test_a_dead_letter_queue_may_turn_sources_away(sqs: Any, queue: str) -> None:
    deny = {"RedriveAllowPolicy": '{"redrivePermission":"denyAll"}'}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=deny)
    fails(lambda: create(sqs, RedrivePolicy=redrive(queue)), "InvalidParameterValue")


def test_sources_are_listed_in_pages(sqs: Any, queue: str) -> None:
    assert "queueUrls" not in sqs.list_dead_letter_source_queues(QueueUrl=queue)
    sources = sorted(create_source(sqs, queue) for _ in range(3))
    pages = sqs.get_paginator("list_dead_letter_source_queues").paginate(
        QueueUrl=queue, PaginationConfig={"PageSize": 2}
    )
    assert [page["queueUrls"] for page in pages] == [sources[:2], sources[2:]]
    fails(
        lambda: sqs.list_dead_letter_source_queues(QueueUrl=f"{queue}-absent"),
        "AWS.SimpleQueueService.NonExistentQueue",
        text=missing_text(),
    )


# --- Moves ----------------------------------------------------------------------------------------


def test_an_exhausted_message_moves_without_anybody_polling(sqs: Any, queue: str) -> None:
    source = create_source(sqs, queue)
    sent = kill(sqs, source, "x")
    (message,) = receive(sqs, queue, WaitTimeSeconds=10, AttributeNames=["All"])
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == "x"
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == arn_of(source)
    assert receive(sqs, source) == []


def test_the_next_receive_finds_it_moved(sqs: Any, queue: str) -> None:
    source = create_source(sqs, queue)
    kill(sqs, source, "x")
    assert receive(sqs, source) == []
    assert len(eventually(lambda: receive(sqs, queue))) == 1


def test_a_fifo_message_is_a_new_one_in_its_group(sqs: Any) -> None:
    dead = create(sqs, ".fifo")
    source = create_source(sqs, dead, ".fifo")
    ids = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    sent = kill(sqs, source, "x", **ids)
    (message,) = receive(sqs, dead, WaitTimeSeconds=10, AttributeNames=["All"])
    assert message["MessageId"] == sent["MessageId"]
    assert message["Attributes"]["MessageGroupId"] == "g"
    assert message["Attributes"]["MessageDeduplicationId"] == sent["MessageId"]
    assert message["Attributes"]["SequenceNumber"] > sent["SequenceNumber"]
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == arn_of(source)


# --- Move tasks -----------------------------------------------------------------------------------


def latest(sqs: Any, dead: str) -> dict[str, Any]:
    (task,) = sqs.list_message_move_tasks(SourceArn=arn_of(dead))["Results"]
    return dict(task)


def ended(sqs: Any, dead: str) -> dict[str, Any]:
    """The latest task, once it does not run any more."""

    def look() -> dict[str, Any] | None:
        task = latest(sqs, dead)
        return None if task["Status"] in ("RUNNING", "CANCELLING") else task

    found = eventually(look)
    assert found is not None
    return found


def arrived(sqs: Any, dead: str, count: int) -> None:
    name = "ApproximateNumberOfMessages"
    eventually(lambda: attribute(sqs, dead, name) == str(count))


def test_messages_go_back_to_where_they_came_from_as_new_ones(sqs: Any, queue: str) -> None:
    sources = [create_source(sqs, queue) for _ in range(2)]
    sent = [kill(sqs, source, f"from {n}") for n, source in enumerate(sources)]
    arrived(sqs, queue, 2)
    started = sqs.start_message_move_task(SourceArn=arn_of(queue))
    assert started["TaskHandle"]
    task = ended(sqs, queue)
    assert task["Status"] == "COMPLETED"
    assert task["SourceArn"] == arn_of(queue)
    assert task["ApproximateNumberOfMessagesMoved"] == 2
    assert task["ApproximateNumberOfMessagesToMove"] == 2
    assert task["StartedTimestamp"] > 1_600_000_000_000
    absent = {"TaskHandle", "DestinationArn", "MaxNumberOfMessagesPerSecond", "FailureReason"}
    assert not absent & task.keys()
    for number, source in enumerate(sources):
        (message,) = receive(sqs, source, AttributeNames=["All"])
        assert message["Body"] == f"from {number}"
        assert message["MessageId"] != sent[number]["MessageId"]
        assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_a_slow_task_to_a_destination_can_be_cancelled(sqs: Any, queue: str) -> None:
    create_source(sqs, queue)
    destination = create(sqs)
    entries = [{"Id": str(n), "MessageBody": "x"} for n in range(10)]
    sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    handle = sqs.start_message_move_task(
        SourceArn=arn_of(queue), DestinationArn=arn_of(destination), MaxNumberOfMessagesPerSecond=1
    )["TaskHandle"]
    task = latest(sqs, queue)
    assert task["Status"] == "RUNNING"
    assert task["TaskHandle"] == handle
    assert task["DestinationArn"] == arn_of(destination)
    assert task["MaxNumberOfMessagesPerSecond"] == 1
    fails(
        lambda: sqs.start_message_move_task(SourceArn=arn_of(queue)),
        "AWS.SimpleQueueService.UnsupportedOperation",
        text="There is already a task running.",
    )
    moved = sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    assert 0 <= moved <= 5
    assert ended(sqs, queue)["Status"] == "CANCELLED"
    fails(
        lambda: sqs.cancel_message_move_task(TaskHandle=handle),
        "ResourceNotFoundException",
        404,
        "Task does not exist.",
    )


def test_a_message_that_was_never_elsewhere_fails_a_task(sqs: Any, queue: str) -> None:
    create_source(sqs, queue)
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    sqs.start_message_move_task(SourceArn=arn_of(queue))
    task = ended(sqs, queue)
    assert task["Status"] == "FAILED"
    assert task["FailureReason"] == "CouldNotDetermineMessageSource"
    assert len(receive(sqs, queue)) == 1


def test_move_tasks_are_checked(sqs: Any, queue: str) -> None:
    dead = create(sqs)
    create_source(sqs, dead)
    unknown = arn_of("absent")
    handle = b64encode(
        json.dumps({"taskId": "absent", "sourceArn": arn_of(dead)}).encode()
    ).decode()
    bad, absent = "InvalidParameterValue", "ResourceNotFoundException"

    def start(source: str, **options: Any) -> Callable[[], Any]:
        return lambda: sqs.start_message_move_task(SourceArn=source, **options)

    checks: list[tuple[Callable[[], Any], str, int, str]] = [
        (start(""), "MissingParameter", 400, "SourceArn"),
        (start("x"), bad, 400, "You must use this format to specify the SourceArn: arn:"),
        (start(unknown), absent, 404, "specified for the SourceArn parameter doesn't exist."),
        (start(arn_of(queue)), bad, 400, "must be configured as a Dead Letter Queue."),
        (start(arn_of(dead), DestinationArn=arn_of(dead)), bad, 400, "cannot be the same."),
        (
            start(arn_of(dead), DestinationArn=unknown),
            absent,
            404,
            "specified for the DestinationArn parameter doesn't exist.",
        ),
        (
            start(arn_of(dead), DestinationArn=arn_of(create(sqs, ".fifo"))),
            bad,
            400,
            "must be of the same queue type.",
        ),
        (start(arn_of(dead), MaxNumberOfMessagesPerSecond=501), bad, 400, "between 1 and 500."),
        (lambda: sqs.list_message_move_tasks(SourceArn=unknown), absent, 404, "SourceArn"),
        (
            lambda: sqs.list_message_move_tasks(SourceArn=arn_of(dead), MaxResults=11),
            bad,
            400,
            "MaxResults must be an integer between 1 and 10.",
        ),
        (lambda: sqs.cancel_message_move_task(TaskHandle="x"), bad, 400, "TaskHandle"),
        (lambda: sqs.cancel_message_move_task(TaskHandle=handle), absent, 404, "Task does not"),
    ]
    for call, code, status, text in checks:
        fails(call, code, status, text)
    assert "Results" not in sqs.list_message_move_tasks(SourceArn=arn_of(dead))
