"""What clients saw, as a list of events that the checker judges.

Instants are milliseconds of one clock, read by the client before the call and after the reply. An
operation whose reply never came has the outcome `unknown`: it may or may not have happened.
"""

from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["ok", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as a receive returned it. The token is unique to the message's send."""

    token: str
    receive_count: int
    handle: str
    intact: bool
    """Body, digest, attributes and SentTimestamp are what they were when it was sent."""


@dataclass(frozen=True, slots=True)
class Event:
    """One operation of one client."""

    client: str
    op: Literal["send", "receive", "delete"]
    call_ms: float
    return_ms: float
    outcome: Outcome
    token: str = ""
    """The message sent or deleted."""
    delay_ms: float = 0
    visibility_ms: float = 0
    deliveries: tuple[Delivery, ...] = ()


@dataclass(slots=True)
class History:
    """Events of all clients, in no particular order."""

    events: list[Event] = field(default_factory=list)

    def of(self, op: str, outcome: Outcome | None = None) -> list[Event]:
        return [
            event
            for event in self.events
            if event.op == op and (outcome is None or event.outcome == outcome)
        ]
