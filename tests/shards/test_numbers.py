"""Numbers of shards are given again, and numbers of messages never: what is equal is a copy."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import CountMessages, MessageCounts, StoreError
from stanchion.store.shards.cluster import Cluster
from stanchion.store.shards.commands import (
    HOME,
    SHARDS_MAX,
    Identify,
    JoinShard,
    PickMessages,
    RemoveShard,
    RenamePart,
    RetirePart,
    SetShardState,
    ShardIdentity,
    StageMessages,
)
from stanchion.store.shards.mover import Mover
from tests.shards.drains import begin, finish, on_a
from tests.shards.fleet import DEADLINE_S, cluster, empty, open_all, over, urls
from tests.shards.test_routing import claim, create, placement, send, shards


def alone(work: Callable[[], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        await empty()
        await work()

    urls()
    asyncio.run(asyncio.wait_for(all_of_it(), DEADLINE_S))


async def fill_and_drain(made: Cluster, name: str, bodies: str) -> tuple[int, int]:
    """A queue whose messages go from shard 1 to the home. Answers it, and their lowest number."""
    await on_a(made)
    queue_id = await create(made, name)
    assert await shards(made, queue_id) == [1]
    await send(made, queue_id, *bodies)
    lowest = min(m.lease.sequence for m in await claim(made, queue_id, visibility_ms=0))
    for task in made._tasks:
        task.cancel()
    (link,) = (link for link in made.fleet.links.values() if link.number == 1)
    await made.router.run(SetShardState(link.name, "draining", ("open",)))
    await open_all(made)
    mover = Mover(made.fleet)
    for _ in range(10):
        await mover.step()
        await open_all(made)
    assert await shards(made, queue_id) == [HOME]
    return queue_id, lowest


def test_who_gets_a_number_that_was_anothers_numbers_messages_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stanchion.store.postgres.parts._MOVER_LEASE_MS", 0)

    async def work() -> None:
        async with cluster("a") as made:
            _, first = await fill_and_drain(made, "old", "123")
            assert await made.router.run(RemoveShard("a"))
            for n in range(SHARDS_MAX - 2):
                joined = await made.router.run(JoinShard(f"other-{n}", ""))
                assert joined is not None
                assert joined.number == n + 2, "no number is given again before all were"
                assert await made.router.run(RemoveShard(f"other-{n}"))
        async with cluster("b") as made:
            queue_id, second = await fill_and_drain(made, "new", "wxyz")
            assert second > first
            assert second % SHARDS_MAX == first % SHARDS_MAX == 1
            assert await made.router.run(CountMessages(queue_id)) == MessageCounts(4, 0, 0)

    alone(work)


def test_an_empty_database_that_was_removed_joins_as_another() -> None:
    async def work() -> None:
        async with cluster("a") as made:
            (was,) = [await made.fleet.links[1].run(Identify(None))]
            assert await made.router.run(RemoveShard("a")) is False, "it is open"
            await finish(await begin(made))
            assert await made.router.run(RemoveShard("a"))
        async with cluster("a") as made:
            (link,) = (link for link in made.fleet.links.values() if link.number != HOME)
            now = await link.run(Identify(None))
            assert (now.home_id, now.generation) == (was.home_id, was.generation + 1)
            assert await link.run(Identify(was)) == now, "there is no way back"
            queue_id = await create(made, spread="all")
            await send(made, queue_id, "1", "2")
            numbers = {m.lease.sequence for m in await claim(made, queue_id)}
            assert any(n >= now.generation << 50 for n in numbers)

    alone(work)


@over("a")
async def test_a_database_with_queues_stays_the_shard_that_it_is(made: Cluster) -> None:
    await on_a(made)
    await create(made)
    link = made.fleet.links[1]
    found = await link.run(Identify(None))
    newer = ShardIdentity(found.home_id, 5, found.generation + 1)
    assert await link.run(Identify(newer)) == found


@over("a", "b")
async def test_what_is_there_but_no_copy_is_not_taken_for_one(made: Cluster) -> None:
    """The numbers of two databases that somebody has mixed up; nothing is lost all the same."""
    await on_a(made)
    queue_id = await create(made)
    await send(made, queue_id, "1")
    fleet = made.fleet
    placed = await fleet.home.run(RetirePart(queue_id, 1, 2))
    old, new = sorted(placed.parts, key=lambda part: part.shard)
    await fleet.links[1].run(RenamePart(placed.name, old.id))
    await fleet.tell(placed, new)
    rows = await fleet.links[1].run(PickMessages(old.id, 10))
    made.fleet.choice = type(made.fleet.choice)()
    await open_all(made)
    other_id = await create(made, "other", "all")
    (part,) = (p for p in (await placement(made, other_id)).parts if p.shard == 2)
    assert await fleet.links[2].run(StageMessages(part.id, old.id, rows))
    with pytest.raises(StoreError, match="on this shard already"):
        await fleet.links[2].run(StageMessages(new.id, old.id, rows))
    assert await fleet.links[1].run(PickMessages(old.id, 10)) == rows
