"""What the reference models are made of: a message, and a receipt handle to it."""

from dataclasses import dataclass


@dataclass(slots=True)
class Message:
    """A message as its sender and its receivers know it. Standard queues use part of it."""

    message_id: str
    body: str
    sent_at_ms: int
    visible_at_ms: int
    receive_count: int = 0
    first_received_at_ms: int | None = None
    group_id: str | None = None
    deduplication_id: str | None = None
    sequence: int = 0
    source: str | None = None
    """The ARN of the queue that it was dead-lettered from."""
    changes: int = 0
    """How often ChangeMessageVisibility has moved the instant at which it comes into view."""

    def in_flight(self, now_ms: int) -> bool:
        return self.receive_count > 0 and self.visible_at_ms > now_ms

    def received(self, visible_at_ms: int, now_ms: int) -> None:
        self.visible_at_ms = visible_at_ms
        self.receive_count += 1
        if self.first_received_at_ms is None:
            self.first_received_at_ms = now_ms

    def system_attributes(self) -> dict[str, str]:
        """What a receive that asks for all of them is told."""
        told = {
            "SenderId": "000000000000",
            "SentTimestamp": str(self.sent_at_ms),
            "ApproximateReceiveCount": str(self.receive_count),
            "ApproximateFirstReceiveTimestamp": str(self.first_received_at_ms),
            "MessageGroupId": self.group_id,
            "MessageDeduplicationId": self.deduplication_id,
            "SequenceNumber": f"{self.sequence:020}" if self.sequence else None,
            "DeadLetterQueueSourceArn": self.source,
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(slots=True)
class Handle:
    """A receipt handle, and which receive of which message it came from."""

    text: str
    message: Message
    receive_count: int
    received_at_ms: int

    def is_latest(self) -> bool:
        return self.receive_count == self.message.receive_count

    def within_limit(self, seconds: int, now_ms: int) -> bool:
        """Whether `seconds` more keep the message within twelve hours from its receive."""
        return not seconds or now_ms - self.received_at_ms + seconds * 1000 <= 43_200_000
