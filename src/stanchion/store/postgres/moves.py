"""Message move tasks: what is in a dead-letter queue is appended to other queues as new messages.

The commands start, list and cancel; the work is done in steps of upkeep. A step is part of one
transaction together with the count of what it moved, so a task goes on after a restart where it
was. Each step takes messages that are in view, on FIFO queues the first ones of ready groups; the
rest is waited for. A rate is kept by the instant of the next step: after n messages it is n / rate
later. Called by the engine and by upkeep.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Literal, NamedTuple

import msgspec

from stanchion.store.contract import QueueName
from stanchion.store.moves import (
    CancelMove,
    ListMoves,
    MoveFailure,
    MoveStatus,
    MoveTask,
    StartMove,
)
from stanchion.store.postgres import expiry, groups, transfer
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction

_QUEUE_ID_BY_NAME = statement("queue_id_by_name")
_LOCK_MOVES = statement("lock_moves")
_INSERT_MOVE = statement("insert_move")
_ACTIVE_MOVE_OF = statement("active_move_of")
_ACTIVE_MOVES = statement("active_moves")
_MOVES_OF = statement("moves_of")
_CANCEL_MOVE = statement("cancel_move")
_MOVE_BY_ID = statement("move_by_id")
_MOVES_DUE = statement("moves_due")
_NEXT_MOVE_DUE_AT = statement("next_move_due_at")
_ADVANCE_MOVE = statement("advance_move")
_FINISH_MOVE = statement("finish_move")
_FORGET_MOVES = statement("forget_moves")
_LANES = statement("lanes")
_MOVABLE_MESSAGES = statement("movable_messages")
_MOVABLE_BY_SEQUENCE = statement("movable_by_sequence")

_FINISHED_KEPT = 10
_RUN_MAX_MS = 36 * 3600 * 1000
_TASKS_MAX = 10
"""A step of upkeep serves at most so many tasks, those that have waited longest."""
_WAIT_MS = 1000
"""Messages in flight or delayed are waited for by looking again after so long."""
_SLICE_MS = 100
_LATE_MAX_MS = 1000
"""A step that comes late makes up for no more than this."""
_SWEEP_MESSAGES_MAX = 1000

_encode = msgspec.json.encode
_decode_name = msgspec.json.Decoder(QueueName).decode


async def start_moves(
    tx: Transaction, commands: Sequence[StartMove]
) -> list[MoveTask | Literal["running", "too_many"] | None]:
    places = [await tx.place(command.source_id) for command in commands]
    names = [await tx.name_of(place) for place in places if place is not None]
    # Two that start at the same time would not see each other.
    await tx.fetch(_LOCK_MOVES, [name.account_id for name in names])
    return [await _start(tx, command) for command in commands]


async def _start(
    tx: Transaction, command: StartMove
) -> MoveTask | Literal["running", "too_many"] | None:
    place = await tx.place(command.source_id)
    if place is None:
        return None
    source = await tx.name_of(place)
    if await tx.row(_ACTIVE_MOVE_OF, *source):
        return "running"
    active = await tx.row(_ACTIVE_MOVES, source.account_id)
    assert active is not None
    if active[0] >= command.tasks_max:
        return "too_many"
    await expiry.sweep(tx, place, _SWEEP_MESSAGES_MAX)
    destination = _encode(command.destination).decode() if command.destination else None
    await tx.run(
        *(_INSERT_MOVE, command.task_id, *source, destination, command.messages_per_s),
        *(tx.now_ms, await tx.messages(place)),
    )
    return await _by_id(tx, command.task_id)


async def _by_id(tx: Transaction, task_id: str) -> MoveTask:
    return _task(await tx.row(_MOVE_BY_ID, task_id))


def _task(row: Row) -> MoveTask:
    task_id, account_id, region, name, destination, *rest = row
    return MoveTask(
        task_id,
        QueueName(account_id, region, name),
        _decode_name(destination) if destination else None,
        *rest,
    )


async def list_moves(tx: Transaction, commands: Sequence[ListMoves]) -> list[Sequence[MoveTask]]:
    return [
        [_task(row) for row in await tx.fetch(_MOVES_OF, *command.source, command.limit)]
        for command in commands
    ]


async def cancel_moves(tx: Transaction, commands: Sequence[CancelMove]) -> list[MoveTask | None]:
    answers: list[MoveTask | None] = []
    for command in commands:
        cancelled = await tx.run(_CANCEL_MOVE, command.task_id, tx.now_ms)
        answers.append(await _by_id(tx, command.task_id) if cancelled else None)
    return answers


# --- The work -----------------------------------------------------------------------------------


async def step(tx: Transaction, limit: int) -> int:
    """Upkeep: move up to about `limit` messages. Answers in how many ms there is more to do."""
    due = await tx.fetch(_MOVES_DUE, tx.now_ms, _TASKS_MAX)
    for number, due_at_ms, *row in due:
        await _advance(tx, _Active(number, due_at_ms, _task(row)), max(1, limit // len(due)))
    following = await tx.row(_NEXT_MOVE_DUE_AT)
    return max(0, min(following[0] - tx.now_ms, _WAIT_MS)) if following else _WAIT_MS


class _Active(NamedTuple):
    number: int
    due_at_ms: int
    task: MoveTask


async def _advance(tx: Transaction, active: _Active, limit: int) -> None:
    task = active.task
    if task.status == "CANCELLING":
        await _finish(tx, active, 0, "CANCELLED", None)
        return
    if tx.now_ms >= task.started_at_ms + _RUN_MAX_MS:
        await _finish(tx, active, 0, "FAILED", "too_long")
        return
    source = await _place_of(tx, task.source)
    if source is None:
        await _finish(tx, active, 0, "FAILED", "no_destination")
        return
    limit = min(limit, task.to_move - task.moved, _allowance(tx, active))
    moved, failure = await _move(tx, task, source, limit)
    if failure:
        await _finish(tx, active, moved, "FAILED", failure)
    elif task.moved + moved >= task.to_move or await tx.messages(source) <= 0:
        await _finish(tx, active, moved, "COMPLETED", None)
    else:
        await tx.run(_ADVANCE_MOVE, active.number, moved, _next_due_at_ms(tx, active, moved))


def _allowance(tx: Transaction, active: _Active) -> int:
    """How many messages may go in a step by the task's rate."""
    rate = active.task.messages_per_s
    if rate is None:
        return active.task.to_move
    late_ms = min(tx.now_ms - active.due_at_ms, _LATE_MAX_MS)
    return max(1, (late_ms + _SLICE_MS) * rate // 1000)


def _next_due_at_ms(tx: Transaction, active: _Active, moved: int) -> int:
    if not moved:
        return tx.now_ms + _WAIT_MS
    rate = active.task.messages_per_s
    if rate is None:
        return tx.now_ms
    # Rounded up, so that the rate is never exceeded.
    return max(active.due_at_ms, tx.now_ms - _LATE_MAX_MS) - (-moved * 1000 // rate)


async def _finish(
    tx: Transaction,
    active: _Active,
    moved: int,
    status: MoveStatus,
    failure: MoveFailure | None,
) -> None:
    await tx.run(_FINISH_MOVE, active.number, moved, status, failure)
    await tx.run(_FORGET_MOVES, *active.task.source, _FINISHED_KEPT)


async def _place_of(tx: Transaction, name: QueueName) -> Place | None:
    row = await tx.row(_QUEUE_ID_BY_NAME, *name)
    return await tx.place(row[0]) if row else None


async def _move(
    tx: Transaction, task: MoveTask, source: Place, limit: int
) -> tuple[int, MoveFailure | None]:
    """Move up to `limit` messages; answers how many, and why not those after them."""
    rows = await _movable(tx, source, limit) if limit > 0 else []
    busy: set[groups.Name] = set()
    moved = 0
    for origin, group in groupby(rows, key=lambda row: row[_ORIGIN]):
        if task.destination is None and origin is None:
            return moved, "no_source"
        target = await _place_of(tx, task.destination or _decode_name(origin))
        if target is None:
            return moved, "no_destination"
        if task.destination is None and target.dead_letter_queue_id != source.queue_id:
            # Whether the caller may send there was asked for those that send their messages here.
            return moved, "no_source"
        messages = list(group)
        if target.is_fifo:
            if await transfer.are_still(tx, (source.queue_id, target.queue_id)):
                return moved, None
            messages = await _without_busy(tx, target, messages, busy)
        if messages:
            await transfer.redrive(tx, source, target, messages)
        moved += len(messages)
    return moved, None


async def _without_busy(
    tx: Transaction, target: Place, rows: Sequence[Row], busy: set[groups.Name]
) -> list[Row]:
    """Those whose groups nobody else has locked in the target; the others wait for a later step."""
    names = {(target.backlog, row[transfer.GROUP_ID]) for row in rows}
    _, found_busy = await groups.try_named(tx, names)
    # Once busy, always busy: later messages of a group must not overtake earlier ones.
    busy |= found_busy
    return [row for row in rows if (target.backlog, row[transfer.GROUP_ID]) not in busy]


_ORIGIN = transfer.IS_SEALED + 1


async def _movable(tx: Transaction, source: Place, limit: int) -> list[Row]:
    """Messages in view, as many as one step may take; what is dead must not live on elsewhere."""
    if source.is_fifo:
        rows = await _in_order(tx, source, limit)
    else:
        rows = await _from_lanes(tx, source, limit)
    rows = transfer.one_step(rows)
    dead_ms = tx.now_ms - source.retention_ms
    dead = [row for row in rows if row[transfer.SENT_AT] <= dead_ms]
    if dead and not source.is_fifo:
        # Or they would be the first in view again. Those of FIFO queues are the first by number.
        await expiry.remove(tx, source, dead)
    return [row for row in rows if row[transfer.SENT_AT] > dead_ms]


async def _from_lanes(tx: Transaction, source: Place, limit: int) -> list[Row]:
    rows: list[Row] = []
    for (lane,) in await tx.fetch(_LANES, source.backlog):
        rows += await tx.fetch(
            _MOVABLE_MESSAGES, source.backlog, lane, tx.now_ms, limit - len(rows)
        )
        if len(rows) == limit:
            break
    return rows


async def _in_order(tx: Transaction, source: Place, limit: int) -> list[Row]:
    """The first messages of ready groups, group by group; later steps take those after them."""
    found: list[int] = []
    (ready,) = await groups.ready(tx, [groups.Look(source, limit, limit)])
    for group in ready:
        found += group.sequences[: limit - len(found)]
        if len(found) == limit:
            break
    return list(await tx.fetch(_MOVABLE_BY_SEQUENCE, source.backlog, found))
