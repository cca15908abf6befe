"""What is done in the background about shards: upkeep of each, and telling what is owed to them.

A shard that cannot be reached, or is slow to answer, does not hold up the others; what it is owed
stays written down at the home. Called by the router, and by the task that watches the home.
"""

import asyncio
import contextlib
from collections.abc import Iterable

from stanchion.store.contract import StoreError, Upkeep
from stanchion.store.shards.commands import (
    HOME,
    ChangedPlacements,
    GetOwed,
    ListShards,
    Owed,
    Placement,
)
from stanchion.store.shards.fleet import Fleet
from stanchion.store.shards.links import Link

_WAITED_FOR_S = 1.0
"""Whoever takes longer for a step of upkeep is not waited for: it is left to itself until done."""
_ASKED_FOR_S = 0.5
"""When the home takes longer to say what a shard is owed, its upkeep goes on without."""
_WATCHED_EVERY_S = 1.0
_NEVER = 1 << 62
"""Above all changes: what was placed before the first look, nobody remembers otherwise."""


async def upkeep(fleet: Fleet, command: Upkeep) -> int:
    """A step of upkeep on each shard that is not in the middle of one.

    Answers in how many ms there is more to do on any.
    """
    begun = []
    for link in fleet.links.values():
        if link.upkeep is None:
            link.upkeep = asyncio.create_task(_step(fleet, link, command))
            begun.append(link.upkeep)
    if begun:
        await asyncio.wait(begun, timeout=_WAITED_FOR_S)
    ended = [link for link in fleet.links.values() if link.upkeep and link.upkeep.done()]
    return min(_answers(ended), default=round(_WAITED_FOR_S * 1000))


def _answers(links: Iterable[Link]) -> list[int]:
    """What steps have answered that have come to an end. Raises what the home has."""
    answers = []
    failure: BaseException | None = None
    for link in links:
        task, link.upkeep = link.upkeep, None
        assert task is not None
        error = task.exception()
        if error is None:
            answers.append(task.result())
        elif link.number == HOME or not isinstance(error, StoreError):
            failure = error
    if failure is not None:
        raise failure
    return answers


async def _step(fleet: Fleet, link: Link, command: Upkeep) -> int:
    if link.number != HOME and not link.is_avoided:
        # First of all: what was purged or deleted unheard of would become dead letters.
        with contextlib.suppress(StoreError, TimeoutError):
            await _pay(fleet, link)
    more_in_ms: int = await link.run(command)
    return more_in_ms


async def _pay(fleet: Fleet, link: Link) -> None:
    """Tell a shard what it has not been told."""
    asking = fleet.home.run(GetOwed(link.number))
    owed: Owed = await asyncio.wait_for(asking, _ASKED_FOR_S)
    for dropped in owed.dropped:
        if not link.is_avoided:
            with contextlib.suppress(StoreError):
                await fleet.drop(*dropped)
    for queue_id in owed.queue_ids:
        placement = await fleet.placements.read(queue_id)
        if placement is not None and not link.is_avoided:
            # One that cannot be told of now does not hold up the others.
            with contextlib.suppress(StoreError):
                await _tell(fleet, placement, link.number)


async def _tell(fleet: Fleet, placement: Placement, shard: int) -> None:
    await fleet.provide_dead_letter_queue(placement)
    for part in placement.parts:
        if part.shard == shard:
            await fleet.tell(placement, part)


class Watch:
    """Follows what other processes do to placements and to the register of shards."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._seen = _NEVER

    async def look(self) -> None:
        """Take account of what has changed since the last look. Raises `StoreError`."""
        home, placements = self._fleet.home, self._fleet.placements
        seen, queue_ids = await home.run(ChangedPlacements(self._seen))
        for queue_id in queue_ids:
            if placements.is_known(queue_id):
                await placements.read(queue_id)
        # Not before all of them are read: a look that fails is to be done again.
        self._seen = seen
        self._fleet.choice.learn(await home.run(ListShards()))

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await asyncio.sleep(_WATCHED_EVERY_S)
            try:
                await self.look()
            except StoreError:
                continue
