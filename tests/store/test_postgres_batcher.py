"""Which commands go together into a flush on PostgreSQL, and when a second one sets off."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.changes import ListQueueChanges
from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    ClaimFifo,
    Command,
    CountMessages,
    Delete,
    DeleteQueue,
    Flush,
    GetQueue,
    Lease,
    ListQueues,
    QueueName,
    Send,
    SendFifo,
    StoreUnreachable,
    Upkeep,
)
from stanchion.store.postgres import batcher as batching
from stanchion.store.postgres import engine
from stanchion.store.postgres.batcher import PostgresBatcher
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.records import EditRecords, GetRecords, LatestEdit, ListRecords
from stanchion.store.signals import QueueSignals
from tests.store.driver import claim, message
from tests.store.virtual_loop import LoopClock, VirtualLoop, run

SHORT_S = batching._PATIENCE_S / 2
LONG_S = batching._PATIENCE_S * 10


class SlowStore:
    """Takes its time, and writes down how many commands came together, and when."""

    def __init__(self, flush_s: float) -> None:
        self.flush_s = flush_s
        self.flushes: list[tuple[float, int]] = []
        self.kinds: list[set[type[Command[Any]]]] = []
        self.answer: object = True

    async def execute(self, commands: Sequence[Command[Any]]) -> Flush:
        self.flushes.append((asyncio.get_running_loop().time(), len(commands)))
        self.kinds.append({type(command) for command in commands})
        await asyncio.sleep(self.flush_s)
        return Flush([self.answer] * len(commands), [])


class Bench:
    def __init__(self, flush_s: float) -> None:
        self.loop = VirtualLoop()
        self.store = SlowStore(flush_s)
        signals = QueueSignals(LoopClock(self.loop))
        self.batcher = PostgresBatcher(cast(PostgresStore, self.store), signals)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        run(self.loop, coroutine)

    def start(self, command: Command[Any], count: int = 1) -> "list[asyncio.Task[Any]]":
        return [self.loop.create_task(self.batcher.run(command)) for _ in range(count)]


SEND = Send(1, (message(),))
DELETE = Delete(1, (Lease(1, 1),))
CLAIM = claim(1)
SHOW = ChangeVisibility(1, ((Lease(1, 1), 0),))
QUEUE = QueueName("", "", "q")


def test_what_arrives_during_a_flush_forms_the_next() -> None:
    bench = Bench(SHORT_S)

    async def scenario() -> None:
        tasks = bench.start(SEND)
        await asyncio.sleep(SHORT_S / 2)
        tasks += bench.start(SEND, 2)
        await asyncio.gather(*tasks)

    bench.run(scenario())
    assert bench.store.flushes == [(0, 1), (SHORT_S, 2)]


def test_kinds_of_commands_do_not_wait_for_each_other() -> None:
    bench = Bench(SHORT_S)

    async def scenario() -> None:
        await asyncio.gather(*bench.start(SEND, 2), *bench.start(DELETE, 3))

    bench.run(scenario())
    assert bench.store.flushes == [(0, 2), (0, 3)]


def test_a_flush_that_takes_long_is_not_waited_for() -> None:
    bench = Bench(LONG_S)

    async def scenario() -> None:
        tasks = bench.start(SEND)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for _ in range(3):
            tasks += bench.start(SEND)
            await asyncio.sleep(SHORT_S)
        await asyncio.gather(*tasks)

    bench.run(scenario())
    # The last comes when two are under way.
    assert bench.store.flushes == [(0, 1), (batching._PATIENCE_S, 2), (LONG_S, 1)]


def test_many_commands_wait_for_nobody() -> None:
    bench = Bench(SHORT_S)

    async def scenario() -> None:
        tasks = bench.start(SEND)
        await asyncio.sleep(SHORT_S / 2)
        tasks += bench.start(SEND, batching._COMMANDS_BESIDE_MIN)
        await asyncio.gather(*tasks)

    bench.run(scenario())
    assert bench.store.flushes == [(0, 1), (SHORT_S / 2, batching._COMMANDS_BESIDE_MIN)]


def test_there_is_a_connection_for_the_first_flush_of_each_kind() -> None:
    bench = Bench(LONG_S)

    async def scenario() -> None:
        tasks = []
        for kind in (SEND, DELETE, CLAIM, SHOW):
            tasks += bench.start(kind)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            tasks += bench.start(kind, batching._COMMANDS_BESIDE_MIN)
        await asyncio.sleep(SHORT_S)
        assert len(bench.store.flushes) == 4 + batching._FLUSHES_BESIDE_MAX
        await asyncio.gather(*tasks)

    bench.run(scenario())
    assert len(bench.store.flushes) == 8


EVERY_KIND: tuple[Command[Any], ...] = (
    *(SEND, SendFifo(1, (message(),), True), CLAIM, ClaimFifo(1, 1, 0, 1), DELETE, SHOW),
    *(EditRecords((), ()), LatestEdit(), GetRecords(()), ListRecords("user", "")),
    *(ListQueueChanges(0, 1), GetQueue(QUEUE), ListQueues("", "", "", "", 1)),
    *(DeleteQueue(1), CountMessages(1), Upkeep()),
)


def test_there_is_a_connection_for_every_flush_that_can_be_under_way() -> None:
    bench = Bench(LONG_S)

    async def scenario() -> None:
        tasks = []
        for _ in range(2):
            for kind in EVERY_KIND:
                tasks += bench.start(kind, batching._COMMANDS_BESIDE_MIN)
            await asyncio.sleep(SHORT_S)
        assert len(bench.store.flushes) == batching.FLUSHES_MAX == engine._CONNECTIONS_MAX
        await asyncio.gather(*tasks)

    bench.run(scenario())


def test_what_may_wait_for_locks_is_not_waited_for() -> None:
    bench = Bench(SHORT_S)

    async def scenario() -> None:
        await asyncio.gather(*(task for kind in EVERY_KIND for task in bench.start(kind)))

    bench.run(scenario())
    for kinds in bench.store.kinds:
        assert len(kinds & {DeleteQueue, EditRecords, GetQueue, Claim, ClaimFifo, Delete}) <= 1


def test_what_was_not_committed_is_not_counted() -> None:
    bench = Bench(SHORT_S)

    async def scenario() -> None:
        await asyncio.gather(*bench.start(SEND, 3))
        assert (bench.batcher.flushes, bench.batcher.commands) == (1, 3)
        bench.store.answer = StoreUnreachable("gone")
        failed = await asyncio.gather(*bench.start(SEND, 2), return_exceptions=True)
        assert [type(error) for error in failed] == [StoreUnreachable] * 2
        assert (bench.batcher.flushes, bench.batcher.commands) == (1, 3)

    bench.run(scenario())


def test_closing_finishes_what_waits() -> None:
    bench = Bench(SHORT_S)

    async def scenario() -> None:
        tasks = bench.start(SEND)
        await asyncio.sleep(SHORT_S / 2)
        tasks += bench.start(SEND)
        await asyncio.sleep(0)
        await bench.batcher.close()
        assert await asyncio.gather(*tasks) == [True, True]

    bench.run(scenario())
