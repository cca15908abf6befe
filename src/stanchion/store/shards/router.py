"""Routes commands to the shards that they concern: the face of a batcher over several of them.

The home answers for the directory of queues and for records. What concerns messages goes to the
parts of the queue. A shard that does not know a part is told of it then, if the home still has it
so; thus a shard that was down when something changed needs nothing but to be asked. What nobody
asks for is told in the background, and remembered until then by the home: see `chores`.

Never decides anything about messages itself. Made by `backends`, called by the actions.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    ClaimFifo,
    Command,
    CountMessages,
    CreateQueue,
    Delete,
    DeleteQueue,
    GetQueue,
    PurgeQueue,
    QueueCreated,
    QueueRecord,
    Send,
    SendFifo,
    StoreBusy,
    StoreError,
    UpdateQueue,
    Upkeep,
)
from stanchion.store.moves import CancelMove, ListMoves, StartMove
from stanchion.store.shards import chores, fifo, moves, standard
from stanchion.store.shards.choice import Choice
from stanchion.store.shards.commands import (
    HOME,
    AddPart,
    AdoptPart,
    CreatePlaced,
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
from stanchion.store.shards.standard import NoPart
from stanchion.store.signals import QueueSignals

Answer = TypeVar("Answer")

_TRIES = 4
"""How often a command is routed anew because its queue was placed anew meanwhile."""


class ShardedStore:
    """As a batcher. Made and used on one event loop."""

    def __init__(self, home: Link, signals: QueueSignals) -> None:
        self.home = home
        self.links: dict[int, Link] = {HOME: home}
        """The shards that this process knows, by number."""
        self.placements = Placements(self._read_placement, signals)
        self.choice = Choice()

    async def _read_placement(self, queue_id: int) -> Placement | None:
        placement: Placement | None = await self.home.run_patiently(GetPlacement(queue_id))
        return placement

    def add(self, link: Link) -> None:
        """Know a further shard."""
        self.links[link.number] = link

    @property
    def _batchers(self) -> list[Any]:
        return [link.batcher for link in self.links.values() if link.batcher is not None]

    @property
    def waiting(self) -> int:
        """How many commands wait for a flush of theirs."""
        return sum(batcher.waiting for batcher in self._batchers)

    @property
    def flushes(self) -> int:
        """How many flushes there were."""
        return sum(batcher.flushes for batcher in self._batchers)

    @property
    def commands(self) -> int:
        """How many commands they had."""
        return sum(batcher.commands for batcher in self._batchers)

    async def run(self, command: Command[Answer]) -> Answer:
        """The command's answer, once it is durable. Raises `StoreError`."""
        kind = type(command)
        if kind in _ON_MESSAGES:
            answer = await self._on_messages(command)
        elif kind in _ROUTES:
            answer = await _ROUTES[kind](self, command)
        else:
            answer = await self.home.run_patiently(command)
        return cast(Answer, answer)

    async def _on_messages(self, command: Any) -> Any:
        act = _ON_MESSAGES[type(command)]
        for _ in range(_TRIES):
            placement = await self.placement_for_work(command.queue_id)
            if placement is None:
                return False if isinstance(command, Send) else None
            try:
                return await act(self, placement, command)
            except NoPart as missing:
                await self.repair(placement, missing.part)
        raise StoreBusy("the queue is being placed anew")

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
            await link.run(RenamePart(placement.name, part.id))
        named = (part.id, placement.queue_id, placement.name)
        adopted = AdoptPart(*named, placement.version, placement.rules)
        if await link.run(adopted):
            await self.home.run(NoteTold(part.id, placement.version))

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

    # --- The directory --------------------------------------------------------------------------

    async def _create(self, command: CreateQueue) -> Any:
        shards = await self.choice.shards_for(command, self)
        if shards == (HOME,):
            created = await self.home.run_patiently(command)
        else:
            created = await self.home.run_patiently(CreatePlaced(command, shards))
        if isinstance(created, QueueCreated):
            await self._placed_anew(created.record.id)
        return created

    async def _placed_anew(self, queue_id: int) -> None:
        placement = await self.placements.read(queue_id)
        if placement is not None:
            await self.tell_all(placement)

    async def _update(self, command: UpdateQueue) -> QueueRecord | None:
        record: QueueRecord | None = await self.home.run_patiently(command)
        if record is not None:
            await self._placed_anew(record.id)
        return record

    async def _purge(self, command: PurgeQueue) -> Any:
        outcome = await self.home.run_patiently(command)
        if outcome == "purged":
            await self._placed_anew(command.queue_id)
        return outcome

    async def _delete(self, command: DeleteQueue) -> Any:
        placement = await self.placements.read(command.queue_id)
        was_there = await self.home.run_patiently(command)
        self.placements.forget(command.queue_id)
        for part in placement.parts if placement is not None else ():
            try:
                await self.drop(part.shard, part.id)
            except StoreError:
                continue
        return was_there

    async def drop(self, shard: int, part_id: int) -> None:
        """A shard need not keep this part any more."""
        link = self.links.get(shard)
        if link is not None and shard != HOME:
            await link.run(DropPart(part_id))
            await self.home.run(NoteDropped(part_id))

    async def close(self) -> None:
        """Finish what is waiting, and take nothing more. The stores stay open."""
        await asyncio.gather(*(link.close() for link in self.links.values()))


_ON_MESSAGES: dict[type[Command[Any]], Callable[..., Coroutine[Any, Any, Any]]] = {
    Send: standard.send,
    SendFifo: fifo.send,
    Claim: standard.claim,
    ClaimFifo: fifo.claim,
    Delete: standard.delete,
    ChangeVisibility: standard.change_visibility,
    CountMessages: standard.count,
}
_ROUTES: dict[type[Command[Any]], Callable[..., Awaitable[Any]]] = {
    CreateQueue: ShardedStore._create,
    UpdateQueue: ShardedStore._update,
    PurgeQueue: ShardedStore._purge,
    DeleteQueue: ShardedStore._delete,
    StartMove: moves.start,
    ListMoves: moves.list_moves,
    CancelMove: moves.cancel,
    Upkeep: chores.upkeep,
}
