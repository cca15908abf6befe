"""Background work in bounded steps: one step is one command, so it never holds others up for long.

What a step does: drop rows of purged and deleted queues, delete messages whose retention is over,
move exhausted ones to dead-letter queues, go on with move tasks, add up what flushes changed in the
tallies, forget seconds that have passed, names whose quarantine is over, deduplication ids,
receive attempts and parts that were here; and write down what time it is. Of several processes one
does it at a time.
"""

from collections.abc import Awaitable, Callable, Sequence

from stanchion.store.contract import ATTEMPT_MAX_MS, DEDUPLICATION_MAX_MS, Upkeep
from stanchion.store.postgres import counts, dead_letters, expiry, fair, groups, moves
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import DELAY_MAX_MS, Transaction

_TRY_LOCK_UPKEEP = statement("try_lock_upkeep")
_NOTE_LATEST = statement("note_latest")
_DOOMED_BACKLOG = statement("doomed_backlog")
_SET_DROP_AT = statement("set_drop_at")
_DELETE_BACKLOG = statement("delete_backlog")
_BACKLOGS_TO_CHECK = statement("backlogs_to_check")

IDLE_MS = 1000
"""Without anything to do, it is still worth looking again after this long."""
_DOOMED_KEPT_MS = 120_000
"""Longer than any flush takes: until then one that began before may add messages."""
_DELETED_NAME_KEPT_MS = 24 * 3600 * 1000
"""Far longer than any quarantine, which is a minute on AWS."""
_PAST_PART_KEPT_MS = 24 * 3600 * 1000
"""Far longer than anybody goes on telling a shard of a part that is no more."""
_TALLY_KEPT_MS = DELAY_MAX_MS + 60_000

Step = Callable[[Transaction, int], Awaitable[int]]
"""Does work of about so many rows; answers in how many ms there is more."""


async def upkeep(tx: Transaction, commands: Sequence[Upkeep]) -> list[int]:
    return [await _upkeep(tx, command) for command in commands]


async def _upkeep(tx: Transaction, command: Upkeep) -> int:
    row = await tx.row(_TRY_LOCK_UPKEEP)
    if row is None or not row[0]:
        return IDLE_MS
    await tx.run(_NOTE_LATEST, tx.now_ms)
    return min([await step(tx, command.limit) for step in _STEPS])


async def _drop_doomed(tx: Transaction, limit: int) -> int:
    row = await tx.row(_DOOMED_BACKLOG, tx.now_ms)
    if row is None:
        return IDLE_MS
    backlog, doomed_at_ms = row
    if await expiry.drop(tx, backlog, limit) or await groups.drop(tx, backlog, limit):
        return 0
    await fair.forget(tx, backlog)
    if tx.now_ms < doomed_at_ms + _DOOMED_KEPT_MS:
        await tx.run(_SET_DROP_AT, backlog, doomed_at_ms + _DOOMED_KEPT_MS)
    else:
        await tx.run(_DELETE_BACKLOG, backlog)
    return 0


async def _expire(tx: Transaction, limit: int) -> int:
    due = await tx.fetch(_BACKLOGS_TO_CHECK, tx.now_ms, max(1, limit // 10))
    await tx.look_up(queue_id for (queue_id,) in due)
    # Claims on FIFO queues take the same locks in this order.
    for queue_id in sorted(row[0] for row in due):
        if place := await tx.place(queue_id):
            await expiry.catch_up(tx, place, max(1, limit // len(due)))
    return 0 if due else IDLE_MS


def _forget(text: str, kept_ms: int) -> Step:
    """The step that deletes rows older than this with a statement."""

    async def forget(tx: Transaction, limit: int) -> int:
        deleted = await tx.run(text, tx.now_ms - kept_ms, limit)
        return 0 if deleted >= limit else IDLE_MS

    return forget


_STEPS: tuple[Step, ...] = (
    _drop_doomed,
    _expire,
    dead_letters.step,
    moves.step,
    counts.sum_up,
    _forget(statement("prune_tally"), _TALLY_KEPT_MS),
    _forget(statement("forget_deleted_queues"), _DELETED_NAME_KEPT_MS),
    _forget(statement("forget_deduplication"), DEDUPLICATION_MAX_MS),
    _forget(statement("forget_receive_attempts"), ATTEMPT_MAX_MS),
    _forget(statement("forget_past_parts"), _PAST_PART_KEPT_MS),
)
