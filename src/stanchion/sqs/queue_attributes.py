"""GetQueueAttributes and SetQueueAttributes. What an attribute may be is in `attributes.py`."""

from stanchion.model.errors import MissingParameter
from stanchion.model.sqs import (
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    SetQueueAttributesRequest,
)
from stanchion.sqs import attributes
from stanchion.sqs.call import Call
from stanchion.sqs.catalogue import Queue
from stanchion.sqs.dead_letters import check_target
from stanchion.sqs.edits import Edited, edit
from stanchion.sqs.registry import action
from stanchion.sqs.service import Sqs
from stanchion.store.contract import CountMessages, MessageCounts, QueueName, QueueRecord

_NOT_COUNTED = MessageCounts(0, 0, 0)


@action
async def get_queue_attributes(
    sqs: Sqs, call: Call, request: GetQueueAttributesRequest
) -> GetQueueAttributesResult:
    """Asking for nothing gets nothing. An attribute that exists but is not set is left out."""
    queue = await sqs.catalogue.resolve_latest(call, request.queue_url)
    names = attributes.requested_names(request.attribute_names or ())
    counts = _NOT_COUNTED if names.isdisjoint(attributes.COUNTS) else await _count(sqs, queue)
    values = attributes.read_back(queue.record, names, counts)
    return GetQueueAttributesResult(attributes=values or None)


async def _count(sqs: Sqs, queue: Queue) -> MessageCounts:
    counts = await sqs.store.run(CountMessages(queue.id))
    if counts is None:
        raise sqs.catalogue.gone(queue)
    return counts


@action
async def set_queue_attributes(sqs: Sqs, call: Call, request: SetQueueAttributesRequest) -> None:
    """All of the attributes are set, or none."""
    supplied = request.attributes

    def decide(record: QueueRecord) -> Edited:
        if not supplied:
            raise MissingParameter.named("Attributes")
        attributes.check_settable(supplied, attributes.is_fifo(record.attributes), creating=False)
        return Edited(attributes.apply(record.attributes, supplied, record.name), record.tags)

    async def confirm(name: QueueName, edited: Edited) -> None:
        if supplied and "RedrivePolicy" in supplied:
            await check_target(sqs, name, edited.attributes, supplied["RedrivePolicy"])

    await edit(sqs, call, request.queue_url, decide, confirm)
