"""What goes on in the background, with shards that are slow, down, or something else."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

pytest.importorskip("asyncpg")

import asyncpg

from stanchion.store.contract import OutcomeUnknown, StoreUnreachable, StoreUnusable, Upkeep
from stanchion.store.shards import cluster as clusters
from stanchion.store.shards.chores import Watch
from stanchion.store.shards.cluster import Cluster
from stanchion.store.shards.commands import (
    ChangedPlacements,
    GetOwed,
    GetPlacement,
    ListShards,
    Owed,
    Placement,
    ShardIdentity,
)
from stanchion.store.shards.fleet import Fleet
from stanchion.store.shards.links import Link
from stanchion.store.shards.router import ShardedStore
from stanchion.store.signals import QueueSignals
from tests.postgres import SCHEMA
from tests.shards.fleet import over, urls
from tests.store.driver import create_queue
from tests.store.virtual_loop import LoopClock, VirtualLoop, run

HANGS_FOR_S = 15


class Fake:
    """The batcher of a shard, or of the home, with nothing in it."""

    waiting = flushes = commands = 0

    def __init__(self, more_in_ms: int = 1000) -> None:
        self.more_in_ms = more_in_ms
        self.steps = 0
        self.is_hanging = False
        self.failure: Exception | None = None
        self.answers: dict[type, Any] = {GetOwed: Owed((), ()), ListShards: []}
        self.ran: list[Any] = []

    async def run(self, command: Any) -> Any:
        self.ran.append(command)
        self.steps += isinstance(command, Upkeep)
        if self.is_hanging:
            await asyncio.sleep(HANGS_FOR_S)
            raise OutcomeUnknown("no answer")
        if self.failure is not None:
            raise self.failure
        return self.more_in_ms if isinstance(command, Upkeep) else self.answers[type(command)]

    async def close(self) -> None:
        pass


class Bench:
    """A router over a home and two shards, in virtual time."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.home, self.a, self.b = (Fake(ms) for ms in (1000, 500, 700))
        self.fleet = Fleet(
            Link(0, "home", self.home),  # type: ignore[arg-type]
            QueueSignals(LoopClock(self.loop)),
        )
        self.router = ShardedStore(self.fleet)
        for number, (name, batcher) in enumerate((("a", self.a), ("b", self.b)), 1):
            self.fleet.add(Link(number, name, batcher))  # type: ignore[arg-type]

    @property
    def steps(self) -> tuple[int, int, int]:
        return self.home.steps, self.a.steps, self.b.steps

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        async def whole() -> None:
            await work
            await self.router.close()

        run(self.loop, whole())


def test_a_shard_that_hangs_does_not_hold_up_the_others() -> None:
    bench = Bench()

    async def scenario() -> None:
        assert await bench.router.run(Upkeep()) == 500
        assert bench.loop.now_s == 0
        bench.a.is_hanging = True
        assert await bench.router.run(Upkeep()) == 700
        assert bench.loop.now_s <= 1
        for _ in range(10):
            await bench.router.run(Upkeep())
        assert bench.loop.now_s <= 1, "it is waited for once"
        assert bench.steps == (12, 2, 12)
        bench.a.is_hanging = False
        await asyncio.sleep(HANGS_FOR_S + 2)
        assert await bench.router.run(Upkeep()) == 700
        assert await bench.router.run(Upkeep()) == 500
        assert bench.a.steps == 3

    bench.run(scenario())


def test_what_is_slow_is_not_asked_again_and_counts_when_it_has_answered() -> None:
    bench = Bench()
    for shard in (bench.home, bench.a, bench.b):
        shard.is_hanging = True

    async def scenario() -> None:
        assert await bench.router.run(Upkeep()) == 1000
        assert await bench.router.run(Upkeep()) == 1000
        assert bench.steps == (1, 1, 1)
        await asyncio.sleep(HANGS_FOR_S)
        with pytest.raises(OutcomeUnknown):
            await bench.router.run(Upkeep())

    bench.run(scenario())


def test_a_step_under_way_ends_with_the_process() -> None:
    bench = Bench()
    bench.a.is_hanging = True

    async def scenario() -> None:
        await bench.router.run(Upkeep())

    bench.run(scenario())
    assert bench.loop.now_s <= 1


def test_upkeep_fails_with_that_of_the_home_alone() -> None:
    bench = Bench()

    async def scenario() -> None:
        bench.b.failure = StoreUnreachable("b is down")
        assert await bench.router.run(Upkeep()) == 500
        bench.home.failure = StoreUnreachable("the home is down")
        with pytest.raises(StoreUnreachable, match="the home"):
            await bench.router.run(Upkeep())
        bench.home.failure = bench.b.failure = None
        await asyncio.sleep(2)
        assert await bench.router.run(Upkeep()) == 500

    bench.run(scenario())


def test_what_could_not_be_looked_at_is_looked_at_again() -> None:
    bench = Bench()
    rules = create_queue().rules
    known = Placement(5, create_queue().name, 1, rules, ())
    changed = Placement(5, create_queue().name, 2, rules, ())

    async def scenario() -> None:
        bench.fleet.placements.put(known)
        bench.home.answers[ChangedPlacements] = (7, (5,))
        bench.home.answers[GetPlacement] = changed
        watch = Watch(bench.fleet)
        bench.home.answers[ListShards] = []
        reading = bench.fleet.placements._read

        async def fails(queue_id: int) -> None:
            raise OutcomeUnknown("no answer")

        bench.fleet.placements._read = fails  # type: ignore[assignment]
        with pytest.raises(OutcomeUnknown):
            await watch.look()
        bench.fleet.placements._read = reading
        await watch.look()
        await watch.look()
        first, second, third = (
            command.after for command in bench.home.ran if isinstance(command, ChangedPlacements)
        )
        assert first == second != third == 7
        assert await bench.fleet.placements.get(5) == changed

    bench.run(scenario())


@over("a", "b")
async def test_debts_to_a_shard_that_is_down_do_not_hide_those_to_others(made: Cluster) -> None:
    connection = await asyncpg.connect(urls()["home"])
    await connection.execute(
        f"INSERT INTO {SCHEMA}.dropped_part (id, shard, queue_id)"
        " SELECT n, CASE WHEN n > 300 THEN 2 ELSE 1 END, 7 FROM generate_series(1, 305) AS n"
    )
    await connection.close()
    link = made.fleet.links[1]
    batcher, link.batcher = link.batcher, None
    await made.router.run(Upkeep())
    assert await made.fleet.home.run(GetOwed(2)) == ((), ())
    owed = await made.fleet.home.run(GetOwed(1))
    assert owed.dropped == tuple((1, n, 7) for n in range(1, 101))
    link.batcher = batcher


def test_a_shard_that_turns_out_to_be_another_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_REOPENED_EVERY_S", 0.0)
    told: list[StoreUnusable] = []

    @over("a")
    async def work(made: Cluster) -> None:
        made._on_refused = told.append
        other = Link(9, "other", None)
        await made._open_later(other, urls()["a"], ShardIdentity("of another home", 9, 1))
        assert other.batcher is None

    work()
    assert [str(error).partition(":")[0] for error in told] == ["shard other"]
