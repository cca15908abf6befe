"""The queue checker: judges a history of a standard queue by the invariants S1 to S7.

It knows nothing of the server. Each function yields a sentence per violation; none is a pass.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator

from tests.crash.history import Delivery, Event, History


def violations(history: History) -> list[str]:
    """Every violation found. The history must end with a drain that found the queue empty."""
    rules = (_only_sent, _nothing_lost, _deleted_stays_deleted, _one_per_window, _counts, _delays)
    return [violation for rule in rules for violation in rule(history)]


def _received(history: History) -> dict[str, list[tuple[Event, Delivery]]]:
    """The deliveries of each token, in the order of their receive counts."""
    by_token: dict[str, list[tuple[Event, Delivery]]] = defaultdict(list)
    for event in history.of("receive", "ok"):
        for delivery in event.deliveries:
            by_token[delivery.token].append((event, delivery))
    for deliveries in by_token.values():
        deliveries.sort(key=lambda pair: pair[1].receive_count)
    return by_token


def _sends(history: History) -> dict[str, Event]:
    return {event.token: event for event in history.of("send") if event.outcome != "fail"}


def _only_sent(history: History) -> Iterator[str]:
    """S1, S7: nothing is received that was not sent, and it arrives unchanged."""
    sends = _sends(history)
    for token, deliveries in _received(history).items():
        if token not in sends:
            yield f"S1: {token} was received but never sent"
        if not all(delivery.intact for _, delivery in deliveries):
            yield f"S7: {token} arrived changed"


def _nothing_lost(history: History) -> Iterator[str]:
    """S2: what was acknowledged and not deleted has been received."""
    received = _received(history)
    deleted = {event.token for event in history.of("delete") if event.outcome != "fail"}
    for event in history.of("send", "ok"):
        if event.token not in received and event.token not in deleted:
            yield f"S2: {event.token} was acknowledged at {event.return_ms:.0f} and is lost"


def _deleted_stays_deleted(history: History) -> Iterator[str]:
    """S3: a receive that starts after a successful delete does not deliver the message."""
    received = _received(history)
    for event in history.of("delete", "ok"):
        for receive, delivery in received.get(event.token, ()):
            if receive.call_ms > event.return_ms:
                yield (
                    f"S3: {event.token} was deleted at {event.return_ms:.0f} and received again "
                    f"at {receive.call_ms:.0f} (count {delivery.receive_count})"
                )


def _one_per_window(history: History) -> Iterator[str]:
    """S4: no second delivery inside a visibility window, which starts no sooner than the call."""
    for token, deliveries in _received(history).items():
        for (first, _), (second, _) in itertools.pairwise(deliveries):
            if second.return_ms < first.call_ms + first.visibility_ms:
                yield (
                    f"S4: {token} was received at {first.call_ms:.0f} for {first.visibility_ms} ms "
                    f"and again by {second.return_ms:.0f}"
                )


def _counts(history: History) -> Iterator[str]:
    """S5: receive counts go up by one; a gap is a receive whose reply got lost."""
    lost_replies = len(history.of("receive", "unknown"))
    for token, deliveries in _received(history).items():
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
    sends = _sends(history)
    for token, deliveries in _received(history).items():
        send = sends.get(token)
        if send and deliveries[0][0].return_ms < send.call_ms + send.delay_ms:
            yield f"S6: {token} was received before its delay of {send.delay_ms} ms"
