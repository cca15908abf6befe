"""A FIFO queue as a list and some loops: slow, obvious, and what the server must equal.

It follows the documented behaviour of SQS and nothing of the implementation. Which group a receive
begins with is the server's choice; everything about the order inside a group is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.model_based.messages import Handle, Message

WINDOW_MS = 300_000


@dataclass(slots=True)
class Accepted:
    """A send that was accepted, and answers its repeats for five minutes."""

    scope: str
    deduplication_id: str
    accepted_at_ms: int
    message_id: str
    sequence: int


@dataclass(slots=True)
class Attempt:
    """What a receive with an attempt id handed out."""

    attempted_at_ms: int
    handles: list[Handle]
    changes: list[int]


@dataclass(slots=True)
class FifoQueue:
    """One FIFO queue. `by_group`: each group has deduplication ids of its own."""

    in_flight_max: int
    by_group: bool = False
    delay_s: int = 0
    visibility_timeout_s: int = 30
    retention_s: int = 345_600
    messages: list[Message] = field(default_factory=list)
    handles: list[Handle] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    purged_at_ms: int | None = None

    # --- What there is ------------------------------------------------------------------------

    def live(self, now_ms: int) -> list[Message]:
        """In the order of their sequence numbers."""
        return [m for m in self.messages if m.sent_at_ms + self.retention_s * 1000 > now_ms]

    def is_delayed(self, message: Message, now_ms: int) -> bool:
        """The queue's delay applies to what is queued already, until it is received."""
        return not message.receive_count and message.sent_at_ms + self.delay_s * 1000 > now_ms

    def counts(self, now_ms: int) -> tuple[int, int, int]:
        """Visible, in flight, delayed. What waits behind a blocked group counts as visible."""
        live = self.live(now_ms)
        in_flight = sum(m.in_flight(now_ms) for m in live)
        delayed = sum(self.is_delayed(m, now_ms) for m in live)
        return len(live) - in_flight - delayed, in_flight, delayed

    def deliverable(self, now_ms: int) -> dict[str, list[Message]]:
        """By group that is not blocked: its messages up to the first delayed one."""
        live = self.live(now_ms)
        blocked = {m.group_id for m in live if m.in_flight(now_ms)}
        groups: dict[str, list[Message]] = {}
        for message in live:
            assert message.group_id is not None
            if message.group_id in blocked:
                continue
            if self.is_delayed(message, now_ms):
                blocked.add(message.group_id)
            else:
                groups.setdefault(message.group_id, []).append(message)
        return groups

    def available(self, now_ms: int) -> int:
        """How many messages a receive can get, as far as the cap allows."""
        in_flight = self.counts(now_ms)[1]
        waiting = sum(len(messages) for messages in self.deliverable(now_ms).values())
        return max(0, min(waiting, self.in_flight_max - in_flight))

    def edges(self, now_ms: int) -> list[int]:
        """When something changes by itself: views, delays, retentions and windows that end."""
        edges = [m.visible_at_ms for m in self.live(now_ms)]
        edges += [m.sent_at_ms + self.delay_s * 1000 for m in self.live(now_ms)]
        edges += [m.sent_at_ms + self.retention_s * 1000 for m in self.live(now_ms)]
        edges += [accepted.accepted_at_ms + WINDOW_MS for accepted in self.accepted]
        edges += [attempt.attempted_at_ms + WINDOW_MS for attempt in self.attempts.values()]
        return [edge for edge in edges if edge > now_ms]

    # --- Sending ------------------------------------------------------------------------------

    def repeat_of(self, group_id: str, deduplication_id: str, now_ms: int) -> Accepted | None:
        """What was accepted under this id less than five minutes ago."""
        scope = group_id if self.by_group else ""
        for accepted in self.accepted:
            if (accepted.scope, accepted.deduplication_id) == (
                scope,
                deduplication_id,
            ) and now_ms < accepted.accepted_at_ms + WINDOW_MS:
                return accepted
        return None

    def send(self, message: Message) -> None:
        """Accept a message that repeats nothing. Its sequence number is the highest so far."""
        assert message.group_id is not None
        assert message.deduplication_id is not None
        assert all(message.sequence > accepted.sequence for accepted in self.accepted)
        scope = message.group_id if self.by_group else ""
        self.accepted.append(
            Accepted(
                scope,
                message.deduplication_id,
                message.sent_at_ms,
                message.message_id,
                message.sequence,
            )
        )
        self.messages.append(message)

    # --- Receiving ----------------------------------------------------------------------------

    def check_batch(self, message_ids: Sequence[str], now_ms: int) -> None:
        """As many as possible of one group, in order; then of the next."""
        groups = self.deliverable(now_ms)
        group_of = {m.message_id: m.group_id for group in groups.values() for m in group}
        runs: list[tuple[str, list[str]]] = []
        for message_id in message_ids:
            group_id = group_of.get(message_id)
            assert group_id is not None, f"{message_id} is not there, in flight, or blocked"
            if not runs or runs[-1][0] != group_id:
                runs.append((group_id, []))
            runs[-1][1].append(message_id)
        assert len({group_id for group_id, _ in runs}) == len(runs), "groups are interleaved"
        for group_id, run in runs:
            waiting = [m.message_id for m in groups[group_id]]
            assert run == waiting[: len(run)], f"{group_id} is out of order"
            if group_id != runs[-1][0]:
                assert len(run) == len(waiting), f"{group_id} had more to give"

    def received(
        self, message_id: str, handle: str, visibility_s: int | None, now_ms: int
    ) -> Handle:
        (message,) = (m for m in self.live(now_ms) if m.message_id == message_id)
        message.received(self._visible_at_ms(visibility_s, now_ms), now_ms)
        self.handles.append(Handle(handle, message, message.receive_count, now_ms))
        return self.handles[-1]

    def _visible_at_ms(self, visibility_s: int | None, now_ms: int) -> int:
        seconds = self.visibility_timeout_s if visibility_s is None else visibility_s
        return now_ms + seconds * 1000

    def remember_attempt(self, attempt_id: str, handles: list[Handle], now_ms: int) -> None:
        changes = [handle.message.changes for handle in handles]
        self.attempts[attempt_id] = Attempt(now_ms, handles, changes)

    def attempt_to_repeat(self, attempt_id: str, now_ms: int) -> Attempt | None:
        """The attempt, if all of its messages are just as it left them."""
        attempt = self.attempts.get(attempt_id)
        if (
            attempt is None
            or not attempt.handles
            or now_ms >= attempt.attempted_at_ms + WINDOW_MS
            or [handle.message.changes for handle in attempt.handles] != attempt.changes
            or not all(self.is_current(handle, now_ms) for handle in attempt.handles)
        ):
            return None
        return attempt

    def repeat_attempt(self, attempt: Attempt, visibility_s: int | None, now_ms: int) -> None:
        for handle in attempt.handles:
            handle.message.visible_at_ms = self._visible_at_ms(visibility_s, now_ms)

    # --- Handles ------------------------------------------------------------------------------

    def is_there(self, handle: Handle, now_ms: int) -> bool:
        return any(m is handle.message for m in self.live(now_ms))

    def is_current(self, handle: Handle, now_ms: int) -> bool:
        """Of the latest receive, and its visibility window has not ended."""
        return (
            self.is_there(handle, now_ms)
            and handle.is_latest()
            and handle.message.in_flight(now_ms)
        )

    def delete(self, handle: Handle) -> None:
        self.messages = [m for m in self.messages if m is not handle.message]

    def can_change(self, handle: Handle, seconds: int, now_ms: int) -> bool:
        return handle.within_limit(seconds, now_ms) and self.is_current(handle, now_ms)

    def change_visibility(self, handle: Handle, seconds: int, now_ms: int) -> None:
        visible_at_ms = now_ms + seconds * 1000
        # To change it to what it is changes nothing.
        handle.message.changes += visible_at_ms != handle.message.visible_at_ms
        handle.message.visible_at_ms = visible_at_ms

    def purge(self, now_ms: int) -> bool:
        """Messages go; what was accepted stays remembered."""
        if self.purged_at_ms is not None and now_ms < self.purged_at_ms + 60_000:
            return False
        self.purged_at_ms = now_ms
        self.messages.clear()
        return True


def bury(
    source: FifoQueue, target: FifoQueue, receive_count_max: int, source_arn: str, now_ms: int
) -> None:
    """Move what is in view and exhausted, in order, to the end of a dead-letter queue.

    It keeps its id and its group, and is sent anew otherwise. Its sequence number is not known yet.
    """
    for message in source.live(now_ms):
        if message.receive_count >= receive_count_max and not message.in_flight(now_ms):
            source.messages.remove(message)
            message.sent_at_ms = now_ms
            message.deduplication_id = message.message_id
            message.sequence = 0
            message.source = source_arn
            target.messages.append(message)
