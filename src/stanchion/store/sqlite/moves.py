"""Message move tasks: what is in a dead-letter queue is appended to other queues as new messages.

The commands start, list and cancel; the work is done in steps of upkeep. A step is part of one
transaction together with the count of what it moved, so a task goes on after a restart where it
was. Each step takes messages that are in view, on FIFO queues the first ones of ready groups; the
rest is waited for. A rate is kept by the instant of the next step: after n messages it is n / rate
later. Called by the engine and by upkeep.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

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
from stanchion.store.sqlite import expiry, groups, transfer
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Place, Transaction

_QUEUE_ID_BY_NAME = statement("queue_id_by_name")
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

Row = tuple[Any, ...]
_encode = msgspec.json.encode
_decode_name = msgspec.json.Decoder(QueueName).decode


def start_moves(
    tx: Transaction, commands: Sequence[StartMove]
) -> Iterator[MoveTask | Literal["running", "too_many"] | None]:
    for command in commands:
        yield _start(tx, command)


def _start(tx: Transaction, command: StartMove) -> MoveTask | Literal["running", "too_many"] | None:
    place = tx.place(command.source_id)
    if place is None:
        return None
    source = tx.name_of(place)
    if tx.execute(_ACTIVE_MOVE_OF, source).fetchone():
        return "running"
    (active,) = tx.execute(_ACTIVE_MOVES, (source.account_id,)).fetchone()
    if active >= command.tasks_max:
        return "too_many"
    expiry.sweep(tx, place, _SWEEP_MESSAGES_MAX)
    destination = _encode(command.destination).decode() if command.destination else None
    parameters = (
        *(command.task_id, *source, destination, command.messages_per_s),
        *(tx.now_ms, tx.messages(place)),
    )
    tx.execute(_INSERT_MOVE, parameters)
    return _by_id(tx, command.task_id)


def _by_id(tx: Transaction, task_id: str) -> MoveTask:
    return _task(tx.execute(_MOVE_BY_ID, (task_id,)).fetchone())


def _task(row: Row) -> MoveTask:
    task_id, account_id, region, name, destination, *rest = row
    return MoveTask(
        task_id,
        QueueName(account_id, region, name),
        _decode_name(destination) if destination else None,
        *rest,
    )


def list_moves(tx: Transaction, commands: Sequence[ListMoves]) -> Iterator[Sequence[MoveTask]]:
    for command in commands:
        rows = tx.execute(_MOVES_OF, (*command.source, command.limit))
        yield [_task(row) for row in rows]


def cancel_moves(tx: Transaction, commands: Sequence[CancelMove]) -> Iterator[MoveTask | None]:
    for command in commands:
        if tx.execute(_CANCEL_MOVE, (command.task_id, tx.now_ms)).rowcount:
            yield _by_id(tx, command.task_id)
        else:
            yield None


# --- The work -----------------------------------------------------------------------------------


def step(tx: Transaction, limit: int) -> int:
    """Upkeep: move up to about `limit` messages. Answers in how many ms there is more to do."""
    if tx.resources.give_space_back():
        # The disk is full, and filing bodies anew needs space: tasks can wait.
        return _WAIT_MS
    due = tx.execute(_MOVES_DUE, (tx.now_ms, _TASKS_MAX)).fetchall()
    for number, due_at_ms, *row in due:
        _advance(tx, _Active(number, due_at_ms, _task(tuple(row))), max(1, limit // len(due)))
    following = tx.execute(_NEXT_MOVE_DUE_AT).fetchone()
    return max(0, min(following[0] - tx.now_ms, _WAIT_MS)) if following else _WAIT_MS


class _Active(NamedTuple):
    number: int
    due_at_ms: int
    task: MoveTask


def _advance(tx: Transaction, active: _Active, limit: int) -> None:
    task = active.task
    if task.status == "CANCELLING":
        _finish(tx, active, 0, "CANCELLED", None)
        return
    if tx.now_ms >= task.started_at_ms + _RUN_MAX_MS:
        _finish(tx, active, 0, "FAILED", "too_long")
        return
    source = _place_of(tx, task.source)
    if source is None:
        _finish(tx, active, 0, "FAILED", "no_destination")
        return
    limit = min(limit, task.to_move - task.moved, _allowance(tx, active))
    moved, failure = _move(tx, task, source, limit)
    if failure:
        _finish(tx, active, moved, "FAILED", failure)
    elif task.moved + moved >= task.to_move or not tx.messages(source):
        _finish(tx, active, moved, "COMPLETED", None)
    else:
        tx.execute(_ADVANCE_MOVE, (active.number, moved, _next_due_at_ms(tx, active, moved)))


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


def _finish(
    tx: Transaction,
    active: _Active,
    moved: int,
    status: MoveStatus,
    failure: MoveFailure | None,
) -> None:
    tx.execute(_FINISH_MOVE, (active.number, moved, status, failure))
    tx.execute(_FORGET_MOVES, (*active.task.source, _FINISHED_KEPT))


def _place_of(tx: Transaction, name: QueueName) -> Place | None:
    row = tx.execute(_QUEUE_ID_BY_NAME, name).fetchone()
    return tx.place(row[0]) if row else None


def _move(
    tx: Transaction, task: MoveTask, source: Place, limit: int
) -> tuple[int, MoveFailure | None]:
    """Move up to `limit` messages; answers how many, and why not those after them."""
    rows = _movable(tx, source, limit) if limit > 0 else []
    moved = 0
    for origin, group in groupby(rows, key=lambda row: row[_ORIGIN]):
        if task.destination is None and origin is None:
            return moved, "no_source"
        target = _place_of(tx, task.destination or _decode_name(origin))
        if target is None:
            return moved, "no_destination"
        if task.destination is None and target.dead_letter_queue_id != source.queue_id:
            # Whether the caller may send there was asked for those that send their messages here.
            return moved, "no_source"
        messages = list(group)
        transfer.redrive(tx, source, target, messages)
        moved += len(messages)
    return moved, None


_ORIGIN = transfer.IS_SEALED + 1


def _movable(tx: Transaction, source: Place, limit: int) -> list[Row]:
    """Messages in view, as many as one step may take; what is dead must not live on elsewhere."""
    rows = _in_order(tx, source, limit) if source.is_fifo else _from_lanes(tx, source, limit)
    dead_ms = tx.now_ms - source.retention_ms
    return [row for row in transfer.one_step(rows) if row[transfer.SENT_AT] > dead_ms]


def _from_lanes(tx: Transaction, source: Place, limit: int) -> Iterator[Row]:
    for (lane,) in tx.execute(_LANES, (source.backlog,)).fetchall():
        parameters = (source.backlog, lane, tx.now_ms, limit)
        rows = tx.execute(_MOVABLE_MESSAGES, parameters).fetchall()
        yield from rows
        limit -= len(rows)
        if not limit:
            return


def _in_order(tx: Transaction, source: Place, limit: int) -> Iterator[Row]:
    """The first messages of ready groups, group by group; later steps take those after them."""
    found: list[int] = []
    for group in groups.ready(tx, source, limit, limit):
        found += group.sequences[: limit - len(found)]
        if len(found) == limit:
            break
    rows = {row[0]: row for row in tx.execute(_MOVABLE_BY_SEQUENCE, (source.backlog, str(found)))}
    return (rows[sequence] for sequence in found)
