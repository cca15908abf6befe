"""GetQueueAttributes and SetQueueAttributes. What an attribute may be is in `attributes.py`."""

from collections.abc import Mapping

from stanchion.access.policy_principals import UnknownPrincipal, to_arns, to_ids
from stanchion.model.errors import MissingParameter
from stanchion.model.sqs import (
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    SetQueueAttributesRequest,
)
from stanchion.service import Call
from stanchion.sqs import attributes
from stanchion.sqs.catalogue import Queue
from stanchion.sqs.dead_letters import check_target
from stanchion.sqs.edits import Edited, edit
from stanchion.sqs.service import Sqs, action
from stanchion.sqs.urls import partition
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
    if "Policy" in values:
        region = queue.name.region
        values["Policy"] = await to_arns(sqs.documents, values["Policy"], partition(region))
    return GetQueueAttributesResult(attributes=values or None)


async def _count(sqs: Sqs, queue: Queue) -> MessageCounts:
    counts = await sqs.store.run(CountMessages(queue.id))
    if counts is None:
        raise sqs.catalogue.gone(queue)
    return counts


async def with_stored_policy(
    sqs: Sqs, values: Mapping[str, str], supplied: Mapping[str, str]
) -> Mapping[str, str]:
    """The attributes with a policy, if one was supplied, as it is stored.

    There, users and roles go by their unique ids: a later one of the same name is somebody else.
    Raises `InvalidAttributeValue` when the policy names somebody who is not there.
    """
    if not supplied.get("Policy"):
        return values
    try:
        return {**values, "Policy": await to_ids(sqs.documents, values["Policy"])}
    except UnknownPrincipal:
        raise attributes.invalid("Policy") from None


@action
async def set_queue_attributes(sqs: Sqs, call: Call, request: SetQueueAttributesRequest) -> None:
    """All of the attributes are set, or none."""
    supplied = request.attributes

    def decide(record: QueueRecord) -> Edited:
        if not supplied:
            raise MissingParameter.named("Attributes")
        attributes.check_settable(supplied, attributes.is_fifo(record.attributes), creating=False)
        return Edited(attributes.apply(record.attributes, supplied, record.name), record.tags)

    async def confirm(name: QueueName, edited: Edited) -> Edited:
        if supplied and "RedrivePolicy" in supplied:
            await check_target(sqs, name, edited.attributes, supplied["RedrivePolicy"])
        return Edited(await with_stored_policy(sqs, edited.attributes, supplied or {}), edited.tags)

    await edit(sqs, call, request.queue_url, decide, confirm)
