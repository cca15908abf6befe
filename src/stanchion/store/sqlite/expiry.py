"""Taking messages out for good, and finding those whose retention is over.

A message is dead when it was sent its queue's retention ago or longer, in flight or not. Sequence
numbers follow the time of sending, so the dead ones of a backlog are the first by number.
"""

from collections.abc import Collection
from typing import Any

from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Transaction

_OLDEST_MESSAGES = statement("oldest_messages")
_DELETE_MESSAGES = statement("delete_messages")
_DELETE_BODIES = statement("delete_bodies")

_STEP_BYTES_MAX = 16 * 1024 * 1024
"""Deleting a large body reads all its pages; so a step is bounded in bytes too."""
_END_OF_TIME_MS = 1 << 62

Row = tuple[Any, ...]


def sweep(tx: Transaction, backlog: int, retention_ms: int, limit: int) -> int | None:
    """Delete up to `limit` dead messages.

    Answer: None when all dead ones are gone and none is left at all; else the instant at which the
    next one is dead, which has passed already when the limit was reached.
    """
    dead, next_sent_at_ms = _oldest(tx, backlog, limit, tx.now_ms - retention_ms)
    if dead:
        remove(tx, backlog, dead)
    return None if next_sent_at_ms is None else next_sent_at_ms + retention_ms


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
        if row[3] > sent_until_ms or len(rows) == limit or size_bytes > _STEP_BYTES_MAX:
            return rows, row[3]
        rows.append(row)
        size_bytes += row[4]
    return rows, None


def remove(tx: Transaction, backlog: int, rows: Collection[Row]) -> None:
    """Delete messages, given as rows of sequence number, receive count and visible_at_ms."""
    _erase(tx, backlog, rows)
    tx.add_removed(backlog, len(rows))
    for row in rows:
        tx.add_invisible(backlog, row[1] > 0, row[2], -1)


def _erase(tx: Transaction, backlog: int, rows: Collection[Row]) -> None:
    listed = str([row[0] for row in rows])
    tx.execute(_DELETE_MESSAGES, (backlog, listed))
    tx.execute(_DELETE_BODIES, (listed,))
