"""Queues that are purged or deleted while they move, or while a shard is down: all is gone."""

from typing import Any

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import (
    ClaimFifo,
    CountMessages,
    DeleteQueue,
    MessageCounts,
    PurgeQueue,
    QueueRules,
    SendFifo,
    Upkeep,
)
from stanchion.store.shards.cluster import Cluster
from stanchion.store.shards.commands import (
    HOME,
    AdoptPart,
    MarkMoved,
    RetirePart,
    StageMessages,
    WriteFifo,
)
from tests.shards.drains import ToB, at, begin, finish, on_a
from tests.shards.fleet import over
from tests.shards.test_draining_fifo import fill
from tests.shards.test_routing import claim, create, create_fifo, placement, send, shards
from tests.store.driver import RETENTION_MS, create_queue, fifo_message

NOTHING = MessageCounts(0, 0, 0)


async def purge_when(made: Cluster, queue_id: int, kind: type[Any], heir: int = HOME) -> None:
    """Drain a, and purge the queue when the first of these commands is about to go to the heir."""

    async def purge() -> None:
        assert await made.router.run(PurgeQueue(queue_id, 0)) == "purged"

    mover = await begin(made)
    at(made.fleet.links[heir], kind, purge)
    await mover.step()
    for _ in range(3):
        await made.router.run(Upkeep(1000))
    assert await made.router.run(CountMessages(queue_id)) == NOTHING
    await finish(mover)
    assert await made.router.run(CountMessages(queue_id)) == NOTHING


@over("a")
async def test_what_was_purged_while_a_fifo_queue_moved_home_stays_so(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create_fifo(made, spread="1")
    await fill(made, queue_id, 0, 2)
    await purge_when(made, queue_id, WriteFifo)
    assert await shards(made, queue_id) == [HOME]
    # A purge has no effect on deduplication.
    repeat = (fifo_message("repeat", "x", "x-1", "another"),)
    repeated = await made.router.run(SendFifo(queue_id, repeat, by_group=True))
    assert repeated is not None
    assert repeated[0].message_id == "x-1"
    await fill(made, queue_id, 2, 3)
    claimed = await made.router.run(ClaimFifo(queue_id, 10, 0, 120_000))
    assert claimed is not None
    assert sorted(one.body for one in claimed.messages) == [b"x:2", b"y:2", b"z:2"]


@over("a", "b")
async def test_what_was_purged_while_a_fifo_queue_moved_elsewhere_stays_so(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create_fifo(made, spread="1")
    await fill(made, queue_id, 0, 2)
    made.fleet.choice = ToB()
    await purge_when(made, queue_id, WriteFifo, heir=2)
    assert await shards(made, queue_id) == [2]


@over("a")
async def test_what_was_purged_while_a_standard_queue_moved_home_stays_so(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create(made)
    await send(made, queue_id, *"abcdef")
    await purge_when(made, queue_id, StageMessages)
    assert await shards(made, queue_id) == [HOME]


@over("a")
async def test_what_was_staged_at_home_before_a_purge_goes_with_it(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create(made)
    await send(made, queue_id, *"abcdef")

    async def purge() -> None:
        assert await made.router.run(PurgeQueue(queue_id, 0)) == "purged"

    mover = await begin(made)
    at(made.fleet.links[1], MarkMoved, purge)
    await mover.step()
    await finish(mover)
    await send(made, queue_id, "new")
    assert [m.body for m in await claim(made, queue_id)] == [b"new"]
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(0, 1, 0)


async def work_with_dead_letters(made: Cluster, name: str) -> tuple[int, int]:
    """A queue on shard 1 with three exhausted messages, and its dead-letter queue."""
    await on_a(made)
    for task in made._tasks:
        task.cancel()
    dead_id = await create(made, "dead")
    rules = QueueRules(RETENTION_MS, False, 0, create_queue("dead").name, 1)
    queue_id = await create(made, name, rules=rules)
    await send(made, queue_id, *"abc")
    assert len(await claim(made, queue_id, visibility_ms=0)) == 3
    return queue_id, dead_id


@over("a")
async def test_a_queue_that_was_purged_and_deleted_unheard_has_no_dead_letters(
    made: Cluster,
) -> None:
    queue_id, dead_id = await work_with_dead_letters(made, "work")
    name = (await placement(made, queue_id)).name
    rules = (await placement(made, queue_id)).rules
    link = made.fleet.links[1]
    batcher, link.batcher = link.batcher, None
    for _ in range(2):
        assert await made.router.run(PurgeQueue(queue_id, 0)) == "purged"
    (never_told,) = (await placement(made, queue_id)).parts
    assert await made.router.run(DeleteQueue(queue_id))
    link.batcher = batcher
    for _ in range(3):
        await made.router.run(Upkeep(1000))
    assert await made.router.run(CountMessages(dead_id)) == NOTHING
    for part_id in (never_told.id - 1, never_told.id):
        late = AdoptPart(part_id, queue_id, name, 1, rules)
        assert await link.run(late) is False, "told too late, by somebody who was paused"


@over("a")
async def test_a_queue_that_was_purged_unheard_has_no_dead_letters(made: Cluster) -> None:
    queue_id, dead_id = await work_with_dead_letters(made, "work")
    link = made.fleet.links[1]
    batcher, link.batcher = link.batcher, None
    assert await made.router.run(PurgeQueue(queue_id, 0)) == "purged"
    link.batcher = batcher
    for _ in range(3):
        await made.router.run(Upkeep(1000))
    assert await made.router.run(CountMessages(dead_id)) == NOTHING


@over("a")
async def test_a_part_that_was_retired_unheard_goes_with_its_queue(made: Cluster) -> None:
    queue_id, dead_id = await work_with_dead_letters(made, "work")
    assert await made.fleet.home.run(RetirePart(queue_id, 1, HOME)) is not None
    assert await made.router.run(DeleteQueue(queue_id))
    for _ in range(3):
        await made.router.run(Upkeep(1000))
    assert await made.router.run(CountMessages(dead_id)) == NOTHING
