"""Moving exhausted messages to dead-letter queues, in the transaction that finds them.

A message that is leased for the last time its queue allows goes into a lane of its own, so that
claims of other messages never meet it. Once it comes into view it is moved: by the next claim on
its queue, or by upkeep when nobody claims. If the rules have changed by then it goes back among
the others, so a missing dead-letter queue or a higher maximum never costs a message.

A dead letter that arrives is handed out at least once, whatever its receive count, before the
rules of its new queue can move it on: chains and cycles of queues bounce it, and do not spin.
Called by claims and by upkeep.
"""

from collections.abc import Sequence
from typing import Any

from stanchion.store.sqlite import expiry, transfer
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Place, Transaction

_EXHAUSTED_IN_VIEW = statement("exhausted_in_view")
_EXHAUSTED_BACKLOGS = statement("exhausted_backlogs")
_NEXT_EXHAUSTED_AT = statement("next_exhausted_at")
_SET_EXHAUSTED_ASIDE = statement("set_exhausted_aside")
_FORGET_EXHAUSTED = statement("forget_exhausted")
_SET_LANE = statement("set_lane")

_STEP_MESSAGES_MAX = 1000
_ORDINARY_LANE, _EXHAUSTED_LANE = 0, 1
_IDLE_MS = 1000
_FORGOTTEN_PER_DROPPED = 10

Row = tuple[Any, ...]


def settle(tx: Transaction, place: Place, limit: int = _STEP_MESSAGES_MAX) -> bool:
    """Deal with up to `limit` messages of the exhausted lane that have come into view.

    Answers whether any of them went back among the ordinary ones.
    """
    found = tx.execute(_EXHAUSTED_IN_VIEW, (place.backlog, tx.now_ms, limit))
    rows = transfer.one_step(found)
    return bool(rows) and _settle(tx, place, rows)


def _settle(tx: Transaction, place: Place, rows: Sequence[Row]) -> bool:
    dead_ms = tx.now_ms - place.retention_ms
    dead = [row for row in rows if row[transfer.SENT_AT] <= dead_ms]
    if dead:
        expiry.remove(tx, place, dead)
        rows = [row for row in rows if row[transfer.SENT_AT] > dead_ms]
    exhausted_at = place.exhausted_at
    exhausted = [row for row in rows if row[transfer.RECEIVE_COUNT] >= exhausted_at]
    if exhausted:
        transfer.bury(tx, place, exhausted)
    staying = [row[0] for row in rows if row[transfer.RECEIVE_COUNT] < exhausted_at]
    if staying:
        tx.execute(_SET_LANE, (place.backlog, _ORDINARY_LANE, str(staying)))
        tx.add_wake(place.queue_id, tx.now_ms, len(staying))
    return bool(staying)


def set_aside(tx: Transaction, place: Place, lane: int) -> None:
    """Move messages of another lane that a change of the rules has made exhausted.

    Looks at the first ones in view, a bounded number: called when a claim has met one there.
    """
    parameters = (place.backlog, lane, tx.now_ms, _STEP_MESSAGES_MAX, place.exhausted_at)
    if tx.execute(_SET_EXHAUSTED_ASIDE, parameters).rowcount:
        settle(tx, place)


def set_these_aside(tx: Transaction, place: Place, sequences: Sequence[int]) -> None:
    """Move these messages, which are in view and exhausted by a change of the rules."""
    tx.execute(_SET_LANE, (place.backlog, _EXHAUSTED_LANE, str(sequences)))
    settle(tx, place)


def step(tx: Transaction, limit: int) -> int:
    """Upkeep: settle up to about `limit` messages of all queues. Answers in how many ms again."""
    due = dict.fromkeys(tx.execute(_EXHAUSTED_BACKLOGS, (tx.now_ms, limit)))
    for backlog, queue_id in due:
        place = None if queue_id is None else tx.place(queue_id)
        if place is None:
            # Purged or deleted: the rows are dropped elsewhere, and must not be in the way here.
            tx.execute(_FORGET_EXHAUSTED, (backlog, tx.now_ms, _FORGOTTEN_PER_DROPPED * limit))
        else:
            settle(tx, place, max(1, limit // len(due)))
    row = tx.execute(_NEXT_EXHAUSTED_AT).fetchone()
    return max(0, min(row[0] - tx.now_ms, _IDLE_MS)) if row else _IDLE_MS
