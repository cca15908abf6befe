"""A FIFO queue as a client sees it in the course of time: the service on its real store."""

from typing import Any

import pytest

from stanchion.model.errors import InvalidParameterValue
from stanchion.model.sqs import (
    ChangeMessageVisibilityRequest,
    DeleteMessageRequest,
    Message,
    PurgeQueueRequest,
    ReceiveMessageRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
    SetQueueAttributesRequest,
)
from tests.sqs.harness import Service

URL = "q.fifo"


@pytest.fixture
def service() -> Service:
    service = Service()
    service.create(URL, FifoQueue="true")
    return service


def send(service: Service, body: str, group: str = "g", deduplication_id: str = "") -> Any:
    return service.do(
        SendMessageRequest(
            queue_url=URL,
            message_body=body,
            message_group_id=group,
            message_deduplication_id=deduplication_id or body,
        )
    )


def receive(service: Service, limit: int = 10, attempt: str | None = None) -> list[Message]:
    request = ReceiveMessageRequest(
        queue_url=URL, max_number_of_messages=limit, receive_request_attempt_id=attempt
    )
    return service.do(request).messages or []


def bodies(messages: list[Message]) -> list[str | None]:
    return [message.body for message in messages]


def delete(message: Message) -> DeleteMessageRequest:
    return DeleteMessageRequest(queue_url=URL, receipt_handle=message.receipt_handle)


def hide(message: Message, seconds: int) -> ChangeMessageVisibilityRequest:
    return ChangeMessageVisibilityRequest(
        queue_url=URL, receipt_handle=message.receipt_handle, visibility_timeout=seconds
    )


def test_a_blocked_backlog_is_no_obstacle_for_other_groups(service: Service) -> None:
    for batch in range(200):
        entries = [
            SendMessageBatchRequestEntry(
                id=str(n),
                message_body="x",
                message_group_id="blocked",
                message_deduplication_id=f"{batch}-{n}",
            )
            for n in range(10)
        ]
        service.do(SendMessageBatchRequest(queue_url=URL, entries=entries))
    send(service, "behind", group="free")
    assert len(receive(service, limit=1)) == 1
    assert bodies(receive(service)) == ["behind"]


def test_a_repeat_is_one_for_five_minutes_from_the_first(service: Service) -> None:
    first = send(service, "x", deduplication_id="d")
    service.clock.advance(200)
    (message,) = receive(service)
    service.do(delete(message))
    service.do(PurgeQueueRequest(queue_url=URL))
    assert send(service, "y", deduplication_id="d").message_id == first.message_id
    service.clock.advance(99.9)
    assert send(service, "y", deduplication_id="d").sequence_number == first.sequence_number
    assert receive(service) == []
    service.clock.advance(0.1)
    later = send(service, "z", deduplication_id="d")
    assert later.message_id != first.message_id
    assert later.sequence_number > first.sequence_number
    assert bodies(receive(service)) == ["z"]


def test_a_handle_is_good_inside_its_window_only(service: Service) -> None:
    send(service, "x")
    (message,) = receive(service)
    service.clock.advance(29)
    service.do(hide(message, 30))
    service.clock.advance(29.9)
    service.do(hide(message, 30))
    service.clock.advance(30)
    for request in (delete(message), hide(message, 30)):
        assert isinstance(service.refuses(request), InvalidParameterValue)
    (again,) = receive(service)
    service.do(delete(again))


def test_a_timeout_brings_the_group_back_in_its_order(service: Service) -> None:
    for body in ("1", "2", "3"):
        send(service, body)
    assert bodies(receive(service, limit=2)) == ["1", "2"]
    assert receive(service) == []
    service.clock.advance(30)
    assert bodies(receive(service)) == ["1", "2", "3"]


def test_an_attempt_can_be_repeated_for_five_minutes(service: Service) -> None:
    send(service, "x")
    first = receive(service, attempt="a")
    for _ in range(14):
        service.clock.advance(20)
        assert receive(service, attempt="a") == first
    service.clock.advance(20)
    assert receive(service, attempt="a") == []


def test_the_queues_delay_is_in_force_for_what_is_queued(service: Service) -> None:
    send(service, "x")
    for delay_s, found in (("60", []), ("0", ["x"])):
        request = SetQueueAttributesRequest(queue_url=URL, attributes={"DelaySeconds": delay_s})
        service.do(request)
        assert bodies(receive(service)) == found
