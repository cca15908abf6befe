"""How many messages a queue has, exactly and without counting them.

`tally` has the total, and for each second in which messages come into view how many do: delayed
ones (never received) and those in flight apart. Seconds to come are summed from it; the current
second is counted through the index, because some of its messages are in view already. What is left
of the total is visible. More than a thousand in the current second are taken to be spread evenly
over it.

On FIFO queues, messages that were never received have the second in which they were sent instead;
those sent no longer ago than the queue's delay are the delayed ones, so the delay may change.

Every flush inserts what it changes as rows of its own, in `tally_change`, so senders of one queue
do not wait for each other; upkeep adds them up. A sum is over both tables.
"""

from collections.abc import Sequence

from stanchion.store.contract import CountMessages, MessageCounts
from stanchion.store.postgres import expiry
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import InFlightBound, Place, Transaction

_TALLY_AFTER = statement("tally_after")
_TALLY_OF = statement("tally_of")
_RECEIVED_AMONG_INVISIBLE = statement("received_among_invisible")
_SUM_UP_TALLY = statement("sum_up_tally")

_SWEEP_MESSAGES_MAX = 1000
_COUNTED_ONE_BY_ONE_MAX = 1000
_BOUNDS_MAX = 10_000
_BOUND_KEPT_MS = 1000
"""Other processes lease too, so what was counted is not trusted for longer."""
_IDLE_MS = 1000


async def count(tx: Transaction, commands: Sequence[CountMessages]) -> list[MessageCounts | None]:
    return [await _count(tx, command) for command in commands]


async def _count(tx: Transaction, command: CountMessages) -> MessageCounts | None:
    place = await tx.place(command.queue_id)
    if place is None:
        return None
    await expiry.sweep(tx, place, _SWEEP_MESSAGES_MAX)
    total = await tx.messages(place)
    in_flight = await _in_flight(tx, place)
    # On a FIFO queue a delay counts from the sending, whatever the delay was then.
    since_ms = tx.now_ms - place.delay_ms if place.is_fifo else tx.now_ms
    delayed = await _after(tx, place.backlog, False, since_ms)
    # Each statement sees what other flushes have committed by then, so the sum may be off a bit.
    return MessageCounts(max(0, total - delayed - in_flight), max(0, in_flight), max(0, delayed))


async def _in_flight(tx: Transaction, place: Place) -> int:
    return await _after(tx, place.backlog, True, tx.now_ms)


async def _after(tx: Transaction, backlog: int, received: bool, instant_ms: int) -> int:
    """How many messages, received before or not, have an instant of their own after this one."""
    second = -(-instant_ms // 1000)
    row = await tx.row(_TALLY_AFTER, backlog, int(received), second)
    assert row is not None
    later: int = row[0]
    if second * 1000 == instant_ms:
        return later
    return later + await _in_second_after(tx, backlog, received, instant_ms)


async def _in_second_after(tx: Transaction, backlog: int, received: bool, instant_ms: int) -> int:
    """The same, of those whose instant is in the same second."""
    second = -(-instant_ms // 1000)
    rows = await tx.fetch(
        _RECEIVED_AMONG_INVISIBLE, backlog, instant_ms, second * 1000, _COUNTED_ONE_BY_ONE_MAX + 1
    )
    if len(rows) <= _COUNTED_ONE_BY_ONE_MAX:
        return sum(row[0] == received for row in rows)
    ms_left = second * 1000 - instant_ms
    row = await tx.row(_TALLY_OF, backlog, int(received), second)
    assert row is not None
    total: int = row[0]
    return total * ms_left // 1000


async def in_flight_room(tx: Transaction, place: Place, in_flight_max: int, wanted: int) -> int:
    """How many more messages may be in flight; exact only if that is less than `wanted`.

    To spare claims the sum, an upper bound is kept per backlog: it grows with every lease of this
    process, and is replaced by the truth when it comes near the limit, and every second because of
    the leases of others. It is a cache: losing it costs one sum.
    """
    bounds = tx.resources.in_flight_bounds
    bound = bounds.get(place.backlog)
    if (
        bound is None
        or bound.messages + wanted > in_flight_max
        or not 0 <= tx.now_ms - bound.counted_at_ms < _BOUND_KEPT_MS
    ):
        await tx.write_counts()
        bound = InFlightBound(await _in_flight(tx, place), tx.now_ms)
        if len(bounds) >= _BOUNDS_MAX:
            bounds.clear()
        bounds[place.backlog] = bound
    return in_flight_max - bound.messages


def note_in_flight(tx: Transaction, place: Place, messages: int) -> None:
    """More messages of a backlog may be in flight."""
    bound = tx.resources.in_flight_bounds.get(place.backlog)
    if bound is not None:
        bound.messages += messages


async def sum_up(tx: Transaction, limit: int) -> int:
    """Upkeep: add up rows of finished flushes. Answers in how many ms there is more to do."""
    head = tx.resources.tally_head
    row = await tx.row(_SUM_UP_TALLY, limit, head.begin(tx.now_ms))
    assert row is not None
    taken, first = row
    if taken:
        head.first = first
    return 0 if taken >= limit else _IDLE_MS
