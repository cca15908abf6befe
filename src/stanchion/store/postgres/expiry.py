"""Taking messages out for good, and finding those whose retention is over.

A message is dead when it was sent its queue's retention ago or longer, in flight or not. Sequence
numbers follow the time of sending within the length of a flush, so the dead ones of a backlog are
among the first by number; a claim looks at each message all the same. Not so where messages of
another shard have come in: dead ones among them go when they are met, or are the first at last.

`check_at_ms` is never unset while a backlog has a queue: an empty one is due again after its
queue's retention. So senders have nothing to write there, whoever else sends or sweeps meanwhile.
"""

from collections.abc import Collection, Sequence

from stanchion.store.postgres import groups
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction

_OLDEST_MESSAGES = statement("oldest_messages")
_LOCK_FREE_MESSAGES = statement("lock_free_messages")
_ERASE_MESSAGES = statement("erase_messages")
_LOCK_BACKLOG = statement("lock_backlog")
_SET_CHECK_AT = statement("set_check_at")

_STEP_BYTES_MAX = 16 * 1024 * 1024
_END_OF_TIME_MS = 1 << 62


async def sweep(tx: Transaction, place: Place, limit: int) -> int | None:
    """Delete up to `limit` dead messages, other than those that somebody else is at work on.

    Answer: None when all dead ones are gone and none is left at all; else the instant at which the
    next one is dead, which has passed already when the limit was reached.
    """
    dead_ms = tx.now_ms - place.retention_ms
    # Mostly none is dead, and one row is enough to know.
    first = await tx.row(_OLDEST_MESSAGES, place.backlog, 1)
    if first is None or first[4] > dead_ms:
        return None if first is None else first[4] + place.retention_ms
    rows, next_sent_at_ms = await _oldest(tx, place.backlog, limit, dead_ms)
    if rows and not await _remove_free(tx, place, [row[0] for row in rows]):
        return tx.now_ms
    return None if next_sent_at_ms is None else next_sent_at_ms + place.retention_ms


async def _oldest(
    tx: Transaction, backlog: int, limit: int, sent_until_ms: int
) -> tuple[list[Row], int | None]:
    """The first messages, as many as one step may take; and when the one after them was sent."""
    rows: list[Row] = []
    size_bytes = 0
    for row in await tx.fetch(_OLDEST_MESSAGES, backlog, limit + 1):
        if row[4] > sent_until_ms or len(rows) == limit or size_bytes > _STEP_BYTES_MAX:
            return rows, row[4]
        rows.append(row)
        size_bytes += row[5]
    return rows, None


async def _remove_free(tx: Transaction, place: Place, sequences: Sequence[int]) -> bool:
    """Delete those messages that nobody else has locked. Answers whether these are all."""
    held = await groups.try_of(tx, place, sequences) if place.is_fifo else {None}
    rows = await tx.fetch(_LOCK_FREE_MESSAGES, place.backlog, sequences)
    rows = [row for row in rows if row[3] in held]
    if rows:
        await remove(tx, place, rows)
    return len(rows) == len(sequences)


async def catch_up(tx: Transaction, place: Place, limit: int) -> bool:
    """Delete up to `limit` dead messages and note when to look again. Answers if all are gone."""
    await tx.row(_LOCK_BACKLOG, place.backlog)
    check_at_ms = await sweep(tx, place, limit)
    if check_at_ms is None:
        check_at_ms = tx.now_ms + place.retention_ms
    await tx.run(_SET_CHECK_AT, place.backlog, check_at_ms)
    return check_at_ms > tx.now_ms


async def drop(tx: Transaction, backlog: int, limit: int) -> bool:
    """Delete up to `limit` messages that are not counted any more. Answers whether any is left."""
    rows, next_sent_at_ms = await _oldest(tx, backlog, limit, _END_OF_TIME_MS)
    if rows:
        await erase(tx, [backlog] * len(rows), [row[0] for row in rows])
    return next_sent_at_ms is not None


async def remove(tx: Transaction, place: Place, rows: Collection[Row]) -> None:
    """Delete messages: rows of sequence number, receive count, visible_at_ms and group key.

    The caller holds their locks, and on FIFO queues those of their groups.
    """
    await erase(tx, [place.backlog] * len(rows), [row[0] for row in rows])
    await uncount(tx, place, rows)


async def erase(tx: Transaction, backlogs: Sequence[int], sequences: Sequence[int]) -> None:
    """Delete rows of messages, of any number of backlogs, and nothing else."""
    await tx.run(_ERASE_MESSAGES, backlogs, sequences)


async def uncount(tx: Transaction, place: Place, rows: Collection[Row]) -> None:
    """Messages are not in this backlog any more: see to its counts and its groups.

    Takes the same rows as `remove`, as they were before they left.
    """
    take_off(tx, place, rows)
    if place.is_fifo:
        await groups.refresh(tx, [(place, {row[3] for row in rows})])


def take_off(tx: Transaction, place: Place, rows: Collection[Row]) -> None:
    """The same without the groups."""
    tx.add_removed(place.backlog, len(rows))
    for row in rows:
        tx.add_invisible(place, row[1] > 0, row[2], -1)
