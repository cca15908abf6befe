"""How many messages a queue has, exactly and without counting them.

`backlog.messages` is the total. `tally` has, for each second in which messages come into view, how
many do: delayed ones (never received) and those in flight apart. Seconds to come are summed from
it; the current second is counted through the index, because some of its messages are in view
already. What is left of the total is visible. More than a thousand in the current second are taken
to be spread evenly over it.

On FIFO queues, messages that were never received have the second in which they were sent instead;
those sent no longer ago than the queue's delay are the delayed ones, so the delay may change.
"""

from collections.abc import Iterator, Sequence

from stanchion.store.contract import CountMessages, MessageCounts
from stanchion.store.sqlite import expiry
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Place, Transaction

_TALLY_AFTER = statement("tally_after")
_TALLY_OF = statement("tally_of")
_RECEIVED_AMONG_INVISIBLE = statement("received_among_invisible")
_DROP_EMPTIED = statement("drop_emptied")

_SWEEP_MESSAGES_MAX = 1000
_COUNTED_ONE_BY_ONE_MAX = 1000
_BOUNDS_MAX = 10_000
_IDLE_MS = 1000


def count(tx: Transaction, commands: Sequence[CountMessages]) -> Iterator[MessageCounts | None]:
    for command in commands:
        place = tx.place(command.queue_id)
        if place is None:
            yield None
            continue
        expiry.sweep(tx, place, _SWEEP_MESSAGES_MAX)
        yield _counts(tx, place)


def _counts(tx: Transaction, place: Place) -> MessageCounts:
    total = tx.messages(place)
    in_flight = _in_flight(tx, place)
    # On a FIFO queue a delay counts from the sending, whatever the delay was then.
    since_ms = tx.now_ms - place.delay_ms if place.is_fifo else tx.now_ms
    delayed = _after(tx, place.backlog, False, since_ms)
    return MessageCounts(max(0, total - delayed - in_flight), in_flight, delayed)


def _in_flight(tx: Transaction, place: Place) -> int:
    return _after(tx, place.backlog, True, tx.now_ms)


def _after(tx: Transaction, backlog: int, received: bool, instant_ms: int) -> int:
    """How many messages, received before or not, have an instant of their own after this one."""
    second = -(-instant_ms // 1000)
    later: int = tx.execute(_TALLY_AFTER, (backlog, received, second)).fetchone()[0]
    if second * 1000 == instant_ms:
        return later
    return later + _in_second_after(tx, backlog, received, instant_ms)


def _in_second_after(tx: Transaction, backlog: int, received: bool, instant_ms: int) -> int:
    """The same, of those whose instant is in the same second."""
    second = -(-instant_ms // 1000)
    parameters = (backlog, instant_ms, second * 1000, _COUNTED_ONE_BY_ONE_MAX + 1)
    rows = tx.execute(_RECEIVED_AMONG_INVISIBLE, parameters).fetchall()
    if len(rows) <= _COUNTED_ONE_BY_ONE_MAX:
        return sum(was_received == received for (was_received,) in rows)
    ms_left = second * 1000 - instant_ms
    total: int = tx.execute(_TALLY_OF, (backlog, received, second)).fetchone()[0]
    return total * ms_left // 1000


def in_flight_room(tx: Transaction, place: Place, in_flight_max: int, wanted: int) -> int:
    """How many more messages may be in flight; exact only if that is less than `wanted`.

    To spare claims the sum, an upper bound is kept per backlog: it grows with every lease, and is
    replaced by the truth when it comes near the limit. It is a cache: losing it costs one sum.
    """
    if place.messages + wanted <= in_flight_max:
        return in_flight_max
    bounds = tx.resources.in_flight_bounds
    bound = bounds.get(place.backlog)
    if bound is None or bound + wanted > in_flight_max:
        tx.write_counts()
        bound = _in_flight(tx, place)
        if len(bounds) >= _BOUNDS_MAX:
            bounds.clear()
        bounds[place.backlog] = bound
    return in_flight_max - bound


def note_in_flight(tx: Transaction, place: Place, messages: int) -> None:
    """More messages of a backlog may be in flight."""
    bounds = tx.resources.in_flight_bounds
    if place.backlog in bounds:
        bounds[place.backlog] += messages


def drop_emptied(tx: Transaction, limit: int) -> int:
    """Upkeep: delete rows of the tally that have come to zero. Answers in ms when there are more.

    It may be hours until their second has passed, and sums read all that are to come. Which rows
    it may be is kept in memory: after a crash they stay until then.
    """
    tx.write_counts()
    lessened = tx.resources.lessened
    keys = [lessened.pop() for _ in range(min(limit, len(lessened)))]
    tx.connection.executemany(_DROP_EMPTIED, keys)
    return 0 if lessened else _IDLE_MS
