"""SendMessage and SendMessageBatch: validate in the specified order, digest, store."""

from hashlib import sha256
from typing import NamedTuple

from stanchion.keys.envelope import SealingKey, aad_of
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
from stanchion.service import Call
from stanchion.sqs import batches, digests, message_attributes, text, tokens
from stanchion.sqs.catalogue import Queue
from stanchion.sqs.limits import BATCH_BYTES_MAX, DELAY_S_MAX
from stanchion.sqs.sequence_numbers import sequence_number_of
from stanchion.sqs.service import Sqs, action
from stanchion.store.contract import NewMessage, Send, SendFifo, SentFifo

Entry = SendMessageRequest | SendMessageBatchRequestEntry


@action
async def send_message(sqs: Sqs, call: Call, request: SendMessageRequest) -> SendMessageResult:
    queue = await sqs.catalogue.resolve(call, request.queue_url)
    sequence_number = None
    if queue.is_fifo:
        sqs.quotas.take(queue, "SendMessage")
    key = await sqs.bodies.sealing_key(call, queue.id, queue.arn, queue.encryption)
    message, body_md5 = _accept(sqs, call, queue, request, key)
    if queue.is_fifo:
        ((message_id, sequence),) = await _append_in_order(sqs, queue, (message,))
        sequence_number = sequence_number_of(sequence)
    else:
        message_id = message.message_id
        if not await sqs.store.run(Send(queue.id, (message,))):
            raise sqs.catalogue.gone(queue)
    return SendMessageResult(
        message_id=message_id,
        md5_of_message_body=body_md5,
        md5_of_message_attributes=digests.of_attributes(request.message_attributes),
        md5_of_message_system_attributes=digests.of_attributes(request.message_system_attributes),
        sequence_number=sequence_number,
    )


async def _append_in_order(
    sqs: Sqs, queue: Queue, messages: tuple[NewMessage, ...]
) -> tuple[SentFifo, ...]:
    """What was sent; for a repeat, what was sent the first time."""
    command = SendFifo(queue.id, messages, by_group=queue.deduplicates_by_group)
    sent = await sqs.store.run(command)
    if sent is None:
        raise sqs.catalogue.gone(queue)
    return sent


@action
async def send_message_batch(
    sqs: Sqs, call: Call, request: SendMessageBatchRequest
) -> SendMessageBatchResult:
    """Each entry is accepted or refused by itself; the accepted ones are stored in one go."""
    queue = await sqs.catalogue.resolve(call, request.queue_url)
    if queue.is_fifo:
        sqs.quotas.take(queue, "SendMessage")
    entries = batches.entries_of(request.entries, "SendMessage")
    _check_batch_size(entries)
    key = await sqs.bodies.sealing_key(call, queue.id, queue.arn, queue.encryption)
    accepted: list[tuple[SendMessageBatchRequestEntry, Accepted]] = []
    failed: list[BatchResultErrorEntry] = []
    for entry in entries:
        try:
            accepted.append((entry, _accept(sqs, call, queue, entry, key)))
        except ServiceError as error:
            failed.append(batches.failure(entry, error))
    messages = tuple(message for _, (message, _) in accepted)
    if messages and queue.is_fifo:
        sent = await _append_in_order(sqs, queue, messages)
        successful = [
            _batch_result(entry, body_md5, message_id, sequence_number_of(sequence))
            for (entry, (_, body_md5)), (message_id, sequence) in zip(accepted, sent, strict=True)
        ]
    else:
        if messages and not await sqs.store.run(Send(queue.id, messages)):
            raise sqs.catalogue.gone(queue)
        successful = [
            _batch_result(entry, body_md5, message.message_id, None)
            for entry, (message, body_md5) in accepted
        ]
    return SendMessageBatchResult(successful=successful, failed=failed)


def _check_batch_size(entries: list[SendMessageBatchRequestEntry]) -> None:
    attributes_bytes = sum(
        [message_attributes.size_bytes(entry.message_attributes) for entry in entries]
    )
    bodies = "".join([entry.message_body or "" for entry in entries])
    if 4 * len(bodies) + attributes_bytes <= BATCH_BYTES_MAX:
        return  # No character takes more than four bytes.
    total_bytes = len(bodies.encode(errors="replace")) + attributes_bytes
    if total_bytes > BATCH_BYTES_MAX:
        raise BatchRequestTooLong(
            f"Batch requests cannot be longer than {BATCH_BYTES_MAX} bytes. "
            f"You have sent {total_bytes} bytes."
        )


def _batch_result(
    entry: SendMessageBatchRequestEntry,
    body_md5: str,
    message_id: str,
    sequence_number: str | None,
) -> SendMessageBatchResultEntry:
    return SendMessageBatchResultEntry(
        id=entry.id,
        message_id=message_id,
        md5_of_message_body=body_md5,
        md5_of_message_attributes=digests.of_attributes(entry.message_attributes),
        md5_of_message_system_attributes=digests.of_attributes(entry.message_system_attributes),
        sequence_number=sequence_number,
    )


class Accepted(NamedTuple):
    message: NewMessage
    body_md5: str


def _accept(sqs: Sqs, call: Call, queue: Queue, entry: Entry, key: SealingKey | None) -> Accepted:
    """The message to store, or the first of its faults. The order of the checks is specified."""
    if not entry.message_body:
        raise MissingParameter.named("MessageBody")
    if queue.is_fifo and not entry.message_group_id:
        raise MissingParameter.named("MessageGroupId")
    body = text.encoded(entry.message_body)
    message_attributes.validate(entry.message_attributes)
    trace_header = message_attributes.trace_header(entry.message_system_attributes)
    _check_size(body, entry, queue)
    if queue.is_fifo:
        _check_no_delay(entry.delay_seconds)
        delay_ms = 0
        deduplication_id = _deduplication_id(body, entry, queue)
    else:
        delay_ms = _delay_ms(entry.delay_seconds, queue)
        deduplication_id = None
        _check_ids(entry)
    message_id = sqs.ids.uuid()
    message = NewMessage(
        message_id=message_id,
        body=body if key is None else key.seal(aad_of(queue.arn, message_id), body),
        attributes=message_attributes.encoded(entry.message_attributes),
        sender_id=call.caller.sender_id,
        delay_ms=delay_ms,
        group_id=entry.message_group_id,
        trace_header=trace_header,
        deduplication_id=deduplication_id,
    )
    return Accepted(message, digests.of_body(body))


def _check_size(body: bytes, entry: Entry, queue: Queue) -> None:
    size_bytes = len(body) + message_attributes.size_bytes(entry.message_attributes)
    if size_bytes > queue.message_bytes_max:
        raise InvalidParameterValue(
            "One or more parameters are invalid. Reason: Message must be shorter than "
            f"{queue.message_bytes_max} bytes."
        )


# --- Standard queues ------------------------------------------------------------------------------


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
            "The request include parameter MessageDeduplicationId which is not valid for this "
            "queue type"
        )


# --- FIFO queues ----------------------------------------------------------------------------------


def _check_no_delay(delay_s: int | None) -> None:
    if delay_s:
        raise InvalidParameterValue(
            f"Value {delay_s} for parameter DelaySeconds is invalid. Reason: "
            "The request include parameter that is not valid for this queue type."
        )


def _deduplication_id(body: bytes, entry: Entry, queue: Queue) -> str:
    """The id by which a repeat is known: as given, or the digest of the body and nothing else."""
    tokens.validate("MessageGroupId", entry.message_group_id or "")
    if entry.message_deduplication_id is not None:
        tokens.validate("MessageDeduplicationId", entry.message_deduplication_id)
        return entry.message_deduplication_id
    if not queue.deduplicates_content:
        raise InvalidParameterValue(
            "The queue should either have ContentBasedDeduplication enabled or "
            "MessageDeduplicationId provided explicitly"
        )
    return sha256(body).hexdigest()
