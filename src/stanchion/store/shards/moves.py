"""Message move tasks over several shards: one task id, and a task on each shard of the source.

Messages stay on their shard, so the destination gets a part wherever the source has one. A FIFO
destination cannot: where its messages have to be is settled. What a task has done is the sum of
what those on the shards have, and its rate is divided among them. Called by the router.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from stanchion.store.contract import (
    GetQueue,
    ListDeadLetterSources,
    OutcomeUnknown,
    QueueName,
    QueueRecord,
    StoreBusy,
    StoreError,
)
from stanchion.store.moves import CancelMove, ListMoves, MoveStatus, MoveTask, StartMove
from stanchion.store.shards.commands import Part, Placement
from stanchion.store.shards.fleet import Fleet, NoPart
from stanchion.store.shards.links import Link

_TRIES = 4
_SOURCES_MAX = 1000
_STATUSES: tuple[MoveStatus, ...] = ("RUNNING", "CANCELLING", "FAILED", "CANCELLED", "COMPLETED")
"""A task is what most demands attention among its parts."""


async def start(fleet: Fleet, command: StartMove) -> Any:
    for _ in range(_TRIES):
        placement = await fleet.placement_for_work(command.source_id)
        if placement is None:
            return None
        if not await _is_ready(fleet, command, placement):
            return "elsewhere"
        try:
            return await _start(fleet, placement, command)
        except NoPart as missing:
            await fleet.repair(placement, missing.part)
    raise StoreBusy("the queue is being placed anew")


async def _is_ready(fleet: Fleet, command: StartMove, source: Placement) -> bool:
    """See to it that messages can go to their destination on each shard of their source."""
    shards = [part.shard for part in source.parts]
    for record in await _destinations(fleet, command, source):
        placement = await fleet.placements.get(record.id)
        if placement is None:
            continue
        if not placement.rules.is_fifo:
            await fleet.extend(record.id, shards)
        elif command.destination and _layout(placement) != _layout(source):
            return False
    return True


async def _destinations(
    fleet: Fleet, command: StartMove, source: Placement
) -> Sequence[QueueRecord]:
    if command.destination is None:
        query = ListDeadLetterSources(source.name, after="", limit=_SOURCES_MAX)
        records: Sequence[QueueRecord] = await fleet.home.run_patiently(query)
        return records
    record: QueueRecord | None = await fleet.home.run_patiently(GetQueue(command.destination))
    return [] if record is None else [record]


def _layout(placement: Placement) -> list[tuple[tuple[int, ...], int]]:
    return sorted((part.slots, part.shard) for part in placement.parts)


async def _start(fleet: Fleet, placement: Placement, command: StartMove) -> Any:
    tasks: list[MoveTask] = []
    undone = CancelMove(command.task_id, placement.name)
    rates = _divided(command.messages_per_s, len(placement.parts))
    for part, rate in zip(placement.parts, rates, strict=True):
        mine = replace(command, source_id=part.id, messages_per_s=rate)
        try:
            task = await fleet.link_of(part).run(mine)
        except StoreError:
            if tasks:
                await _undo(fleet, placement.parts, undone)
            raise
        if task is None:
            if tasks:
                await _undo(fleet, placement.parts, undone)
            raise NoPart(part)
        if not isinstance(task, MoveTask):
            if tasks:
                await _undo(fleet, placement.parts, undone)
            return task
        tasks.append(task)
    return _joined(tasks)


def _divided(messages_per_s: int | None, count: int) -> list[int | None]:
    """Rates that add up to a rate. A shard cannot have less than one message a second."""
    if messages_per_s is None:
        return [None] * count
    each, rest = divmod(messages_per_s, count)
    return [max(1, each + (number < rest)) for number in range(count)]


async def _undo(fleet: Fleet, parts: Iterable[Part], task: CancelMove) -> None:
    for part in parts:
        try:
            await fleet.link_of(part).run(task)
        except StoreError:
            continue


async def list_moves(fleet: Fleet, command: ListMoves) -> Sequence[MoveTask]:
    links = await _links_of(fleet, command.source)
    found = await asyncio.gather(*(link.run_patiently(command) for link in links))
    by_id: dict[str, list[MoveTask]] = {}
    for tasks in found:
        for task in tasks:
            by_id.setdefault(task.task_id, []).append(task)
    joined = [_joined(tasks) for tasks in by_id.values()]
    joined.sort(key=lambda task: -task.started_at_ms)
    return joined[: command.limit]


async def _links_of(fleet: Fleet, source: QueueName) -> list[Link]:
    """Where there are tasks of a queue; of one that is gone, only those at the home are found."""
    record: QueueRecord | None = await fleet.home.run_patiently(GetQueue(source))
    placement = await fleet.placements.get(record.id) if record is not None else None
    if placement is None:
        return [fleet.home]
    return [fleet.link_of(part) for part in placement.parts]


def _joined(tasks: Sequence[MoveTask]) -> MoveTask:
    statuses = {task.status for task in tasks}
    rates = [task.messages_per_s for task in tasks if task.messages_per_s is not None]
    return replace(
        tasks[0],
        messages_per_s=sum(rates) if rates else None,
        status=next(status for status in _STATUSES if status in statuses),
        started_at_ms=min(task.started_at_ms for task in tasks),
        moved=sum(task.moved for task in tasks),
        to_move=sum(task.to_move for task in tasks),
        failure=next((task.failure for task in tasks if task.failure), None),
    )


async def cancel(fleet: Fleet, command: CancelMove) -> MoveTask | None:
    links = await _links_of(fleet, command.source)
    answers = await asyncio.gather(*(link.run(command) for link in links), return_exceptions=True)
    tasks = [answer for answer in answers if isinstance(answer, MoveTask)]
    for answer in answers:
        if isinstance(answer, StoreError) and tasks:
            raise OutcomeUnknown(f"cancelled on some shards only: {answer}")
        if isinstance(answer, BaseException):
            raise answer
    return _joined(tasks) if tasks else None
