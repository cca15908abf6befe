"""What the tests of draining share: queues that begin on shard a, and a mover that is driven."""

from collections.abc import Awaitable, Callable
from typing import Any

from stanchion.store.shards.choice import Choice
from stanchion.store.shards.cluster import Cluster
from stanchion.store.shards.commands import (
    ListShards,
    SetShardState,
)
from stanchion.store.shards.links import Link
from stanchion.store.shards.mover import Mover
from tests.shards.fleet import open_all


class OnA(Choice):
    """New queues go to shard a, for as long as it is open."""

    def open_shards(self, known: Any) -> list[int]:
        found = super().open_shards(known)
        return sorted(found, key=lambda number: number != 1)


class ToB(Choice):
    """Queues go to shard b."""

    def open_shards(self, known: Any) -> list[int]:
        return [2]


async def begin(made: Cluster) -> Mover:
    """Drain a. Nothing is moved until the mover, which is not the background's, does a step."""
    for task in made._tasks:
        task.cancel()
    await made.router.run(SetShardState("a", "draining", ("open",)))
    await open_all(made)
    return Mover(made.fleet)


async def finish(mover: Mover) -> None:
    for _ in range(100):
        await mover.step()
        found = {shard.name: shard for shard in await mover._fleet.home.run(ListShards())}
        if found["a"].state == "drained":
            assert found["a"].queues == 0
            return
        mover._fleet.choice.learn(list(found.values()))
    raise AssertionError(f"not drained: {found}")


async def on_a(made: Cluster) -> None:
    made.fleet.choice = OnA()
    await open_all(made)


def at(
    link: Link, kind: type[Any], act: Callable[[], Awaitable[object]], *, after: bool = False
) -> None:
    """Do something once, when the first command of a kind goes there, or has been answered."""
    run = link.run

    async def wrapped(command: Any) -> Any:
        if not isinstance(command, kind):
            return await run(command)
        link.run = run  # type: ignore[method-assign]
        if not after:
            await act()
        answer = await run(command)
        if after:
            await act()
        return answer

    link.run = wrapped  # type: ignore[method-assign]
