"""The connections that flushes run on: opened when needed, kept, and never shared by two flushes.

A connection that has failed in any way is closed rather than kept. A commit that the server answers
with a warning is one whose replication nobody vouches for, so it counts as unknown.
The server goes on with a commit that was given up, for as long as it takes a standby to come back,
and any other would have to wait as long. So until it is over there are no connections to be had:
else each that waited in vain would leave one more on the server. Used by the engine only.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import asyncpg

from stanchion.store.postgres import database

# Without a timeout: a commit that is cancelled while it waits for a standby happens all the same.
_COMMIT = "SET LOCAL statement_timeout = 0; COMMIT"
_COMMIT_MAX_S = 30.0
_CLOSE_MAX_S = 5.0
_LOOK_MAX_S = 5.0
_LOOK_EVERY_S = 0.5
_COMMITS_WAITING = """
SELECT pid FROM pg_stat_activity
WHERE pid = ANY($1::int[]) AND lower(wait_event) IN ('syncrep', 'walsync', 'walwrite')
"""
"""For standbys, or for the disk."""
_WRAPAROUND = ("GetNewTransactionId", "GetNewMultiXactId")
"""Functions of PostgreSQL whose warnings are about numbers that run out, long before they do."""


class ConnectionLost(Exception):
    """There is no connection to be had, or it is gone: nothing was committed."""


class CommitInDoubt(Exception):
    """A transaction may have been committed or not."""


class CommitsWait(Exception):
    """Commits that were given up still wait, and others would: nothing was begun."""


class Session:
    """A connection at work on one transaction after the other."""

    def __init__(self, connection: database.Connection) -> None:
        self.connection = connection
        self.has_given_up = False
        """A commit that took too long. It goes on without this end of the connection."""
        self._warnings = 0
        connection.add_log_listener(self._on_message)

    def _on_message(self, connection: object, message: Any) -> None:
        # Neither field is in the server's language.
        if message.severity_en == "WARNING" and message.server_source_function not in _WRAPAROUND:
            self._warnings += 1

    async def begin(self) -> None:
        await self.connection.execute("BEGIN")

    async def commit(self) -> None:
        """Make it durable. Raises `CommitInDoubt`, or what asyncpg does when it has failed.

        Only errors by which the server ends a transaction leave no doubt.
        """
        with self._committing():
            status = await self.connection.execute(_COMMIT, timeout=_COMMIT_MAX_S)
        if status != "COMMIT":
            raise RuntimeError(f"the transaction was not committed: {status}")

    async def transact(self, text: str, *parameters: object) -> "list[asyncpg.Record]":
        """Execute a statement as a transaction of its own; durable on return.

        Raises as `commit` does: when the connection is lost meanwhile, nobody knows.
        """
        with self._committing():
            return await self.connection.fetch(text, *parameters)

    @contextlib.contextmanager
    def _committing(self) -> Iterator[None]:
        warnings = self._warnings
        try:
            yield
        except asyncpg.PostgresError as error:
            if error.sqlstate is not None and error.sqlstate[:2] in _IN_DOUBT_CLASSES:
                raise CommitInDoubt(str(error)) from error
            raise
        except (asyncpg.InterfaceError, OSError, TimeoutError) as error:
            self.has_given_up = isinstance(error, TimeoutError)
            raise CommitInDoubt(f"{type(error).__name__}: {error}") from error
        if self._warnings != warnings:
            raise CommitInDoubt("the server does not vouch for its replication")

    async def roll_back(self) -> bool:
        """Whether the session can be used again."""
        try:
            await self.connection.execute("ROLLBACK", timeout=_CLOSE_MAX_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return False
        return True

    def terminate(self) -> None:
        self.connection.terminate()

    async def close(self) -> None:
        try:
            await self.connection.close(timeout=_CLOSE_MAX_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            self.connection.terminate()


# Connection failures; operator intervention, such as a shutdown; what the system or the server
# itself got wrong.
_IN_DOUBT_CLASSES = ("08", "57", "58", "XX")
_TOLD = "commits wait for a standby, or for the disk"


class Connections:
    """At most so many sessions to one database."""

    def __init__(self, url: str, schema: str, limit: int) -> None:
        self._url = url
        self._schema = schema
        self._room = asyncio.Semaphore(limit)
        self._free: list[Session] = []
        self._given_up: set[int] = set()
        """Process ids on the server of commits that may wait there."""
        self._are_waiting = False
        """Whether they did when last looked at."""
        self._is_looking = False
        self._look_again_s = 0.0
        self.in_use = 0
        """How many are taken."""

    async def take(self) -> Session:
        """A session for one transaction: give it back afterwards, or drop it.

        Raises `ConnectionLost`, and `CommitsWait` at once.
        """
        await self._room.acquire()
        self.in_use += 1
        try:
            if self._given_up:
                await self._see_about_given_up()
            while self._free:
                session = self._free.pop()
                if not session.connection.is_closed():
                    return session
            return await self._connect()
        except BaseException:
            self._leave()
            raise

    async def _see_about_given_up(self) -> None:
        """Return when they are over. One looks, now and then, and the others do not wait for it.

        Raises as `take`.
        """
        if self._is_looking or asyncio.get_running_loop().time() < self._look_again_s:
            if self._are_waiting:
                raise CommitsWait(_TOLD)
            raise ConnectionLost("whether commits wait is being found out")
        self._is_looking = True
        try:
            self._are_waiting = await self._look()
        except BaseException:
            self._are_waiting = False
            raise
        finally:
            self._is_looking = False
        if self._are_waiting:
            self._look_again_s = asyncio.get_running_loop().time() + _LOOK_EVERY_S
            raise CommitsWait(_TOLD)

    async def _look(self) -> bool:
        """Whether they wait, on whichever server takes writes now; those that do not are forgotten.

        Raises `ConnectionLost`.
        """
        asked = set(self._given_up)
        are_waiting = True
        session = await self._connect()
        try:
            rows = await session.connection.fetch(_COMMITS_WAITING, asked, timeout=_LOOK_MAX_S)
            self._given_up -= asked - {pid for (pid,) in rows}
            are_waiting = bool(rows)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise ConnectionLost(str(error) or type(error).__name__) from error
        finally:
            if are_waiting:
                # Not kept: another server may have taken over when it is time to look again.
                session.terminate()
            else:
                self._free.append(session)
        return are_waiting

    async def _connect(self) -> Session:
        try:
            return Session(await database.connect(self._url, self._schema))
        except database.CONNECT_ERRORS as error:
            raise ConnectionLost(database.words_of(error)) from error

    def give_back(self, session: Session) -> None:
        """Its transaction is over."""
        self._free.append(session)
        self._leave()

    def _leave(self) -> None:
        self.in_use -= 1
        self._room.release()

    async def undo(self, session: Session) -> None:
        """Its transaction has failed."""
        if await session.roll_back():
            self.give_back(session)
        else:
            self.drop(session)

    def drop(self, session: Session) -> None:
        """Nobody knows what becomes of its transaction."""
        session.terminate()
        self._leave()

    def lose(self, session: Session) -> None:
        """It has no server any more, or one that is none: nor may those have one that are idle.

        Found out one by one, each of them would cost a flush.
        """
        if session.has_given_up:
            self._given_up.add(session.connection.get_server_pid())
        self.drop(session)
        while self._free:
            self._free.pop().terminate()

    async def close(self) -> None:
        """Close those that nobody has taken."""
        free, self._free = self._free, []
        await asyncio.gather(*(session.close() for session in free))
