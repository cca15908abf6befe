"""SendMessage and SendMessageBatch: validate in the specified order, digest, store."""

from stanchion.model.errors import InvalidParameterValue, MissingParameter, ServiceError
from stanchion.model.sqs import (
    BatchRequestTooLong,
    BatchResultErrorEntry,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageBatchResult,
    SendMessageBatchResultEntry,
    SendMessageRequest,
    SendMessageResult,
)
from stanchion.sqs import batches, digests, message_attributes, text, tokens
from stanchion.sqs.call import Call
from stanchion.sqs.catalogue import Queue
from stanchion.sqs.limits import BATCH_BYTES_MAX, DELAY_S_MAX
from stanchion.sqs.registry import action
from stanchion.sqs.service import Sqs
from stanchion.store.contract import NewMessage, Send

Entry = SendMessageRequest | SendMessageBatchRequestEntry


@action
async def send_message(sqs: Sqs, call: Call, request: SendMessageRequest) -> SendMessageResult:
    queue = await sqs.catalogue.resolve(call, request.queue_url)
    message = _accept(sqs, call, queue, request)
    if not await sqs.store.run(Send(queue.id, (message,))):
        raise sqs.catalogue.gone(queue)
    return SendMessageResult(
        message_id=message.message_id,
        md5_of_message_body=message.body_md5,
        md5_of_message_attributes=digests.of_attributes(request.message_attributes),
        md5_of_message_system_attributes=digests.of_attributes(request.message_system_attributes),
    )


@action
async def send_message_batch(
    sqs: Sqs, call: Call, request: SendMessageBatchRequest
) -> SendMessageBatchResult:
    """Each entry is accepted or refused by itself; the accepted ones are stored in one go."""
    queue = await sqs.catalogue.resolve(call, request.queue_url)
    entries = batches.entries_of(request.entries, "SendMessage")
    _check_batch_size(entries)
    accepted: list[tuple[SendMessageBatchRequestEntry, NewMessage]] = []
    failed: list[BatchResultErrorEntry] = []
    for entry in entries:
        try:
            accepted.append((entry, _accept(sqs, call, queue, entry)))
        except ServiceError as error:
            failed.append(batches.failure(entry, error))
    messages = tuple(message for _, message in accepted)
    if messages and not await sqs.store.run(Send(queue.id, messages)):
        raise sqs.catalogue.gone(queue)
    return SendMessageBatchResult(
        successful=[_batch_result(entry, message) for entry, message in accepted], failed=failed
    )


def _check_batch_size(entries: list[SendMessageBatchRequestEntry]) -> None:
    total_bytes = sum(
        len((entry.message_body or "").encode(errors="replace"))
        + message_attributes.size_bytes(entry.message_attributes)
        for entry in entries
    )
    if total_bytes > BATCH_BYTES_MAX:
        raise BatchRequestTooLong(
            f"Batch requests cannot be longer than {BATCH_BYTES_MAX} bytes. "
            f"You have sent {total_bytes} bytes."
        )


def _batch_result(
    entry: SendMessageBatchRequestEntry, message: NewMessage
) -> SendMessageBatchResultEntry:
    return SendMessageBatchResultEntry(
        id=entry.id,
        message_id=message.message_id,
        md5_of_message_body=message.body_md5,
        md5_of_message_attributes=digests.of_attributes(entry.message_attributes),
        md5_of_message_system_attributes=digests.of_attributes(entry.message_system_attributes),
    )


def _accept(sqs: Sqs, call: Call, queue: Queue, entry: Entry) -> NewMessage:
    """The message to store, or the first of its faults. The order of the checks is specified."""
    if not entry.message_body:
        raise MissingParameter.named("MessageBody")
    body = text.encoded(entry.message_body)
    message_attributes.validate(entry.message_attributes)
    trace_header = message_attributes.trace_header(entry.message_system_attributes)
    _check_size(body, entry, queue)
    delay_ms = _delay_ms(entry.delay_seconds, queue)
    _check_ids(entry)
    return NewMessage(
        message_id=sqs.ids.uuid(),
        body=body,
        body_md5=digests.of_body(body),
        attributes=message_attributes.encoded(entry.message_attributes),
        sender_id=call.caller.sender_id,
        delay_ms=delay_ms,
        group_id=entry.message_group_id,
        trace_header=trace_header,
    )


def _check_size(body: bytes, entry: Entry, queue: Queue) -> None:
    size_bytes = len(body) + message_attributes.size_bytes(entry.message_attributes)
    if size_bytes > queue.message_bytes_max:
        raise InvalidParameterValue(
            "One or more parameters are invalid. Reason: Message must be shorter than "
            f"{queue.message_bytes_max} bytes."
        )


def _delay_ms(delay_s: int | None, queue: Queue) -> int:
    if delay_s is None:
        return queue.delay_ms
    if not 0 <= delay_s <= DELAY_S_MAX:
        raise InvalidParameterValue(
            f"Value {delay_s} for parameter DelaySeconds is invalid. Reason: "
            f"DelaySeconds must be >= 0 and <= {DELAY_S_MAX}."
        )
    return delay_s * 1000


def _check_ids(entry: Entry) -> None:
    if entry.message_group_id is not None:
        tokens.validate("MessageGroupId", entry.message_group_id)
    if entry.message_deduplication_id is not None:
        raise InvalidParameterValue(
            f"Value {tokens.echo(entry.message_deduplication_id)} for parameter "
            "MessageDeduplicationId is invalid. Reason: The request include parameter "
            "that is not valid for this queue type."
        )
