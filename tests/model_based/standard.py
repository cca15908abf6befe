"""A standard queue as a list and some loops: slow, obvious, and what the server must equal.

It follows the documented behaviour of SQS and nothing of the implementation. Which of the visible
messages a receive returns is the server's choice; how many, and that they were visible, is not.
Tenants make no difference to that: fairness decides about the order only.
"""

from dataclasses import dataclass, field

from tests.model_based.messages import Handle, Message


@dataclass(slots=True)
class Queue:
    """One standard queue. `in_flight_max` is the cap above which a short poll is refused."""

    in_flight_max: int
    delay_s: int = 0
    visibility_timeout_s: int = 30
    retention_s: int = 345_600
    messages: list[Message] = field(default_factory=list)
    handles: list[Handle] = field(default_factory=list)
    purged_at_ms: int | None = None

    # --- What there is ------------------------------------------------------------------------

    def live(self, now_ms: int) -> list[Message]:
        return [m for m in self.messages if m.sent_at_ms + self.retention_s * 1000 > now_ms]

    def visible(self, now_ms: int) -> list[Message]:
        return [m for m in self.live(now_ms) if m.visible_at_ms <= now_ms]

    def in_flight(self, now_ms: int) -> list[Message]:
        return [m for m in self.live(now_ms) if m.in_flight(now_ms)]

    def delayed(self, now_ms: int) -> list[Message]:
        return [m for m in self.live(now_ms) if m.visible_at_ms > now_ms and not m.receive_count]

    def counts(self, now_ms: int) -> tuple[int, int, int]:
        states = (self.visible(now_ms), self.in_flight(now_ms), self.delayed(now_ms))
        return len(states[0]), len(states[1]), len(states[2])

    def edges(self, now_ms: int) -> list[int]:
        """When something changes by itself: views, delays and retentions that end."""
        edges = [m.visible_at_ms for m in self.live(now_ms)]
        edges += [m.sent_at_ms + self.retention_s * 1000 for m in self.live(now_ms)]
        return [edge for edge in edges if edge > now_ms]

    # --- What happens to it -------------------------------------------------------------------

    def send(
        self, message_id: str, body: str, delay_s: int | None, group_id: str | None, now_ms: int
    ) -> None:
        delay_ms = (self.delay_s if delay_s is None else delay_s) * 1000
        self.messages.append(
            Message(message_id, body, now_ms, now_ms + delay_ms, group_id=group_id)
        )

    def at_capacity(self, now_ms: int) -> bool:
        return len(self.in_flight(now_ms)) >= self.in_flight_max

    def available(self, now_ms: int) -> int:
        """How many messages receives can get: those visible, as far as the cap allows."""
        return min(len(self.visible(now_ms)), self.in_flight_max - len(self.in_flight(now_ms)))

    def received(
        self, message_id: str, handle: str, visibility_s: int | None, now_ms: int
    ) -> Message:
        (message,) = (m for m in self.visible(now_ms) if m.message_id == message_id)
        seconds = self.visibility_timeout_s if visibility_s is None else visibility_s
        message.received(now_ms + seconds * 1000, now_ms)
        self.handles.append(Handle(handle, message, message.receive_count, now_ms))
        return message

    def delete(self, handle: Handle) -> None:
        if handle.is_latest():
            self.messages = [m for m in self.messages if m is not handle.message]

    def can_change(self, handle: Handle, seconds: int, now_ms: int) -> bool:
        return (
            handle.within_limit(seconds, now_ms)
            and handle.is_latest()
            and any(m is handle.message for m in self.live(now_ms))
        )

    def change_visibility(self, handle: Handle, seconds: int, now_ms: int) -> None:
        handle.message.visible_at_ms = now_ms + seconds * 1000

    def purge(self, now_ms: int) -> bool:
        if self.purged_at_ms is not None and now_ms < self.purged_at_ms + 60_000:
            return False
        self.purged_at_ms = now_ms
        self.messages.clear()
        return True
