"""What clients saw, as a list of events that the checker judges.

Instants are milliseconds of one clock, read by the client before the call and after the reply. An
operation whose reply never came has the outcome `unknown`: it may or may not have happened.
"""

from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["ok", "fail", "unknown"]
Operation = Literal["send", "receive", "delete", "purge", "delete_queue", "move"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as a receive returned it. The token is unique to what was sent."""

    token: str
    receive_count: int
    handle: str
    intact: bool
    """Body, digest, attributes and SentTimestamp are what they were when it was sent."""
    message_id: str = ""
    group: str = ""
    deduplication_id: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One operation of one client."""

    client: str
    op: Operation
    call_ms: float
    return_ms: float
    outcome: Outcome
    token: str = ""
    """The message sent or deleted."""
    delay_ms: float = 0
    visibility_ms: float = 0
    deliveries: tuple[Delivery, ...] = ()
    queue: str = ""
    group: str = ""
    deduplication_id: str = ""
    message_id: str = ""
    """As the reply to a send has it, with the sequence number."""
    sequence: int = 0
    attempt_id: str = ""


@dataclass(frozen=True, slots=True)
class Redrive:
    """The dead-letter queue of a queue. It must not change while a history is recorded."""

    target: str
    receive_count_max: int


@dataclass(slots=True)
class History:
    """Events of all clients, in no particular order."""

    events: list[Event] = field(default_factory=list)
    redrives: dict[str, Redrive] = field(default_factory=dict)
    """By source queue."""

    def of(self, op: Operation, outcome: Outcome | None = None) -> list[Event]:
        return [
            event
            for event in self.events
            if event.op == op and (outcome is None or event.outcome == outcome)
        ]

    def may_have_happened(self, op: Operation) -> list[Event]:
        return [event for event in self.of(op) if event.outcome != "fail"]
