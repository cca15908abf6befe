"""What a store can do: commands are values, answers are values.

The batcher hands a store every command that is waiting; the store runs them in one transaction and
answers in order. The laws that every store keeps:

- An answer leaves only after its transaction is durable, receives included.
- A command is atomic, and so is a flush of them. Commands of one flush are concurrent: a store may
  run them grouped by kind.
- No command scans a queue, except where its docstring says so and bounds it.
- A store knows queues, messages, leases and instants. It has never heard of HTTP, AWS error names,
  policies or signatures; who may do what, and what an error is called, is decided above it.

Instants are queue time in milliseconds since the epoch. The store stamps them: a command carries
durations, and `execute` is given one `now_ms` for the whole flush.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from msgspec import Struct

Answer = TypeVar("Answer")


class Command(Struct, Generic[Answer], frozen=True, gc=False):
    """Something to be done in a transaction. Each subclass names the type of its answer."""


# --- Queues -------------------------------------------------------------------------------------


class QueueName(NamedTuple):
    """What a queue is known by; ARNs and URLs are made of it."""

    account_id: str
    region: str
    name: str


class QueueRecord(Struct, frozen=True):
    """A queue as it stands in the store. `version` goes up by one with every change."""

    id: int
    """Never reused, so that a receipt or a cached record of a deleted queue cannot hit another."""
    name: QueueName
    version: int
    attributes: Mapping[str, str]
    """Only what was set: defaults are the business of the layer above."""
    tags: Mapping[str, str]
    created_at_ms: int
    modified_at_ms: int


class QueueRules(Struct, frozen=True, gc=False):
    """What of a queue's attributes the store itself acts on; the rest it only keeps."""

    retention_ms: int
    """Applies to messages already queued."""
    is_fifo: bool = False
    """Never changes."""
    delay_ms: int = 0
    """FIFO queues only, where the queue's delay applies to messages already queued too."""
    dead_letter_queue: QueueName | None = None
    """Where messages go that are exhausted. If there is no such queue they stay deliverable."""
    receive_count_max: int = 0
    """A message received this often is exhausted when it would next come into view."""


class CreateQueue(
    Command["QueueCreated | QueueExists | QueueDeletedRecently"], frozen=True, gc=False
):
    """Create a queue unless one of that name exists.

    Answer: `QueueCreated`, `QueueExists` with the record there is, or `QueueDeletedRecently` when
    one of that name was deleted less than `quarantine_ms` ago.
    """

    name: QueueName
    attributes: Mapping[str, str]
    tags: Mapping[str, str]
    rules: QueueRules
    quarantine_ms: int


class QueueCreated(Struct, frozen=True):
    record: QueueRecord


class QueueExists(Struct, frozen=True):
    record: QueueRecord


class QueueDeletedRecently(Struct, frozen=True):
    pass


class GetQueue(Command[QueueRecord | None], frozen=True, gc=False):
    """Answer: the `QueueRecord`, or None."""

    name: QueueName


class UpdateQueue(Command[QueueRecord | None], frozen=True, gc=False):
    """Replace a queue's attributes and tags, if it is still at the version that was read.

    Answer: the new `QueueRecord`, or None when the queue is gone or has changed since: read it
    again and decide again.
    """

    queue_id: int
    version: int
    attributes: Mapping[str, str]
    tags: Mapping[str, str]
    rules: QueueRules


class DeleteQueue(Command[bool], frozen=True, gc=False):
    """Forget a queue and, in the background, its messages. Answer: whether it was there."""

    queue_id: int


class ListQueues(Command[Sequence[QueueRecord]], frozen=True, gc=False):
    """Answer: at most `limit` `QueueRecord`s in the order of their names.

    Of one account and region, whose names start with `prefix` and come after `after` (exclusive).
    """

    account_id: str
    region: str
    prefix: str
    after: str
    limit: int


class ListDeadLetterSources(Command[Sequence[QueueRecord]], frozen=True, gc=False):
    """Answer: at most `limit` `QueueRecord`s in the order of their names.

    Of the queues whose `QueueRules.dead_letter_queue` is `target`, with names after `after`.
    """

    target: QueueName
    after: str
    limit: int


class PurgeQueue(Command["PurgeOutcome"], frozen=True, gc=False):
    """Drop every message of a queue, whatever its state, at once. Answer: a `PurgeOutcome`.

    Takes the same time whatever the backlog: the rows go in the background.
    """

    queue_id: int
    interval_ms: int
    """No purge happens within this long of the last one."""


PurgeOutcome = Literal["purged", "in_progress", "no_queue"]


class CountMessages(Command["MessageCounts | None"], frozen=True, gc=False):
    """Answer: `MessageCounts`, or None when the queue is gone. Does not scan the backlog."""

    queue_id: int


class MessageCounts(Struct, frozen=True):
    visible: int
    in_flight: int
    delayed: int


# --- Messages -----------------------------------------------------------------------------------


class NewMessage(Struct, frozen=True, gc=False):
    """A message on its way in: validated, and stored as it is here."""

    message_id: str
    body: bytes
    """Begins with the byte 1 if the layer above has sealed it, for this queue and this id."""
    attributes: bytes
    """The user's message attributes, encoded by the layer above; empty when there are none."""
    sender_id: str
    delay_ms: int
    group_id: str | None = None
    """FIFO: the order is kept inside a group. Standard: the tenant, for fairness."""
    trace_header: str | None = None
    deduplication_id: str | None = None
    """FIFO queues only, and always there."""


class Send(Command[bool], frozen=True, gc=False):
    """Append messages to a standard queue, all or none. Answer: whether the queue was there."""

    queue_id: int
    messages: tuple[NewMessage, ...]


DEDUPLICATION_MAX_MS = 300_000
"""No deduplication window is longer."""


class SendFifo(Command["tuple[SentFifo, ...] | None"], frozen=True, gc=False):
    """Append messages to a FIFO queue in order, all or none, each once in five minutes.

    A message whose deduplication id was accepted less than `deduplication_ms` ago is not appended;
    it is answered with what was sent then. The window starts with the first acceptance, survives
    receives, deletes, purges and restarts, and is not extended by repeats.

    Answer: a `SentFifo` for each message, or None when the queue is gone.
    """

    queue_id: int
    messages: tuple[NewMessage, ...]
    by_group: bool
    """Whether each group has deduplication ids of its own."""
    deduplication_ms: int = DEDUPLICATION_MAX_MS


class SentFifo(NamedTuple):
    message_id: str
    sequence: int


class Claim(Command["Claimed | None"], frozen=True, gc=False):
    """Take up to `limit` visible messages and hide them for `visibility_ms`.

    Answer: `Claimed`, or None when the queue is gone. Oldest visible first.
    """

    queue_id: int
    limit: int
    visibility_ms: int
    in_flight_max: int
    """With this many in flight already, nothing is taken and `Claimed.at_capacity` is true."""


ATTEMPT_MAX_MS = 300_000
"""No receive attempt can be repeated for longer."""


class ClaimFifo(Command["Claimed | None"], frozen=True, gc=False):
    """As `Claim`, for a FIFO queue: in order inside each group, oldest ready group first.

    A group with a message in flight, or whose first message is delayed, gives nothing. As many
    messages as possible come from one group, ten at most, then from the next. At capacity nothing
    is taken.

    With an attempt id that was first used less than `attempt_ms` ago, the same messages are handed
    out under the same leases, hidden anew from now on, as long as none of them has been deleted,
    changed, received again, or come into view since; else it is an ordinary claim. An attempt that
    found nothing has not been used.
    """

    queue_id: int
    limit: int
    visibility_ms: int
    in_flight_max: int
    attempt_id: str | None = None
    attempt_ms: int = ATTEMPT_MAX_MS


class Lease(NamedTuple):
    """What a receive gives out: this message, as received for the n-th time.

    A later receive of the message has a higher `receive_count`, which is how a stale one is known.
    """

    sequence: int
    receive_count: int


class SealedAs(NamedTuple):
    """The queue and the id under which a message's body was sealed."""

    queue: QueueName
    message_id: str


class ClaimedMessage(Struct, frozen=True, gc=False):
    lease: Lease
    message_id: str
    body: bytes
    attributes: bytes
    sender_id: str
    sent_at_ms: int
    first_received_at_ms: int
    group_id: str | None
    trace_header: str | None
    deduplication_id: str | None = None
    dead_letter_source: QueueName | None = None
    """The queue that this message was moved from because it was exhausted there."""
    sealed_as: SealedAs | None = None
    """What a moved message's body was sealed for, when that is another queue or id than now.

    Vouched for by the store with its move key: never what somebody wrote into the database.
    """


class Claimed(Struct, frozen=True, gc=False):
    messages: tuple[ClaimedMessage, ...]
    received_at_ms: int
    """A repeated attempt has the instant of the first."""
    next_visible_at_ms: int | None
    """When empty: when to look again, None if only a new message can change anything.

    That is the instant at which the next message comes into view; at capacity, a second from now.
    """
    at_capacity: bool = False


DeleteOutcome = Literal["deleted", "absent", "superseded", "expired"]
"""`superseded`: it was received again since. `expired`: a FIFO lease whose window has ended."""


class Delete(Command[tuple[DeleteOutcome, ...] | None], frozen=True, gc=False):
    """Delete leased messages: on a standard queue in the visibility window or after it.

    Answer: None when the queue is gone, else an outcome for each lease. Only `deleted` changes
    anything.
    """

    queue_id: int
    leases: tuple[Lease, ...]


class ChangeVisibility(Command[tuple[bool, ...] | None], frozen=True, gc=False):
    """Let leased messages come into view `visibility_ms` from now (0: at once).

    Answer: None when the queue is gone, else for each lease whether it was current. On a standard
    queue a lease whose window has ended is current until somebody receives the message again; on a
    FIFO queue it is not.
    """

    queue_id: int
    changes: tuple[tuple[Lease, int], ...]
    """Pairs of a lease and its new `visibility_ms`."""


# --- Upkeep -------------------------------------------------------------------------------------


class Upkeep(Command[int], frozen=True, gc=False):
    """One bounded step of background work.

    Expire messages, move exhausted ones to dead-letter queues, do the work of move tasks, drop
    purged rows, forget old names. Answer: in how many ms there is more to do; 0 for right now.
    """

    limit: int = 1000


# --- The store ----------------------------------------------------------------------------------


class Wake(NamedTuple):
    """At `visible_at_ms`, some messages of a queue come (or have come) into view."""

    queue_id: int
    visible_at_ms: int
    messages: int


class Flush(Struct, frozen=True, gc=False):
    """The outcome of one transaction: an answer for each command, in order."""

    answers: Sequence[object]
    """A command that failed on its own has its `StoreError` here."""
    wakes: Sequence[Wake]


class Store(Protocol):
    """An engine. Called from one thread at a time, which may not be the event loop's."""

    def execute(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        """Run commands in one transaction; durable on return.

        Raises `StoreBroken` when the engine can no longer be trusted: the process must stop.
        """
        ...

    def set_move_key(self, key: bytes) -> None:
        """What moves are vouched for with, 64 bytes at most. Before the first command."""
        ...

    def maintain(self) -> None:
        """Engine upkeep between flushes, such as checkpoints; quick."""
        ...

    def latest_ms(self) -> int:
        """The latest instant found in the store when it was opened: queue time starts there."""
        ...

    def close(self) -> None: ...


class StoreClient(Protocol):
    """A store as the layers above see it: the batcher."""

    def run(self, command: Command[Answer]) -> Awaitable[Answer]:
        """The command's answer, once it is durable. Raises `StoreError`."""
        ...


class StoreError(Exception):
    """A command could not be done. Nothing of it has happened, unless a subclass says otherwise."""


class StoreBusy(StoreError):
    """Too much is waiting already. Nothing was done; try again later."""


class StoreFull(StoreError):
    """There is no space for more messages; receives and deletes may still work."""


class StoreUnreachable(StoreError):
    """The database cannot be reached. Nothing was done."""


class OutcomeUnknown(StoreError):
    """The connection was lost while a commit was under way: it may have happened or not."""


class StoreBroken(StoreError):
    """A write failed in a way that leaves the outcome unknown. Nothing more is answered."""


class StoreUnusable(Exception):
    """A store cannot be opened; the message says which file, why, and what to do."""
