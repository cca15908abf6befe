"""Background work in bounded steps: one step is one command, so it never holds others up for long.

What a step does: drop rows of purged and deleted queues, delete messages whose retention is over,
forget seconds that have passed and names whose quarantine is over, and give space back.
"""

from collections.abc import Iterator, Sequence

from stanchion.store.contract import Upkeep
from stanchion.store.sqlite import expiry
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Transaction

_DOOMED_BACKLOG = statement("doomed_backlog")
_DELETE_BACKLOG = statement("delete_backlog")
_BACKLOGS_TO_CHECK = statement("backlogs_to_check")
_SET_CHECK_AT = statement("set_check_at")
_PRUNE_TALLY = statement("prune_tally")
_FORGET_DELETED_QUEUES = statement("forget_deleted_queues")

_DELETED_NAME_KEPT_MS = 24 * 3600 * 1000
"""Far longer than any quarantine, which is a minute on AWS."""
_TALLY_KEPT_S = 60
_FREE_PAGES_KEPT = 16_384


def upkeep(tx: Transaction, commands: Sequence[Upkeep]) -> Iterator[bool]:
    for command in commands:
        outcomes = [step(tx, command.limit) for step in _STEPS]
        yield any(outcomes)


def _drop_doomed(tx: Transaction, limit: int) -> bool:
    row = tx.execute(_DOOMED_BACKLOG).fetchone()
    if row is None:
        return False
    (backlog,) = row
    if not expiry.drop(tx, backlog, limit):
        tx.execute(_DELETE_BACKLOG, (backlog,))
    return True


def _expire(tx: Transaction, limit: int) -> bool:
    # Sweeping works on rows, so counts of this flush have to be there already.
    tx.write_counts()
    due = tx.execute(_BACKLOGS_TO_CHECK, (tx.now_ms, max(1, limit // 10))).fetchall()
    for backlog, retention_ms in due:
        check_at_ms = expiry.sweep(tx, backlog, retention_ms, max(1, limit // len(due)))
        tx.write_counts()
        tx.execute(_SET_CHECK_AT, (backlog, check_at_ms))
    return bool(due)


def _prune_tally(tx: Transaction, limit: int) -> bool:
    bucket_s = tx.now_ms // 1000 - _TALLY_KEPT_S
    return tx.execute(_PRUNE_TALLY, (bucket_s, limit)).rowcount == limit


def _forget_names(tx: Transaction, limit: int) -> bool:
    parameters = (tx.now_ms - _DELETED_NAME_KEPT_MS, limit)
    return tx.execute(_FORGET_DELETED_QUEUES, parameters).rowcount == limit


def _give_space_back(tx: Transaction, limit: int) -> bool:
    """Shrink the file when much of it is unused, so that a drained backlog frees the disk."""
    pages = _pragma(tx, "page_count")
    free = _pragma(tx, "freelist_count")
    kept = 0 if tx.resources.give_space_back() else max(_FREE_PAGES_KEPT, pages // 4)
    if free <= kept:
        return False
    tx.execute(f"PRAGMA incremental_vacuum({min(limit, free - kept)})").fetchall()
    return kept < _pragma(tx, "freelist_count") < free


def _pragma(tx: Transaction, name: str) -> int:
    value: int = tx.execute(f"PRAGMA {name}").fetchone()[0]
    return value


_STEPS = (_drop_doomed, _expire, _prune_tally, _forget_names, _give_space_back)
