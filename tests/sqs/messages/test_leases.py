"""DeleteMessage, ChangeMessageVisibility and their batches, on both types of queue."""

from typing import Any

import pytest
from msgspec import Struct

from stanchion.model.errors import InvalidParameterValue, MissingParameter, ServiceError
from stanchion.model.sqs import (
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    ChangeMessageVisibilityRequest,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    DeleteMessageRequest,
    QueueDoesNotExist,
    ReceiptHandleIsInvalid,
    ReceiveMessageRequest,
    SendMessageRequest,
)
from stanchion.sqs.receipts import Receipt
from stanchion.store.contract import ChangeVisibility, Delete, DeleteOutcome, Lease
from tests.sqs.harness import START_MS, Fault, Service, pairs_of_faults

EXPIRED = "Reason: The receipt handle has expired."
NOT_AVAILABLE = "Reason: Message does not exist or is not available for visibility timeout change."


def with_message(**attributes: str) -> tuple[Service, str]:
    """A service, and the handle of a message that was just received."""
    service = Service()
    service.create(**attributes)
    service.do(SendMessageRequest(queue_url="q", message_body="x"))
    return service, receive(service)


def receive(service: Service) -> str:
    (message,) = service.do(ReceiveMessageRequest(queue_url="q")).messages
    return str(message.receipt_handle)


def is_empty(service: Service) -> bool:
    return service.do(ReceiveMessageRequest(queue_url="q")).messages is None


def with_fifo_handle(*outcomes: Any) -> tuple[Service, str]:
    """A FIFO queue whose store answers this about its leases, and a handle of it."""
    service = Service()
    service.create("q.fifo", FifoQueue="true")
    service.store.answers[Delete] = service.store.answers[ChangeVisibility] = lambda _: outcomes
    return service, service.sqs.receipts.issue(1, Receipt(Lease(7, 1), START_MS))


def delete(handle: str | None, url: str = "q") -> DeleteMessageRequest:
    return DeleteMessageRequest(queue_url=url, receipt_handle=handle)


def hide(handle: str | None, seconds: int | None, url: str = "q") -> ChangeMessageVisibilityRequest:
    return ChangeMessageVisibilityRequest(
        queue_url=url, receipt_handle=handle, visibility_timeout=seconds
    )


def invalid(handle: str, reason: str) -> tuple[type[ServiceError], str]:
    text = f"Value {handle} for parameter ReceiptHandle is invalid. {reason}"
    return InvalidParameterValue, text


def told(error: ServiceError) -> tuple[type[ServiceError], str]:
    return type(error), error.message


# --- Delete ---------------------------------------------------------------------------------------


def test_deleting_twice_is_success() -> None:
    service, handle = with_message()
    for _ in range(2):
        assert service.do(delete(handle)) is None
    service.clock.advance(60)
    assert is_empty(service)


def test_a_handle_is_good_after_its_window_until_the_next_receive() -> None:
    service, handle = with_message()
    service.clock.advance(30)
    service.do(delete(handle))
    assert is_empty(service)


def test_a_superseded_handle_is_success_and_deletes_nothing() -> None:
    service, handle = with_message()
    service.clock.advance(30)
    receive(service)
    service.do(delete(handle))
    service.clock.advance(30)
    assert not is_empty(service)


@pytest.mark.parametrize("outcome", ["expired", "superseded"])
def test_a_fifo_handle_ends_with_its_window(outcome: DeleteOutcome) -> None:
    service, handle = with_fifo_handle(outcome)
    assert told(service.refuses(delete(handle, "q.fifo"))) == invalid(handle, EXPIRED)


@pytest.mark.parametrize("outcome", ["deleted", "absent"])
def test_a_fifo_message_that_is_gone_is_success(outcome: DeleteOutcome) -> None:
    service, handle = with_fifo_handle(outcome)
    assert service.do(delete(handle, "q.fifo")) is None


# --- Change visibility ----------------------------------------------------------------------------


def test_a_new_timeout_counts_from_now() -> None:
    service, handle = with_message()
    service.clock.advance(20)
    assert service.do(hide(handle, 20)) is None
    service.clock.advance(19)
    assert is_empty(service)
    service.clock.advance(1)
    assert not is_empty(service)


def test_zero_lets_the_message_go_at_once() -> None:
    service, handle = with_message()
    service.do(hide(handle, 0))
    assert not is_empty(service)


def test_the_latest_handle_hides_a_message_again_that_is_visible() -> None:
    service, handle = with_message()
    service.clock.advance(30)
    service.do(hide(handle, 10))
    assert is_empty(service)


def test_a_superseded_handle_and_a_deleted_message_are_not_available() -> None:
    service, handle = with_message()
    service.clock.advance(30)
    latest = receive(service)
    assert told(service.refuses(hide(handle, 10))) == invalid(handle, NOT_AVAILABLE)
    service.do(delete(latest))
    assert told(service.refuses(hide(latest, 10))) == invalid(latest, NOT_AVAILABLE)


def test_a_fifo_message_that_is_visible_again_is_not_available() -> None:
    service, handle = with_fifo_handle(False)
    request = hide(handle, 10, "q.fifo")
    assert told(service.refuses(request)) == invalid(handle, NOT_AVAILABLE)
    service, handle = with_fifo_handle(True)
    assert service.do(hide(handle, 10, "q.fifo")) is None


@pytest.mark.parametrize("seconds", [-1, 43_201])
def test_a_timeout_has_a_range(seconds: int) -> None:
    service, handle = with_message()
    assert told(service.refuses(hide(handle, seconds))) == (
        InvalidParameterValue,
        f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and "
        "<= 43200, if provided.",
    )


def test_a_message_is_held_for_twelve_hours_at_most() -> None:
    service, handle = with_message()
    service.do(hide(handle, 43_200))
    service.clock.advance(1)
    assert told(service.refuses(hide(handle, 43_200))) == (
        InvalidParameterValue,
        "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout "
        "for the message is beyond the limit [43200 seconds]",
    )
    service.do(hide(handle, 43_199))
    service.clock.advance(43_199)
    service.do(hide(handle, 0))


# --- Both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("handle", [None, ""])
def test_a_handle_is_required(handle: str | None) -> None:
    service, _ = with_message()
    for request in (delete(handle), hide(handle, 10)):
        assert told(service.refuses(request)) == (
            MissingParameter,
            "The request must contain the parameter ReceiptHandle.",
        )


def test_a_handle_of_another_queue_or_of_none_is_refused() -> None:
    service, handle = with_message()
    service.create("other")
    for request, echoed in (
        (delete(handle, "other"), handle),
        (hide(handle, 10, "other"), handle),
        (delete("garbage"), "garbage"),
        (hide("garbage", 10), "garbage"),
    ):
        assert told(service.refuses(request)) == (
            ReceiptHandleIsInvalid,
            f'The input receipt handle "{echoed}" is not a valid receipt handle.',
        )


def test_a_queue_that_went_meanwhile_does_not_exist() -> None:
    service, handle = with_message()
    service.store.answers[Delete] = service.store.answers[ChangeVisibility] = lambda _: None
    requests: list[Struct] = [
        delete(handle),
        hide(handle, 1),
        deletes("q", a=handle),
        hides("q", a=handle),
    ]
    for request in requests:
        assert isinstance(service.refuses(request), QueueDoesNotExist)


FAULTS: list[Fault] = [
    ({"queue_url": "absent"}, (QueueDoesNotExist, "The specified queue does not exist.")),
    (
        {"receipt_handle": None},
        (MissingParameter, "The request must contain the parameter ReceiptHandle."),
    ),
    (
        {"visibility_timeout": None},
        (MissingParameter, "The request must contain the parameter VisibilityTimeout."),
    ),
    (
        {"visibility_timeout": 43_201},
        (
            InvalidParameterValue,
            "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and "
            "<= 43200, if provided.",
        ),
    ),
    (
        {"receipt_handle": "garbage"},
        (
            ReceiptHandleIsInvalid,
            'The input receipt handle "garbage" is not a valid receipt handle.',
        ),
    ),
]


@pytest.mark.parametrize(("parameters", "expected"), [*FAULTS, *pairs_of_faults(FAULTS)], ids=str)
def test_of_two_faults_the_first_is_reported(
    parameters: dict[str, Any], expected: tuple[type[ServiceError], str]
) -> None:
    service, handle = with_message()
    good = {"queue_url": "q", "receipt_handle": handle, "visibility_timeout": 10}
    request = ChangeMessageVisibilityRequest(**{**good, **parameters})
    assert told(service.refuses(request)) == expected


# --- Batches --------------------------------------------------------------------------------------


def deletes(url: str, **handles: str | None) -> DeleteMessageBatchRequest:
    entries = [
        DeleteMessageBatchRequestEntry(id=name, receipt_handle=handle)
        for name, handle in handles.items()
    ]
    return DeleteMessageBatchRequest(queue_url=url, entries=entries)


def hides(url: str, **handles: str | None) -> ChangeMessageVisibilityBatchRequest:
    entries = [
        ChangeMessageVisibilityBatchRequestEntry(id=n, receipt_handle=handle, visibility_timeout=5)
        for n, handle in handles.items()
    ]
    return ChangeMessageVisibilityBatchRequest(queue_url=url, entries=entries)


@pytest.mark.parametrize("batch", [deletes, hides])
def test_each_entry_succeeds_or_fails_by_itself(batch: Any) -> None:
    service, handle = with_message()
    answer = service.do(batch("q", a="garbage", b=handle, c=None))
    assert [entry.id for entry in answer.successful] == ["b"]
    assert [(entry.id, entry.code, entry.sender_fault) for entry in answer.failed] == [
        ("a", "ReceiptHandleIsInvalid", True),
        ("c", "MissingParameter", True),
    ]


@pytest.mark.parametrize("batch", [deletes, hides])
def test_a_batch_of_faults_changes_nothing(batch: Any) -> None:
    service, _ = with_message()
    assert service.do(batch("q", a="garbage")).successful == []
    assert not any(isinstance(c, Delete | ChangeVisibility) for c in service.store.commands)


def test_in_a_batch_a_timeout_is_required_too() -> None:
    service, handle = with_message()
    entry = ChangeMessageVisibilityBatchRequestEntry(id="a", receipt_handle=handle)
    request = ChangeMessageVisibilityBatchRequest(queue_url="q", entries=[entry])
    (failed,) = service.do(request).failed
    assert (failed.code, failed.message) == (
        "MissingParameter",
        "The request must contain the parameter VisibilityTimeout.",
    )


def test_what_cannot_be_hidden_fails_by_itself() -> None:
    service, handle = with_message()
    service.do(delete(handle))
    (failed,) = service.do(hides("q", a=handle)).failed
    assert failed.code == "InvalidParameterValue"
    assert failed.message == invalid(handle, NOT_AVAILABLE)[1]


def test_fifo_entries_fail_when_their_windows_have_ended() -> None:
    service, handle = with_fifo_handle("deleted", "expired", "absent", "superseded")
    answer = service.do(deletes("q.fifo", a=handle, b=handle, c=handle, d=handle))
    assert [entry.id for entry in answer.successful] == ["a", "c"]
    assert [(entry.id, entry.code, entry.message) for entry in answer.failed] == [
        (name, "InvalidParameterValue", invalid(handle, EXPIRED)[1]) for name in "bd"
    ]
