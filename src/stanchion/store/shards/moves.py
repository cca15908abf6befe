"""Message move tasks over several shards: one task id, and a task on each shard of the source.

Messages stay on their shard, so the destination gets a part wherever the source has one. A FIFO
destination cannot: where its messages have to be is settled. What a task has done is the sum of
what those on the shards have. Called by the router.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from stanchion.store.contract import (
    GetQueue,
    ListDeadLetterSources,
    OutcomeUnknown,
    QueueRecord,
    StoreBusy,
    StoreError,
)
from stanchion.store.moves import CancelMove, ListMoves, MoveStatus, MoveTask, StartMove
from stanchion.store.shards.commands import Part, Placement
from stanchion.store.shards.standard import NoPart

if TYPE_CHECKING:
    from stanchion.store.shards.router import ShardedStore

_TRIES = 4
_SOURCES_MAX = 1000
_STATUSES: tuple[MoveStatus, ...] = ("RUNNING", "CANCELLING", "FAILED", "CANCELLED", "COMPLETED")
"""A task is what most demands attention among its parts."""


async def start(router: "ShardedStore", command: StartMove) -> Any:
    for _ in range(_TRIES):
        placement = await router.placement_for_work(command.source_id)
        if placement is None:
            return None
        if not await _is_ready(router, command, placement):
            return "elsewhere"
        try:
            return await _start(router, placement, command)
        except NoPart as missing:
            await router.repair(placement, missing.part)
    raise StoreBusy("the queue is being placed anew")


async def _is_ready(router: "ShardedStore", command: StartMove, source: Placement) -> bool:
    """See to it that messages can go to their destination on each shard of their source."""
    shards = [part.shard for part in source.parts]
    for record in await _destinations(router, command, source):
        placement = await router.placements.get(record.id)
        if placement is None:
            continue
        if not placement.rules.is_fifo:
            await router.extend(record.id, shards)
        elif command.destination and _layout(placement) != _layout(source):
            return False
    return True


async def _destinations(
    router: "ShardedStore", command: StartMove, source: Placement
) -> Sequence[QueueRecord]:
    if command.destination is None:
        query = ListDeadLetterSources(source.name, after="", limit=_SOURCES_MAX)
        records: Sequence[QueueRecord] = await router.home.run_patiently(query)
        return records
    record: QueueRecord | None = await router.home.run_patiently(GetQueue(command.destination))
    return [] if record is None else [record]


def _layout(placement: Placement) -> list[tuple[tuple[int, ...], int]]:
    return sorted((part.slots, part.shard) for part in placement.parts)


async def _start(router: "ShardedStore", placement: Placement, command: StartMove) -> Any:
    tasks: list[MoveTask] = []
    for part in placement.parts:
        try:
            task = await router.link_of(part).run(replace(command, source_id=part.id))
        except StoreError:
            if tasks:
                await _undo(router, placement.parts, command.task_id)
            raise
        if task is None:
            if tasks:
                await _undo(router, placement.parts, command.task_id)
            raise NoPart(part)
        if not isinstance(task, MoveTask):
            if tasks:
                await _undo(router, placement.parts, command.task_id)
            return task
        tasks.append(task)
    return _joined(tasks)


async def _undo(router: "ShardedStore", parts: Iterable[Part], task_id: str) -> None:
    for part in parts:
        try:
            await router.link_of(part).run(CancelMove(task_id))
        except StoreError:
            continue


async def list_moves(router: "ShardedStore", command: ListMoves) -> Sequence[MoveTask]:
    record: QueueRecord | None = await router.home.run_patiently(GetQueue(command.source))
    placement = await router.placements.get(record.id) if record is not None else None
    if placement is None:
        none: Sequence[MoveTask] = await router.home.run_patiently(command)
        return none
    found = await asyncio.gather(
        *(router.link_of(part).run_patiently(command) for part in placement.parts)
    )
    by_id: dict[str, list[MoveTask]] = {}
    for tasks in found:
        for task in tasks:
            by_id.setdefault(task.task_id, []).append(task)
    joined = [_joined(tasks) for tasks in by_id.values()]
    joined.sort(key=lambda task: -task.started_at_ms)
    return joined[: command.limit]


def _joined(tasks: Sequence[MoveTask]) -> MoveTask:
    statuses = {task.status for task in tasks}
    return replace(
        tasks[0],
        status=next(status for status in _STATUSES if status in statuses),
        started_at_ms=min(task.started_at_ms for task in tasks),
        moved=sum(task.moved for task in tasks),
        to_move=sum(task.to_move for task in tasks),
        failure=next((task.failure for task in tasks if task.failure), None),
    )


async def cancel(router: "ShardedStore", command: CancelMove) -> MoveTask | None:
    answers = await asyncio.gather(
        *(link.run(command) for link in router.links.values()), return_exceptions=True
    )
    tasks = [answer for answer in answers if isinstance(answer, MoveTask)]
    for answer in answers:
        if isinstance(answer, StoreError) and tasks:
            raise OutcomeUnknown(f"cancelled on some shards only: {answer}")
        if isinstance(answer, BaseException):
            raise answer
    return _joined(tasks) if tasks else None
