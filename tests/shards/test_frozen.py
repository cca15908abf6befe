"""FIFO queues stand still while they are copied: no dead letter comes or goes, nor a move task."""

import asyncio
from typing import Any

import asyncpg
import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import (
    ClaimFifo,
    CountMessages,
    GetQueue,
    QueueRules,
    SendFifo,
    StoreUnreachable,
    UpdateQueue,
    Upkeep,
)
from stanchion.store.moves import StartMove
from stanchion.store.shards import mover as movers
from stanchion.store.shards.cluster import Cluster
from stanchion.store.shards.commands import (
    DropPart,
    LeaseMover,
    ReadFifo,
    ReplacePart,
    RetirePart,
    SetShardState,
    WriteFifo,
)
from stanchion.store.shards.mover import Mover
from tests.postgres import SCHEMA
from tests.shards.drains import ToB, at, begin, finish, on_a
from tests.shards.fleet import BlockingShards, open_all, over, urls
from tests.shards.test_draining_fifo import check_is_whole, fill
from tests.shards.test_routing import create, create_fifo, placement, shards
from tests.store.driver import RETENTION_MS, Driver, create_queue, fifo_message

BODIES = ["x:0", "y:0", "z:0"]


async def take(made: Cluster, queue_id: int, visibility_ms: int = 600_000) -> list[str]:
    claimed = await made.router.run(ClaimFifo(queue_id, 10, visibility_ms, 120_000))
    assert claimed is not None
    return sorted(one.body.decode() for one in claimed.messages)


async def everything(made: Cluster, *queue_ids: int) -> int:
    for _ in range(3):
        await made.router.run(Upkeep(1000))
    counts = [await made.router.run(CountMessages(queue_id)) for queue_id in queue_ids]
    return sum(count.visible + count.in_flight + count.delayed for count in counts)


async def with_dead_letters(made: Cluster, *names: str) -> tuple[int, list[int]]:
    """A dead-letter queue, and queues that have it, each with exhausted messages of own groups."""
    dead_id = await create_fifo(made, "dead.fifo", spread="1")
    rules = QueueRules(RETENTION_MS, True, 0, create_queue("dead.fifo").name, 1)
    found = []
    for name in names:
        queue_id = await create(made, f"{name}.fifo", rules=rules)
        for n in "012":
            sent = (fifo_message(f"{name}:{n}", name + n, name + n, name + n),)
            assert await made.router.run(SendFifo(queue_id, sent, by_group=True))
        assert len(await take(made, queue_id, 0)) == 3
        found.append(queue_id)
    return dead_id, found


@over("a")
async def test_a_dead_letter_that_is_on_its_way_when_its_queue_moves_is_not_lost(
    made: Cluster,
) -> None:
    """The number is drawn before that of another, and the commit comes after it."""
    await on_a(made)
    dead_id, (one, other) = await with_dead_letters(made, "one", "other")
    mover = await begin(made)
    disk = await asyncpg.connect(urls()["a"], server_settings={"search_path": SCHEMA})
    slow = disk.transaction()
    claims: list[asyncio.Task[Any]] = []

    async def bury() -> None:
        await slow.start()
        await disk.execute(
            "SELECT FROM message_body AS b JOIN message AS m USING (sequence)"
            " JOIN queue AS q USING (backlog) WHERE q.name = 'one.fifo' FOR UPDATE OF b"
        )
        claims.append(asyncio.create_task(take(made, one, 0)))
        await asyncio.sleep(0.2)
        await take(made, other, 0)

    async def end() -> None:
        await slow.rollback()
        await asyncio.gather(*claims)

    at(made.fleet.links[1], ReadFifo, end, after=True)
    at(made.fleet.links[1], ReadFifo, bury)
    await mover.step()
    await disk.close()
    await finish(mover)
    assert await everything(made, dead_id, one, other) == 6


async def check_is_not_doubled(made: Cluster, at_link: int, *, is_interrupted: bool) -> None:
    """Exhausted messages of a queue that moves between shards which both have its dead letters."""
    dead_id = await create(made, "dead.fifo", rules=QueueRules(RETENTION_MS, is_fifo=True))
    assert await shards(made, dead_id) == [0]
    work_id = await create(made, "work.fifo", rules=QueueRules(RETENTION_MS, is_fifo=True))
    assert await shards(made, work_id) == [1]
    record = await made.router.run(GetQueue(create_queue("work.fifo").name))
    assert record is not None
    rules = QueueRules(RETENTION_MS, True, 0, create_queue("dead.fifo").name, 1)
    assert await made.router.run(UpdateQueue(work_id, record.version, {}, {}, rules))
    await fill(made, work_id, 0, 1)
    mover = await begin(made)
    assert await take(made, work_id, 0) == BODIES

    async def keep_up() -> None:
        for _ in range(3):
            await made.fleet.links[at_link].run(Upkeep(1000))
        if is_interrupted:
            raise StoreUnreachable("the home")

    at(made.fleet.links[0], WriteFifo, keep_up, after=True)
    await finish(mover)
    assert await everything(made, dead_id, work_id) == 3
    assert await take(made, dead_id) == BODIES


@over("a")
async def test_what_is_copied_already_is_not_buried_where_it_was(made: Cluster) -> None:
    await check_is_not_doubled(made, 1, is_interrupted=False)


@over("a")
async def test_what_is_copied_already_is_not_buried_before_all_is(made: Cluster) -> None:
    await check_is_not_doubled(made, 0, is_interrupted=True)


@over("a", "b")
async def test_nothing_is_buried_from_a_copy_on_a_shard_before_it_is_told(made: Cluster) -> None:
    """It is begun anew when its copier dies, even after the last message."""
    await on_a(made)
    dead_id, (work_id,) = await with_dead_letters(made, "work")
    made.fleet.choice = ToB()
    mover = await begin(made)
    await mover._move(dead_id, 1)
    assert 2 in await shards(made, dead_id)

    async def die() -> None:
        for _ in range(3):
            await made.fleet.links[2].run(Upkeep(1000))
        raise StoreUnreachable("the home")

    at(made.fleet.home, ReplacePart, die)
    with pytest.raises(StoreUnreachable):
        await mover._move(work_id, 1)
    await mover._move(work_id, 1)
    assert await shards(made, work_id) == [2]
    assert await everything(made, dead_id, work_id) == 3
    assert await take(made, dead_id) == ["work:0", "work:1", "work:2"]


@over("a", "b")
async def test_a_copy_buries_dead_letters_though_its_copier_died_before_it_was_told(
    made: Cluster,
) -> None:
    await on_a(made)
    dead_id, (work_id,) = await with_dead_letters(made, "work")
    made.fleet.choice = ToB()
    mover = await begin(made)
    await mover._move(dead_id, 1)

    async def die() -> None:
        raise StoreUnreachable("the home")

    at(made.fleet.home, ReplacePart, die, after=True)
    with pytest.raises(StoreUnreachable):
        await mover._move(work_id, 1)
    await made.fleet.placements.read(work_id)
    assert await shards(made, work_id) == [2]
    for _ in range(3):
        await made.router.run(Upkeep(1000))
    assert await take(made, dead_id) == ["work:0", "work:1", "work:2"]


@over("a")
async def test_a_move_task_takes_nothing_from_a_queue_that_is_copied(made: Cluster) -> None:
    await on_a(made)
    source_id = await create_fifo(made, "dead.fifo", spread="1")
    target_id = await create_fifo(made, "target.fifo", spread="1")
    await fill(made, source_id, 0, 3)
    target = create_queue("target.fifo").name
    assert await made.router.run(StartMove("task", source_id, target, None, 10))
    mover = await begin(made)

    async def keep_up() -> None:
        await made.fleet.links[1].run(Upkeep(1000))

    at(made.fleet.links[0], WriteFifo, keep_up, after=True)
    await finish(mover)
    assert await everything(made, source_id, target_id) == 9


@over("a", "b")
async def test_a_queue_comes_back_though_the_shard_still_has_what_it_left(made: Cluster) -> None:
    """The shard could not be told to drop it."""
    await on_a(made)
    queue_id = await create_fifo(made, spread="1")
    await fill(made, queue_id, 0, 3)
    mover = await begin(made)
    await made.router.run(SetShardState("a", "open", ("draining",)))
    await open_all(made)

    async def fail() -> None:
        raise StoreUnreachable("a")

    at(made.fleet.links[1], DropPart, fail)
    for shard, heir_shard in ((1, 2), (2, 1)):
        await made.fleet.home.run(RetirePart(queue_id, shard, heir_shard))
        await mover.step()
        assert await shards(made, queue_id) == [heir_shard]
    await check_is_whole(made, queue_id)


def test_a_copy_that_takes_longer_than_a_lease_is_completed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(movers, "_BATCH_MESSAGES", 1)
    store = BlockingShards("a", "b")
    driver = Driver(store)
    try:
        queue_id = driver.create_fifo().id
        driver.send_fifo(queue_id, *(f"x{n}" for n in range(8)))
        store.drain("a", 0)
        store.loop.run(store.watch.look())
        other = Mover(store.fleet)

        async def later() -> None:
            for batcher in store.batchers:
                batcher.now_ms += 20_000
            await other.step()
            at(store.fleet.links[2], WriteFifo, later, after=True)

        at(store.fleet.links[2], WriteFifo, later, after=True)
        at(store.fleet.links[0], WriteFifo, later, after=True)
        assert store.loop.run(store.mover.step())
        placed = store.loop.run(store.fleet.placements.read(queue_id))
        assert placed is not None
        assert [part.state for part in placed.parts] == ["open"]
        assert placed.parts[0].shard == 2
    finally:
        store.close()


@over("a", "b")
async def test_a_copier_that_has_lost_its_lease_stops(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create_fifo(made, spread="1")
    await fill(made, queue_id, 0, 3)
    first = await begin(made)

    async def be_overtaken() -> None:
        # As if the lease had run out: the one who renews it in its place is another.
        await asyncio.sleep(0.002)
        assert await made.fleet.home.run(LeaseMover(first._leased_until_ms)) is not None

    at(made.fleet.links[1], ReadFifo, be_overtaken, after=True)
    assert not await first.step()
    placed = await placement(made, queue_id)
    assert placed.is_frozen, "the other goes on"
    assert not await first.step()
    assert await placement(made, queue_id) == placed
