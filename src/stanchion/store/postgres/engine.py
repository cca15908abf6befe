"""The PostgreSQL store: a flush is one transaction, several run at a time, and what if one fails.

A transaction that loses against another is tried again, and so is one whose connection is lost
before its commit was sent. When it is lost during the commit nobody knows, and the answers say so.
Any other failure is one command's alone: the flush is undone and its commands run one by one.
The store is never broken for good: it is as well as the database. Called by `PostgresBatcher`.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import asyncpg

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
    OutcomeUnknown,
    PurgeQueue,
    Send,
    SendFifo,
    StoreError,
    StoreFull,
    StoreUnreachable,
    StoreUnusable,
    UpdateQueue,
    Upkeep,
    Wake,
)
from stanchion.store.moves import CancelMove, ListMoves, StartMove
from stanchion.store.postgres import (
    adopted,
    at_once,
    counts,
    database,
    fifo,
    fifo_claims,
    messages,
    moves,
    parts,
    queues,
    records,
    transit,
    upkeep,
)
from stanchion.store.postgres.clock import DatabaseClock
from stanchion.store.postgres.connections import (
    CommitInDoubt,
    CommitsWait,
    ConnectionLost,
    Connections,
    Session,
)
from stanchion.store.postgres.low_water import MARGIN_MS, LowWater, SlowLooks, TallyHead
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Resources, Transaction
from stanchion.store.provenance import Provenances
from stanchion.store.records import EditRecords, GetRecords, LatestEdit, ListRecords

Run = Callable[[Transaction, Sequence[Any]], Awaitable[Sequence[object]]]

# In this order: queues change before messages are looked at, deletes make room before claims, and
# claims find what the same flush sends.
_KINDS: tuple[tuple[type[Command[Any]], Run], ...] = (
    (DeleteQueue, queues.delete_queues),
    (CreateQueue, queues.create_queues),
    (UpdateQueue, queues.update_queues),
    (PurgeQueue, queues.purge_queues),
    (Delete, messages.delete),
    (ChangeVisibility, messages.change_visibility),
    (Send, messages.send),
    (SendFifo, fifo.send),
    (Claim, messages.claim),
    (ClaimFifo, fifo_claims.claim),
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
    *adopted.KINDS,
    *parts.KINDS,
    *transit.KINDS,
)

_READ_META = statement("read_meta")
_NEWEST_SENT_AT = statement("newest_sent_at")
_SCHEMA = "stanchion"
_CONNECTIONS_MAX = 12
"""One for each flush that the batcher may have under way, so that none waits for another."""
_RETRIED_FOR_S = 10.0
"""Unless `open` is told otherwise."""
_PAUSE_S = 0.01
_PAUSE_MAX_S = 0.5
_BEGIN_AND_COMMIT = 2
_REACHABLE_FOR_S = 5.0
"""How long a commit shows that the database can be reached; the server makes two a second."""
_NO_KEY = bytes(32)

Fault = Literal["conflict", "lost", "full", "other"]


class PostgresStore:
    """What `Store` is, for an event loop. Made by `open`."""

    def __init__(
        self,
        connections: Connections,
        entropy: Callable[[int], bytes],
        latest_ms: int,
        retried_for_s: float = _RETRIED_FOR_S,
    ) -> None:
        self._connections = connections
        self._retried_for_s = retried_for_s
        self._resources = Resources(
            entropy, Provenances(_NO_KEY), {}, {}, LowWater(), SlowLooks(), TallyHead(), {}
        )
        self.clock = DatabaseClock(latest_ms)
        self.statements = 0
        """How many were sent for transactions that were committed, BEGIN and COMMIT included."""
        self._committed_s = time.monotonic()

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        schema: str = _SCHEMA,
        connections_max: int = _CONNECTIONS_MAX,
        entropy: Callable[[int], bytes] = os.urandom,
        retried_for_s: float = _RETRIED_FOR_S,
        is_made: bool = True,
    ) -> "PostgresStore":
        """The store in a schema of the database at `postgresql://…`.

        Made if there is none and brought up to date; or, unless `is_made`, refused then.
        What loses against others, or finds no connection, is tried again for `retried_for_s`.
        Raises `StoreUnusable`.
        """
        try:
            latest_ms = await _prepare(url, schema, is_made=is_made)
        except database.CONNECT_ERRORS as error:
            reason = database.words_of(error)
            raise StoreUnusable(f"the PostgreSQL database cannot be used: {reason}") from error
        return cls(Connections(url, schema, connections_max), entropy, latest_ms, retried_for_s)

    async def execute(self, commands: Sequence[Command[Any]], now_ms: int | None = None) -> Flush:
        """Run commands in one transaction; durable on return.

        At `now_ms`, or when the database says. Never raises for what the database does: then the
        answers are `StoreError`s.
        """
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + self._retried_for_s
        pause_s = _PAUSE_S
        while True:
            try:
                return await self._attempt(commands, now_ms)
            except CommitInDoubt as error:
                unknown = OutcomeUnknown(f"the outcome of the commit is unknown: {error}")
                return Flush([unknown] * len(commands), [])
            except CommitsWait as error:
                return Flush([StoreUnreachable(str(error))] * len(commands), [])
            except Exception as error:
                fault = _fault(error)
                if fault not in ("conflict", "lost") or loop.time() + pause_s > give_up_s:
                    return await self._recover(commands, now_ms, error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    async def _attempt(self, commands: Sequence[Command[Any]], now_ms: int | None) -> Flush:
        session = await self._connections.take()
        start_s = time.monotonic()
        try:
            tx = Transaction(session.connection, 0, self._resources)
            answers = await at_once.run(session, tx, self.clock, commands, now_ms)
            is_committed = answers is not None
            if answers is None:
                await self._begin(session, tx, commands, now_ms)
                answers = await _run(tx, commands)
                await tx.write_counts()
        except CommitInDoubt:
            self._connections.lose(session)
            raise
        except Exception as error:
            self._resources.fairness.clear()
            if session.connection.is_closed() or _fault(error) == "lost":
                self._connections.lose(session)
                raise ConnectionLost(str(error) or type(error).__name__) from error
            await self._connections.undo(session)
            raise
        except BaseException:
            self._connections.drop(session)
            raise
        if is_committed:
            self._connections.give_back(session)
        else:
            await self._commit(session)
        self.statements += tx.statements + (0 if is_committed else _BEGIN_AND_COMMIT)
        self._committed_s = time.monotonic()
        wakes = tx.wakes()
        self._mind_duration(tx, wakes, (self._committed_s - start_s) * 1000)
        return Flush(answers, wakes)

    def _mind_duration(self, tx: Transaction, wakes: Sequence[Wake], duration_ms: float) -> None:
        """What took so long may have come into view behind where others look.

        Only that: a look that is slow because of what vacuum cannot clean up needs its mark.
        """
        if duration_ms > MARGIN_MS / 2:
            until_ms = tx.now_ms + duration_ms
            queue_ids = {wake.queue_id for wake in wakes if wake.visible_at_ms <= until_ms}
            places = self._resources.places
            # Where a queue is that was never looked up, nobody has looked for messages either.
            backlogs = {places[queue_id].backlog for queue_id in queue_ids if queue_id in places}
            self._resources.low_water.forget_backlogs(backlogs)

    async def _commit(self, session: Session) -> None:
        try:
            await session.commit()
        except CommitInDoubt:
            self._connections.lose(session)
            raise
        except BaseException:
            self._connections.drop(session)
            raise
        self._connections.give_back(session)

    async def _begin(
        self,
        session: Session,
        tx: Transaction,
        commands: Sequence[Command[Any]],
        now_ms: int | None,
    ) -> None:
        await session.begin()
        queue_ids = {queue_id for c in commands if (queue_id := getattr(c, "queue_id", None))}
        database_ms = await tx.look_up(queue_ids)
        tx.now_ms = self.clock.observe(database_ms) if now_ms is None else now_ms

    async def _recover(
        self, commands: Sequence[Command[Any]], now_ms: int | None, error: Exception
    ) -> Flush:
        fault = _fault(error)
        if fault == "full":
            failure: StoreError = StoreFull(f"there is no space left in the database: {error}")
        elif fault == "lost":
            failure = StoreUnreachable(f"{type(error).__name__}: {error}")
        else:
            failure = StoreError(f"{type(error).__name__}: {error}")
        if len(commands) == 1 or fault in ("conflict", "lost"):
            return Flush([failure] * len(commands), [])
        return _joined([await self.execute([command], now_ms) for command in commands])

    def set_move_key(self, key: bytes) -> None:
        """What moves are vouched for with, 64 bytes at most. Before the first command."""
        self._resources = self._resources._replace(provenances=Provenances(key))

    def is_reachable(self) -> bool:
        """Whether the database has answered in the last few seconds."""
        return time.monotonic() - self._committed_s < _REACHABLE_FOR_S

    @property
    def connections_in_use(self) -> int:
        """How many transactions are under way."""
        return self._connections.in_use

    def latest_ms(self) -> int:
        """Queue time: not earlier than anything that was found when the store was opened."""
        return self.clock.now_ms()

    async def close(self) -> None:
        """After the last flush."""
        await self._connections.close()


async def _prepare(url: str, schema: str, *, is_made: bool) -> int:
    """See to the schema; answers the latest instant found in it."""
    connection = await database.connect(url, schema)
    try:
        see_to = database.migrate if is_made else database.check_version
        await see_to(connection, schema)
        await database.check_complete(connection, schema)
        latest_ms: int = await connection.fetchval(_READ_META, "latest_ms")
        return max(latest_ms, await connection.fetchval(_NEWEST_SENT_AT) or 0)
    finally:
        await connection.close()


async def _run(tx: Transaction, commands: Sequence[Command[Any]]) -> list[object]:
    answers: list[object] = [None] * len(commands)
    groups: dict[type[Command[Any]], list[int]] = {}
    for index, command in enumerate(commands):
        groups.setdefault(type(command), []).append(index)
    for kind, run in _KINDS:
        if indexes := groups.pop(kind, None):
            found = await run(tx, [commands[index] for index in indexes])
            for index, answer in zip(indexes, found, strict=True):
                answers[index] = answer
    if groups:
        raise LookupError(f"no such command: {', '.join(kind.__name__ for kind in groups)}")
    return answers


def _fault(error: Exception) -> Fault:
    """What a failure means for a flush, by PostgreSQL's error code."""
    if isinstance(error, ConnectionLost | OSError | TimeoutError):
        return "lost"
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        # A plan from before a migration by a newer node.
        return "conflict"
    if isinstance(error, asyncpg.PostgresError):
        code = error.sqlstate or ""
        return _FAULTS.get(code) or _FAULTS.get(code[:2], "other")
    return "other"


_FAULTS: dict[str, Fault] = {
    "40001": "conflict",
    "40P01": "conflict",
    # Lock and statement timeouts: somebody else is in the way.
    "55P03": "conflict",
    "57014": "conflict",
    "53100": "full",
    # Too many connections, out of memory.
    "53": "lost",
    "08": "lost",
    # Shutting down, crashed, starting up; ended for idling; turned into a standby.
    "57": "lost",
    "25P03": "lost",
    "25006": "lost",
}


def _joined(flushes: Sequence[Flush]) -> Flush:
    answers: list[object] = []
    wakes: list[Wake] = []
    for flush in flushes:
        answers += flush.answers
        wakes += flush.wakes
    return Flush(answers, wakes)
