"""ReceiveMessage: claim what is visible, or wait for it."""

from msgspec import Struct

from stanchion.model.errors import InvalidParameterValue, ServiceError
from stanchion.model.sqs import (
    InvalidAttributeName,
    Message,
    OverLimit,
    ReceiveMessageRequest,
    ReceiveMessageResult,
)
from stanchion.service import Call
from stanchion.sqs import digests, message_attributes, tokens
from stanchion.sqs.catalogue import Queue
from stanchion.sqs.limits import (
    RECEIVE_MESSAGES_MAX,
    RECEIVE_WAIT_S_MAX,
    VISIBILITY_TIMEOUT_S_MAX,
)
from stanchion.sqs.message_attributes import Selection
from stanchion.sqs.receipts import Receipt
from stanchion.sqs.sequence_numbers import sequence_number_of
from stanchion.sqs.service import Sqs, action
from stanchion.sqs.urls import queue_arn
from stanchion.store.contract import ChangeVisibility, Claim, Claimed, ClaimedMessage, ClaimFifo

_SYSTEM_ATTRIBUTES = (
    "AWSTraceHeader",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
)
AnyClaim = Claim | ClaimFifo
_EVERYTHING = frozenset(_SYSTEM_ATTRIBUTES)
_NAMES = _EVERYTHING | {"All"}


class Wanted(Struct, frozen=True):
    """What of each message the caller asked to see."""

    system_attributes: frozenset[str]
    attributes: Selection


@action
async def receive_message(
    sqs: Sqs, call: Call, request: ReceiveMessageRequest
) -> ReceiveMessageResult:
    queue = await sqs.catalogue.resolve(call, request.queue_url)
    if queue.is_fifo:
        sqs.quotas.take(queue, "ReceiveMessage")
    claim, wait_s, wanted = _parameters(sqs, queue, request)
    await sqs.bodies.check(call, queue.id, queue.encryption)
    if wait_s:
        claimed = await _claim_or_wait(sqs, queue, claim, wait_s)
    else:
        claimed = await sqs.store.run(claim)
        # A FIFO queue with too much in flight is merely empty.
        if claimed is not None and claimed.at_capacity and not queue.is_fifo:
            raise OverLimit(
                f"The maximum number of in flight messages, {claim.in_flight_max}, is reached."
            )
    if claimed is None:
        raise sqs.catalogue.gone(queue)
    messages = [
        _rendered(sqs, queue, message, body, claimed.received_at_ms, wanted)
        for message, body in await _opened(sqs, call, queue, claimed)
    ]
    return ReceiveMessageResult(messages=messages or None)


def _parameters(
    sqs: Sqs, queue: Queue, request: ReceiveMessageRequest
) -> tuple[AnyClaim, int, Wanted]:
    """What to claim, how many seconds to wait for it, and what to show of it."""
    limit = request.max_number_of_messages
    if limit is None:
        limit = 1
    elif not 1 <= limit <= RECEIVE_MESSAGES_MAX:
        raise _out_of_range("MaxNumberOfMessages", limit, f"between 1 and {RECEIVE_MESSAGES_MAX}")
    visibility_s = request.visibility_timeout
    if visibility_s is None:
        visibility_ms = queue.visibility_timeout_ms
    elif 0 <= visibility_s <= VISIBILITY_TIMEOUT_S_MAX:
        visibility_ms = visibility_s * 1000
    else:
        raise _out_of_range(
            "VisibilityTimeout", visibility_s, f">= 0 and <= {VISIBILITY_TIMEOUT_S_MAX}"
        )
    wait_s = request.wait_time_seconds
    if wait_s is None:
        wait_s = queue.receive_wait_s
    elif not 0 <= wait_s <= RECEIVE_WAIT_S_MAX:
        raise _out_of_range("WaitTimeSeconds", wait_s, f">= 0 and <= {RECEIVE_WAIT_S_MAX}")
    wanted = Wanted(
        _system_attributes(request), message_attributes.selection(request.message_attribute_names)
    )
    attempt_id = request.receive_request_attempt_id
    in_flight_max = sqs.limits.in_flight_max
    if queue.is_fifo:
        if attempt_id is not None:
            tokens.validate("ReceiveRequestAttemptId", attempt_id)
        fifo_claim = ClaimFifo(queue.id, limit, visibility_ms, in_flight_max, attempt_id)
        return fifo_claim, wait_s, wanted
    if attempt_id is not None:
        raise _not_for_standard_queues(attempt_id)
    return Claim(queue.id, limit, visibility_ms, in_flight_max), wait_s, wanted


def _out_of_range(parameter: str, value: int, allowed: str) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Value {value} for parameter {parameter} is invalid. "
        f"Reason: Must be {allowed}, if provided."
    )


def _system_attributes(request: ReceiveMessageRequest) -> frozenset[str]:
    """The union of the current parameter and of its deprecated alias."""
    names = frozenset(request.attribute_names or ()) | frozenset(
        request.message_system_attribute_names or ()
    )
    if not names <= _NAMES:
        raise InvalidAttributeName(f"Unknown Attribute {tokens.echo(min(names - _NAMES))}.")
    return _EVERYTHING if "All" in names else names


def _not_for_standard_queues(attempt_id: str) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Value {tokens.echo(attempt_id)} for parameter ReceiveRequestAttemptId is invalid. "
        "Reason: The request include parameter that is not valid for this queue type."
    )


async def _claim_or_wait(sqs: Sqs, queue: Queue, claim: AnyClaim, wait_s: int) -> Claimed | None:
    """A long poll: sleeps until the queue can have something; ends at its deadline or ours."""
    deadline_ms = sqs.clock.now_ms() + wait_s * 1000
    with sqs.signals.waiter(queue.id) as waiter:
        while True:
            claimed = await sqs.store.run(claim)
            if claimed is None or claimed.messages or sqs.clock.now_ms() >= deadline_ms:
                return claimed
            if not await waiter.sleep(deadline_ms, claimed.next_visible_at_ms):
                return claimed


async def _opened(
    sqs: Sqs, call: Call, queue: Queue, claimed: Claimed
) -> list[tuple[ClaimedMessage, bytes]]:
    """Messages and their bodies in clear. What a KMS keeps from the caller goes back at once."""
    if not claimed.messages:
        return []
    messages = claimed.messages
    try:
        return await sqs.bodies.opened(call, queue.id, queue.arn, queue.encryption, messages)
    except ServiceError:
        leases = tuple((message.lease, 0) for message in messages)
        await sqs.store.run(ChangeVisibility(queue.id, leases))
        raise


def _rendered(
    sqs: Sqs,
    queue: Queue,
    message: ClaimedMessage,
    body: bytes,
    received_at_ms: int,
    wanted: Wanted,
) -> Message:
    attributes = wanted.attributes.of(message.attributes)
    return Message(
        message_id=message.message_id,
        receipt_handle=sqs.receipts.issue(queue.id, Receipt(message.lease, received_at_ms)),
        md5_of_body=digests.of_body(body),
        body=body.decode(),
        attributes=_shown(queue, message, wanted.system_attributes) or None,
        md5_of_message_attributes=digests.of_attributes(attributes),
        message_attributes=attributes or None,
    )


def _shown(queue: Queue, message: ClaimedMessage, names: frozenset[str]) -> dict[str, str]:
    if not names:
        return {}
    known = {
        "SenderId": message.sender_id,
        "SentTimestamp": str(message.sent_at_ms),
        "ApproximateReceiveCount": str(message.lease.receive_count),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_at_ms),
        "MessageGroupId": message.group_id,
        "AWSTraceHeader": message.trace_header,
    }
    if queue.is_fifo:
        known["MessageDeduplicationId"] = message.deduplication_id
        known["SequenceNumber"] = sequence_number_of(message.lease.sequence)
    if message.dead_letter_source is not None:
        known["DeadLetterQueueSourceArn"] = queue_arn(message.dead_letter_source)
    return {name: value for name, value in known.items() if value is not None and name in names}
