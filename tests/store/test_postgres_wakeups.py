"""Long polls of one process are woken by what happens through another."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    Claimed,
    ClaimFifo,
    QueueCreated,
    QueueRules,
    Send,
    SendFifo,
    Wake,
)
from stanchion.store.postgres import database, wakeups
from stanchion.store.postgres.batcher import PostgresBatcher
from stanchion.store.postgres.clock import DatabaseClock
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.postgres.wakeups import Wakeups
from stanchion.store.signals import QueueSignals
from tests.postgres import SCHEMA, shared_database
from tests.store.driver import (
    RETENTION_MS,
    claim,
    claim_fifo,
    create_queue,
    fifo_message,
    message,
)

DEADLINE_S = 20


class Node:
    """What a process has."""

    def __init__(self, url: str, store: PostgresStore) -> None:
        self.store = store
        self.signals = QueueSignals(store.clock)
        self.wakeups = Wakeups(url, SCHEMA, self.signals, store.clock)
        self.batcher = PostgresBatcher(store, self.signals, announce=self.wakeups.announce)
        self.run = self.batcher.run

    async def poll(self, command: Claim | ClaimFifo) -> Claimed:
        """A long poll, as ReceiveMessage does it."""
        deadline_ms = self.store.clock.now_ms() + DEADLINE_S * 1000
        with self.signals.waiter(command.queue_id) as waiter:
            while True:
                claimed = await self.run(command)
                assert claimed is not None
                if claimed.messages or not await waiter.sleep(
                    deadline_ms, claimed.next_visible_at_ms
                ):
                    return claimed

    async def close(self) -> None:
        await self.batcher.close()
        await self.wakeups.close()
        await self.store.close()


def on_two_nodes(work: Callable[[Node, Node], Awaitable[None]]) -> None:
    shared = shared_database()
    shared.empty()

    async def run() -> None:
        stores = [await PostgresStore.open(shared.url, schema=SCHEMA) for _ in range(2)]
        nodes = [Node(shared.url, store) for store in stores]
        await asyncio.wait_for(work(*nodes), DEADLINE_S)
        for node in nodes:
            await node.close()

    asyncio.run(run())


async def create(node: Node, is_fifo: bool = False, delay_ms: int = 0) -> int:
    rules = QueueRules(RETENTION_MS, is_fifo=is_fifo, delay_ms=delay_ms)
    created = await node.run(msgspec.structs.replace(create_queue(), rules=rules))
    assert isinstance(created, QueueCreated)
    return created.record.id


async def asleep(node: Node) -> None:
    """Until the node's long poll has found nothing."""
    flushes = node.batcher.flushes
    await until(lambda: node.batcher.flushes > flushes and node.signals.waiting > 0)


async def acquainted(*nodes: Node) -> None:
    """Until each node has found that it is not alone."""
    await until(lambda: all(node.wakeups._connection is not None for node in nodes))
    for node in nodes:
        await node.wakeups._look()
        assert node.wakeups._has_others


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


def seconds_until_received(is_fifo: bool, *, without_notification: bool = False) -> float:
    """From a send through one node to the message in the hands of a long poll at the other."""
    taken_s: list[float] = []

    async def work(a: Node, b: Node) -> None:
        queue_id = await create(a, is_fifo)
        if not without_notification:
            await acquainted(a, b)
        polled = asyncio.create_task(b.poll((claim_fifo if is_fifo else claim)(queue_id)))
        await asleep(b)
        start_s = asyncio.get_running_loop().time()
        if is_fifo:
            await a.run(SendFifo(queue_id, (fifo_message("x", "g", "d"),), by_group=False))
        else:
            await a.run(Send(queue_id, (message("x"),)))
        assert [m.body for m in (await polled).messages] == [b"x"]
        taken_s.append(asyncio.get_running_loop().time() - start_s)

    on_two_nodes(work)
    return taken_s[0]


@pytest.fixture
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who misses a notification waits for long."""
    monkeypatch.setattr(wakeups, "_POLL_S", 10 * DEADLINE_S)


@pytest.fixture
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups, "_POLL_S", 0.02)


@pytest.mark.usefixtures("rare_looks")
@pytest.mark.parametrize("is_fifo", [False, True], ids=["standard", "fifo"])
def test_a_message_sent_through_another_node_wakes_a_long_poll(is_fifo: bool) -> None:
    assert seconds_until_received(is_fifo) < 2


@pytest.mark.usefixtures("frequent_looks")
@pytest.mark.parametrize("is_fifo", [False, True], ids=["standard", "fifo"])
def test_a_lost_notification_costs_one_look(monkeypatch: pytest.MonkeyPatch, is_fifo: bool) -> None:
    monkeypatch.setattr(Wakeups, "announce", lambda *_: None)
    assert seconds_until_received(is_fifo, without_notification=True) < 2


@pytest.mark.usefixtures("rare_looks")
def test_a_delay_that_ends_and_a_lease_given_back_wake_the_other_node() -> None:
    async def work(a: Node, b: Node) -> None:
        queue_id = await create(a)
        await acquainted(a, b)
        polled = asyncio.create_task(b.poll(claim(queue_id, visibility_ms=600_000)))
        await asleep(b)
        await a.run(Send(queue_id, (message("late", 300),)))
        (received,) = (await polled).messages
        polled = asyncio.create_task(b.poll(claim(queue_id)))
        await asleep(b)
        assert await a.run(ChangeVisibility(queue_id, ((received.lease, 0),))) == (True,)
        (again,) = (await polled).messages
        assert again.lease.receive_count == 2

    on_two_nodes(work)


@pytest.mark.usefixtures("frequent_looks")
def test_a_lost_connection_is_replaced() -> None:
    async def work(a: Node, b: Node) -> None:
        queue_id = await create(a)
        await acquainted(a, b)
        connection = await database.connect(shared_database().url, SCHEMA)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            b.wakeups._name,
        )
        await connection.close()
        polled = asyncio.create_task(b.poll(claim(queue_id)))
        await asleep(b)
        await a.run(Send(queue_id, (message("x"),)))
        assert len((await polled).messages) == 1

    on_two_nodes(work)


def test_a_node_that_is_alone_tells_nobody() -> None:
    shared = shared_database()
    shared.empty()

    async def run() -> None:
        store = await PostgresStore.open(shared.url, schema=SCHEMA)
        node = Node(shared.url, store)
        queue_id = await create(node)
        await until(lambda: node.wakeups._connection is not None)
        await node.wakeups._look()
        await node.run(Send(queue_id, (message("x"),)))
        assert node.wakeups._gathered == {}
        await node.close()

    asyncio.run(run())


def test_news_that_come_fast_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is told at once; commits with notifications wait for each other."""
    monkeypatch.setattr(wakeups, "_GATHERED_FOR_S", 0.3)

    async def work(a: Node, b: Node) -> None:
        told: list[list[Wake]] = []
        monkeypatch.setattr(b.signals, "notify", lambda wakes: told.append(list(wakes)))
        await acquainted(a, b)
        start_s = asyncio.get_running_loop().time()
        a.wakeups.announce([Wake(1, 0, 1)])
        await until(lambda: len(told) == 1)
        assert asyncio.get_running_loop().time() - start_s < 0.3
        for _ in range(5):
            a.wakeups.announce([Wake(1, 0, 1)])
            await asyncio.sleep(0)
        await until(lambda: len(told) == 2)
        assert asyncio.get_running_loop().time() - start_s >= 0.3
        assert [[wake.messages for wake in wakes] for wakes in told] == [[1], [5]]

    on_two_nodes(work)


def test_a_node_works_while_the_listener_cannot_connect() -> None:
    async def run() -> None:
        signals = QueueSignals(DatabaseClock())
        lonely = Wakeups("postgresql:///x?host=/nonexistent", SCHEMA, signals, DatabaseClock())
        await asyncio.sleep(0)
        lonely.announce([Wake(1, 0, 1)])
        assert not lonely._polling.done()
        await lonely.close()

    asyncio.run(run())


# --- What is told -------------------------------------------------------------------------------


def test_news_of_many_queues_fit_into_payloads() -> None:
    gathered = {}
    for queue_id in range(10**18, 10**18 + 1000):
        news = gathered[queue_id] = wakeups._News()
        news.add(1_700_000_000_000, 128, 1_700_000_000_000)
        news.add(1_700_000_900_000, 1, 1_700_000_000_000)
        news.add(1_700_000_000_001, 1, 1_700_000_000_000)
    payloads = list(wakeups._payloads("0" * 12, gathered))
    assert max(map(len, payloads)) < 8000
    told = [
        wake for text in payloads for wake in wakeups._parsed(text.split(" ")[1], 1_700_000_000_005)
    ]
    assert len(told) == 2000
    assert told[:2] == [
        Wake(10**18, 1_700_000_000_005, 128),
        Wake(10**18, 1_700_000_000_001, 1),
    ]
