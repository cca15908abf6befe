"""The SQLite store: a flush is one transaction, and what happens when one fails.

A full disk sheds the sends and goes on with the rest, out of space set aside for that. A write that
fails in a way that leaves doubt ends the store: nothing is ever answered from memory that is ahead
of the disk. Any other failure is one command's alone: the flush is undone and its commands run one
by one. Called by the batcher, from one thread at a time.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from stanchion.store.changes import ListQueueChanges
from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    ClaimFifo,
    Command,
    CountMessages,
    CreateQueue,
    Delete,
    DeleteQueue,
    Flush,
    GetQueue,
    ListDeadLetterSources,
    ListQueues,
    PurgeQueue,
    Send,
    SendFifo,
    StoreBroken,
    StoreError,
    StoreFull,
    UpdateQueue,
    Upkeep,
    Wake,
)
from stanchion.store.moves import CancelMove, ListMoves, StartMove
from stanchion.store.provenance import Provenances
from stanchion.store.records import EditRecords, GetRecords, LatestEdit, ListRecords
from stanchion.store.sqlite import (
    counts,
    database,
    fifo,
    messages,
    moves,
    queues,
    records,
    upkeep,
)
from stanchion.store.sqlite import sequence as sequences
from stanchion.store.sqlite.checkpoint import Checkpointer
from stanchion.store.sqlite.files import (
    DATABASE_NAME,
    LOCK_NAME,
    OwnerLock,
    Reserve,
    create,
    make_directory,
)
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Resources, Transaction

# In this order: queues change before messages are looked at, deletes make room before claims, and
# claims find what the same flush sends.
_KINDS: tuple[tuple[type[Command[Any]], Callable[..., Any]], ...] = (
    (DeleteQueue, queues.delete_queues),
    (CreateQueue, queues.create_queues),
    (UpdateQueue, queues.update_queues),
    (PurgeQueue, queues.purge_queues),
    (Delete, messages.delete),
    (ChangeVisibility, messages.change_visibility),
    (Send, messages.send),
    (SendFifo, fifo.send),
    (Claim, messages.claim),
    (ClaimFifo, fifo.claim),
    (StartMove, moves.start_moves),
    (CancelMove, moves.cancel_moves),
    (Upkeep, upkeep.upkeep),
    (ListMoves, moves.list_moves),
    (CountMessages, counts.count),
    (GetQueue, queues.get_queues),
    (ListQueues, queues.list_queues),
    (ListQueueChanges, queues.list_changes),
    (ListDeadLetterSources, queues.list_dead_letter_sources),
    (EditRecords, records.edit),
    (GetRecords, records.get),
    (ListRecords, records.list_records),
    (LatestEdit, records.latest_edit),
)

_SENDS = (Send, SendFifo)

_READ_META = statement("read_meta")
_WRITE_META = statement("write_meta")
_NEWEST_SENT_AT = statement("newest_sent_at")
_LATEST_WRITTEN_EVERY_MS = 1000
_RESERVE_RETRY_MS = 1000
_RESERVE_BYTES = 32 * 1024 * 1024
_NO_KEY = bytes(32)
"""Vouches for moves where no key was set: for stores without anything sealed, as in tests."""

Fault = Literal["full", "busy", "broken", "other"]


class SqliteStore:
    """A `Store`. Made by `open` or `in_memory`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        entropy: Callable[[int], bytes],
        directory: "Directory | None",
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._sequence = sequences.Sequence(connection)
        self._resources = Resources(
            self._sequence, entropy, Provenances(_NO_KEY), {}, {}, set(), lambda: self._is_full
        )
        self._latest_ms = self._read_latest_ms()
        self._latest_written_ms = 0
        self._is_full = False
        self._reserve_tried_ms = 0
        self._now_ms = 0
        self._broken: StoreBroken | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        reserve_bytes: int = _RESERVE_BYTES,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> "SqliteStore":
        """The store in a data directory, which is made if there is none.

        `reserve_bytes` of the disk are set aside for when it is full. Raises `StoreUnusable`.
        """
        owned = Directory(directory, reserve_bytes)
        try:
            store = cls(owned.connection, entropy, owned)
        except BaseException:
            owned.close()
            raise
        store._is_full = not owned.reserve.fill()
        return store

    @classmethod
    def in_memory(cls, *, entropy: Callable[[int], bytes] = os.urandom) -> "SqliteStore":
        """A store that forgets everything when it is closed."""
        return cls(database.open_memory(), entropy, None)

    @classmethod
    def open_records(
        cls, directory: Path, *, entropy: Callable[[int], bytes] = os.urandom
    ) -> "SqliteStore":
        """A data directory's store for records only, whether or not a server has it at work.

        Queues and messages are the server's: counts of theirs are in its memory. Raises
        `StoreUnusable`, also where there is no store yet.
        """
        return cls(database.open_beside(directory / DATABASE_NAME), entropy, None)

    def execute(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        if self._broken is not None:
            raise self._broken
        self._now_ms = now_ms
        if self._is_full and not self._has_space_again(now_ms):
            return self._execute_without_sends(commands, now_ms)
        return self._attempt(commands, now_ms)

    def _attempt(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        try:
            return self._transact(commands, now_ms)
        except Exception as error:
            self._roll_back()
            return self._recover(commands, now_ms, error)

    def _transact(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        answers: list[object] = [None] * len(commands)
        groups: dict[type[Command[Any]], list[int]] = {}
        for index, command in enumerate(commands):
            groups.setdefault(type(command), []).append(index)
        self._connection.execute("BEGIN IMMEDIATE")
        tx = Transaction(self._connection, now_ms, self._resources)
        for kind, run in _KINDS:
            if indexes := groups.pop(kind, None):
                group = [commands[index] for index in indexes]
                for index, answer in zip(indexes, run(tx, group), strict=True):
                    answers[index] = answer
        if groups:
            raise LookupError(f"no such command: {', '.join(kind.__name__ for kind in groups)}")
        tx.write_counts()
        self._write_latest(tx)
        self._connection.execute("COMMIT")
        return Flush(answers, tx.wakes())

    def _write_latest(self, tx: Transaction) -> None:
        """Remember queue time, now and then, if this transaction writes anyway."""
        is_due = tx.now_ms >= self._latest_written_ms + _LATEST_WRITTEN_EVERY_MS
        if is_due and tx.has_written():
            tx.execute(_WRITE_META, ("latest_ms", tx.now_ms))
            self._latest_written_ms = tx.now_ms

    def _roll_back(self) -> None:
        # SQLite may have rolled back by itself, or be unable to: the cause is what counts.
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        self._sequence.rolled_back()
        self._latest_written_ms = 0
        self._resources.in_flight_bounds.clear()
        self._resources.fairness.clear()

    def _recover(self, commands: Sequence[Command[Any]], now_ms: int, error: Exception) -> Flush:
        fault = _fault(error)
        if fault == "broken":
            self._break(error)
        if fault == "full" and not self._is_full:
            self._become_full()
            return self._execute_without_sends(commands, now_ms)
        if fault == "full":
            failure: StoreError = StoreFull(str(error))
        else:
            failure = StoreError(f"{type(error).__name__}: {error}")
        if len(commands) == 1 or fault == "busy":
            return Flush([failure] * len(commands), [])
        return _joined([self._attempt([command], now_ms) for command in commands])

    def _break(self, error: Exception) -> None:
        self._broken = StoreBroken(f"the store has failed: {error}")
        raise self._broken from error

    def _become_full(self) -> None:
        self._is_full = True
        self._reserve_tried_ms = self._now_ms
        if self._directory is not None:
            self._directory.reserve.release()

    def _has_space_again(self, now_ms: int) -> bool:
        if now_ms < self._reserve_tried_ms + _RESERVE_RETRY_MS:
            return False
        self._reserve_tried_ms = now_ms
        if self._directory is None or self._directory.reserve.fill():
            self._is_full = False
        return not self._is_full

    def _execute_without_sends(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        is_send = [type(command) in _SENDS for command in commands]
        others = [c for c, sends in zip(commands, is_send, strict=True) if not sends]
        flush = self._attempt(others, now_ms)
        rest = iter(flush.answers)
        full = StoreFull("there is no space left for messages")
        answers = [full if sends else next(rest) for sends in is_send]
        return Flush(answers, flush.wakes)

    def set_move_key(self, key: bytes) -> None:
        self._resources = self._resources._replace(provenances=Provenances(key))

    def maintain(self) -> None:
        """Keep the write-ahead log short. Raises `StoreBroken`."""
        if self._directory is None or self._broken is not None:
            return
        try:
            if self._is_full:
                self._directory.checkpointer.shrink()
            else:
                self._directory.checkpointer.keep_up()
        except sqlite3.Error as error:
            fault = _fault(error)
            if fault == "full":
                self._become_full()
            elif fault != "busy":
                self._break(error)

    def _read_latest_ms(self) -> int:
        latest_ms: int = self._connection.execute(_READ_META, ("latest_ms",)).fetchone()[0]
        newest = self._connection.execute(_NEWEST_SENT_AT).fetchone()
        return max(latest_ms, newest[0] if newest else 0)

    def latest_ms(self) -> int:
        return self._latest_ms

    def close(self) -> None:
        if self._directory is None:
            self._connection.close()
        else:
            self._directory.close()


class Directory:
    """What an open data directory holds, to be closed in the right order."""

    def __init__(self, directory: Path, reserve_bytes: int) -> None:
        make_directory(directory)
        path = directory / DATABASE_NAME
        with contextlib.ExitStack() as stack:
            lock = OwnerLock(directory / LOCK_NAME)
            stack.callback(lock.release)
            create(path)
            self.reserve = Reserve(directory / "stanchion.reserve", reserve_bytes)
            stack.callback(self.reserve.close)
            self.connection = database.open_file(path)
            stack.callback(self.connection.close)
            self.checkpointer = Checkpointer(path, self.connection)
            self._stack = stack.pop_all()

    def close(self) -> None:
        self.checkpointer.close()
        self._stack.close()
        self.checkpointer.close_index()


def _fault(error: Exception) -> Fault:
    """What a failure means for the store, by SQLite's primary result code."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "other"
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE):
        return "full"
    return _FAULTS.get(code & 0xFF, "other")


_FAULTS: dict[int, Fault] = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_IOERR: "broken",
    sqlite3.SQLITE_CORRUPT: "broken",
    sqlite3.SQLITE_NOTADB: "broken",
    sqlite3.SQLITE_CANTOPEN: "broken",
    sqlite3.SQLITE_READONLY: "broken",
    sqlite3.SQLITE_PROTOCOL: "broken",
}


def _joined(flushes: Sequence[Flush]) -> Flush:
    answers: list[object] = []
    wakes: list[Wake] = []
    for flush in flushes:
        answers += flush.answers
        wakes += flush.wakes
    return Flush(answers, wakes)
