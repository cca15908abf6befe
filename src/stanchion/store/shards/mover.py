"""Moves queues off shards that are being drained, one queue at a time.

Of all servers one does it at a time, and renews its lease with each batch: of two that copied the
same FIFO queue, each would make the other begin anew. Nothing else depends on it. Every step can be
done again, by the same or another, after whatever end the last one came to.

A part of a standard queue leaves while it is used: sends go elsewhere, claims look at both, and its
free messages are taken over a batch at a time; what is leased or delayed is waited for. See
`postgres.transit` for how a message is always in view on one side at most. A part of a FIFO queue
is frozen, copied and opened again elsewhere. Called by the cluster, once per process.
"""

import asyncio
import contextlib
from collections.abc import Collection, Sequence

from stanchion.store.contract import GetQueue, ListDeadLetterSources, StoreBusy, StoreError
from stanchion.store.shards.commands import (
    HOME,
    MOVED_LANE,
    FifoCopy,
    ForgetMoved,
    LeaseMover,
    LeavePart,
    ListStaged,
    MarkMoved,
    MessageRow,
    Part,
    PartState,
    PartsToMove,
    PickMessages,
    Placement,
    ReadFifo,
    RenamePart,
    ReplacePart,
    RetirePart,
    SetShardState,
    Shard,
    ShowStaged,
    StageMessages,
    WriteFifo,
)
from stanchion.store.shards.fleet import Fleet

_PAUSE_S = 1.0
_BATCH_MESSAGES = 500
_BATCHES_PER_STEP = 20
_QUEUES_PER_STEP = 1000
_SOURCES_MAX = 1000
_ON_THEIR_WAY: tuple[PartState, ...] = ("leaving", "frozen")
_ALL: tuple[PartState, ...] = (*_ON_THEIR_WAY, "open", "arriving")


class _Superseded(Exception):
    """Another process moves queues now."""


class Mover:
    """The background task of one process."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._leased_until_ms = 0

    async def run(self) -> None:
        """Move what there is to move, until cancelled."""
        while True:
            try:
                is_busy = await self.step()
            except StoreError:
                is_busy = False
            await asyncio.sleep(0.01 if is_busy else _PAUSE_S)

    async def step(self) -> bool:
        """Do some of the work that there is. Answers whether there is more at once."""
        shards = [shard for shard in self._fleet.choice.shards if shard.number != HOME]
        found = [(shard, await self._to_move(shard)) for shard in shards]
        if not any(queue_ids or shard.state == "draining" for shard, queue_ids in found):
            return False
        try:
            await self._lease()
            moved = [await self._move_off(shard, queue_ids) for shard, queue_ids in found]
        except _Superseded:
            return False
        return any(moved)

    async def _lease(self) -> None:
        """Be the one for another while. Raises `_Superseded`."""
        until_ms = await self._fleet.home.run(LeaseMover(self._leased_until_ms))
        if until_ms is None:
            raise _Superseded
        self._leased_until_ms = until_ms

    async def _to_move(self, shard: Shard) -> list[int]:
        """Queues with a part there that is on its way; all of them if it is to be empty."""
        # A server that had not noticed may have put a queue on one that was drained.
        is_to_be_empty = shard.state in ("draining", "drained")
        states = _ALL if is_to_be_empty else _ON_THEIR_WAY
        queue_ids: Sequence[int] = await self._fleet.home.run(
            PartsToMove(shard.number, states, _QUEUES_PER_STEP)
        )
        return list(queue_ids)

    async def _move_off(self, shard: Shard, queue_ids: Sequence[int]) -> bool:
        if not queue_ids:
            if shard.state == "draining":
                drained = SetShardState(shard.name, "drained", ("draining",))
                await self._fleet.home.run(drained)
            return False
        moved = False
        for queue_id in await self._in_order(queue_ids, shard):
            await self._lease()
            try:
                moved |= await self._move(queue_id, shard.number)
            except StoreError:
                # Another shard may be down; the queues of others can go all the same.
                continue
        return moved

    async def _in_order(self, queue_ids: Sequence[int], shard: Shard) -> Sequence[int]:
        """Which queues to move now, with regard to where their dead letters go.

        Where they arrive on a standard queue, those that they come from go first. On a FIFO queue
        they come last, and follow it: it cannot be on its new shard before it is copied there.
        """
        first: list[int] = []
        waiting: list[int] = []
        others: list[int] = []
        for queue_id in queue_ids:
            placement = await self._fleet.placements.get(queue_id)
            if placement is None:
                continue
            if not await self._has_sources(placement, shard.number):
                others.append(queue_id)
            else:
                (first if placement.rules.is_fifo else waiting).append(queue_id)
        return [*first, *others] or waiting[:1]

    async def _has_sources(self, placement: Placement, shard: int) -> bool:
        """Whether another queue with a part there has this one as its dead-letter queue."""
        sources = await self._sources(placement)
        return any(part.shard == shard for source in sources for part in source.parts)

    async def _sources(self, placement: Placement) -> list[Placement]:
        """The other queues that have this one as their dead-letter queue."""
        fleet = self._fleet
        query = ListDeadLetterSources(placement.name, after="", limit=_SOURCES_MAX)
        found = [
            await fleet.placements.get(record.id)
            for record in await fleet.home.run(query)
            if record.id != placement.queue_id
        ]
        return [source for source in found if source is not None]

    async def _move(self, queue_id: int, shard: int) -> bool:
        """Go on moving a part. Answers whether anything could be done."""
        fleet = self._fleet
        current = await fleet.placements.read(queue_id)
        if current is None:
            return False
        heir_shard = _heir_shard(fleet, current, shard, await self._near(current))
        if heir_shard is None:
            return await self._give_up_empty(current, shard)
        if not current.rules.is_fifo:
            # Dead letters stay on their shard, and will have to there.
            await fleet.provide_dead_letter_queue(_with_part(current, heir_shard))
        placement = await fleet.home.run(RetirePart(queue_id, shard, heir_shard))
        if placement is None:
            return True
        fleet.placements.put(placement)
        part = next((p for p in placement.parts if p.shard == shard), None)
        heir = next((p for p in placement.parts if p.shard == heir_shard), None)
        if part is None or heir is None or part.state == "open":
            return False
        is_frozen = placement.rules.is_fifo
        await fleet.link_of(part).run(RenamePart(placement.name, part.id, is_frozen))
        await fleet.tell(placement, heir)
        if placement.rules.is_fifo:
            return await self._move_fifo(placement, part, heir)
        return await self._move_standard(placement, part, heir)

    async def _finish(self, placement: Placement, part: Part, heir: Part) -> bool:
        fleet = self._fleet
        # What can be done twice comes first: after a crash all of this is done again.
        done: bool = await fleet.home.run(ReplacePart(part.id, heir.id))
        await fleet.placements.read(placement.queue_id)
        if done:
            # It is written down, and done later if not now.
            with contextlib.suppress(StoreError):
                await fleet.drop(part.shard, part.id, placement.queue_id)
        return done

    # --- Standard queues ------------------------------------------------------------------------

    async def _move_standard(self, placement: Placement, part: Part, heir: Part) -> bool:
        old, new = self._fleet.link_of(part), self._fleet.link_of(heir)
        moved = 0
        # A copy may be that of a message of another part, which has the same heir.
        is_only_one = sum(p.state == "leaving" for p in placement.parts) == 1
        for _ in range(_BATCHES_PER_STEP):
            await self._lease()
            staged = await new.run(ListStaged(heir.id)) if is_only_one else []
            rows = await old.run(PickMessages(part.id, _BATCH_MESSAGES))
            if rows is None:
                return False
            await self._take_over(part, heir, rows, staged)
            moved += len(rows)
            if not rows:
                break
        if not moved and await old.run(LeavePart(part.id)):
            return await self._finish(placement, part, heir)
        return moved > 0

    async def _take_over(
        self, part: Part, heir: Part, rows: list[MessageRow], staged: list[int]
    ) -> None:
        """Messages out of view here come into view there. `staged`: copies from before."""
        old, new = self._fleet.link_of(part), self._fleet.link_of(heir)
        fresh = [row for row in rows if row[1] != MOVED_LANE]
        if fresh and not await new.run(StageMessages(heir.id, part.id, fresh)):
            raise StoreBusy("the part that takes over is no more")
        numbers = tuple(row[0] for row in rows)
        moved = await old.run(MarkMoved(part.id, numbers)) if numbers else []
        # Copies without an original: a client has deleted it meanwhile.
        dropped = ({*numbers, *staged}).difference(moved)
        if moved or dropped:
            shown = ShowStaged(heir.id, tuple(moved), tuple(dropped))
            if not await new.run(shown):
                raise StoreBusy("the part that takes over is no more")
        if moved:
            await old.run(ForgetMoved(part.id, tuple(moved)))

    # --- FIFO queues ----------------------------------------------------------------------------

    async def _move_fifo(self, placement: Placement, part: Part, heir: Part) -> bool:
        old, new = self._fleet.link_of(part), self._fleet.link_of(heir)
        after: int | None = 0
        # Nothing has come to the part since it was frozen, so once through is all of it.
        while after is not None:
            await self._lease()
            copy: FifoCopy | None = await old.run(ReadFifo(part.id, after, _BATCH_MESSAGES))
            if copy is None or not await new.run(WriteFifo(heir.id, copy)):
                return False
            after = copy.messages[-1][0] if copy.messages else None
        if not await self._finish(placement, part, heir):
            return False
        await self._tell_open(placement.queue_id, heir)
        await self._join_dead_letters(placement, part.shard)
        return True

    async def _tell_open(self, queue_id: int, heir: Part) -> None:
        """Dead letters may come to the copy, and go. If it is not told now it is told later."""
        placement = await self._fleet.placements.get(queue_id)
        for part in placement.parts if placement is not None else ():
            if part.id == heir.id and placement is not None:
                with contextlib.suppress(StoreError):
                    await self._fleet.tell(placement, part)

    async def _near(self, placement: Placement) -> set[int]:
        """Where the dead-letter queue of a FIFO queue is, and those that have it as theirs."""
        if not placement.rules.is_fifo:
            return set()
        found = await self._sources(placement)
        if target := await self._dead_letter_queue(placement):
            found.append(target)
        return {part.shard for other in found for part in other.parts}

    async def _dead_letter_queue(self, placement: Placement) -> Placement | None:
        name = placement.rules.dead_letter_queue
        record = await self._fleet.home.run(GetQueue(name)) if name is not None else None
        if record is None or record.id == placement.queue_id:
            return None
        return await self._fleet.placements.get(record.id)

    async def _join_dead_letters(self, moved: Placement, shard: int) -> None:
        """A queue has moved: it and those it has to do with are on the same shards again.

        But for a dead-letter queue that has yet to leave the old shard: it comes after.
        """
        placement = await self._fleet.placements.read(moved.queue_id)
        for source in [placement, *await self._sources(moved)]:
            target = await self._dead_letter_queue(source) if source is not None else None
            if source is None or target is None:
                continue
            if all(part.shard != shard for part in target.parts):
                await self._fleet.provide_dead_letter_queue(source)

    async def _give_up_empty(self, placement: Placement, shard: int) -> bool:
        """A part for dead letters only, of a FIFO queue, has nowhere to go; when empty it ends."""
        part = next((p for p in placement.parts if p.shard == shard), None)
        heir = next((p for p in placement.parts if p.shard != shard and p.state == "open"), None)
        if part is None or heir is None or part.slots or not placement.rules.is_fifo:
            return False
        if await self._has_sources(placement, shard):
            return False
        if not await self._fleet.link_of(part).run(LeavePart(part.id)):
            return False
        return await self._finish(placement, part, heir)


def _heir_shard(
    fleet: Fleet, placement: Placement, shard: int, near: Collection[int]
) -> int | None:
    """Where a part goes to: where it is going already, or a shard that the queue is not on yet."""
    parts = {part.shard: part for part in placement.parts}
    if shard in parts and parts[shard].heir is not None:
        return parts[shard].heir
    candidates = [n for n in fleet.choice.open_shards(fleet.links) if n != shard]
    fresh = [number for number in candidates if number not in parts]
    if placement.rules.is_fifo:
        # Its messages cannot be mixed with those of another part.
        return next(iter(sorted(fresh, key=lambda number: number not in near)), None)
    there = [number for number in candidates if number in parts and parts[number].state == "open"]
    return next(iter(fresh or there), HOME if HOME in parts else None)


def _with_part(placement: Placement, shard: int) -> Placement:
    added = Part(0, shard, "open", ())
    return Placement(
        placement.queue_id,
        placement.name,
        placement.version,
        placement.rules,
        (*placement.parts, added),
    )
