"""Which parts queues have, as far as this process knows, and whose part is whose.

What is cached may be old. That does no harm: a part that is no more answers so, and then the home
is asked anew; of parts that are new the process is told within a second. Also remembers which parts
were found empty, so that claims look elsewhere first. Used by the fleet.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import blake2b

from stanchion.store.contract import Wake
from stanchion.store.shards.commands import HOME, Part, Placement
from stanchion.store.signals import QueueSignals

_QUEUES_MAX = 50_000

Read = Callable[[int], Awaitable[Placement | None]]


class Placements:
    """The cache. `read` asks the home."""

    def __init__(self, read: Read, signals: QueueSignals) -> None:
        self._read = read
        self._signals = signals
        self._known: dict[int, Placement] = {}
        self._owners: dict[int, int] = {}
        self._empty: set[int] = set()
        self._turn = 0

    async def get(self, queue_id: int) -> Placement | None:
        """The placement, from the cache or else from the home; None when the queue is gone."""
        return self._known.get(queue_id) or await self.read(queue_id)

    async def read(self, queue_id: int) -> Placement | None:
        """The placement as the home has it now."""
        placement = await self._read(queue_id)
        if placement is None:
            self.forget(queue_id)
        else:
            self.put(placement)
        return placement

    def put(self, placement: Placement) -> None:
        self.forget(placement.queue_id)
        if len(self._known) >= _QUEUES_MAX:
            self.forget(next(iter(self._known)))
        self._known[placement.queue_id] = placement
        for part in placement.parts:
            self._owners[part.id] = placement.queue_id

    def forget(self, queue_id: int) -> None:
        placement = self._known.pop(queue_id, None)
        if placement is not None:
            for part in placement.parts:
                self._owners.pop(part.id, None)
                self._empty.discard(part.id)

    def is_known(self, queue_id: int) -> bool:
        return queue_id in self._known

    def in_turn(self, parts: Sequence[Part]) -> list[Part]:
        """The parts, beginning with another one each time."""
        self._turn += 1
        start = self._turn % len(parts)
        return [*parts[start:], *parts[:start]]

    def for_claim(self, parts: Sequence[Part]) -> list[Part]:
        """The same, those last that were found empty."""
        return sorted(self.in_turn(parts), key=lambda part: part.id in self._empty)

    def note_empty(self, part: Part) -> None:
        self._empty.add(part.id)

    def owner(self, shard: int, part_id: int) -> int | None:
        """Whose messages have come into view, and so are there."""
        self._empty.discard(part_id)
        return self._owners.get(part_id, part_id if shard == HOME else None)

    def watched(self, shard: int) -> list[int]:
        """The parts on a shard that somebody waits for."""
        found = []
        for queue_id in self._signals.watched():
            placement = self._known.get(queue_id)
            if placement is not None:
                found += [part.id for part in placement.parts if part.shard == shard]
        return found


class PartSignals:
    """What a shard's batcher and listener tell of parts, told as of queues."""

    def __init__(self, shard: int, placements: Placements, signals: QueueSignals) -> None:
        self._shard = shard
        self._placements = placements
        self._signals = signals

    def notify(self, wakes: Iterable[Wake]) -> None:
        owner = self._placements.owner
        self._signals.notify(
            Wake(queue_id, wake.visible_at_ms, wake.messages)
            for wake in wakes
            if (queue_id := owner(self._shard, wake.queue_id)) is not None
        )

    def watched(self) -> list[int]:
        return self._placements.watched(self._shard)


def part_of_group(parts: Sequence[Part], group_id: str) -> Part:
    """Where a message group lives: always the same slot, for as long as the queue exists."""
    slots = {slot: part for part in parts for slot in part.slots}
    digest = blake2b(group_id.encode(), digest_size=8).digest()
    return slots[int.from_bytes(digest) % len(slots)]
