"""S1 to S7: what holds for every message, whatever the type of its queue."""

import itertools
from collections import defaultdict
from collections.abc import Iterator

from tests.crash.history import Delivery, Event, History


def received(history: History) -> dict[str, list[tuple[Event, Delivery]]]:
    """The deliveries of each message, in the order of their receive counts.

    A repeated attempt is not another receive: it counts as the one receive of its handles, from its
    last reply on.
    """
    by_message: dict[str, dict[str, tuple[Event, Delivery]]] = defaultdict(dict)
    for event in sorted(history.of("receive", "ok"), key=lambda event: event.call_ms):
        for delivery in event.deliveries:
            receive = delivery.handle if event.attempt_id else f"{id(event)} {delivery.handle}"
            message = delivery.message_id or delivery.token
            by_message[message][receive] = (event, delivery)
    return {
        message: sorted(deliveries.values(), key=lambda pair: pair[1].receive_count)
        for message, deliveries in by_message.items()
    }


def _by_token(history: History) -> dict[str, list[tuple[Event, Delivery]]]:
    by_token: dict[str, list[tuple[Event, Delivery]]] = defaultdict(list)
    for event in history.of("receive", "ok"):
        for delivery in event.deliveries:
            by_token[delivery.token].append((event, delivery))
    return by_token


def _only_sent(history: History) -> Iterator[str]:
    """S1, S7: nothing is received that was not sent, it is one message, and it is unchanged."""
    sends = {event.token for event in history.may_have_happened("send")}
    # A move task makes new messages of old ones.
    is_moved = bool(history.of("move"))
    for token, deliveries in _by_token(history).items():
        if token not in sends:
            yield f"S1: {token} was received but never sent"
        if len({delivery.message_id for _, delivery in deliveries}) > 1 and not is_moved:
            yield f"S1: {token} is more than one message"
        if not all(delivery.intact for _, delivery in deliveries):
            yield f"S7: {token} arrived changed"


def _nothing_lost(history: History) -> Iterator[str]:
    """S2: what was acknowledged and not deleted or purged has been received."""
    received = _by_token(history)
    deleted = {event.token for event in history.may_have_happened("delete")}
    purges = [
        *history.may_have_happened("purge"),
        *history.may_have_happened("delete_queue"),
    ]
    for event in history.of("send", "ok"):
        is_purged = any(
            purge.queue == event.queue and event.call_ms <= purge.return_ms for purge in purges
        )
        if event.token not in received and event.token not in deleted and not is_purged:
            yield f"S2: {event.token} was acknowledged at {event.return_ms:.0f} and is lost"


def _deleted_stays_deleted(history: History) -> Iterator[str]:
    """S3: a receive that starts after a successful delete does not deliver the message."""
    received = _by_token(history)
    for event in history.of("delete", "ok"):
        for receive, delivery in received.get(event.token, ()):
            if receive.call_ms > event.return_ms:
                yield (
                    f"S3: {event.token} was deleted at {event.return_ms:.0f} and received again "
                    f"at {receive.call_ms:.0f} (count {delivery.receive_count})"
                )


def _one_per_window(history: History) -> Iterator[str]:
    """S4: no second delivery inside a visibility window, which starts no sooner than the call."""
    for deliveries in received(history).values():
        for (first, delivery), (second, _) in itertools.pairwise(deliveries):
            if second.return_ms < first.call_ms + first.visibility_ms:
                yield (
                    f"S4: {delivery.token} was received at {first.call_ms:.0f} for "
                    f"{first.visibility_ms} ms and again by {second.return_ms:.0f}"
                )


def _counts(history: History) -> Iterator[str]:
    """S5: receive counts go up by one; a gap is a receive whose reply got lost."""
    lost_replies = len(history.of("receive", "unknown"))
    for deliveries in received(history).values():
        token = deliveries[0][1].token
        counts = [delivery.receive_count for _, delivery in deliveries]
        if len(set(counts)) != len(counts):
            yield f"S5: {token} has two receives with one count: {counts}"
        if counts[-1] > len(counts) + lost_replies:
            yield f"S5: {token} counts {counts} with only {lost_replies} replies lost"
        for (first, _), (second, _) in itertools.pairwise(deliveries):
            if second.return_ms < first.call_ms:
                yield f"S5: {token} has counts {counts} against the order of its receives"


def _delays(history: History) -> Iterator[str]:
    """S6: never before its delay has passed since it was sent."""
    delayed = {event.token: event for event in history.may_have_happened("send") if event.delay_ms}
    for token, deliveries in _by_token(history).items():
        send = delayed.get(token)
        first_ms = min(event.return_ms for event, _ in deliveries)
        if send and first_ms < send.call_ms + send.delay_ms:
            yield f"S6: {token} was received before its delay of {send.delay_ms} ms"


RULES = (_only_sent, _nothing_lost, _deleted_stays_deleted, _one_per_window, _counts, _delays)
