"""Queues leave a shard that is drained, with all that they have, while they are used."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import (
    ChangeVisibility,
    CountMessages,
    Delete,
    MessageCounts,
    PurgeQueue,
    Send,
)
from stanchion.store.shards.cluster import Cluster
from stanchion.store.shards.commands import (
    HOME,
    IN_TRANSIT_LANE,
    SHARDS_MAX,
    MarkMoved,
    PickMessages,
    RenamePart,
    RetirePart,
    SetShardState,
    StageMessages,
)
from stanchion.store.shards.mover import Mover
from tests.shards.drains import begin, finish, on_a
from tests.shards.fleet import over
from tests.shards.test_routing import claim, create, send, shards
from tests.store.driver import create_queue, message


@over("a", "b")
async def test_free_messages_move_and_receipts_from_before_still_delete(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create(made)
    assert await shards(made, queue_id) == [1]
    await send(made, queue_id, *map(str, range(30)))
    held = await claim(made, queue_id, 10, 600_000)
    ended = await claim(made, queue_id, 5, 0)
    mover = await begin(made)
    for _ in range(3):
        await mover.step()
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(20, 10, 0)
    await send(made, queue_id, "new")
    assert len(await shards(made, queue_id)) == 2, "leased messages stay where they are"
    # One of those is deleted that were moved with a receipt from before.
    leases = tuple(m.lease for m in (*held, *ended))
    assert await made.router.run(Delete(queue_id, leases)) == ("deleted",) * 15
    await finish(mover)
    (shard,) = await shards(made, queue_id)
    assert shard != 1
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(16, 0, 0)
    found = [*await claim(made, queue_id), *await claim(made, queue_id)]
    gone = {m.body for m in (*held, *ended)}
    sent = {str(n).encode() for n in range(30)} | {b"new"}
    assert sorted(m.body for m in found) == sorted(sent - gone)
    moved = [m for m in found if m.body != b"new"]
    assert {m.lease.sequence % SHARDS_MAX for m in moved} == {1}
    assert {m.lease.receive_count for m in moved} == {1}
    assert await made.router.run(Delete(queue_id, (moved[0].lease,))) == ("deleted",)


@over("a", "b")
async def test_a_lease_that_is_given_back_goes_along(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create(made)
    await send(made, queue_id, "a")
    (held,) = await claim(made, queue_id, 1, 600_000)
    mover = await begin(made)
    await mover.step()
    shown = ChangeVisibility(queue_id, ((held.lease, 0),))
    assert await made.router.run(shown) == (True,)
    await finish(mover)
    (again,) = await claim(made, queue_id)
    assert (again.message_id, again.lease.receive_count) == (held.message_id, 2)
    assert again.first_received_at_ms == held.first_received_at_ms


@over("a", "b")
async def test_delayed_messages_wait_where_they_are(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create(made)
    await made.router.run(Send(queue_id, (message("later", 900_000),)))
    mover = await begin(made)
    await mover.step()
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(0, 0, 1)
    assert await claim(made, queue_id) == ()


async def halfway(made: Cluster, mover: Mover, *, marked: bool) -> tuple[Any, Any, list[Any]]:
    """The mover dies after it has copied messages, or after it has decided that they moved."""
    queue_id = await create(made)
    await send(made, queue_id, "1", "2", "3")
    fleet = made.fleet
    placed = await fleet.home.run(RetirePart(queue_id, 1, 2))
    old = next(part for part in placed.parts if part.shard == 1)
    new = next(part for part in placed.parts if part.shard == 2)
    await fleet.links[1].run(RenamePart(placed.name, old.id))
    await fleet.tell(placed, new)
    await fleet.placements.read(queue_id)
    rows = await fleet.links[1].run(PickMessages(old.id, 10))
    assert [row[1] for row in rows] == [IN_TRANSIT_LANE] * 3
    assert await fleet.links[2].run(StageMessages(new.id, old.id, rows))
    if marked:
        numbers = tuple(row[0] for row in rows)
        assert len(await fleet.links[1].run(MarkMoved(old.id, numbers))) == 3
    return queue_id, placed, rows


async def check_halfway(made: Cluster, *, marked: bool) -> None:
    await on_a(made)
    queue_id, _, _ = await halfway(made, Mover(made.fleet), marked=marked)
    assert await claim(made, queue_id) == (), "in view on neither side"
    mover = await begin(made)
    await finish(mover)
    assert await shards(made, queue_id) == [2]
    found = await claim(made, queue_id)
    assert sorted(m.body for m in found) == [b"1", b"2", b"3"]
    leases = tuple(m.lease for m in found)
    assert await made.router.run(Delete(queue_id, leases)) == ("deleted",) * 3
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(0, 0, 0)


@over("a", "b")
async def test_a_crash_after_copying_costs_nothing(made: Cluster) -> None:
    await check_halfway(made, marked=False)


@over("a", "b")
async def test_a_crash_after_deciding_costs_nothing(made: Cluster) -> None:
    await check_halfway(made, marked=True)


async def check_deleted_halfway(made: Cluster, *, marked: bool) -> None:
    await on_a(made)
    queue_id = await create(made, "other")
    await send(made, queue_id, "x")
    (ended,) = await claim(made, queue_id, 1, 0)
    fleet = made.fleet
    placed = await fleet.home.run(RetirePart(queue_id, 1, 2))
    old, new = sorted(placed.parts, key=lambda part: part.shard)
    await fleet.links[1].run(RenamePart(placed.name, old.id))
    await fleet.tell(placed, new)
    await fleet.placements.read(queue_id)
    rows = await fleet.links[1].run(PickMessages(old.id, 10))
    await fleet.links[2].run(StageMessages(new.id, old.id, rows))
    if marked:
        await fleet.links[1].run(MarkMoved(old.id, (rows[0][0],)))
    assert await made.router.run(Delete(queue_id, (ended.lease,))) == ("deleted",)
    await finish(await begin(made))
    assert await claim(made, queue_id) == ()
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(0, 0, 0)


@over("a", "b")
async def test_what_is_deleted_on_its_way_stays_deleted(made: Cluster) -> None:
    await check_deleted_halfway(made, marked=False)


@over("a", "b")
async def test_what_is_deleted_when_it_has_moved_stays_deleted(made: Cluster) -> None:
    await check_deleted_halfway(made, marked=True)


@over("a", "b")
async def test_a_copy_whose_original_was_deleted_is_dropped(made: Cluster) -> None:
    """The client reached the original before the copy was there."""
    await on_a(made)
    queue_id = await create(made, "other")
    await send(made, queue_id, "x")
    (ended,) = await claim(made, queue_id, 1, 0)
    fleet = made.fleet
    placed = await fleet.home.run(RetirePart(queue_id, 1, 2))
    old, new = sorted(placed.parts, key=lambda part: part.shard)
    await fleet.links[1].run(RenamePart(placed.name, old.id))
    await fleet.tell(placed, new)
    await fleet.placements.read(queue_id)
    rows = await fleet.links[1].run(PickMessages(old.id, 10))
    assert await made.router.run(Delete(queue_id, (ended.lease,))) == ("deleted",)
    await fleet.links[2].run(StageMessages(new.id, old.id, rows))
    await finish(await begin(made))
    assert await claim(made, queue_id) == ()
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(0, 0, 0)


@over("a", "b")
async def test_a_copy_of_another_part_that_leaves_is_let_alone(made: Cluster) -> None:
    """Both shards are drained, and the mover died in the middle of the first."""
    made.fleet.choice.shards = [s for s in made.fleet.choice.shards if s.name != "home"]
    queue_id = await create(made, spread="2")
    assert await shards(made, queue_id) == [1, 2]
    await send(made, queue_id, *map(str, range(8)))
    fleet = made.fleet
    placed = await fleet.home.run(RetirePart(queue_id, 1, HOME))
    parts = {part.shard: part for part in placed.parts}
    assert parts[1].heir == HOME
    await fleet.links[1].run(RenamePart(placed.name, parts[1].id))
    rows = await fleet.links[1].run(PickMessages(parts[1].id, 10))
    await fleet.home.run(StageMessages(parts[HOME].id, parts[1].id, rows))
    await fleet.links[1].run(MarkMoved(parts[1].id, tuple(row[0] for row in rows)))
    await made.router.run(SetShardState("b", "draining", ("open",)))
    mover = await begin(made)
    await mover._move(queue_id, 2)
    await finish(mover)
    found = await claim(made, queue_id)
    assert sorted(int(m.body) for m in found) == list(range(8))


@over("a", "b")
async def test_a_part_goes_to_where_it_has_begun_to_go(made: Cluster) -> None:
    """Though another shard has fewer queues by then; and that one has to wait."""
    await on_a(made)
    queue_id, placed, _ = await halfway(made, Mover(made.fleet), marked=True)
    again = await made.fleet.home.run(RetirePart(queue_id, 2, HOME))
    assert [p.state for p in again.parts] == [p.state for p in placed.parts] == ["leaving", "open"]
    for n in range(3):
        await made.router.run(create_queue(f"more-{n}"))
    await finish(await begin(made))
    assert await shards(made, queue_id) == [2]


@over("a", "b")
async def test_a_purge_while_a_queue_leaves_takes_all_of_it(made: Cluster) -> None:
    await on_a(made)
    queue_id, _, _ = await halfway(made, Mover(made.fleet), marked=False)
    assert await made.router.run(PurgeQueue(queue_id, 0)) == "purged"
    await send(made, queue_id, "new")
    await finish(await begin(made))
    assert [m.body for m in await claim(made, queue_id)] == [b"new"]


@over("a", "b")
async def test_sends_and_claims_go_on_while_a_queue_leaves(made: Cluster) -> None:
    await on_a(made)
    queue_id = await create(made)
    await send(made, queue_id, *(f"before-{n}" for n in range(200)))
    mover = await begin(made)
    got: list[bytes] = []

    async def consume() -> None:
        while len(got) < 260:
            messages = await claim(made, queue_id, 7, 600_000)
            got.extend(m.body for m in messages)
            if messages:
                leases = tuple(m.lease for m in messages)
                # Absent is what has been deleted when it had to be routed a second time.
                outcomes = await made.router.run(Delete(queue_id, leases))
                assert outcomes is not None
                assert set(outcomes) <= {"deleted", "absent"}

    async def produce() -> None:
        for n in range(60):
            await send(made, queue_id, f"during-{n}")

    await asyncio.gather(finish(mover), produce(), consume())
    assert len(got) == len(set(got)) == 260
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(0, 0, 0)
