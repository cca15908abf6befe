"""One flush on its way through the database: what its commands share, gathered and written once.

Looks queues up inside the transaction; gathers changes of counts, written once at the end as rows
of this flush's own, and the wakes. Nothing here outlives the transaction. Made by the engine,
handed to every command's function.

Other flushes run at the same time, so locks are taken in one order: queue rows, groups by key,
messages by backlog and number. Whoever changes messages of a FIFO queue holds their groups first.
No hot statement locks a queue: a flush that read its place before a purge counts as before it,
and `upkeep` keeps a doomed backlog until no such flush is left.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from stanchion.store.contract import QueueName, SealedAs, Wake
from stanchion.store.postgres.low_water import LowWater, SlowLooks, TallyHead
from stanchion.store.postgres.statements import statement
from stanchion.store.provenance import Provenances
from stanchion.store.sqlite.tenants import Fairness

if TYPE_CHECKING:
    from asyncpg import Connection, Record

_QUEUE_PLACES = statement("queue_places")
_QUEUE_NAME = statement("queue_name")
_BACKLOG_MESSAGES = statement("backlog_messages")
_ADD_TO_TALLY = statement("add_to_tally")
_TAKE_SEQUENCES = statement("take_sequences")

DELAY_MAX_MS = 900_000
"""No queue's delay is longer."""
NEVER = 1 << 30
"""No receive count gets there."""
EVERYBODY = 1 << 30
"""So many messages come into view, for all we know: wakes every waiter."""
_PLACES_MAX = 20_000
_TOTAL = 2
"""In the tally's column `received`: all messages."""


class Place(NamedTuple):
    """Where a queue's messages are, and the rules that hold for them."""

    queue_id: int
    backlog: int
    retention_ms: int
    check_at_ms: int | None
    """No message expires before this instant, as of when the transaction began."""
    is_fifo: bool
    delay_ms: int
    """Of a FIFO queue."""
    receive_count_max: int
    dead_letter_queue_id: int | None
    """The queue for exhausted messages, if there is one and it exists."""
    has_noisy_tenants: bool
    """Of a standard queue: whether there are lanes other than the ordinary ones."""

    @property
    def exhausted_at(self) -> int:
        """A message received so often is exhausted; beyond reach if there is nowhere to go."""
        return NEVER if self.dead_letter_queue_id is None else self.receive_count_max


class Resources(NamedTuple):
    """What transactions of one store share: caches, any of which may be lost at any time."""

    entropy: Callable[[int], bytes]
    provenances: Provenances
    in_flight_bounds: "dict[int, InFlightBound]"
    """By backlog: at least as many as are in flight; see `counts.in_flight_room`."""
    fairness: dict[int, Fairness]
    """By backlog: what is known of its tenants; see `fair`."""
    low_water: LowWater
    slow_looks: SlowLooks
    tally_head: TallyHead
    places: dict[int, Place]
    """By queue id: where the queue was when it was last looked up; see `at_once`."""


class InFlightBound:
    __slots__ = ("counted_at_ms", "messages")

    def __init__(self, messages: int, counted_at_ms: int) -> None:
        self.messages = messages
        self.counted_at_ms = counted_at_ms


class Transaction:
    """A flush being executed. `fetch`, `row` and `run` execute a statement."""

    def __init__(self, connection: "Connection[Record]", now_ms: int, resources: Resources) -> None:
        self.connection = connection
        self.statements = 0
        """How many were executed."""
        self.now_ms = now_ms
        self.resources = resources
        self._places: dict[int, Place | None] = {}
        self._names: dict[int, QueueName] = {}
        self._tally: dict[tuple[int, int, int], int] = {}
        self._wakes: dict[tuple[int, int], int] = {}

    def fetch(self, text: str, *parameters: object) -> "Awaitable[list[Row]]":
        """Rows of a statement: `await tx.fetch(text, *parameters)`."""
        self.statements += 1
        return self.connection.fetch(text, *parameters)

    def row(self, text: str, *parameters: object) -> "Awaitable[Row | None]":
        """The first row of a statement, or None."""
        self.statements += 1
        return self.connection.fetchrow(text, *parameters)

    async def run(self, text: str, *parameters: object) -> int:
        """Execute a statement without rows; answers how many it changed."""
        self.statements += 1
        status = await self.connection.execute(text, *parameters)
        return int(status.rpartition(" ")[2])

    async def look_up(self, queue_ids: Iterable[int]) -> int:
        """Learn the places of queues in one go. Answers what time the database has.

        The engine does so first of all, for the queues that commands name.
        """
        ids = list(set(queue_ids))
        rows = await self.fetch(_QUEUE_PLACES, ids)
        self._places.update(dict.fromkeys(ids))
        for row in rows:
            if row[1] is not None:
                self._places[row[1]] = place = Place(*row[1:])
                self._remember(place)
        now_ms: int = rows[0][0]
        return now_ms

    def _remember(self, place: Place) -> None:
        places = self.resources.places
        if len(places) >= _PLACES_MAX:
            places.clear()
        places[place.queue_id] = place

    async def place(self, queue_id: int) -> Place | None:
        """Where the queue's messages are, or None when there is no such queue."""
        if queue_id not in self._places:
            await self.look_up((queue_id,))
        return self._places[queue_id]

    def forget_places(self) -> None:
        """This transaction changes queues: look them up anew."""
        self._places.clear()

    async def name_of(self, place: Place) -> QueueName:
        if place.queue_id not in self._names:
            row = await self.row(_QUEUE_NAME, place.queue_id)
            assert row is not None
            self._names[place.queue_id] = QueueName(*row)
        return self._names[place.queue_id]

    async def sealed_as(self, place: Place, message_id: str, provenance: object) -> SealedAs | None:
        """What the body of a message here was sealed for, when its provenance is genuine."""
        here = SealedAs(await self.name_of(place), message_id)
        return self.resources.provenances.sealed_as(provenance, here)

    async def take_sequences(self, count: int) -> list[int]:
        """Fresh numbers of messages, ascending, not necessarily in a row.

        For a FIFO queue: only while the rows of the groups are locked.
        """
        return [row[0] for row in await self.fetch(_TAKE_SEQUENCES, count)]

    async def messages(self, place: Place) -> int:
        """How many messages there are now, those of this transaction included."""
        await self.write_counts()
        row = await self.row(_BACKLOG_MESSAGES, place.backlog)
        assert row is not None
        total: int = row[0]
        return total

    def add_sent(self, place: Place, messages: int) -> None:
        """Count new messages."""
        self._add(place.backlog, messages)

    def add_removed(self, backlog: int, messages: int) -> None:
        self._add(backlog, -messages)

    def _add(self, backlog: int, messages: int) -> None:
        key = (backlog, _TOTAL, 0)
        self._tally[key] = self._tally.get(key, 0) + messages

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

    async def write_counts(self) -> None:
        """The last thing before the commit, and before counts are read."""
        changes = [(*key, messages) for key, messages in self._tally.items() if messages]
        self._tally.clear()
        if changes:
            backlogs, received, buckets_s, messages = zip(*changes, strict=True)
            await self.run(_ADD_TO_TALLY, backlogs, received, buckets_s, messages)


Row = Any
"""A row of the database: `asyncpg.Record`, which indexes and unpacks as a tuple does."""
