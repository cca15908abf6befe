"""The life of a queue: CreateQueue, DeleteQueue, GetQueueUrl, ListQueues and PurgeQueue."""

import re
from collections.abc import Mapping

from msgspec import structs

from stanchion.model.errors import InvalidParameterValue
from stanchion.model.sqs import (
    CreateQueueRequest,
    CreateQueueResult,
    DeleteQueueRequest,
    GetQueueUrlRequest,
    GetQueueUrlResult,
    ListQueuesRequest,
    ListQueuesResult,
    OverLimit,
    PurgeQueueInProgress,
    PurgeQueueRequest,
    QueueDeletedRecently,
    QueueNameExists,
)
from stanchion.service import Call
from stanchion.sqs import attributes, limits, paging, tags
from stanchion.sqs.dead_letters import check_target
from stanchion.sqs.queue_attributes import with_stored_policy
from stanchion.sqs.service import Sqs, action
from stanchion.sqs.urls import queue_url
from stanchion.store import contract
from stanchion.store.contract import QueueName, QueueRecord


@action
async def create_queue(sqs: Sqs, call: Call, request: CreateQueueRequest) -> CreateQueueResult:
    """Creating a queue that exists succeeds if no supplied attribute differs; tags are ignored."""
    command = _creation(sqs, call, request)
    supplied = request.attributes or {}
    if "RedrivePolicy" in supplied:
        await check_target(sqs, command.name, command.attributes, supplied["RedrivePolicy"])
    wanted = await with_stored_policy(sqs, command.attributes, supplied)
    edition = sqs.catalogue.edition
    outcome = await sqs.store.run(structs.replace(command, attributes=wanted))
    if isinstance(outcome, contract.QueueDeletedRecently):
        raise QueueDeletedRecently(
            "You must wait 60 seconds after deleting a queue before you can create another"
            " with the same name."
        )
    if isinstance(outcome, contract.QueueExists):
        _check_same(outcome.record, supplied, wanted)
    sqs.catalogue.put(outcome.record, edition)
    return CreateQueueResult(queue_url=queue_url(call.origin, command.name))


def _creation(sqs: Sqs, call: Call, request: CreateQueueRequest) -> contract.CreateQueue:
    """The command, or the first of the request's faults; the order is what a client sees."""
    supplied = request.attributes or {}
    fifo = supplied.get("FifoQueue") == "true"
    name = QueueName(
        call.caller.account_id, call.region, _checked_name(request.queue_name or "", fifo)
    )
    attributes.check_settable(supplied, fifo, creating=True)
    wanted = _initial_attributes(supplied, name)
    wanted_tags = tags.merged({}, request.tags or {}, name.name)
    return contract.CreateQueue(
        name=name,
        attributes=wanted,
        tags=wanted_tags,
        rules=attributes.rules_of(wanted),
        quarantine_ms=int(sqs.limits.queue_name_quarantine_s * 1000),
    )


_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{limits.QUEUE_NAME_CHARS_MAX}}}")
_FIFO_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{limits.QUEUE_NAME_CHARS_MAX - len('.fifo')}}}\.fifo")
_NAME_RULE = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"


def _checked_name(name: str, fifo: bool) -> str:
    if fifo and not _FIFO_NAME.fullmatch(name):
        raise InvalidParameterValue(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or"
            " underscores, must end with .fifo suffix and be 1 to 80 in length."
        )
    if not fifo and not _NAME.fullmatch(name):
        raise InvalidParameterValue(_NAME_RULE)
    return name


def _initial_attributes(supplied: Mapping[str, str], name: QueueName) -> dict[str, str]:
    try:
        return attributes.apply({}, supplied, name)
    except OverLimit:
        # Only SetQueueAttributes says by how much a policy is too large.
        raise attributes.invalid("Policy") from None


def _check_same(
    record: QueueRecord, supplied: Mapping[str, str], wanted: Mapping[str, str]
) -> None:
    differing = attributes.first_difference(record.attributes, supplied, wanted)
    if differing is not None:
        raise QueueNameExists(
            "A queue already exists with the same name and a different value for attribute"
            f" {differing}"
        )


@action
async def delete_queue(sqs: Sqs, call: Call, request: DeleteQueueRequest) -> None:
    queue = await sqs.catalogue.resolve_latest(call, request.queue_url)
    deleted = await sqs.store.run(contract.DeleteQueue(queue.id))
    if not deleted:
        raise sqs.catalogue.gone(queue)
    sqs.catalogue.forget(queue)
    sqs.signals.close_queue(queue.id)


@action
async def get_queue_url(sqs: Sqs, call: Call, request: GetQueueUrlRequest) -> GetQueueUrlResult:
    if not request.queue_name:
        raise InvalidParameterValue(_NAME_RULE)
    account_id = request.queue_owner_aws_account_id or call.caller.account_id
    queue = await sqs.catalogue.find(QueueName(account_id, call.region, request.queue_name))
    return GetQueueUrlResult(queue_url=queue_url(call.origin, queue.name))


@action
async def list_queues(sqs: Sqs, call: Call, request: ListQueuesRequest) -> ListQueuesResult:
    """Without MaxResults the list ends at 1000 queues, and there is no way to go on from there."""
    limit = paging.page_size(request.max_results, request.next_token)
    listing = paging.Listing(call.caller.account_id, call.region, request.queue_name_prefix or "")
    after = ""
    if request.next_token is not None:
        after = paging.read(sqs.page_secret, listing, request.next_token)
    found = await sqs.store.run(
        contract.ListQueues(
            account_id=listing.account_id,
            region=listing.region,
            prefix=listing.prefix,
            after=after,
            limit=limit + 1,
        )
    )
    names = [record.name for record in found[:limit]]
    next_token = None
    if request.max_results is not None and len(found) > limit:
        next_token = paging.issue(sqs.page_secret, listing, names[-1].name)
    urls = [queue_url(call.origin, name) for name in names]
    return ListQueuesResult(queue_urls=urls or None, next_token=next_token)


@action
async def purge_queue(sqs: Sqs, call: Call, request: PurgeQueueRequest) -> None:
    queue = await sqs.catalogue.resolve_latest(call, request.queue_url)
    interval_ms = int(sqs.limits.purge_interval_s * 1000)
    outcome = await sqs.store.run(contract.PurgeQueue(queue.id, interval_ms))
    if outcome == "no_queue":
        raise sqs.catalogue.gone(queue)
    if outcome == "in_progress":
        raise PurgeQueueInProgress(
            f"Only one PurgeQueue operation on {queue.name.name} is allowed every 60 seconds."
        )
