"""What the tests of draining share: queues that begin on shard a, and a mover that is driven."""

from typing import Any

from stanchion.store.shards.choice import Choice
from stanchion.store.shards.cluster import Cluster
from stanchion.store.shards.commands import (
    ListShards,
    SetShardState,
)
from stanchion.store.shards.mover import Mover
from tests.shards.fleet import open_all


class OnA(Choice):
    """New queues go to shard a, for as long as it is open."""

    def open_shards(self, known: Any) -> list[int]:
        found = super().open_shards(known)
        return sorted(found, key=lambda number: number != 1)


async def begin(made: Cluster) -> Mover:
    """Drain a. Nothing is moved until the mover, which is not the background's, does a step."""
    for task in made._tasks:
        task.cancel()
    await made.router.run(SetShardState("a", "draining", ("open",)))
    await open_all(made)
    return Mover(made.router)


async def finish(mover: Mover) -> None:
    for _ in range(100):
        await mover.step()
        found = {shard.name: shard for shard in await mover._router.run(ListShards())}
        if found["a"].state == "drained":
            assert found["a"].queues == 0
            return
        mover._router.choice.learn(list(found.values()))
    raise AssertionError(f"not drained: {found}")


async def on_a(made: Cluster) -> None:
    made.router.choice = OnA()
    await open_all(made)
