"""One flush on its way through the database: what its commands share, gathered and written once.

Looks queues up inside the transaction, so that no record from an earlier one can lead a message to
the wrong queue; gathers changes of counts, which are written once at the end, and the wakes.
Nothing here outlives the transaction. Made by the engine, handed to every command's function.
"""

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from stanchion.store.contract import QueueName, SealedAs, Wake
from stanchion.store.provenance import Provenances
from stanchion.store.sqlite.sequence import Sequence
from stanchion.store.sqlite.statements import RowsStatement, statement
from stanchion.store.sqlite.tenants import Fairness

_QUEUE_PLACE = statement("queue_place")
_QUEUE_NAME = statement("queue_name")
_BACKLOG_MESSAGES = statement("backlog_messages")
_ADD_TO_BACKLOG = statement("add_to_backlog")
_ADD_TO_TALLY = RowsStatement("add_to_tally")

_LESSENED_MAX = 100_000
DELAY_MAX_MS = 900_000
"""No queue's delay is longer."""
NEVER = 1 << 62
"""No receive count gets there."""
EVERYBODY = 1 << 30
"""So many messages come into view, for all we know: wakes every waiter."""


class Place(NamedTuple):
    """Where a queue's messages are, and the rules that hold for them."""

    queue_id: int
    backlog: int
    retention_ms: int
    messages: int
    """How many there were when the transaction began."""
    check_at_ms: int | None
    """No message expires before this instant, as of when the transaction began."""
    is_fifo: int
    delay_ms: int
    """Of a FIFO queue."""
    receive_count_max: int
    dead_letter_queue_id: int | None
    """The queue for exhausted messages, if there is one and it exists."""
    has_noisy_tenants: int
    """Of a standard queue: whether there are lanes other than the ordinary ones."""

    @property
    def exhausted_at(self) -> int:
        """A message received so often is exhausted; beyond reach if there is nowhere to go."""
        return NEVER if self.dead_letter_queue_id is None else self.receive_count_max


class Resources(NamedTuple):
    """What transactions of one store share."""

    sequence: Sequence
    entropy: Callable[[int], bytes]
    provenances: Provenances
    in_flight_bounds: dict[int, int]
    """By backlog: at least as many as are in flight; see `counts.in_flight_room`."""
    fairness: dict[int, Fairness]
    """By backlog: what is known of its tenants; see `fair`."""
    lessened: set[tuple[int, int, int]]
    """Keys of rows of the tally that may be zero by now; see `counts.drop_emptied`."""
    give_space_back: Callable[[], bool]
    """Whether free pages should be returned to the file system at once."""


class Transaction:
    """A flush being executed. `execute` runs a statement."""

    def __init__(self, connection: sqlite3.Connection, now_ms: int, resources: Resources) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.now_ms = now_ms
        self.resources = resources
        self._places: dict[int, Place | None] = {}
        self._names: dict[int, QueueName] = {}
        self._messages: dict[int, int] = {}
        self._check_at_ms: dict[int, int] = {}
        self._tally: dict[tuple[int, int, int], int] = {}
        self._wakes: dict[tuple[int, int], int] = {}
        self._changes_before = connection.total_changes

    def place(self, queue_id: int) -> Place | None:
        """Where the queue's messages are, or None when there is no such queue."""
        if queue_id in self._places:
            return self._places[queue_id]
        row = self.execute(_QUEUE_PLACE, (queue_id,)).fetchone()
        place = Place(*row) if row else None
        self._places[queue_id] = place
        return place

    def name_of(self, place: Place) -> QueueName:
        if place.queue_id not in self._names:
            row = self.execute(_QUEUE_NAME, (place.queue_id,)).fetchone()
            self._names[place.queue_id] = QueueName(*row)
        return self._names[place.queue_id]

    def sealed_as(self, place: Place, message_id: str, provenance: object) -> SealedAs | None:
        """What the body of a message here was sealed for, when its provenance is genuine."""
        here = SealedAs(self.name_of(place), message_id)
        return self.resources.provenances.sealed_as(provenance, here)

    def messages(self, place: Place) -> int:
        """How many messages there are now, those of this transaction included."""
        self.write_counts()
        total: int = self.execute(_BACKLOG_MESSAGES, (place.backlog,)).fetchone()[0]
        return total

    def add_sent(self, place: Place, messages: int) -> None:
        """Count new messages, and see to it that their expiry is looked at in time."""
        self._add(place.backlog, messages)
        self._check_at_ms[place.backlog] = self.now_ms + place.retention_ms

    def add_removed(self, backlog: int, messages: int) -> None:
        self._add(backlog, -messages)

    def _add(self, backlog: int, messages: int) -> None:
        self._messages[backlog] = self._messages.get(backlog, 0) + messages

    def add_invisible(
        self, place: Place, received: bool, visible_at_ms: int, messages: int
    ) -> None:
        """Count messages that come into view at an instant; nothing if that is not to come.

        Messages of a FIFO queue that were never received are counted by the instant at which they
        were sent, for as long as the queue's delay, whatever it may become, can matter.
        """
        since_ms = self.now_ms
        if place.is_fifo and not received:
            since_ms -= DELAY_MAX_MS
        if visible_at_ms > since_ms:
            key = (place.backlog, int(received), -(-visible_at_ms // 1000))
            self._tally[key] = self._tally.get(key, 0) + messages

    def add_wake(self, queue_id: int, visible_at_ms: int, messages: int) -> None:
        key = (queue_id, visible_at_ms)
        self._wakes[key] = self._wakes.get(key, 0) + messages

    def drop_wake(self, queue_id: int) -> None:
        """Nothing of this queue is left in view: whoever is woken now would find nothing."""
        self._wakes.pop((queue_id, self.now_ms), None)

    def wakes(self) -> list[Wake]:
        return [Wake(*key, messages) for key, messages in self._wakes.items()]

    def has_written(self) -> bool:
        return self.connection.total_changes != self._changes_before

    def write_counts(self) -> None:
        """The last thing before the commit, and before counts are read."""
        for backlog, messages in self._messages.items():
            parameters = (backlog, messages, self._check_at_ms.get(backlog))
            self.execute(_ADD_TO_BACKLOG, parameters)
        values: list[object] = []
        for key, messages in self._tally.items():
            if messages:
                values += (*key, messages)
            if messages < 0 and len(self.resources.lessened) < _LESSENED_MAX:
                self.resources.lessened.add(key)
        for text, batch in _ADD_TO_TALLY.batches(values):
            self.execute(text, batch)
        self._messages.clear()
        self._tally.clear()
