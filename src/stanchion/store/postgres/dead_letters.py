"""Moving exhausted messages to dead-letter queues, in the transaction that finds them.

A message that is leased for the last time its queue allows goes into a lane of its own, so that
claims of other messages never meet it. Once it comes into view it is moved: by the next claim on
its queue, or by upkeep when nobody claims. If the rules have changed by then it goes back among
the others, so a missing dead-letter queue or a higher maximum never costs a message.

A dead letter that arrives is handed out at least once, whatever its receive count, before the
rules of its new queue can move it on: chains and cycles of queues bounce it, and do not spin.
What another flush has locked is left to it. Called by claims and by upkeep.
"""

from collections.abc import Sequence

from stanchion.store.postgres import expiry, groups, transfer
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction

_EXHAUSTED_IN_VIEW = statement("exhausted_in_view")
_EXHAUSTED_AMONG = statement("exhausted_among")
_GROUPS_OF_EXHAUSTED = statement("groups_of_exhausted")
_EXHAUSTED_BACKLOGS = statement("exhausted_backlogs")
_NEXT_EXHAUSTED_AT = statement("next_exhausted_at")
_SET_EXHAUSTED_ASIDE = statement("set_exhausted_aside")
_FORGET_EXHAUSTED = statement("forget_exhausted")
_SET_LANE = statement("set_lane")

EXHAUSTED_LANE = 1
_ORDINARY_LANE = 0
_STEP_MESSAGES_MAX = 1000
_IDLE_MS = 1000
_HELD_UP_MS = 100
"""What others have locked, or what stands still, is looked at again after so long."""
_FORGOTTEN_PER_DROPPED = 10


async def settle(tx: Transaction, place: Place, limit: int = _STEP_MESSAGES_MAX) -> bool:
    """Deal with up to `limit` messages of the exhausted lane that have come into view.

    Answers whether any of them are among the ordinary ones of this queue now.
    """
    rows = await _take(tx, place, limit)
    return bool(rows) and await _settle(tx, place, rows)


async def settle_all(tx: Transaction, places: Sequence[Place]) -> None:
    """Settle those of these queues that have a dead-letter queue and something in that lane."""
    wanted = {place.backlog: place for place in places if place.dead_letter_queue_id is not None}
    if wanted:
        for (backlog,) in await tx.fetch(_EXHAUSTED_AMONG, list(wanted), tx.now_ms):
            await settle(tx, wanted[backlog])


async def _take(tx: Transaction, place: Place, limit: int) -> list[Row]:
    """Lock exhausted messages in view, those that nobody else is at work on."""
    if not place.is_fifo:
        found = await tx.fetch(_EXHAUSTED_IN_VIEW, place.backlog, tx.now_ms, limit)
        return transfer.one_step(found)
    held = await _hold_groups(tx, place, limit)
    if not held:
        return []
    found = await tx.fetch(_EXHAUSTED_IN_VIEW, place.backlog, tx.now_ms, limit)
    return transfer.one_step(row for row in found if row[transfer.GROUP_KEY] in held)


async def _hold_groups(tx: Transaction, place: Place, limit: int) -> set[int]:
    """Lock the groups of exhausted messages, here and where they may go.

    Answers the keys of those here that can be had on both sides.
    """
    rows = await tx.fetch(_GROUPS_OF_EXHAUSTED, place.backlog, tx.now_ms, limit)
    if not rows or await transfer.are_still(tx, (place.queue_id, place.dead_letter_queue_id)):
        return set()
    group_ids = [row[0] for row in rows]
    here = [(place.backlog, group_id) for group_id in group_ids]
    target_id = place.dead_letter_queue_id
    target = None if target_id is None else await tx.place(target_id)
    there = [(target.backlog, group_id) for group_id in group_ids] if target else []
    held, busy = await groups.try_named(tx, [*here, *there])
    if not there:
        return set(held.values())
    return {held[a] for a, b in zip(here, there, strict=True) if a in held and b not in busy}


async def _settle(tx: Transaction, place: Place, rows: Sequence[Row]) -> bool:
    dead_ms = tx.now_ms - place.retention_ms
    dead = [row for row in rows if row[transfer.SENT_AT] <= dead_ms]
    if dead:
        await expiry.remove(tx, place, dead)
        rows = [row for row in rows if row[transfer.SENT_AT] > dead_ms]
    target_id = place.dead_letter_queue_id
    # It may have been deleted since the rules of this queue were read.
    target = None if target_id is None else await tx.place(target_id)
    exhausted = []
    if target is not None:
        exhausted = [row for row in rows if row[transfer.RECEIVE_COUNT] >= place.exhausted_at]
        if exhausted:
            await transfer.bury(tx, place, target, exhausted)
    gone = {row[0] for row in exhausted}
    staying = [row[0] for row in rows if row[0] not in gone]
    if staying:
        await tx.run(_SET_LANE, place.backlog, _ORDINARY_LANE, staying)
        tx.resources.low_water.forget(place.backlog, (_ORDINARY_LANE,))
        tx.add_wake(place.queue_id, tx.now_ms, len(staying))
    return bool(staying) or (bool(exhausted) and target_id == place.queue_id)


async def set_aside(tx: Transaction, place: Place, lane: int) -> None:
    """Move messages of another lane that a change of the rules has made exhausted.

    Looks at the first ones in view, a bounded number: called when a claim has met one there.
    """
    if await tx.run(
        *(_SET_EXHAUSTED_ASIDE, place.backlog, lane, tx.now_ms),
        *(_STEP_MESSAGES_MAX, place.exhausted_at),
    ):
        tx.resources.low_water.forget(place.backlog, (EXHAUSTED_LANE,))
        await settle(tx, place)


async def set_these_aside(tx: Transaction, place: Place, sequences: Sequence[int]) -> bool:
    """Move these messages, which are in view and exhausted by a change of the rules.

    Answers whether any could be dealt with; else somebody is at work on their groups elsewhere.
    """
    await tx.run(_SET_LANE, place.backlog, EXHAUSTED_LANE, sequences)
    tx.resources.low_water.forget(place.backlog, (EXHAUSTED_LANE,))
    rows = await _take(tx, place, _STEP_MESSAGES_MAX)
    if rows:
        await _settle(tx, place, rows)
    return bool(rows)


async def step(tx: Transaction, limit: int) -> int:
    """Upkeep: settle up to about `limit` messages of all queues. Answers in how many ms again."""
    due = await tx.fetch(_EXHAUSTED_BACKLOGS, tx.now_ms, limit)
    is_held_up = bool(due)
    for backlog, queue_id in due:
        place = None if queue_id is None else await tx.place(queue_id)
        if place is None:
            # Purged or deleted: the rows are dropped elsewhere, and must not be in the way here.
            most = _FORGOTTEN_PER_DROPPED * limit
            await tx.run(_FORGET_EXHAUSTED, backlog, tx.now_ms, most)
            is_held_up = False
        elif rows := await _take(tx, place, max(1, limit // len(due))):
            await _settle(tx, place, rows)
            is_held_up = False
    row = await tx.row(_NEXT_EXHAUSTED_AT)
    soonest_ms = _HELD_UP_MS if is_held_up else 0
    return max(soonest_ms, min(row[0] - tx.now_ms, _IDLE_MS)) if row else _IDLE_MS
