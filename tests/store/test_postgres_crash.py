"""The database crashes under load: what was answered has happened, and the store goes on."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import count

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import (
    CountMessages,
    Delete,
    MessageCounts,
    OutcomeUnknown,
    QueueCreated,
    Send,
    StoreUnreachable,
)
from stanchion.store.postgres.batcher import PostgresBatcher
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.signals import QueueSignals
from tests.postgres import PostgresServer, new_server
from tests.store.driver import claim, create_queue, message

PRODUCERS = 8
SENT_AFTER = 20
DEADLINE_S = 60


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = new_server()
    yield server
    server.stop()


class Load:
    """Producers and consumers, and what they were told."""

    def __init__(self, batcher: PostgresBatcher, queue_id: int) -> None:
        self.run = batcher.run
        self.queue_id = queue_id
        self.sent: Counter[str] = Counter()
        self.unsure: set[str] = set()
        self.received: Counter[str] = Counter()

    async def produce(self, name: str, until: "asyncio.Task[None]") -> None:
        """Until then, and a few more."""
        left = SENT_AFTER
        for n in count():
            left -= until.done()
            if not left:
                return
            body = f"{name}-{n}"
            try:
                assert await self.run(Send(self.queue_id, (message(body, 0, body),)))
                self.sent[body] += 1
            except OutcomeUnknown:
                self.unsure.add(body)

    async def consume(self, until: asyncio.Event) -> None:
        while not until.is_set():
            try:
                claimed = await self.run(claim(self.queue_id, 3, 600_000))
                assert claimed is not None
                for received in claimed.messages:
                    self.received[received.body.decode()] += 1
                    outcomes = await self.run(Delete(self.queue_id, (received.lease,)))
                    assert outcomes == ("deleted",)
            except OutcomeUnknown:
                continue


def test_a_crash_of_the_database_loses_nothing_that_was_answered(server: PostgresServer) -> None:
    async def run() -> None:
        store = await PostgresStore.open(server.url)
        batcher = PostgresBatcher(store, QueueSignals(store.clock))
        created = await batcher.run(create_queue())
        assert isinstance(created, QueueCreated)
        load = Load(batcher, created.record.id)
        is_over = asyncio.Event()
        consumers = [asyncio.create_task(load.consume(is_over)) for _ in range(PRODUCERS)]
        crash = asyncio.create_task(asyncio.to_thread(server.restart))
        await asyncio.gather(crash, *(load.produce(f"p{n}", crash) for n in range(PRODUCERS)))
        is_over.set()
        await asyncio.gather(*consumers)
        await _drain(load)
        await _judge(load)
        await batcher.close()
        await store.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


async def _drain(load: Load) -> None:
    claimed = await load.run(claim(load.queue_id, 10))
    while claimed is not None and claimed.messages:
        for received in claimed.messages:
            load.received[received.body.decode()] += 1
            await load.run(Delete(load.queue_id, (received.lease,)))
        claimed = await load.run(claim(load.queue_id, 10))


async def _judge(load: Load) -> None:
    """Only a claim whose outcome is unknown keeps a message from being received: in flight."""
    assert set(load.sent.values()) <= {1}
    assert set(load.received.values()) <= {1}
    assert set(load.received) <= set(load.sent) | load.unsure
    counts = await load.run(CountMessages(load.queue_id))
    assert isinstance(counts, MessageCounts)
    assert (counts.visible, counts.delayed) == (0, 0)
    assert len(set(load.sent) - set(load.received)) <= counts.in_flight


def test_while_the_database_is_gone_commands_fail_in_time(server: PostgresServer) -> None:
    async def run() -> None:
        store = await PostgresStore.open(server.url, retried_for_s=0.2)
        batcher = PostgresBatcher(store, QueueSignals(store.clock))
        server.crash()
        with pytest.raises(StoreUnreachable):
            await batcher.run(CountMessages(1))
        await batcher.close()
        await store.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))
