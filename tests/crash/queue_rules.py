"""S8 and S9: what holds between queues, and when a queue is emptied or deleted."""

from collections.abc import Iterator

from tests.crash.history import History
from tests.crash.standard_rules import received


def _exhausted_are_in_the_dead_letter_queue(history: History) -> Iterator[str]:
    """S8: past maxReceiveCount a message is only ever in the dead-letter queue, exactly once."""
    for deliveries in received(history).values():
        token = deliveries[0][1].token
        for source, redrive in history.redrives.items():
            here = [pair for pair in deliveries if pair[0].queue == source]
            there = [pair for pair in deliveries if pair[0].queue == redrive.target]
            counts = [delivery.receive_count for _, delivery in here]
            if any(count > redrive.receive_count_max for count in counts):
                yield f"S8: {token} was received from {source} with the counts {counts}"
            if here and any(d.receive_count <= redrive.receive_count_max for _, d in there):
                yield f"S8: {token} was in {redrive.target} before it was exhausted"
            if there and any(
                event.call_ms > min(moved.return_ms for moved, _ in there) for event, _ in here
            ):
                yield f"S8: {token} was received from {source} after it had been moved"


def _one_place_at_the_end(history: History) -> Iterator[str]:
    """S8: nobody can delete one message from two queues."""
    deleted: dict[str, str] = {}
    for event in history.of("delete", "ok"):
        queue = deleted.setdefault(event.token, event.queue)
        if queue != event.queue and not history.of("move"):
            yield f"S8: {event.token} was deleted from {queue} and from {event.queue}"


def _emptied_is_empty(history: History) -> Iterator[str]:
    """S9: what was there before a purge, or in a deleted queue, is never received again."""
    emptied = [*history.of("purge", "ok"), *history.of("delete_queue", "ok")]
    sent_ms = {(event.queue, event.token): event.return_ms for event in history.of("send", "ok")}
    for event in history.of("receive", "ok"):
        for delivery in event.deliveries:
            for purge in emptied:
                sent_by_ms = sent_ms.get((purge.queue, delivery.token))
                if (
                    sent_by_ms is not None
                    and purge.queue == event.queue
                    and sent_by_ms < purge.call_ms
                    and event.call_ms > purge.return_ms
                ):
                    yield f"S9: {delivery.token} survived the {purge.op} of {purge.queue}"


RULES = (_exhausted_are_in_the_dead_letter_queue, _one_place_at_the_end, _emptied_is_empty)
