"""FIFO queues and dead-letter queues leave a shard, and others stop half-way."""

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import (
    Claim,
    ClaimFifo,
    CountMessages,
    Delete,
    GetQueue,
    MessageCounts,
    QueueRules,
    SendFifo,
    StoreBusy,
    UpdateQueue,
    Upkeep,
)
from stanchion.store.shards.cluster import Cluster
from stanchion.store.shards.commands import (
    LeavePart,
    ReadFifo,
    RenamePart,
    RetirePart,
    SetShardState,
    WriteFifo,
)
from tests.shards.drains import begin, finish, on_a
from tests.shards.fleet import BlockingShards, open_all, over
from tests.shards.test_routing import claim, create, create_fifo, placement, send, shards
from tests.store.driver import RETENTION_MS, Driver, create_queue, fifo_message


async def fill(made: Cluster, queue_id: int, first: int, last: int) -> None:
    for n in range(first, last):
        batch = tuple(fifo_message(f"{g}:{n}", g, f"{g}-{n}", f"{g}-{n}") for g in "xyz")
        assert await made.router.run(SendFifo(queue_id, batch, by_group=True))


@over("a", "b")
async def test_a_fifo_queue_moves_with_order_leases_attempts_and_deduplication(
    made: Cluster,
) -> None:
    await on_a(made)
    queue_id = await create_fifo(made, spread="1")
    await fill(made, queue_id, 0, 5)
    attempt = ClaimFifo(queue_id, 2, 600_000, 120_000, "attempt")
    held = await made.router.run(attempt)
    assert held is not None
    assert len(held.messages) == 2
    blocked = held.messages[0].group_id
    await finish(await begin(made))
    assert await shards(made, queue_id) != [1]
    again = await made.router.run(attempt)
    assert again is not None
    assert again.messages == held.messages
    repeat = (fifo_message("repeat", "x", "x-1", "another"),)
    repeated = await made.router.run(SendFifo(queue_id, repeat, by_group=True))
    assert repeated is not None
    assert repeated[0].message_id == "x-1"
    await fill(made, queue_id, 5, 8)
    seen: dict[str, list[str]] = {}
    for _ in range(10):
        claimed = await made.router.run(ClaimFifo(queue_id, 10, 600_000, 120_000))
        assert claimed is not None
        for one in claimed.messages:
            seen.setdefault(one.group_id or "", []).append(one.body.decode())
        leases = tuple(one.lease for one in claimed.messages)
        assert await made.router.run(Delete(queue_id, leases)) == ("deleted",) * len(leases)
    assert blocked not in seen
    assert seen == {g: [f"{g}:{n}" for n in range(8)] for g in "xyz" if g != blocked}
    leases = tuple(one.lease for one in held.messages)
    assert await made.router.run(Delete(queue_id, leases)) == ("deleted",) * 2
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(6, 0, 0)


@over("a", "b")
async def test_a_part_of_a_spread_fifo_queue_moves_alone(made: Cluster) -> None:
    made.fleet.choice.shards = [s for s in made.fleet.choice.shards if s.name != "b"]
    queue_id = await create_fifo(made, spread="2")
    assert await shards(made, queue_id) == [0, 1]
    await fill(made, queue_id, 0, 4)
    await open_all(made)
    await finish(await begin(made))
    assert await shards(made, queue_id) == [0, 2]
    await fill(made, queue_id, 4, 6)
    seen: dict[str, list[str]] = {}
    for _ in range(10):
        claimed = await made.router.run(ClaimFifo(queue_id, 10, 600_000, 120_000))
        assert claimed is not None
        for one in claimed.messages:
            seen.setdefault(one.group_id or "", []).append(one.body.decode())
        leases = tuple(one.lease for one in claimed.messages)
        assert await made.router.run(Delete(queue_id, leases)) == ("deleted",) * len(leases)
    assert seen == {g: [f"{g}:{n}" for n in range(6)] for g in "xyz"}


@over("a", "b")
async def test_a_fifo_queue_that_is_being_moved_asks_to_come_again(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create_fifo(made, spread="1")
    await fill(made, queue_id, 0, 2)
    placed = await made.fleet.home.run(RetirePart(queue_id, 1, 2))
    assert placed.is_frozen
    old = next(part for part in placed.parts if part.shard == 1)
    # This process still has the placement from before.
    await made.fleet.links[1].run(RenamePart(placed.name, old.id))
    with pytest.raises(StoreBusy, match="moved"):
        await fill(made, queue_id, 2, 3)
    with pytest.raises(StoreBusy, match="moved"):
        await made.router.run(ClaimFifo(queue_id, 10, 600_000, 120_000))
    await finish(await begin(made))
    claimed = await made.router.run(ClaimFifo(queue_id, 10, 600_000, 120_000))
    assert claimed is not None
    assert len(claimed.messages) == 6


@over("a", "b")
async def test_a_mover_that_was_replaced_writes_nothing_more(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create_fifo(made, spread="1")
    await fill(made, queue_id, 0, 2)
    first = await made.fleet.home.run(RetirePart(queue_id, 1, 2))
    await finish(await begin(made))
    heir = next(part for part in first.parts if part.shard == 2)
    assert await made.fleet.links[2].run(LeavePart(heir.id)) is None


async def check_is_whole(made: Cluster, queue_id: int) -> None:
    """It has what three rounds of `fill` have sent, and upkeep takes none of it."""
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(9, 0, 0)
    for _ in range(5):
        await made.router.run(Upkeep(1000))
    claimed = await made.router.run(ClaimFifo(queue_id, 10, 600_000, 120_000))
    assert claimed is not None
    bodies = [one.body.decode() for one in claimed.messages]
    for group in "xyz":
        assert [b for b in bodies if b[0] == group] == [f"{group}:{n}" for n in range(3)]


@over("a", "b")
async def test_a_fifo_queue_comes_back_before_upkeep_has_dropped_what_it_left(
    made: Cluster,
) -> None:
    await on_a(made)
    queue_id = await create_fifo(made, spread="1")
    await fill(made, queue_id, 0, 3)
    mover = await begin(made)
    await made.router.run(SetShardState("a", "open", ("draining",)))
    await open_all(made)
    for shard, heir_shard in ((1, 2), (2, 1)):
        await made.fleet.home.run(RetirePart(queue_id, shard, heir_shard))
        await mover.step()
        assert await shards(made, queue_id) == [heir_shard]
    await check_is_whole(made, queue_id)


@over("a", "b")
async def test_a_copy_that_was_begun_and_left_is_made_anew(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create_fifo(made, spread="1")
    await fill(made, queue_id, 0, 3)
    placed = await made.fleet.home.run(RetirePart(queue_id, 1, 2))
    old, heir = sorted(placed.parts, key=lambda part: part.shard)
    await made.fleet.links[1].run(RenamePart(placed.name, old.id))
    await made.fleet.tell(placed, heir)
    part_of_it = await made.fleet.links[1].run(ReadFifo(old.id, 0, 4))
    assert await made.fleet.links[2].run(WriteFifo(heir.id, part_of_it))
    await finish(await begin(made))
    assert await shards(made, queue_id) == [2]
    await check_is_whole(made, queue_id)


def test_parts_that_are_no_more_are_forgotten_after_a_day() -> None:
    driver = Driver(BlockingShards("a", "b"))
    try:
        driver.create_fifo()
        driver.store.drain("a", 2)  # type: ignore[attr-defined]
        past = driver.query("SELECT id FROM past_part")
        assert past
        driver.wait(24 * 3600 * 1000)
        driver.run(Upkeep(1000))
        assert driver.query("SELECT id FROM past_part") == past
        driver.wait(1)
        driver.run(Upkeep(1000))
        assert driver.query("SELECT id FROM past_part") == []
    finally:
        driver.store.close()


@over("a")
async def test_the_home_takes_what_no_other_shard_can(made: Cluster) -> None:
    await on_a(made)
    queue_id, fifo_id = await create(made), await create_fifo(made, spread="1")
    await send(made, queue_id, "1")
    await fill(made, fifo_id, 0, 2)
    await finish(await begin(made))
    assert await shards(made, queue_id) == await shards(made, fifo_id) == [0]
    assert len(await claim(made, queue_id)) == 1
    await fill(made, fifo_id, 2, 3)
    claimed = await made.router.run(ClaimFifo(fifo_id, 10, 600_000, 120_000))
    assert claimed is not None
    assert len(claimed.messages) == 9


@over("a", "b")
async def test_dead_letters_find_their_queue_after_a_move(made: Cluster) -> None:
    await on_a(made)
    dead_id = await create(made, "dead")
    rules = QueueRules(RETENTION_MS, False, 0, create_queue("dead").name, 2)
    work_id = await create(made, "work", rules=rules)
    await send(made, work_id, "1", "2")
    assert len(await claim(made, work_id, visibility_ms=0)) == 2
    await finish(await begin(made))
    assert len(await claim(made, work_id, visibility_ms=0)) == 2
    assert await claim(made, work_id) == ()
    dead = await claim(made, dead_id)
    assert sorted(m.body for m in dead) == [b"1", b"2"]
    assert {m.lease.receive_count for m in dead} == {3}


@over("a")
async def test_a_fifo_queue_and_its_dead_letter_queue_meet_again(made: Cluster) -> None:
    await on_a(made)
    dead_id = await create_fifo(made, "dead.fifo", spread="1")
    name = create_queue("dead.fifo").name
    rules = QueueRules(RETENTION_MS, True, 0, name, 1)
    work_id = await create(made, "work.fifo", rules=rules)
    # Cannot be its own neighbour.
    own = QueueRules(RETENTION_MS, True, 0, create_queue("own.fifo").name, 1)
    own_id = await create(made, "own.fifo", rules=own)
    await fill(made, work_id, 0, 1)
    await fill(made, dead_id, 0, 1)
    await finish(await begin(made))
    for queue_id in (work_id, dead_id, own_id):
        assert await shards(made, queue_id) == [0]
    assert await made.router.run(ClaimFifo(work_id, 10, 0, 120_000)) is not None
    assert await made.router.run(ClaimFifo(work_id, 10, 0, 120_000)) is not None
    assert await made.router.run(CountMessages(dead_id)) == MessageCounts(6, 0, 0)


@over("a")
async def test_an_empty_part_for_dead_letters_ends_with_its_source(made: Cluster) -> None:
    dead_id = await create(made, "dead.fifo", rules=QueueRules(RETENTION_MS, is_fifo=True))
    assert await shards(made, dead_id) == [0]
    work_id = await create(made, "work.fifo", rules=QueueRules(RETENTION_MS, is_fifo=True))
    assert await shards(made, work_id) == [1]
    record = await made.router.run(GetQueue(create_queue("work.fifo").name))
    assert record is not None
    rules = QueueRules(RETENTION_MS, True, 0, create_queue("dead.fifo").name, 1)
    assert await made.router.run(UpdateQueue(work_id, record.version, {}, {}, rules))
    assert await shards(made, dead_id) == [0, 1]
    await finish(await begin(made))
    assert await shards(made, dead_id) == await shards(made, work_id) == [0]


@over("a", "b")
async def test_a_queue_that_is_on_its_way_goes_on_when_its_shard_is_opened_again(
    made: Cluster,
) -> None:
    await on_a(made)
    queue_id = await create(made)
    await send(made, queue_id, "1")
    (held,) = await claim(made, queue_id, 1, 600_000)
    mover = await begin(made)
    await mover.step()
    await made.router.run(SetShardState("a", "open", ("draining",)))
    other_id = await create(made, "other")
    await open_all(made)
    assert await made.router.run(Claim(queue_id, 1, 0, 100)) is not None
    assert await made.router.run(Delete(queue_id, (held.lease,))) == ("deleted",)
    for _ in range(3):
        await mover.step()
    assert await shards(made, queue_id) != [1], "what is on its way goes on"
    assert await shards(made, other_id) != [1]
    assert (await placement(made, queue_id)).parts[0].state == "open"
