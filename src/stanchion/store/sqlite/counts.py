"""How many messages a queue has, exactly and without counting them.

`backlog.messages` is the total. `tally` has, for each second in which messages come into view, how
many do: delayed ones (never received) and those in flight apart. Seconds to come are summed from
it; the current second is counted through the index, because some of its messages are in view
already. What is left of the total is visible. More than a thousand in the current second are taken
to be spread evenly over it.
"""

from collections.abc import Iterator, Sequence

from stanchion.store.contract import CountMessages, MessageCounts
from stanchion.store.sqlite import expiry
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Place, Transaction

_TALLY_AFTER = statement("tally_after")
_TALLY_OF = statement("tally_of")
_RECEIVED_AMONG_INVISIBLE = statement("received_among_invisible")

_SWEEP_MESSAGES_MAX = 1000
_COUNTED_ONE_BY_ONE_MAX = 1000
_BOUNDS_MAX = 10_000


def count(tx: Transaction, commands: Sequence[CountMessages]) -> Iterator[MessageCounts | None]:
    for command in commands:
        place = tx.place(command.queue_id)
        if place is None:
            yield None
            continue
        expiry.sweep(tx, place.backlog, place.retention_ms, _SWEEP_MESSAGES_MAX)
        yield _counts(tx, place)


def _counts(tx: Transaction, place: Place) -> MessageCounts:
    total = tx.messages(place)
    delayed, in_flight = _invisible_this_second(tx, place.backlog)
    delayed += _invisible_later(tx, place.backlog, received=False)
    in_flight += _invisible_later(tx, place.backlog, received=True)
    return MessageCounts(max(0, total - delayed - in_flight), in_flight, delayed)


def _invisible_this_second(tx: Transaction, backlog: int) -> tuple[int, int]:
    """Delayed and in-flight messages that come into view before this second is over."""
    second = -(-tx.now_ms // 1000)
    parameters = (backlog, tx.now_ms, second * 1000, _COUNTED_ONE_BY_ONE_MAX + 1)
    rows = tx.execute(_RECEIVED_AMONG_INVISIBLE, parameters).fetchall()
    if len(rows) <= _COUNTED_ONE_BY_ONE_MAX:
        in_flight = sum(received for (received,) in rows)
        return len(rows) - in_flight, in_flight
    ms_left = second * 1000 - tx.now_ms
    delayed, in_flight = (
        tx.execute(_TALLY_OF, (backlog, received, second)).fetchone()[0] * ms_left // 1000
        for received in (0, 1)
    )
    return delayed, in_flight


def _invisible_later(tx: Transaction, backlog: int, received: bool) -> int:
    second = -(-tx.now_ms // 1000)
    messages: int = tx.execute(_TALLY_AFTER, (backlog, received, second)).fetchone()[0]
    return messages


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
        bound = _invisible_this_second(tx, place.backlog)[1]
        bound += _invisible_later(tx, place.backlog, received=True)
        if len(bounds) >= _BOUNDS_MAX:
            bounds.clear()
        bounds[place.backlog] = bound
    return in_flight_max - bound


def note_in_flight(tx: Transaction, place: Place, messages: int) -> None:
    """More messages of a backlog may be in flight."""
    bounds = tx.resources.in_flight_bounds
    if place.backlog in bounds:
        bounds[place.backlog] += messages
