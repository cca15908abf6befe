"""Taking messages out for good, and finding those whose retention is over.

A message is dead when it was sent its queue's retention ago or longer, in flight or not. Sequence
numbers follow the time of sending, so the dead ones of a backlog are the first by number.
"""

from collections.abc import Collection
from typing import Any

from stanchion.store.sqlite import groups
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Place, Transaction

_OLDEST_MESSAGES = statement("oldest_messages")
_DELETE_MESSAGES = statement("delete_messages")
_DELETE_BODIES = statement("delete_bodies")
_SET_CHECK_AT = statement("set_check_at")

_STEP_BYTES_MAX = 16 * 1024 * 1024
"""Deleting a large body reads all its pages; so a step is bounded in bytes too."""
_END_OF_TIME_MS = 1 << 62

Row = tuple[Any, ...]


def sweep(tx: Transaction, place: Place, limit: int) -> int | None:
    """Delete up to `limit` dead messages.

    Answer: None when all dead ones are gone and none is left at all; else the instant at which the
    next one is dead, which has passed already when the limit was reached.
    """
    dead, next_sent_at_ms = _oldest(tx, place.backlog, limit, tx.now_ms - place.retention_ms)
    if dead:
        remove(tx, place, dead)
    return None if next_sent_at_ms is None else next_sent_at_ms + place.retention_ms


def catch_up(tx: Transaction, place: Place, limit: int) -> bool:
    """Delete up to `limit` dead messages and note when to look again. Answers if all are gone."""
    check_at_ms = sweep(tx, place, limit)
    # New messages set the instant only where there is none, so theirs go first.
    tx.write_counts()
    tx.execute(_SET_CHECK_AT, (place.backlog, check_at_ms))
    return check_at_ms is None or check_at_ms > tx.now_ms


def drop(tx: Transaction, backlog: int, limit: int) -> bool:
    """Delete up to `limit` messages that are not counted any more. Answers whether any is left."""
    rows, next_sent_at_ms = _oldest(tx, backlog, limit, _END_OF_TIME_MS)
    if rows:
        _erase(tx, backlog, rows)
    return next_sent_at_ms is not None


def _oldest(
    tx: Transaction, backlog: int, limit: int, sent_until_ms: int
) -> tuple[list[Row], int | None]:
    """The first messages, as many as one step may take; and when the one after them was sent."""
    rows: list[Row] = []
    size_bytes = 0
    for row in tx.execute(_OLDEST_MESSAGES, (backlog, limit + 1)):
        if row[4] > sent_until_ms or len(rows) == limit or size_bytes > _STEP_BYTES_MAX:
            return rows, row[4]
        rows.append(row)
        size_bytes += row[5]
    return rows, None


def remove(tx: Transaction, place: Place, rows: Collection[Row]) -> None:
    """Delete messages: rows of sequence number, receive count, visible_at_ms and group key."""
    _erase(tx, place.backlog, rows)
    uncount(tx, place, rows)


def uncount(tx: Transaction, place: Place, rows: Collection[Row]) -> None:
    """Messages are not in this backlog any more: see to its counts and its groups.

    Takes the same rows as `remove`, as they were before they left.
    """
    tx.add_removed(place.backlog, len(rows))
    for row in rows:
        tx.add_invisible(place, row[1] > 0, row[2], -1)
    if place.is_fifo:
        groups.refresh(tx, place, {row[3] for row in rows})


def _erase(tx: Transaction, backlog: int, rows: Collection[Row]) -> None:
    listed = str([row[0] for row in rows])
    tx.execute(_DELETE_MESSAGES, (backlog, listed))
    tx.execute(_DELETE_BODIES, (listed,))
