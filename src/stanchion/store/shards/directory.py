"""What changes in the directory of queues: done at the home, and told to the shards concerned.

Those that cannot be reached are told later: see `chores`. Called by the router.
"""

from typing import Any

from stanchion.store.contract import (
    CreateQueue,
    DeleteQueue,
    PurgeQueue,
    QueueCreated,
    QueueRecord,
    StoreError,
    UpdateQueue,
)
from stanchion.store.shards.commands import HOME, CreatePlaced
from stanchion.store.shards.fleet import Fleet


async def create(fleet: Fleet, command: CreateQueue) -> Any:
    shards = await fleet.choice.shards_for(command, fleet.links, fleet.placements)
    if shards == (HOME,):
        created = await fleet.home.run_patiently(command)
    else:
        created = await fleet.home.run_patiently(CreatePlaced(command, shards))
    if isinstance(created, QueueCreated):
        await _placed_anew(fleet, created.record.id)
    return created


async def _placed_anew(fleet: Fleet, queue_id: int) -> None:
    placement = await fleet.placements.read(queue_id)
    if placement is not None:
        await fleet.tell_all(placement)


async def update(fleet: Fleet, command: UpdateQueue) -> QueueRecord | None:
    record: QueueRecord | None = await fleet.home.run_patiently(command)
    if record is not None:
        await _placed_anew(fleet, record.id)
    return record


async def purge(fleet: Fleet, command: PurgeQueue) -> Any:
    outcome = await fleet.home.run_patiently(command)
    if outcome == "purged":
        await _placed_anew(fleet, command.queue_id)
    return outcome


async def delete(fleet: Fleet, command: DeleteQueue) -> Any:
    placement = await fleet.placements.read(command.queue_id)
    was_there = await fleet.home.run_patiently(command)
    fleet.placements.forget(command.queue_id)
    for part in placement.parts if placement is not None else ():
        try:
            await fleet.drop(part.shard, part.id, command.queue_id)
        except StoreError:
            continue
    return was_there
