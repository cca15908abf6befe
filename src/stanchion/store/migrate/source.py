"""The data directory that is moved: nobody else writes to it meanwhile, and it is only read.

Until the very end, when a marker is put into it that says where its data is now. Everything is read
in one transaction, in batches of bounded size. Called by `copying`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from stanchion.store.contract import StoreUnusable
from stanchion.store.migrate.parts import Key, Part
from stanchion.store.sqlite import database
from stanchion.store.sqlite.files import DATABASE_NAME, LOCK_NAME, OwnerLock

Row = tuple[Any, ...]

_BATCH_ROWS_MAX = 5000
_BATCH_BYTES_MAX = 8 * 1024 * 1024
_DIGEST_BYTES = 16

_MESSAGES = "SELECT coalesce(sum(messages), 0) FROM backlog WHERE queue_id IS NOT NULL"
_BY_BACKLOG = """
    SELECT m.backlog, count(*), min(m.sequence), max(m.sequence), sum(m.receive_count),
           sum(m.visible_at_ms % 1000003), sum(b.sent_at_ms % 1000003), sum(length(b.body))
    FROM message AS m CROSS JOIN message_body AS b ON b.sequence = m.sequence
    WHERE +m.backlog IN (SELECT id FROM backlog WHERE queue_id IS NOT NULL)
    GROUP BY m.backlog ORDER BY m.backlog
"""
_META = "SELECT name, value FROM meta WHERE name <> 'moved_to' ORDER BY name"
_SCHEMA_VERSION = "PRAGMA user_version"
_NUMBERS = "SELECT name, seq FROM sqlite_sequence ORDER BY name"
_OLDEST_RECORD = """
    SELECT kind, account_id, name, version, value FROM record
    ORDER BY version, kind, account_id, name LIMIT 1
"""
_NEWEST_SENT_AT = "SELECT sent_at_ms FROM message_body ORDER BY sequence DESC LIMIT 1"


class Batch(NamedTuple):
    rows: list[Row]
    """Each with its key in front."""
    last: Key


class Numbers(NamedTuple):
    """Up to where numbers have been given out, and what the store notes about itself."""

    message: int
    queue: int
    backlog: int
    move_task: int
    meta: dict[str, int]
    """By name; those that PostgreSQL's store notes too have the same names there."""


class Source:
    """An open data directory. Raises `StoreUnusable` when it is in use, or cannot be used."""

    def __init__(self, directory: Path) -> None:
        with ExitStack() as stack:
            self._connection = database.open_beside(directory / DATABASE_NAME, even_moved=True)
            stack.enter_context(closing(self._connection))
            stack.callback(OwnerLock(directory / LOCK_NAME).release)
            # Closed before anybody else is let in; closing it twice does no harm.
            stack.callback(self._connection.close)
            try:
                # Also the verbs that work beside a server have to wait.
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise StoreUnusable(f"{directory} is being written to: {error}") from error
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()

    def identity(self) -> str:
        """What no other directory has: its oldest document, which is a random key or a secret."""
        return _digest(self._all(_OLDEST_RECORD))

    def state(self) -> str:
        """Changes whenever a server or a verb has written to the directory."""
        texts = (_META, _NUMBERS, _MESSAGES, _SCHEMA_VERSION)
        return _digest([row for text in texts for row in self._all(text)])

    def messages(self) -> int:
        messages: int = self._all(_MESSAGES)[0][0]
        return messages

    def batches(self, part: Part, after: Key) -> Iterator[Batch]:
        """The rows of a part behind a key, as many at a time as one transaction should have."""
        while batch := self._batch(part, after):
            yield batch
            after = batch.last

    def _batch(self, part: Part, after: Key) -> Batch | None:
        rows: list[Row] = []
        size_bytes = 0
        with closing(self._connection.execute(part.select, after)) as found:
            for row in found:
                rows.append(row)
                if part.size_column is not None:
                    size_bytes += len(row[part.size_column])
                if len(rows) == _BATCH_ROWS_MAX or size_bytes >= _BATCH_BYTES_MAX:
                    break
        return Batch(rows, rows[-1][: len(after)]) if rows else None

    def count(self, part: Part) -> int:
        # Both are texts of this package.
        text = f"SELECT count(*) FROM ({part.select})"  # noqa: S608
        found: int = self._connection.execute(text, part.first_after).fetchone()[0]
        return found

    def sums_by_backlog(self) -> list[Row]:
        """Of the messages of each backlog: see `Target.sums_by_backlog`."""
        return self._all(_BY_BACKLOG)

    def numbers(self) -> Numbers:
        meta: dict[str, int] = dict(self._all(_META))
        given_out: dict[str, int] = dict(self._all(_NUMBERS))
        newest = self._all(_NEWEST_SENT_AT)
        meta["latest_ms"] = max(meta["latest_ms"], newest[0][0] if newest else 0)
        return Numbers(
            message=meta["sequence_reserved"],
            queue=given_out.get("queue", 0),
            backlog=given_out.get("backlog", 0),
            move_task=given_out.get("move_task", 0),
            meta=meta,
        )

    def moved_to(self) -> str | None:
        """What the marker says."""
        return database.moved_to(self._connection)

    def set_moved_to(self, place: str | None) -> None:
        """Put the marker there or take it away; durable on return, and the last thing to do."""
        database.set_moved_to(self._connection, place)
        self._connection.execute("COMMIT")

    def _all(self, text: str) -> list[Row]:
        return self._connection.execute(text).fetchall()


def _digest(rows: list[Row]) -> str:
    return blake2b(repr(rows).encode(), digest_size=_DIGEST_BYTES).hexdigest()
