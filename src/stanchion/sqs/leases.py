"""DeleteMessage and ChangeMessageVisibility, with their batches: what a receipt handle is for.

On a standard queue a handle stays good after its visibility window has ended, until the message is
received again. On a FIFO queue it ends with its window.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from stanchion.model.errors import InvalidParameterValue, MissingParameter, ServiceError
from stanchion.model.sqs import (
    BatchResultErrorEntry,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    ChangeMessageVisibilityBatchResult,
    ChangeMessageVisibilityBatchResultEntry,
    ChangeMessageVisibilityRequest,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    DeleteMessageBatchResult,
    DeleteMessageBatchResultEntry,
    DeleteMessageRequest,
)
from stanchion.service import Call
from stanchion.sqs import batches, tokens
from stanchion.sqs.catalogue import Queue
from stanchion.sqs.limits import VISIBILITY_TIMEOUT_S_MAX
from stanchion.sqs.receipts import Receipt
from stanchion.sqs.service import Sqs, action
from stanchion.store.contract import ChangeVisibility, Delete, DeleteOutcome, Lease

AnyDelete = DeleteMessageRequest | DeleteMessageBatchRequestEntry
AnyChange = ChangeMessageVisibilityRequest | ChangeMessageVisibilityBatchRequestEntry
Entry = TypeVar("Entry", bound=batches.HasId)
Value = TypeVar("Value")


# --- Delete ---------------------------------------------------------------------------------------


@action
async def delete_message(sqs: Sqs, call: Call, request: DeleteMessageRequest) -> None:
    """Deleting twice is success.

    So is a handle that a later receive has superseded, on a standard queue.
    """
    queue = await sqs.catalogue.resolve(call, request.queue_url)
    if queue.is_fifo:
        sqs.quotas.take(queue, "DeleteMessage")
    lease = _receipt(sqs, queue, request).lease
    outcomes = await sqs.store.run(Delete(queue.id, (lease,)))
    if outcomes is None:
        raise sqs.catalogue.gone(queue)
    if queue.is_fifo and outcomes[0] in _TOO_LATE:
        raise _expired(request)


_TOO_LATE = frozenset[DeleteOutcome]({"expired", "superseded"})


def _expired(entry: AnyDelete) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Value {tokens.echo(entry.receipt_handle or '')} for parameter ReceiptHandle is invalid. "
        "Reason: The receipt handle has expired."
    )


@action
async def delete_message_batch(
    sqs: Sqs, call: Call, request: DeleteMessageBatchRequest
) -> DeleteMessageBatchResult:
    queue = await sqs.catalogue.resolve(call, request.queue_url)
    if queue.is_fifo:
        sqs.quotas.take(queue, "DeleteMessage")
    entries = batches.entries_of(request.entries, "DeleteMessage")
    good, failed = _sorted_out(entries, lambda entry: _receipt(sqs, queue, entry).lease)
    outcomes: Sequence[DeleteOutcome] | None = ()
    if good:
        outcomes = await sqs.store.run(Delete(queue.id, tuple(lease for _, lease in good)))
    if outcomes is None:
        raise sqs.catalogue.gone(queue)
    successful = []
    for (entry, _), outcome in zip(good, outcomes, strict=True):
        if queue.is_fifo and outcome in _TOO_LATE:
            failed.append(batches.failure(entry, _expired(entry)))
        else:
            successful.append(DeleteMessageBatchResultEntry(id=entry.id))
    return DeleteMessageBatchResult(successful=successful, failed=failed)


# --- Change visibility ----------------------------------------------------------------------------


@action
async def change_message_visibility(
    sqs: Sqs, call: Call, request: ChangeMessageVisibilityRequest
) -> None:
    queue = await sqs.catalogue.resolve(call, request.queue_url)
    change = _change(sqs, queue, request)
    changed = await sqs.store.run(ChangeVisibility(queue.id, (change,)))
    if changed is None:
        raise sqs.catalogue.gone(queue)
    if not changed[0]:
        raise _not_available(request)


@action
async def change_message_visibility_batch(
    sqs: Sqs, call: Call, request: ChangeMessageVisibilityBatchRequest
) -> ChangeMessageVisibilityBatchResult:
    queue = await sqs.catalogue.resolve(call, request.queue_url)
    entries = batches.entries_of(request.entries, "ChangeMessageVisibility")
    good, failed = _sorted_out(entries, lambda entry: _change(sqs, queue, entry))
    changed: tuple[bool, ...] | None = ()
    if good:
        changed = await sqs.store.run(
            ChangeVisibility(queue.id, tuple(change for _, change in good))
        )
    if changed is None:
        raise sqs.catalogue.gone(queue)
    successful = []
    for (entry, _), was_changed in zip(good, changed, strict=True):
        if was_changed:
            successful.append(ChangeMessageVisibilityBatchResultEntry(id=entry.id))
        else:
            failed.append(batches.failure(entry, _not_available(entry)))
    return ChangeMessageVisibilityBatchResult(successful=successful, failed=failed)


def _change(sqs: Sqs, queue: Queue, entry: AnyChange) -> tuple[Lease, int]:
    """The lease and its new visibility in ms. Missing parameters are found before bad handles."""
    timeout_s = entry.visibility_timeout
    if not entry.receipt_handle:
        raise MissingParameter.named("ReceiptHandle")
    if timeout_s is None:
        raise MissingParameter.named("VisibilityTimeout")
    if not 0 <= timeout_s <= VISIBILITY_TIMEOUT_S_MAX:
        raise InvalidParameterValue(
            f"Value {timeout_s} for parameter VisibilityTimeout is invalid. "
            f"Reason: Must be >= 0 and <= {VISIBILITY_TIMEOUT_S_MAX}, if provided."
        )
    receipt = _receipt(sqs, queue, entry)
    held_ms = sqs.clock.now_ms() - receipt.received_at_ms
    if timeout_s and held_ms + timeout_s * 1000 > VISIBILITY_TIMEOUT_S_MAX * 1000:
        raise InvalidParameterValue(
            f"Value {timeout_s} for parameter VisibilityTimeout is invalid. Reason: Total "
            "VisibilityTimeout for the message is beyond the limit "
            f"[{VISIBILITY_TIMEOUT_S_MAX} seconds]"
        )
    return receipt.lease, timeout_s * 1000


def _not_available(entry: AnyChange) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Value {tokens.echo(entry.receipt_handle or '')} for parameter ReceiptHandle is invalid. "
        "Reason: Message does not exist or is not available for visibility timeout change."
    )


# --- Both -----------------------------------------------------------------------------------------


def _receipt(sqs: Sqs, queue: Queue, entry: AnyDelete | AnyChange) -> Receipt:
    if not entry.receipt_handle:
        raise MissingParameter.named("ReceiptHandle")
    return sqs.receipts.read(queue.id, entry.receipt_handle)


def _sorted_out(
    entries: list[Entry], read: Callable[[Entry], Value]
) -> tuple[list[tuple[Entry, Value]], list[BatchResultErrorEntry]]:
    """The entries that can be acted on, with what was read from each, and the others' errors."""
    good: list[tuple[Entry, Value]] = []
    failed: list[BatchResultErrorEntry] = []
    for entry in entries:
        try:
            good.append((entry, read(entry)))
        except ServiceError as error:
            failed.append(batches.failure(entry, error))
    return good, failed
