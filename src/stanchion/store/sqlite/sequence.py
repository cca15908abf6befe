"""Sequence numbers of messages: ever increasing, never given out twice, whatever happens.

Numbers are reserved in the database in large blocks, in the transaction that first needs one of the
block. A restart goes on behind the reserved block, so a number of a transaction that was lost, or
of a message long deleted, does not come back.
"""

import sqlite3

from stanchion.store.sqlite.statements import statement

_READ_META = statement("read_meta")
_WRITE_META = statement("write_meta")
_BLOCK = 1 << 20


class Sequence:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        (self._last,) = connection.execute(_READ_META, ("sequence_reserved",)).fetchone()
        self._reserved: int = self._last

    def take(self, count: int) -> int:
        """The first of `count` fresh numbers in a row. Within a transaction."""
        first: int = self._last + 1
        self._last += count
        if self._last > self._reserved:
            self._reserved = self._last + _BLOCK
            self._connection.execute(_WRITE_META, ("sequence_reserved", self._reserved))
        return first

    def rolled_back(self) -> None:
        """The reservation may be undone: reserve again with the next number."""
        self._reserved = self._last
