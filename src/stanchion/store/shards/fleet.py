"""The shards that this process knows, and what they know: asking them, and telling them.

A shard that does not know a part is told of it then, if the home still has it so; thus a shard that
was down when something changed needs nothing but to be asked. What nobody asks for is told in the
background, and remembered until then by the home: see `chores`.
"""

from typing import Any

from msgspec.structs import replace

from stanchion.store.contract import GetQueue, QueueRecord, StoreBusy, StoreError
from stanchion.store.shards.choice import Choice
from stanchion.store.shards.commands import (
    HOME,
    AddPart,
    AdoptPart,
    DropPart,
    GetPlacement,
    NoteDropped,
    NoteTold,
    Part,
    Placement,
    RenamePart,
)
from stanchion.store.shards.links import Link, unknown_shard
from stanchion.store.shards.placements import Placements
from stanchion.store.signals import QueueSignals


class NoPart(Exception):
    """A shard has no such part: it was never told, or the part is no more."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self.part = part


class Fleet:
    """The home, its shards, and where queues are. Made and used on one event loop."""

    def __init__(self, home: Link, signals: QueueSignals) -> None:
        self.home = home
        self.links: dict[int, Link] = {HOME: home}
        """By number."""
        self.placements = Placements(self._read_placement, signals)
        self.choice = Choice()

    async def _read_placement(self, queue_id: int) -> Placement | None:
        placement: Placement | None = await self.home.run_patiently(GetPlacement(queue_id))
        return placement

    def add(self, link: Link) -> None:
        """Know a further shard."""
        self.links[link.number] = link

    async def placement_for_work(self, queue_id: int) -> Placement | None:
        """None when the queue is gone. Raises `StoreBusy` while it is moved as a whole."""
        placement = await self.placements.get(queue_id)
        if placement is not None and placement.is_frozen:
            placement = await self.placements.read(queue_id)
            if placement is not None and placement.is_frozen:
                raise StoreBusy("the queue is being moved to another shard")
        return placement

    async def ask(self, part: Part, command: Any, *, is_patient: bool = False) -> Any:
        """A part's answer to a command about messages. Raises `NoPart` and `StoreError`."""
        answer = await self.ask_about(part, command, is_patient=is_patient)
        if answer is None or answer is False:
            raise NoPart(part)
        return answer

    async def ask_about(self, part: Part, command: Any, *, is_patient: bool = False) -> Any:
        """The same, whatever the answer is."""
        link = self.link_of(part)
        run = link.run_patiently if is_patient else link.run
        return await run(replace(command, queue_id=part.id))

    def link_of(self, part: Part) -> Link:
        link = self.links.get(part.shard)
        if link is None:
            raise unknown_shard(part.shard)
        return link

    # --- Telling shards -------------------------------------------------------------------------

    async def repair(self, placement: Placement, part: Part) -> None:
        """A shard does not know a part: see whether it still exists, and tell the shard."""
        fresh = await self.placements.read(placement.queue_id)
        if fresh is not None and part.shard != HOME:
            for found in fresh.parts:
                if found.id == part.id:
                    await self.tell(fresh, found)

    async def tell(self, placement: Placement, part: Part) -> None:
        """See to it that a shard knows a part, with its rules."""
        if part.shard == HOME:
            return
        link = self.link_of(part)
        if part.state in ("leaving", "frozen"):
            # Its messages are under an older id, and must not be taken for those of another queue.
            is_frozen = part.state == "frozen"
            await link.run(RenamePart(placement.name, part.id, is_frozen))
        named = (part.id, placement.queue_id, placement.name)
        adopted = AdoptPart(*named, placement.version, placement.rules, part.state)
        if await link.run(adopted):
            await self.home.run(NoteTold(part.id, placement.version, part.state))

    async def tell_all(self, placement: Placement) -> None:
        """Tell all shards of a queue. Those that cannot be reached are told later."""
        await self.provide_dead_letter_queue(placement)
        for part in placement.parts:
            try:
                await self.tell(placement, part)
            except StoreError:
                continue

    async def provide_dead_letter_queue(self, placement: Placement) -> None:
        """Dead letters stay on their shard: so their queue needs a part wherever there is one."""
        name = placement.rules.dead_letter_queue
        if name is None:
            return
        record: QueueRecord | None = await self.home.run_patiently(GetQueue(name))
        if record is not None and record.id != placement.queue_id:
            await self.extend(record.id, [part.shard for part in placement.parts])

    async def extend(self, queue_id: int, shards: list[int]) -> Placement | None:
        """Give a queue a part on each of these shards."""
        placement = await self.placements.get(queue_id)
        if placement is None:
            return None
        for shard in set(shards) - {part.shard for part in placement.parts}:
            placement = await self.home.run_patiently(AddPart(queue_id, shard))
            if placement is None:
                return None
            self.placements.put(placement)
            added = next(part for part in placement.parts if part.shard == shard)
            try:
                await self.tell(placement, added)
            except StoreError:
                continue
        return placement

    async def drop(self, shard: int, part_id: int, queue_id: int) -> None:
        """A shard need not keep this part any more."""
        link = self.links.get(shard)
        if link is not None and shard != HOME:
            await link.run(DropPart(part_id, queue_id))
            await self.home.run(NoteDropped(part_id))
