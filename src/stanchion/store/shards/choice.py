"""On which shards a new queue's messages will be.

On one, the open one with the fewest queues, unless the queue has the tag `stanchion:spread`: a
number of shards, or `all`. FIFO queues are spread only where groups have nothing to do with each
other. A FIFO queue with a dead-letter queue goes where that is. Called by the directory.
"""

from collections.abc import Collection, Mapping, Sequence

from stanchion.store.contract import CreateQueue, GetQueue, QueueRecord
from stanchion.store.shards.commands import HOME, Shard
from stanchion.store.shards.links import Link
from stanchion.store.shards.placements import Placements

SPREAD_TAG = "stanchion:spread"


class Choice:
    """What the home's register had when it was last read, and the queues made here since."""

    def __init__(self) -> None:
        self.shards: Sequence[Shard] = ()
        self._made: dict[int, int] = {}

    def learn(self, shards: Sequence[Shard]) -> None:
        self.shards = shards
        self._made.clear()

    def open_shards(self, known: Collection[int]) -> list[int]:
        """The numbers of open shards that this process knows, those with the fewest queues first.

        The home if there is no other.
        """
        counted = [
            (shard.queues + self._made.get(shard.number, 0), shard.number)
            for shard in self.shards
            if shard.state == "open" and shard.number in known
        ]
        return [number for _, number in sorted(counted)] or [HOME]

    async def shards_for(
        self, command: CreateQueue, links: Mapping[int, Link], placements: Placements
    ) -> tuple[int, ...]:
        """`links` are the shards that this process knows."""
        chosen = await _of_dead_letter_queue(command, links[HOME], placements)
        if chosen is None:
            chosen = tuple(self.open_shards(links)[: _spread(command)])
        for number in chosen:
            self._made[number] = self._made.get(number, 0) + 1
        return chosen


async def _of_dead_letter_queue(
    command: CreateQueue, home: Link, placements: Placements
) -> tuple[int, ...] | None:
    """Where the dead-letter queue of a FIFO queue is, slot by slot."""
    name = command.rules.dead_letter_queue
    if not command.rules.is_fifo or name is None:
        return None
    record: QueueRecord | None = await home.run_patiently(GetQueue(name))
    placement = await placements.get(record.id) if record is not None else None
    if placement is None:
        return None
    slots = sorted((slot, part.shard) for part in placement.parts for slot in part.slots)
    shards = tuple(dict.fromkeys(shard for _, shard in slots))
    return shards if may_be_spread(command) else shards[:1]


def _spread(command: CreateQueue) -> int:
    """Over how many shards, if there are as many."""
    wanted = command.tags.get(SPREAD_TAG, "")
    if not may_be_spread(command):
        return 1
    if wanted == "all":
        return 1 << 30
    return int(wanted) if wanted.isascii() and wanted.isdigit() and int(wanted) else 1


def may_be_spread(command: CreateQueue) -> bool:
    """Whether parts of the queue need not know of each other."""
    attributes = command.attributes
    return not command.rules.is_fifo or (
        attributes.get("DeduplicationScope") == "messageGroup"
        and attributes.get("FifoThroughputLimit") == "perMessageGroupId"
    )
