"""Several processes' worth of stores and batchers over one PostgreSQL, all at once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from typing import Any

import msgspec
import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import (
    Claimed,
    Command,
    CountMessages,
    CreateQueue,
    Delete,
    DeleteQueue,
    MessageCounts,
    PurgeQueue,
    QueueCreated,
    QueueDeletedRecently,
    QueueExists,
    QueueRules,
    Send,
    SendFifo,
    StoreBusy,
    Upkeep,
)
from stanchion.store.postgres.batcher import PostgresBatcher
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.records import Change, EditRecords, Expected, GetRecords, RecordKey
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

PRODUCERS = 8
SENT_BY_EACH = 25
DEADLINE_S = 30


class Node:
    """What a process has."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.signals = QueueSignals(store.clock)
        self.batcher = PostgresBatcher(store, self.signals)
        self.run = self.batcher.run


def on_nodes(work: Callable[[list[Node]], Awaitable[None]]) -> None:
    """Run something over three nodes and an empty database."""
    database = shared_database()
    database.empty()

    async def run() -> None:
        stores = [await PostgresStore.open(database.url, schema=SCHEMA) for _ in range(3)]
        nodes = [Node(store) for store in stores]
        await asyncio.wait_for(work(nodes), DEADLINE_S)
        for node in nodes:
            await node.batcher.close()
            await node.store.close()

    asyncio.run(run())


async def create(node: Node, is_fifo: bool) -> int:
    rules = QueueRules(RETENTION_MS, is_fifo=is_fifo)
    created = await node.run(msgspec.structs.replace(create_queue(), rules=rules))
    assert isinstance(created, QueueCreated)
    return created.record.id


async def produce(node: Node, queue_id: int, group: str, is_fifo: bool) -> None:
    for n in range(SENT_BY_EACH):
        body, name = f"{group}:{n}", f"{group}-{n}"
        if is_fifo:
            sent = fifo_message(body, group, name, name)
            assert await node.run(SendFifo(queue_id, (sent,), by_group=False))
        else:
            assert await node.run(Send(queue_id, (message(body, 0, name),)))


async def consume(node: Node, queue_id: int, is_fifo: bool, received: list[str]) -> None:
    """Receive and delete until everything that is produced was received."""
    take = claim_fifo if is_fifo else claim
    while len(received) < PRODUCERS * SENT_BY_EACH:
        claimed = await node.run(take(queue_id, 7, 60_000))
        assert claimed is not None
        received += [m.body.decode() for m in claimed.messages]
        leases = tuple(m.lease for m in claimed.messages)
        assert await node.run(Delete(queue_id, leases)) == ("deleted",) * len(leases)


@pytest.mark.parametrize("is_fifo", [False, True], ids=["standard", "fifo"])
def test_every_message_is_received_once_whichever_node_it_came_through(is_fifo: bool) -> None:
    async def work(nodes: list[Node]) -> None:
        queue_id = await create(nodes[0], is_fifo)
        received: list[str] = []
        jobs: list[Coroutine[Any, Any, None]] = []
        for n in range(PRODUCERS):
            node = nodes[n % len(nodes)]
            jobs.append(produce(node, queue_id, f"g{n}", is_fifo))
            jobs.append(consume(node, queue_id, is_fifo, received))
        upkeep = asyncio.create_task(keep_up(nodes))
        await asyncio.gather(*jobs)
        upkeep.cancel()
        expected = {f"g{n}:{m}" for n in range(PRODUCERS) for m in range(SENT_BY_EACH)}
        assert len(received) == len(expected)
        assert set(received) == expected
        if is_fifo:
            for n in range(PRODUCERS):
                numbers = [int(b.split(":")[1]) for b in received if b.startswith(f"g{n}:")]
                assert numbers == list(range(SENT_BY_EACH))
        assert await nodes[1].run(CountMessages(queue_id)) == MessageCounts(0, 0, 0)

    on_nodes(work)


async def keep_up(nodes: list[Node]) -> None:
    for n in count():
        await nodes[n % len(nodes)].run(Upkeep(limit=10))


def test_counts_are_exact_whoever_adds_them_up() -> None:
    async def work(nodes: list[Node]) -> None:
        queue_id = await create(nodes[0], is_fifo=False)
        delayed = message("later", 900_000)
        sends = [Send(queue_id, (message(), delayed)) for _ in range(90)]
        commands: list[Command[Any]] = [*sends, *[Upkeep(limit=5)] * 30]
        await asyncio.gather(*(nodes[n % 3].run(c) for n, c in enumerate(commands)))
        claims = [nodes[n % 3].run(claim(queue_id, 2, 600_000)) for n in range(15)]
        claimed = await asyncio.gather(*claims, nodes[0].run(Upkeep(limit=20)))
        taken = sum(len(c.messages) for c in claimed if isinstance(c, Claimed))
        assert 20 <= taken <= 30
        assert await nodes[2].run(CountMessages(queue_id)) == MessageCounts(90 - taken, taken, 90)

    on_nodes(work)


def test_of_those_that_create_a_queue_at_once_one_does() -> None:
    async def work(nodes: list[Node]) -> None:
        created = await asyncio.gather(*(nodes[n % 3].run(create_queue()) for n in range(12)))
        assert sorted(type(answer).__name__ for answer in created) == (
            ["QueueCreated"] + ["QueueExists"] * 11
        )
        records = [c.record for c in created if isinstance(c, QueueCreated | QueueExists)]
        assert len({record.id for record in records}) == 1

    on_nodes(work)


def test_no_queue_is_created_in_the_quarantine_of_one_that_is_being_deleted() -> None:
    async def work(nodes: list[Node]) -> None:
        queue_id = await create(nodes[0], is_fifo=False)
        commands: list[Command[Any]] = [DeleteQueue(queue_id), *[create_queue()] * 5]
        answers = await asyncio.gather(*(nodes[n % 3].run(c) for n, c in enumerate(commands)))
        assert answers[0] is True
        assert all(isinstance(a, QueueExists | QueueDeletedRecently) for a in answers[1:])

    on_nodes(work)


def test_edits_of_one_record_are_decided_one_after_the_other() -> None:
    key = RecordKey("counter", "", "n")

    async def add_one(node: Node) -> None:
        while True:
            (record,) = await node.run(GetRecords((key,)))
            value = int(record.value) if record else 0
            expected = Expected(key, record.version if record else 0)
            change = Change(key, str(value + 1).encode())
            if await node.run(EditRecords((expected,), (change,))):
                return

    async def work(nodes: list[Node]) -> None:
        await asyncio.gather(*(add_one(nodes[n % 3]) for n in range(12)))
        (record,) = await nodes[0].run(GetRecords((key,)))
        assert record is not None
        assert record.value == b"12"

    on_nodes(work)


def test_what_is_sent_while_a_queue_is_purged_is_there_or_not_but_counted_right() -> None:
    async def work(nodes: list[Node]) -> None:
        queue_id = await create(nodes[0], is_fifo=False)
        sends = [nodes[n % 3].run(Send(queue_id, (message(f"m{n}"),))) for n in range(60)]
        purge = nodes[1].run(PurgeQueue(queue_id, 60_000))
        await asyncio.gather(*sends[:30], purge, *sends[30:])
        counts = await nodes[0].run(CountMessages(queue_id))
        assert counts is not None
        found = 0
        while claimed := (await nodes[2].run(claim(queue_id))):
            if not claimed.messages:
                break
            found += len(claimed.messages)
        assert found == counts.visible

    on_nodes(work)


# --- The batcher --------------------------------------------------------------------------------


def test_commands_that_arrive_together_share_flushes() -> None:
    async def work(nodes: list[Node]) -> None:
        node = nodes[0]
        queue_id = await create(node, is_fifo=False)
        before = node.batcher.flushes
        sends = (node.run(Send(queue_id, (message(),))) for _ in range(200))
        assert await asyncio.gather(*sends) == [True] * 200
        assert node.batcher.flushes - before <= 3
        assert node.batcher.commands == 201
        assert node.batcher.waiting == 0

    on_nodes(work)


def test_a_caller_that_gives_up_does_not_disturb_the_others() -> None:
    async def work(nodes: list[Node]) -> None:
        node = nodes[0]
        queue_id = await create(node, is_fifo=False)
        tasks = [asyncio.create_task(node.run(Send(queue_id, (message(),)))) for _ in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers].count(bool) == 9

    on_nodes(work)


def test_a_command_that_fails_does_so_alone() -> None:
    class Unheard(Command[bool], frozen=True, gc=False):
        pass

    async def work(nodes: list[Node]) -> None:
        first, second = await asyncio.gather(
            nodes[0].run(Unheard()), nodes[0].run(create_queue()), return_exceptions=True
        )
        assert "no such command: Unheard" in str(first)
        assert isinstance(second, QueueCreated)

    on_nodes(work)


def test_closing_finishes_what_waits_and_takes_nothing_more() -> None:
    async def work(nodes: list[Node]) -> None:
        node = nodes[0]
        queue_id = await create(node, is_fifo=False)
        sends = [asyncio.create_task(node.run(Send(queue_id, (message(),)))) for _ in range(300)]
        await asyncio.sleep(0)
        await node.batcher.close()
        assert await asyncio.gather(*sends) == [True] * 300
        with pytest.raises(StoreBusy, match="stopping"):
            await node.run(CreateQueue(*[None] * 5))  # type: ignore[arg-type]

    on_nodes(work)
