"""Flushes of several nodes at the same time on one PostgreSQL: what queues promise holds all along.

Each node has caches and estimates of its own. Nothing here depends on who comes first.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
import pytest

from stanchion.store.contract import (
    Claim,
    Claimed,
    ClaimFifo,
    Command,
    CountMessages,
    Delete,
    MessageCounts,
    QueueRules,
    Send,
    SendFifo,
    UpdateQueue,
    Upkeep,
)
from stanchion.store.moves import ListMoves, StartMove
from tests.store.conftest import open_postgres
from tests.store.driver import Driver, fifo_message, message

Answer = TypeVar("Answer")
NODES = 3
HIDDEN_MS = 30_000


class Nodes:
    """Stores of several processes, as far as the database can tell."""

    def __init__(self) -> None:
        first: Any = open_postgres()
        self.stores = [first.store, *(type(first)().store for _ in range(NODES - 1))]
        self.driver = Driver(first)
        self._loop = first.database.loop

    async def run(self, node: int, command: Command[Answer]) -> Answer:
        flush = await self.stores[node % NODES].execute([command], self.driver.now_ms)
        (answer,) = flush.answers
        if isinstance(answer, Exception):
            raise answer
        found: Answer = answer
        return found

    def together(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        async def gather() -> list[Any]:
            return list(await asyncio.wait_for(asyncio.gather(*work), 40))

        found: list[Any] = self._loop.run(gather())
        return found

    def counts(self, queue_id: int) -> tuple[int, int, int]:
        return self.driver.counts(queue_id)


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


def claim(queue_id: int, limit: int = 10, visibility_ms: int = HIDDEN_MS) -> Claim:
    return Claim(queue_id, limit, visibility_ms, 120_000)


def claim_fifo(queue_id: int, visibility_ms: int = HIDDEN_MS, attempt: str | None = None) -> Any:
    return ClaimFifo(queue_id, 10, visibility_ms, 120_000, attempt)


# --- Standard queues ----------------------------------------------------------------------------


def test_every_message_is_received_once(nodes: Nodes) -> None:
    queue = nodes.driver.create()
    received: Counter[str] = Counter()

    async def produce(node: int) -> None:
        for n in range(20):
            batch = tuple(message(f"{node}-{n}-{k}") for k in range(10))
            assert await nodes.run(node, Send(queue.id, batch))

    async def consume(node: int) -> None:
        while received.total() < 800:
            claimed = await nodes.run(node, claim(queue.id))
            assert isinstance(claimed, Claimed)
            received.update(found.body.decode() for found in claimed.messages)
            leases = tuple(found.lease for found in claimed.messages)
            outcomes = await nodes.run(node, Delete(queue.id, leases))
            assert outcomes == ("deleted",) * len(leases)

    nodes.together(*map(produce, range(4)), *map(consume, range(4)))
    assert set(received.values()) == {1}
    assert nodes.counts(queue.id) == (0, 0, 0)


def test_of_two_claims_at_the_end_of_a_lease_one_wins_and_the_old_lease_is_void(
    nodes: Nodes,
) -> None:
    queue = nodes.driver.create()
    nodes.driver.send(queue.id, *map(str, range(10)))
    old = [found.lease for found in nodes.driver.claim(queue.id).messages]
    nodes.driver.wait(HIDDEN_MS)
    answers = nodes.together(
        *(nodes.run(node, claim(queue.id)) for node in range(4)),
        *(nodes.run(node, Delete(queue.id, tuple(old))) for node in range(2)),
    )
    taken = [found.lease.sequence for claimed in answers[:4] for found in claimed.messages]
    outcomes = [outcome for deleted in answers[4:] for outcome in deleted]
    assert len(set(taken)) == len(taken)
    assert len(taken) + outcomes.count("deleted") == 10
    assert set(outcomes) <= {"deleted", "superseded", "absent"}


@pytest.mark.parametrize("is_fifo", [False, True])
def test_each_exhausted_message_is_buried_once(nodes: Nodes, is_fifo: bool) -> None:
    suffix = ".fifo" if is_fifo else ""
    create = nodes.driver.create_fifo if is_fifo else nodes.driver.create
    work, dead = create(f"work{suffix}"), create(f"dead{suffix}")
    rules = QueueRules(345_600_000, is_fifo, 0, dead.name, 1)
    nodes.driver.run(UpdateQueue(work.id, work.version, {}, {}, rules))
    _send(nodes, work.id, 60, is_fifo)
    receive = claim_fifo if is_fifo else claim

    async def consume(node: int) -> None:
        for _ in range(12):
            await nodes.run(node, receive(work.id, visibility_ms=0))
            await nodes.run(node, Upkeep())

    nodes.together(*map(consume, range(4)))
    for _ in range(100):
        claimed = nodes.driver.run(receive(work.id, visibility_ms=0))
        if claimed is None or not claimed.messages:
            break
    nodes.driver.upkeep()
    assert nodes.counts(work.id) == (0, 0, 0)
    assert nodes.counts(dead.id) == (60, 0, 0)
    bodies: Counter[bytes] = Counter()
    while found := nodes.driver.run(receive(dead.id)).messages:  # type: ignore[union-attr]
        bodies.update(one.body for one in found)
        if is_fifo:
            nodes.driver.delete(dead.id, *(one.lease for one in found))
    assert (len(bodies), set(bodies.values())) == (60, {1})


def _send(nodes: Nodes, queue_id: int, count: int, is_fifo: bool) -> None:
    for n in range(count):
        if is_fifo:
            nodes.driver.send_fifo(queue_id, f"{'abcdef'[n % 6]}{n}")
        else:
            nodes.driver.send(queue_id, str(n))


def test_tenants_are_lost_in_no_lane(nodes: Nodes) -> None:
    queue = nodes.driver.create()
    received: Counter[str] = Counter()
    sent = 0

    async def produce(node: int, tenant: str, count: int) -> None:
        nonlocal sent
        for _ in range(count):
            made = [message("x", message_id=f"{tenant}-{sent + k}") for k in range(10)]
            sent += 10
            grouped = tuple(msgspec.structs.replace(one, group_id=tenant) for one in made)
            await nodes.run(node, Send(queue.id, grouped))

    async def consume(node: int) -> None:
        for _ in range(30):
            claimed = await nodes.run(node, claim(queue.id))
            assert claimed is not None
            received.update(found.message_id for found in claimed.messages)
            leases = tuple(found.lease for found in claimed.messages[::2])
            await nodes.run(node, Delete(queue.id, leases))

    for _ in range(3):
        nodes.together(
            *(produce(node, tenant, 12) for node, tenant in enumerate(("A", "B", "q"))),
            *map(consume, range(3)),
        )
        nodes.driver.wait(1000)
    nodes.together(*map(consume, range(3)))
    for _ in range(200):
        claimed = nodes.driver.claim(queue.id)
        received.update(found.message_id for found in claimed.messages)
        if not claimed.messages:
            break
    assert (len(received), set(received.values())) == (sent, {1})
    orphans = nodes.driver.query(
        "SELECT count(*) FROM message AS m WHERE lane >= 2 AND NOT EXISTS ("
        "SELECT 1 FROM noisy_tenant AS t WHERE t.backlog = m.backlog AND t.lane = m.lane)"
    )
    assert orphans[0][0] == 0


# --- FIFO queues --------------------------------------------------------------------------------


def test_the_order_in_a_group_is_that_of_the_sends(nodes: Nodes) -> None:
    queue = nodes.driver.create_fifo()
    received: dict[str, list[int]] = {group: [] for group in "abc"}
    acknowledged: dict[str, list[int]] = {group: [] for group in "abc"}
    busy: set[str] = set()

    async def produce(node: int) -> None:
        for n in range(15):
            made = tuple(
                fifo_message(f"{group}{node}-{n}", group, f"{node}-{n}-{group}")
                for group in ("abc" if node % 2 else "cba")
            )
            sent = await nodes.run(node, SendFifo(queue.id, made, by_group=False))
            assert sent is not None
            for one, what in zip(made, sent, strict=True):
                acknowledged[one.group_id or ""].append(what.sequence)

    async def consume(node: int) -> None:
        while sum(map(len, received.values())) < 4 * 15 * 3:
            claimed = await nodes.run(node, claim_fifo(queue.id))
            groups = {found.group_id for found in claimed.messages}
            assert not groups & busy
            busy.update(groups)
            for found in claimed.messages:
                received[found.group_id].append(found.lease.sequence)
            await asyncio.sleep(0)
            busy.difference_update(groups)
            leases = tuple(found.lease for found in claimed.messages)
            assert await nodes.run(node, Delete(queue.id, leases)) == ("deleted",) * len(leases)

    nodes.together(*map(produce, range(4)), *map(consume, range(4)))
    for group in "abc":
        assert received[group] == sorted(acknowledged[group])
    assert nodes.driver.query("SELECT count(*) FROM fifo_group")[0][0] == 0
    assert nodes.counts(queue.id) == (0, 0, 0)


@pytest.mark.parametrize("by_group", [False, True])
def test_what_is_sent_by_several_at_once_is_accepted_once(nodes: Nodes, by_group: bool) -> None:
    queue = nodes.driver.create_fifo()

    async def send(node: int) -> list[Sequence[object]]:
        answers: list[Sequence[object]] = []
        for n in range(10):
            ids = [f"{n}-{k}" for k in range(3)]
            made = tuple(
                fifo_message("x", "a" if by_group else "abcdef"[(node + k) % 6], one, f"{node}")
                for k, one in enumerate(ids if node % 2 else ids[::-1])
            )
            sent = await nodes.run(node, SendFifo(queue.id, made, by_group))
            assert sent is not None
            answers.append(sent if node % 2 else sent[::-1])
        return answers

    answers = nodes.together(*map(send, range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert nodes.counts(queue.id) == (30, 0, 0)
    groups = nodes.driver.query("SELECT count(*) FROM fifo_group")[0][0]
    used = nodes.driver.query("SELECT count(DISTINCT group_key) FROM message")[0][0]
    assert groups == used


def test_an_attempt_made_twice_at_once_gets_the_same(nodes: Nodes) -> None:
    queue = nodes.driver.create_fifo()
    _send(nodes, queue.id, 60, is_fifo=True)
    answers = nodes.together(
        *(nodes.run(n, claim_fifo(queue.id, attempt=f"attempt-{n % 2}")) for n in range(6))
    )
    for which in (0, 1):
        first, *others = (answer.messages for answer in answers[which::2])
        assert first
        assert all(
            [found.lease for found in other] == [found.lease for found in first] for other in others
        )


@pytest.mark.parametrize("is_fifo", [False, True])
def test_messages_that_are_moved_back_while_others_die_are_all_there(
    nodes: Nodes, is_fifo: bool
) -> None:
    suffix = ".fifo" if is_fifo else ""
    create = nodes.driver.create_fifo if is_fifo else nodes.driver.create
    work, dead = create(f"work{suffix}"), create(f"dead{suffix}")
    rules = QueueRules(345_600_000, is_fifo, 0, dead.name, 1)
    nodes.driver.run(UpdateQueue(work.id, work.version, {}, {}, rules))
    _send(nodes, work.id, 40, is_fifo)
    receive = claim_fifo if is_fifo else claim

    async def consume(node: int) -> None:
        for _ in range(15):
            await nodes.run(node, receive(work.id, visibility_ms=0))

    async def move(node: int) -> None:
        for n in range(10):
            await nodes.run(node, StartMove(f"{node}-{n}", dead.id, None, None, 10))
            await nodes.run(node, Upkeep(limit=7))

    nodes.together(*map(consume, range(3)), *map(move, range(2)))
    counts = [nodes.driver.run(CountMessages(one.id)) for one in (work, dead)]
    assert all(isinstance(one, MessageCounts) for one in counts)
    assert sum(one.visible for one in counts if one) == 40
    bodies = nodes.driver.query("SELECT count(*), count(DISTINCT body) FROM message_body")
    assert tuple(bodies[0]) == (40, 40)
    tasks = nodes.driver.run(ListMoves(dead.name, 100))
    assert sum(task.status == "RUNNING" for task in tasks) <= 1


def test_a_message_that_has_moved_on_keeps_its_body(nodes: Nodes) -> None:
    """Dropping a doomed backlog, when a dead letter leaves it between the look and the erasing."""
    from stanchion.store.postgres.statements import statement
    from tests.postgres import shared_database

    queue = nodes.driver.create()
    nodes.driver.send(queue.id, "moved")
    ((backlog, sequence),) = shared_database().query("SELECT backlog, sequence FROM message")
    shared_database().query(statement("erase_messages"), [backlog + 1], [sequence])
    assert nodes.driver.bodies(queue.id) == ["moved"]
