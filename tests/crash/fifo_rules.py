"""F1 to F4: order, blocking, deduplication and repeated attempts, for messages with a group."""

import itertools
from collections import defaultdict
from collections.abc import Iterator

from tests.crash.history import Delivery, Event, History

WINDOW_MS = 300_000


def _deliveries(history: History) -> dict[tuple[str, str], list[tuple[Event, Delivery]]]:
    """By queue and group, in the order of the calls and inside of a reply."""
    by_group: dict[tuple[str, str], list[tuple[Event, Delivery]]] = defaultdict(list)
    for event in sorted(history.of("receive", "ok"), key=lambda event: event.call_ms):
        for delivery in event.deliveries:
            if delivery.sequence:
                by_group[event.queue, delivery.group].append((event, delivery))
    return by_group


def _sequence_follows_sending(history: History) -> Iterator[str]:
    """F1: of two sends to a group, one after the other, the later has the higher number."""
    by_group: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in history.of("send", "ok"):
        if event.sequence:
            by_group[event.queue, event.group].append(event)
    began_ms = _began_ms(history)
    for sends in by_group.values():
        # A repeat is told the number of the first, which is the one that counts.
        first: dict[int, Event] = {}
        for event in sorted(sends, key=lambda event: event.return_ms):
            first.setdefault(event.sequence, event)
        by_call = sorted(first.values(), key=lambda event: began_ms[_identity(event)])
        returned = sorted(first.values(), key=lambda event: event.return_ms)
        done = 0
        highest = 0
        for event in by_call:
            while returned[done].return_ms < began_ms[_identity(event)]:
                highest = max(highest, returned[done].sequence)
                done += 1
            if event.sequence < highest:
                yield f"F1: {event.token} was sent last, but {highest} is above its sequence number"


def _began_ms(history: History) -> dict[tuple[str, str], float]:
    """When each message was first sent: that call may have been the one, if it had no answer."""
    began_ms: dict[tuple[str, str], float] = {}
    for event in history.of("send"):
        if event.outcome != "fail":
            identity = _identity(event)
            began_ms[identity] = min(event.call_ms, began_ms.get(identity, event.call_ms))
    return began_ms


def _identity(event: Event) -> tuple[str, str]:
    return event.queue, event.deduplication_id or event.token


def _in_order(history: History) -> Iterator[str]:
    """F1: first deliveries in a group follow the sequence numbers."""
    for (_, group), deliveries in _deliveries(history).items():
        first: dict[int, tuple[Event, Delivery]] = {}
        for event, delivery in deliveries:
            first.setdefault(delivery.sequence, (event, delivery))
        highest, highest_return_ms = 0, float("inf")
        for event, delivery in sorted(first.values(), key=lambda pair: pair[0].call_ms):
            if delivery.sequence > highest:
                highest, highest_return_ms = delivery.sequence, event.return_ms
            elif event.call_ms > highest_return_ms:
                yield f"F1: {delivery.token} of group {group} came after {highest}"
    for event in history.of("receive", "ok"):
        last: dict[str, int] = {}
        for delivery in event.deliveries:
            if delivery.sequence and delivery.sequence < last.get(delivery.group, 0):
                yield f"F1: {delivery.token} is out of order in its reply"
            last[delivery.group] = delivery.sequence


def _blocked_in_flight(history: History) -> Iterator[str]:
    """F2: while a message of a group is in flight, no other of its messages is handed out."""
    released: dict[tuple[str, str], float] = {}
    for delete in sorted(history.may_have_happened("delete"), key=lambda e: -e.call_ms):
        released[delete.queue, delete.token] = delete.call_ms
    for (queue, group), deliveries in _deliveries(history).items():
        for index, (first, one) in enumerate(deliveries):
            for second, other in deliveries[index + 1 :]:
                if second.call_ms >= first.call_ms + first.visibility_ms:
                    break
                if (
                    first is not second
                    and one.token != other.token
                    and not (first.attempt_id and first.attempt_id == second.attempt_id)
                    and second.return_ms < first.call_ms + first.visibility_ms
                    and released.get((queue, one.token), float("inf")) > second.return_ms
                    and released.get((queue, other.token), float("inf")) > first.return_ms
                ):
                    yield (
                        f"F2: {other.token} was received while {one.token} of group {group} "
                        "was in flight"
                    )


def _accepted_once(history: History) -> Iterator[str]:
    """F3: a deduplication id is one message in five minutes, with one id and one number."""
    told: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in sorted(history.of("send", "ok"), key=lambda event: event.call_ms):
        if event.deduplication_id:
            told[event.queue, event.deduplication_id].append(event)
    for (_, deduplication_id), sends in told.items():
        first = sends[0]
        for event in sends[1:]:
            if event.return_ms < first.call_ms + WINDOW_MS and (
                (event.message_id, event.sequence) != (first.message_id, first.sequence)
            ):
                yield f"F3: repeats of {deduplication_id} were accepted as different messages"
    seen: dict[tuple[str, str], tuple[str, float]] = {}
    for (queue, _), deliveries in _deliveries(history).items():
        for event, delivery in deliveries:
            key = (queue, delivery.deduplication_id)
            message_id, first_ms = seen.setdefault(key, (delivery.message_id, event.call_ms))
            # Accepted twice at least a window apart, they are delivered apart in these histories.
            if message_id != delivery.message_id and event.return_ms < first_ms + WINDOW_MS:
                yield f"F3: {delivery.deduplication_id} was delivered as two messages"


def _same_attempt_same_batch(history: History) -> Iterator[str]:
    """F4: a repeated attempt gets the same messages, as long as they are untouched."""
    attempts: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in sorted(history.of("receive", "ok"), key=lambda event: event.call_ms):
        if event.attempt_id:
            attempts[event.queue, event.attempt_id].append(event)
    deletes = history.may_have_happened("delete")
    for (queue, attempt_id), events in attempts.items():
        for first, second in itertools.pairwise(events):
            tokens = {delivery.token for delivery in first.deliveries}
            is_touched = any(
                delete.queue == queue and delete.token in tokens
                for delete in deletes
                if delete.call_ms < second.return_ms
            )
            in_time = second.return_ms < first.call_ms + first.visibility_ms
            if not tokens or is_touched or not in_time:
                continue
            handles = [[d.handle for d in event.deliveries] for event in (first, second)]
            if handles[0] != handles[1]:
                yield f"F4: attempt {attempt_id} was answered with different messages"


RULES = (
    _sequence_follows_sending,
    _in_order,
    _blocked_in_flight,
    _accepted_once,
    _same_attempt_same_batch,
)
