"""Dead letters and move tasks as a client sees them: the service on its real store."""

import json
from typing import Any

import pytest

from stanchion.model.sqs import (
    CancelMessageMoveTaskRequest,
    GetQueueAttributesRequest,
    ListMessageMoveTasksRequest,
    Message,
    ReceiveMessageRequest,
    ResourceNotFoundException,
    SendMessageRequest,
    StartMessageMoveTaskRequest,
    UnsupportedOperation,
)
from tests.sqs.harness import ACCOUNT, REGION, START_MS, Service

ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}"


@pytest.fixture
def service() -> Service:
    """A queue whose messages may be received once, and its dead-letter queue."""
    service = Service()
    service.create("dead")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 1})
    service.create("q", RedrivePolicy=policy)
    return service


def send(service: Service, body: str = "x", url: str = "q") -> str:
    answer = service.do(SendMessageRequest(queue_url=url, message_body=body))
    return str(answer.message_id)


def receive(service: Service, url: str = "q") -> list[Message]:
    request = ReceiveMessageRequest(queue_url=url, message_system_attribute_names=["All"])
    return service.do(request).messages or []


def kill(service: Service) -> str:
    """A message that is in the dead-letter queue. Answer: its id."""
    message_id = send(service)
    assert len(receive(service)) == 1
    service.clock.advance(30)
    service.upkeep()
    return message_id


def visible(service: Service, url: str) -> str:
    name = "ApproximateNumberOfMessages"
    request = GetQueueAttributesRequest(queue_url=url, attribute_names=[name])
    return str(service.do(request).attributes[name])


def start(service: Service, **parameters: Any) -> str:
    request = StartMessageMoveTaskRequest(source_arn=f"{ARN}:dead", **parameters)
    return str(service.do(request).task_handle)


def tasks(service: Service, limit: int | None = None) -> list[Any]:
    request = ListMessageMoveTasksRequest(source_arn=f"{ARN}:dead", max_results=limit)
    return service.do(request).results or []


def test_a_message_moves_when_it_would_be_received_once_too_often(service: Service) -> None:
    message_id = send(service)
    assert len(receive(service)) == 1
    service.clock.advance(29.9)
    service.upkeep()
    assert (visible(service, "q"), visible(service, "dead")) == ("0", "0")
    service.clock.advance(0.1)
    service.upkeep()
    assert (visible(service, "q"), visible(service, "dead")) == ("0", "1")
    (message,) = receive(service, "dead")
    assert message.message_id == message_id
    assert message.attributes is not None
    assert message.attributes == {
        "SenderId": ACCOUNT,
        "SentTimestamp": str(START_MS),
        "ApproximateReceiveCount": "2",
        "ApproximateFirstReceiveTimestamp": str(START_MS),
        "DeadLetterQueueSourceArn": f"{ARN}:q",
    }


def test_a_task_brings_messages_back_as_new_ones(service: Service) -> None:
    message_id = kill(service)
    start(service)
    service.upkeep()
    (task,) = tasks(service)
    assert (task.status, task.approximate_number_of_messages_moved) == ("COMPLETED", 1)
    assert task.task_handle is None
    (message,) = receive(service)
    assert message.message_id != message_id
    assert message.attributes is not None
    assert message.attributes["ApproximateReceiveCount"] == "1"
    assert message.attributes["SentTimestamp"] == str(service.clock.now_ms())
    assert "DeadLetterQueueSourceArn" not in message.attributes


def test_one_task_runs_at_a_time_and_can_be_cancelled(service: Service) -> None:
    for _ in range(3):
        send(service, url="dead")
    handle = start(service, destination_arn=f"{ARN}:q", max_number_of_messages_per_second=1)
    request = StartMessageMoveTaskRequest(source_arn=f"{ARN}:dead")
    assert isinstance(service.refuses(request), UnsupportedOperation)
    (task,) = tasks(service)
    assert (task.status, task.task_handle) == ("RUNNING", handle)
    cancel = CancelMessageMoveTaskRequest(task_handle=handle)
    assert service.do(cancel).approximate_number_of_messages_moved == 0
    assert isinstance(service.refuses(cancel), ResourceNotFoundException)
    service.upkeep()
    (task,) = tasks(service)
    assert (task.status, task.approximate_number_of_messages_to_move) == ("CANCELLED", 3)
    assert visible(service, "dead") == "3"


def test_tasks_are_listed_newest_first(service: Service) -> None:
    send(service, url="dead")
    start(service)
    service.upkeep()
    service.clock.advance(1)
    start(service, destination_arn=f"{ARN}:q")
    service.upkeep()
    latest, first = tasks(service, limit=10)
    assert (latest.status, latest.destination_arn) == ("COMPLETED", f"{ARN}:q")
    assert (first.status, first.failure_reason) == ("FAILED", "CouldNotDetermineMessageSource")
    assert latest.started_timestamp - first.started_timestamp == 1000
    assert tasks(service) == [latest]
