"""Moving messages from one shard to another: each command is a step that can be done again.

A message of a standard queue is taken out of view, copied out of view, marked as moved, shown there
and deleted here. Until it is marked it belongs here, afterwards there; so whoever finds it after a
crash knows: a copy out of view is shown if its original is still there and marked, and dropped if
there is none, because then a client has deleted it. A FIFO part is copied whole while nobody can
reach it. A message that is on the other side already, but for a copy, is never taken for its copy.
Called by the engine, for the mover.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from stanchion.store.contract import ATTEMPT_MAX_MS, DEDUPLICATION_MAX_MS, StoreBusy
from stanchion.store.postgres import adopted, expiry, groups
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction
from stanchion.store.shards.commands import (
    HOME,
    IN_TRANSIT_LANE,
    MOVED_LANE,
    SHARDS_MAX,
    FifoCopy,
    ForgetMoved,
    ListStaged,
    MarkMoved,
    MessageRow,
    PickMessages,
    ReadFifo,
    ShowStaged,
    StageMessages,
    WriteFifo,
)

_LANES = statement("lanes")
_MESSAGES_IN_TRANSIT = statement("messages_in_transit")
_TAKE_OUT_OF_VIEW = statement("take_out_of_view")
_STAGED_MESSAGES = statement("staged_messages")
_BODIES_THERE = statement("bodies_there")
_MESSAGES_THERE = statement("messages_there")
_LOCK_UPKEEP = statement("lock_upkeep")
_DOOMED_AMONG = statement("doomed_among")
_INSERT_MOVED_MESSAGES = statement("insert_moved_messages")
_INSERT_MOVED_BODIES = statement("insert_moved_bodies")
_MARK_MOVED = statement("mark_moved")
_MARKED_AS_MOVED = statement("marked_as_moved")
_SHOW_STAGED = statement("show_staged")
_LOCK_IN_LANE = statement("lock_in_lane")
_FIFO_PART_MESSAGES = statement("fifo_part_messages")
_DEDUPLICATION_OF_QUEUE = statement("deduplication_of_queue")
_ATTEMPTS_OF_QUEUE = statement("attempts_of_queue")
_INSERT_DEDUPLICATION = statement("insert_deduplication")
_INSERT_ATTEMPTS = statement("insert_attempts")
_RAISE_MESSAGE_SEQUENCE = statement("raise_message_sequence")
_CHECK_BACKLOG_BY = statement("check_backlog_by")
_IS_ARRIVING_HERE = statement("is_arriving_here")
_IS_LEAVING = statement("is_leaving")

_EXHAUSTED_LANE = 1
_STEP_BYTES_MAX = 4 * 1024 * 1024
_IN_TRANSIT_MAX = 10_000
_SPARE_NUMBERS = 1_000_000
"""So far ahead that nobody draws as many while the sequence is raised."""

SEQUENCE, LANE, VISIBLE_AT, RECEIVE_COUNT, _FIRST, _SOURCE, _PROVENANCE, SENT_AT = range(8)
"""Columns of a `MessageRow`; and these."""
_MESSAGE_ID, _SENDER, GROUP_ID, _DEDUPLICATION_ID, _TRACE, _ATTRIBUTES, _BODY = range(8, 15)


async def pick(
    tx: Transaction, commands: Sequence[PickMessages]
) -> list[Sequence[MessageRow] | None]:
    answers: list[Sequence[MessageRow] | None] = []
    for command in commands:
        place = await tx.place(command.queue_id)
        answers.append(None if place is None else await _pick(tx, place, command.limit))
    return answers


async def _pick(tx: Transaction, place: Place, limit: int) -> list[MessageRow]:
    if left := await _in_transit(tx, place):
        return left
    room = limit
    for (lane,) in await tx.fetch(_LANES, place.backlog):
        if lane != _EXHAUSTED_LANE and room > 0:
            taken = (place.backlog, lane, tx.now_ms, room, _STEP_BYTES_MAX)
            room -= await tx.run(_TAKE_OUT_OF_VIEW, *taken)
    return await _in_transit(tx, place)


async def _in_transit(tx: Transaction, place: Place) -> list[MessageRow]:
    lanes = [IN_TRANSIT_LANE, MOVED_LANE]
    rows = await tx.fetch(_MESSAGES_IN_TRANSIT, place.backlog, lanes, _IN_TRANSIT_MAX)
    return [tuple(row) for row in rows]


async def list_staged(tx: Transaction, commands: Sequence[ListStaged]) -> list[Sequence[int]]:
    answers: list[Sequence[int]] = []
    for command in commands:
        place = await tx.place(command.queue_id)
        rows = await tx.fetch(_STAGED_MESSAGES, place.backlog) if place else []
        answers.append([row[0] for row in rows])
    return answers


async def stage(tx: Transaction, commands: Sequence[StageMessages]) -> list[bool]:
    answers = []
    for command in commands:
        place = await tx.place(command.queue_id)
        answers.append(place is not None and await _is_leaving(tx, command.leaving_id))
        if place is not None and answers[-1]:
            rows = [(row[0], IN_TRANSIT_LANE, *row[2:]) for row in command.rows]
            await _insert(tx, place, await _missing(tx, place, rows))
    return answers


async def _is_leaving(tx: Transaction, part_id: int) -> bool:
    """On the home an id stays when the queue is purged; elsewhere the part has another by then."""
    return await _number(tx) != HOME or await tx.row(_IS_LEAVING, part_id) is not None


async def _missing(tx: Transaction, place: Place, rows: Sequence[MessageRow]) -> list[MessageRow]:
    """Those that have no copy in this part. Raises `StoreBusy` for what is here otherwise."""
    there = await _bodies_there(tx, rows)
    if there:
        await _erase_remains(tx, there)
        there = await _bodies_there(tx, rows)
        copies = await tx.fetch(_MESSAGES_THERE, place.backlog, sorted(there))
        if others := there.difference(row[0] for row in copies):
            # What it has left behind, and is about to go; or it is another message.
            raise StoreBusy(f"message {min(others)} is on this shard already")
    return [row for row in rows if row[0] not in there]


async def _bodies_there(tx: Transaction, rows: Sequence[MessageRow]) -> set[int]:
    return {row[0] for row in await tx.fetch(_BODIES_THERE, [row[0] for row in rows])}


async def _erase_remains(tx: Transaction, sequences: Iterable[int]) -> None:
    """Erase what these messages have left behind in parts that are no more.

    They were here before, or have been copied in part before, and upkeep has not got to it yet.
    """
    # Upkeep locks nothing of what it is about to drop: it would take bodies that are new.
    await tx.fetch(_LOCK_UPKEEP)
    if rows := await tx.fetch(_DOOMED_AMONG, sorted(sequences)):
        await expiry.erase(tx, [row[0] for row in rows], [row[1] for row in rows])


async def _insert(tx: Transaction, place: Place, rows: Sequence[MessageRow]) -> None:
    if not rows:
        return
    columns = list(zip(*rows, strict=True))
    in_groups = columns[GROUP_ID] if place.is_fifo else [None] * len(rows)
    await tx.run(_INSERT_MOVED_MESSAGES, place.backlog, *columns[:SENT_AT], in_groups)
    await tx.run(_INSERT_MOVED_BODIES, columns[SEQUENCE], *columns[SENT_AT:])
    tx.add_sent(place, len(rows))
    for row in rows:
        tx.add_invisible(place, row[RECEIVE_COUNT] > 0, row[VISIBLE_AT], 1)
    # They were sent long ago, so they may have less time left than what is there already.
    await tx.run(_CHECK_BACKLOG_BY, place.backlog, tx.now_ms)


async def mark(tx: Transaction, commands: Sequence[MarkMoved]) -> list[Sequence[int]]:
    answers: list[Sequence[int]] = []
    for command in commands:
        place = await tx.place(command.queue_id)
        rows: Sequence[Row] = []
        if place is not None:
            await tx.run(_MARK_MOVED, place.backlog, command.sequences)
            rows = await tx.fetch(_MARKED_AS_MOVED, place.backlog, command.sequences)
        answers.append([row[0] for row in rows])
    return answers


async def show(tx: Transaction, commands: Sequence[ShowStaged]) -> list[bool]:
    answers = []
    for command in commands:
        place = await tx.place(command.queue_id)
        answers.append(place is not None)
        if place is None:
            continue
        shown = await tx.run(_SHOW_STAGED, place.backlog, command.shown)
        await _erase(tx, place, command.dropped, IN_TRANSIT_LANE)
        if shown:
            tx.resources.low_water.forget(place.backlog, (0,))
            tx.add_wake(place.queue_id, tx.now_ms, shown)
    return answers


async def _erase(tx: Transaction, place: Place, sequences: Iterable[int], lane: int) -> None:
    if rows := await tx.fetch(_LOCK_IN_LANE, place.backlog, list(sequences), lane):
        await expiry.remove(tx, place, rows)


async def forget(tx: Transaction, commands: Sequence[ForgetMoved]) -> list[bool]:
    answers = []
    for command in commands:
        place = await tx.place(command.queue_id)
        answers.append(place is not None)
        if place is not None:
            await _erase(tx, place, command.sequences, MOVED_LANE)
    return answers


# --- FIFO parts ---------------------------------------------------------------------------------


async def read_fifo(tx: Transaction, commands: Sequence[ReadFifo]) -> list[FifoCopy | None]:
    answers: list[FifoCopy | None] = []
    for command in commands:
        place = await tx.place(command.queue_id)
        answers.append(None if place is None else await _read_fifo(tx, place, command))
    return answers


async def _read_fifo(tx: Transaction, place: Place, command: ReadFifo) -> FifoCopy:
    messages: list[MessageRow] = []
    size_bytes = 0
    for row in await tx.fetch(_FIFO_PART_MESSAGES, place.backlog, command.after, command.limit):
        messages.append(tuple(row))
        size_bytes += len(row[_BODY])
        if size_bytes > _STEP_BYTES_MAX:
            break
    if command.after:
        return FifoCopy(messages, (), ())
    accepted = (_DEDUPLICATION_OF_QUEUE, place.queue_id, tx.now_ms - DEDUPLICATION_MAX_MS)
    attempts = (_ATTEMPTS_OF_QUEUE, place.queue_id, tx.now_ms - ATTEMPT_MAX_MS)
    return FifoCopy(
        messages,
        [tuple(row) for row in await tx.fetch(*accepted)],
        [tuple(row) for row in await tx.fetch(*attempts)],
    )


async def write_fifo(tx: Transaction, commands: Sequence[WriteFifo]) -> list[bool]:
    answers = []
    for command in commands:
        place = await tx.place(command.queue_id)
        answers.append(place is not None and await _is_arriving(tx, place))
        if place is not None and answers[-1]:
            await _write_fifo(tx, place, command.copy)
    return answers


async def _is_arriving(tx: Transaction, place: Place) -> bool:
    """On the home an id stays when the copy is complete; elsewhere an older id is gone by then."""
    return await _number(tx) != HOME or await tx.row(_IS_ARRIVING_HERE, place.queue_id) is not None


async def _number(tx: Transaction) -> int:
    identity = await adopted.identity_of(tx)
    return identity.number if identity else HOME


async def _write_fifo(tx: Transaction, place: Place, copy: FifoCopy) -> None:
    await _raise_sequence(tx, [row[SEQUENCE] for row in copy.messages])
    rows = await _missing(tx, place, copy.messages) if copy.messages else []
    if rows:
        group_ids = sorted({row[GROUP_ID] for row in rows})
        firsts = [groups.FirstMessage(group_id, False, tx.now_ms) for group_id in group_ids]
        await groups.open_groups(tx, [(place, firsts)])
        await _insert(tx, place, rows)
        keys = await groups.keys_of(tx, place, group_ids)
        await groups.refresh(tx, [(place, keys)])
    for text, remembered in (
        (_INSERT_DEDUPLICATION, copy.deduplication),
        (_INSERT_ATTEMPTS, copy.attempts),
    ):
        if remembered:
            await tx.run(text, place.queue_id, *_columns(remembered))


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True))


async def _raise_sequence(tx: Transaction, incoming: Sequence[int]) -> None:
    """What is sent here from now on has higher numbers: it comes later in its group."""
    if incoming:
        highest = max(incoming)
        rounds = highest // SHARDS_MAX + _SPARE_NUMBERS
        lowest = rounds * SHARDS_MAX + await _number(tx)
        await tx.fetch(_RAISE_MESSAGE_SEQUENCE, highest, lowest)


KINDS = (
    (PickMessages, pick),
    (ListStaged, list_staged),
    (StageMessages, stage),
    (MarkMoved, mark),
    (ShowStaged, show),
    (ForgetMoved, forget),
    (ReadFifo, read_fifo),
    (WriteFifo, write_fifo),
)
"""What the engine executes here."""
