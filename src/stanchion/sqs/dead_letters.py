"""What ties a queue to its dead-letter queue: checking a new tie, and listing those there are.

What the policies may say is in `redrive`; the moves themselves are the store's doing. Later changes
of a RedriveAllowPolicy do not untie anybody.
"""

import hmac
from collections.abc import Mapping

from stanchion.model.sqs import (
    ListDeadLetterSourceQueuesRequest,
    ListDeadLetterSourceQueuesResult,
    QueueDoesNotExist,
)
from stanchion.service import Call
from stanchion.sqs import paging, redrive
from stanchion.sqs.attributes import is_fifo
from stanchion.sqs.service import Sqs, action
from stanchion.sqs.urls import queue_url
from stanchion.store.contract import ListDeadLetterSources, QueueName, QueueRecord


async def check_target(
    sqs: Sqs, source: QueueName, attributes: Mapping[str, str], policy: str
) -> None:
    """Whether the dead-letter queue in a source's new attributes may be that.

    `policy` is the RedrivePolicy as it was sent. Raises `InvalidParameterValue`.
    """
    redrive_policy = redrive.redrive_policy_of(attributes)
    if redrive_policy is None:
        return
    try:
        target = await sqs.catalogue.read(redrive_policy.target)
    except QueueDoesNotExist:
        raise redrive.refused(policy, "Dead letter target does not exist.") from None
    if target.is_fifo != is_fifo(attributes):
        # The second full stop is AWS's.
        raise redrive.refused(
            policy, "Dead-letter queue must be same type of queue as the source.."
        )
    if not redrive.lets_in(target.record.attributes, source):
        raise redrive.refused(
            policy, "The redrive allow policy of the dead-letter queue denies this source queue."
        )


async def sources_of(sqs: Sqs, name: QueueName) -> list[QueueRecord]:
    """All queues whose dead-letter queue it is."""
    found: list[QueueRecord] = []
    after = ""
    while records := await sqs.store.run(ListDeadLetterSources(name, after, _PAGE)):
        found += records
        after = records[-1].name.name
    return found


_PAGE = 1000


@action
async def list_dead_letter_source_queues(
    sqs: Sqs, call: Call, request: ListDeadLetterSourceQueuesRequest
) -> ListDeadLetterSourceQueuesResult:
    """Without MaxResults the list ends at 1000 queues, and there is no way to go on from there."""
    queue = await sqs.catalogue.resolve_latest(call, request.queue_url)
    limit = paging.page_size(request.max_results, request.next_token)
    listing = paging.Listing(call.caller.account_id, call.region, queue.arn)
    after = ""
    if request.next_token is not None:
        after = paging.read(_page_secret(sqs), listing, request.next_token)
    found = await sqs.store.run(ListDeadLetterSources(queue.name, after, limit + 1))
    names = [record.name for record in found[:limit]]
    next_token = None
    if request.max_results is not None and len(found) > limit:
        next_token = paging.issue(_page_secret(sqs), listing, names[-1].name)
    urls = [queue_url(call.origin, name) for name in names]
    return ListDeadLetterSourceQueuesResult(queue_urls=urls or None, next_token=next_token)


def _page_secret(sqs: Sqs) -> bytes:
    # Not that of ListQueues, where an ARN could be a prefix.
    return hmac.digest(sqs.page_secret, b"ListDeadLetterSourceQueues", "sha256")
