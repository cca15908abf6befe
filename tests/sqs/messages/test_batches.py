"""The checks on a whole batch: each rule and text, and which fault is found first."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec import Struct

from stanchion.model.errors import ServiceError
from stanchion.model.sqs import (
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    EmptyBatchRequest,
    InvalidBatchEntryId,
    MessageAttributeValue,
    QueueDoesNotExist,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    TooManyEntriesInBatchRequest,
)
from tests.sqs.harness import Service

ID_RULE = (
    "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
    "It can be at most 80 letters long."
)
Batch = Callable[[Sequence[str | None]], Any]


def sends(ids: Sequence[str | None], body: str = "x", url: str = "q") -> SendMessageBatchRequest:
    entries = [SendMessageBatchRequestEntry(id=id, message_body=body) for id in ids]
    return SendMessageBatchRequest(queue_url=url, entries=entries)


def deletes(ids: Sequence[str | None]) -> DeleteMessageBatchRequest:
    entries = [DeleteMessageBatchRequestEntry(id=id, receipt_handle="h") for id in ids]
    return DeleteMessageBatchRequest(queue_url="q", entries=entries)


def changes(ids: Sequence[str | None]) -> ChangeMessageVisibilityBatchRequest:
    entries = [
        ChangeMessageVisibilityBatchRequestEntry(id=id, receipt_handle="h", visibility_timeout=1)
        for id in ids
    ]
    return ChangeMessageVisibilityBatchRequest(queue_url="q", entries=entries)


every_batch = pytest.mark.parametrize("batch", [sends, deletes, changes])


def refusal(request: Struct) -> ServiceError:
    service = Service()
    service.create()
    return service.refuses(request)


@pytest.mark.parametrize(
    ("batch", "action"),
    [(sends, "SendMessage"), (deletes, "DeleteMessage"), (changes, "ChangeMessageVisibility")],
)
def test_a_batch_has_entries(batch: Batch, action: str) -> None:
    error = refusal(batch([]))
    assert isinstance(error, EmptyBatchRequest)
    assert error.message == (
        f"There should be at least one {action}BatchRequestEntry in the request."
    )


def test_absent_entries_are_none() -> None:
    assert isinstance(refusal(SendMessageBatchRequest(queue_url="q")), EmptyBatchRequest)


@every_batch
def test_a_batch_has_at_most_ten_entries(batch: Batch) -> None:
    error = refusal(batch([str(n) for n in range(11)]))
    assert isinstance(error, TooManyEntriesInBatchRequest)
    assert error.message == "Maximum number of entries per request are 10. You have sent 11."


@every_batch
@pytest.mark.parametrize("bad", [None, "", "a b", "a.b", "é", "x" * 81, "a\n"])
def test_an_entry_has_a_plain_id(batch: Batch, bad: str | None) -> None:
    error = refusal(batch(["ok", bad]))
    assert isinstance(error, InvalidBatchEntryId)
    assert error.message == ID_RULE


@every_batch
def test_of_the_ids_that_repeat_the_first_repetition_is_named(batch: Batch) -> None:
    error = refusal(batch(["a", "b", "b", "a"]))
    assert isinstance(error, BatchEntryIdsNotDistinct)
    assert error.message == "Id b repeated."


def test_ids_up_to_80_and_ten_entries_are_accepted() -> None:
    service = Service()
    service.create()
    ids = ["x" * 80, *(f"-_{n}" for n in range(9))]
    result = service.do(sends(ids))
    assert [entry.id for entry in result.successful] == ids
    assert not result.failed


def test_a_batch_is_at_most_a_mebibyte() -> None:
    service = Service()
    service.create()
    assert len(service.do(sends(["a", "b"], "x" * 524_288)).successful) == 2
    error = refusal(sends(["a", "b"], "x" * 524_289))
    assert isinstance(error, BatchRequestTooLong)
    assert error.message == (
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1048578 bytes."
    )


def test_attributes_count_towards_a_batch() -> None:
    color = MessageAttributeValue(data_type="String", string_value="é")
    entry = SendMessageBatchRequestEntry(
        id="a", message_body="x" * 1_048_574, message_attributes={"c": color}
    )
    error = refusal(SendMessageBatchRequest(queue_url="q", entries=[entry]))
    assert error.message == (
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1048583 bytes."
    )


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (sends([], url="absent"), QueueDoesNotExist),
        (sends([""] * 11), TooManyEntriesInBatchRequest),
        (sends(["a", "a", ""]), InvalidBatchEntryId),
        (sends(["a", "a"], "x" * 600_000), BatchEntryIdsNotDistinct),
        (sends(["a"], "\0" * 1_048_577), BatchRequestTooLong),
    ],
    ids=["queue", "count", "ids", "distinct", "length"],
)
def test_of_two_faults_the_first_is_reported(
    request_: Struct, expected: type[ServiceError]
) -> None:
    assert isinstance(refusal(request_), expected)
