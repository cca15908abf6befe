"""Copying what was committed from the write-ahead log into the database file, off the hot path.

Theory of operation. SQLite starts its log over when a transaction begins and every frame of it has
been copied. A copier that works beside a busy writer never catches up entirely, and the log would
grow without end. So a thread with its own connection copies most of it, and when little is left the
writer copies that between two flushes, which takes a millisecond or two. If the copier cannot keep
up at all, the writer does the work itself at `_FRAMES_MAX`.

How far both are is read from the log's index file, whose layout SQLite documents (walformat.html).
Its descriptor stays open as long as the connections: closing it would drop SQLite's locks on it.
"""

import os
import queue
import sqlite3
import struct
import threading
from pathlib import Path

from stanchion.store.sqlite.database import connect

_FRAMES_WANTED = 1024
_FRAMES_LEFT_FOR_WRITER = 256
_FRAMES_MAX = 4096

_MX_FRAME_OFFSET = 16
_BACKFILLED_OFFSET = 96
_U32 = struct.Struct("=I")


class Checkpointer:
    """Owned by the engine; `keep_up` is called by the writer between flushes."""

    def __init__(self, database: Path, writer: sqlite3.Connection) -> None:
        self._writer = writer
        self._index = os.open(f"{database}-shm", os.O_RDONLY | os.O_CLOEXEC)
        self._connection = connect(database)
        self._jobs: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._error: sqlite3.Error | None = None
        self._finished_at = 0
        self._thread = threading.Thread(target=self._work, name="checkpoint", daemon=True)
        self._thread.start()

    def keep_up(self) -> None:
        """See to it that the log stays short. Raises `sqlite3.Error` when copying has failed."""
        self._raise_failure()
        frames = self._read(_MX_FRAME_OFFSET)
        if frames < _FRAMES_WANTED:
            self._finished_at = 0
            return
        left = frames - self._read(_BACKFILLED_OFFSET)
        if frames >= _FRAMES_MAX and left > _FRAMES_LEFT_FOR_WRITER:
            self.finish()
        elif self._idle.is_set() and left:
            self._take_turn(frames, left)

    def _raise_failure(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _take_turn(self, frames: int, left: int) -> None:
        # Somebody who reads for long keeps the log from starting over, however much is copied:
        # then it is left to the thread, now and then.
        is_stuck = 0 < self._finished_at < frames
        if left <= _FRAMES_LEFT_FOR_WRITER and not is_stuck:
            self.finish()
            self._finished_at = frames
        elif left > _FRAMES_LEFT_FOR_WRITER:
            self._idle.clear()
            self._jobs.put(True)

    def finish(self) -> None:
        """Copy everything now, in the caller's thread; the next transaction starts the log over."""
        self._idle.wait()
        _copy(self._writer)

    def shrink(self) -> None:
        """Copy everything and cut the log's file to nothing: for when the disk is full.

        Somebody who reads, such as a backup, is not waited for: it is tried again at the next turn.
        Raises `sqlite3.Error`, also for what failed in the background before.
        """
        self._idle.wait()
        self._raise_failure()
        if self._read(_MX_FRAME_OFFSET):
            (patience_ms,) = self._writer.execute("PRAGMA busy_timeout").fetchone()
            self._writer.execute("PRAGMA busy_timeout = 0")
            try:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._writer.execute(f"PRAGMA busy_timeout = {patience_ms}")

    def frames(self) -> int:
        """How many frames of a page each the log has."""
        return self._read(_MX_FRAME_OFFSET)

    def _read(self, offset: int) -> int:
        value: int = _U32.unpack(os.pread(self._index, _U32.size, offset))[0]
        return value

    def _work(self) -> None:
        while self._jobs.get():
            try:
                _copy(self._connection)
            except sqlite3.Error as error:
                self._error = error
            self._idle.set()

    def close(self) -> None:
        """Before the writer's connection; the index is closed by `close_index`, after it."""
        self._jobs.put(False)
        self._thread.join()
        self._connection.close()

    def close_index(self) -> None:
        os.close(self._index)


def _copy(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
