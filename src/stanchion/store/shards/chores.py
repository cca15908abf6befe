"""What is done in the background about shards: upkeep of each, and telling what is owed to them.

A shard that cannot be reached does not hold up the others; what it is owed stays written down at
the home. Called by the router, and by the task that watches the home.
"""

import asyncio
from typing import TYPE_CHECKING

from stanchion.store.contract import StoreError, Upkeep
from stanchion.store.shards.commands import (
    ChangedPlacements,
    GetOwed,
    ListShards,
    Owed,
)

if TYPE_CHECKING:
    from stanchion.store.shards.router import ShardedStore

_WATCHED_EVERY_S = 1.0
_NEVER = 1 << 62
"""Above all changes: what was placed before the first look, nobody remembers otherwise."""


async def upkeep(router: "ShardedStore", command: Upkeep) -> int:
    """A step of upkeep on each shard. Answers in how many ms there is more to do on any."""
    links = sorted(router.links.values(), key=lambda link: link.number)
    answers = await asyncio.gather(*(link.run(command) for link in links), return_exceptions=True)
    # The home is the first of them.
    if isinstance(answers[0], BaseException):
        raise answers[0]
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, StoreError):
            raise answer
    await _pay(router)
    return min(answer for answer in answers if isinstance(answer, int))


async def _pay(router: "ShardedStore") -> None:
    """Tell shards what they have not been told."""
    owed: Owed = await router.home.run(GetOwed())
    for queue_id in owed.queue_ids:
        placement = await router.placements.read(queue_id)
        if placement is not None:
            await router.tell_all(placement)
    for shard, part_id in owed.dropped:
        try:
            await router.drop(shard, part_id)
        except StoreError:
            continue


class Watch:
    """Follows what other processes do to placements and to the register of shards."""

    def __init__(self, router: "ShardedStore") -> None:
        self._router = router
        self._seen = _NEVER

    async def look(self) -> None:
        """Take account of what has changed since the last look. Raises `StoreError`."""
        home, placements = self._router.home, self._router.placements
        self._seen, queue_ids = await home.run(ChangedPlacements(self._seen))
        for queue_id in queue_ids:
            if placements.is_known(queue_id):
                await placements.read(queue_id)
        self._router.choice.learn(await home.run(ListShards()))

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await asyncio.sleep(_WATCHED_EVERY_S)
            try:
                await self.look()
            except StoreError:
                continue
