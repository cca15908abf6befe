"""Background work in bounded steps: one step is one command, so it never holds others up for long.

What a step does: drop rows of purged and deleted queues, delete messages whose retention is over,
move exhausted ones to dead-letter queues, go on with move tasks, forget seconds that have passed or
came to nothing, names whose quarantine is over, deduplication ids and receive attempts; and give
space back.
"""

from collections.abc import Callable, Iterator, Sequence

from stanchion.store.contract import ATTEMPT_MAX_MS, DEDUPLICATION_MAX_MS, Upkeep
from stanchion.store.sqlite import counts, dead_letters, expiry, fair, groups, moves
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import DELAY_MAX_MS, Transaction

_DOOMED_BACKLOG = statement("doomed_backlog")
_DELETE_BACKLOG = statement("delete_backlog")
_BACKLOGS_TO_CHECK = statement("backlogs_to_check")

IDLE_MS = 1000
"""Without anything to do, it is still worth looking again after this long."""
_DELETED_NAME_KEPT_MS = 24 * 3600 * 1000
"""Far longer than any quarantine, which is a minute on AWS."""
_TALLY_KEPT_MS = DELAY_MAX_MS + 60_000
_FREE_PAGES_KEPT = 16_384

Step = Callable[[Transaction, int], int]
"""Does work of about so many rows; answers in how many ms there is more."""


def upkeep(tx: Transaction, commands: Sequence[Upkeep]) -> Iterator[int]:
    for command in commands:
        yield min([step(tx, command.limit) for step in _STEPS])


def _drop_doomed(tx: Transaction, limit: int) -> int:
    row = tx.execute(_DOOMED_BACKLOG).fetchone()
    if row is None:
        return IDLE_MS
    (backlog,) = row
    if not expiry.drop(tx, backlog, limit) and not groups.drop(tx, backlog, limit):
        fair.forget(tx, backlog)
        tx.execute(_DELETE_BACKLOG, (backlog,))
    return 0


def _expire(tx: Transaction, limit: int) -> int:
    # Sweeping works on rows, so counts of this flush have to be there already.
    tx.write_counts()
    due = tx.execute(_BACKLOGS_TO_CHECK, (tx.now_ms, max(1, limit // 10))).fetchall()
    for (queue_id,) in due:
        if place := tx.place(queue_id):
            expiry.catch_up(tx, place, max(1, limit // len(due)))
    return 0 if due else IDLE_MS


def _forget(text: str, kept_ms: int) -> Step:
    """The step that deletes rows older than this with a statement."""

    def forget(tx: Transaction, limit: int) -> int:
        deleted = tx.execute(text, (tx.now_ms - kept_ms, limit)).rowcount
        return 0 if deleted >= limit else IDLE_MS

    return forget


def _give_space_back(tx: Transaction, limit: int) -> int:
    """Shrink the file when much of it is unused, so that a drained backlog frees the disk."""
    pages = _pragma(tx, "page_count")
    free = _pragma(tx, "freelist_count")
    kept = 0 if tx.resources.give_space_back() else max(_FREE_PAGES_KEPT, pages // 4)
    if free <= kept:
        return IDLE_MS
    tx.execute(f"PRAGMA incremental_vacuum({min(limit, free - kept)})").fetchall()
    return 0 if kept < _pragma(tx, "freelist_count") < free else IDLE_MS


def _pragma(tx: Transaction, name: str) -> int:
    value: int = tx.execute(f"PRAGMA {name}").fetchone()[0]
    return value


_STEPS: tuple[Step, ...] = (
    _drop_doomed,
    _expire,
    dead_letters.step,
    moves.step,
    counts.drop_emptied,
    _forget(statement("prune_tally"), _TALLY_KEPT_MS),
    _forget(statement("forget_deleted_queues"), _DELETED_NAME_KEPT_MS),
    _forget(statement("forget_deduplication"), DEDUPLICATION_MAX_MS),
    _forget(statement("forget_receive_attempts"), ATTEMPT_MAX_MS),
    _give_space_back,
)
