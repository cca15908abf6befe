"""Changing what a queue is set to, as one step that concurrent changes cannot tear.

An edit reads the queue, decides, and replaces what it read; when another edit got in between, it
decides again on what is there now. Called by the actions that set attributes, tags and permissions.
"""

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from stanchion.model.errors import ServiceUnavailable
from stanchion.service import Call
from stanchion.sqs import limits
from stanchion.sqs.attributes import rules_of
from stanchion.sqs.service import Sqs
from stanchion.store.contract import QueueName, QueueRecord, UpdateQueue


class Edited(Struct, frozen=True):
    """What a queue's attributes and tags are to be."""

    attributes: Mapping[str, str]
    tags: Mapping[str, str]


Decide = Callable[[QueueRecord], Edited | None]
"""Answers None when there is nothing to change; raises when the change is not acceptable.

It may be called several times, so it must not remember anything.
"""

Confirm = Callable[[QueueName, Edited], Awaitable[Edited]]
"""A last look at what was decided that has to ask the store: answers with what is to be stored, and
raises when it is not acceptable."""


async def _agreed(name: QueueName, edited: Edited) -> Edited:
    return edited


async def edit(
    sqs: Sqs, call: Call, queue_url: str | None, decide: Decide, confirm: Confirm = _agreed
) -> None:
    """Raises what `decide` raises, and `QueueDoesNotExist` before anything is decided."""
    queue = await sqs.catalogue.resolve_latest(call, queue_url)
    for _ in range(limits.EDIT_ATTEMPTS_MAX):
        edited = decide(queue.record)
        if edited is None:
            return
        edited = await confirm(queue.name, edited)
        edition = sqs.catalogue.edition
        changed = await sqs.store.run(_update(queue.record, edited))
        if changed is not None:
            sqs.catalogue.put(changed, edition)
            return
        queue = await sqs.catalogue.read(queue.name)
    raise ServiceUnavailable("The queue is being changed by many requests at once. Try again.")


def _update(record: QueueRecord, edited: Edited) -> UpdateQueue:
    return UpdateQueue(
        queue_id=record.id,
        version=record.version,
        attributes=edited.attributes,
        tags=edited.tags,
        rules=rules_of(edited.attributes),
    )
