"""What shards and placements are, and the commands about them that a PostgreSQL store executes.

The *home* holds the directory of queues and, beside it, the placement of each: its *parts*. A part
is the queue's messages on one shard, under an id of its own that is never given twice. So a part
that was moved, purged or dropped cannot be written to by who still thinks of it: its id is gone.
Values only; sent by the router, executed by `postgres.parts` and `postgres.transit`.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from stanchion.store.contract import Command, CreateQueue, QueueName, QueueRules

HOME = 0
"""The number of the home among the shards."""
SHARDS_MAX = 64
"""With the home. The remainder of a message's number by this tells where it was sent to."""
HOME_NAME = "home"

ShardState = Literal["joining", "open", "draining", "drained"]
PartState = Literal["open", "leaving", "frozen", "arriving"]
"""`leaving`: nothing more is sent there. Of a FIFO queue: `frozen` is one that is copied and
`arriving` its copy, and nothing is done to either."""


class Shard(Struct, frozen=True):
    """A row of the home's register of shards."""

    number: int
    name: str
    state: ShardState
    queues: int
    """How many queues have a part there."""


class Part(NamedTuple):
    id: int
    """Of the queue's row on that shard; on the home, of the queue itself."""
    shard: int
    state: PartState
    slots: tuple[int, ...]
    """Of a FIFO queue: which of its slots live here. Groups are hashed to slots."""
    heir: int | None = None
    """Of a part that is on its way: the shard that it goes to."""


class Placement(Struct, frozen=True):
    """Where the messages of a queue are, and what a shard has to know of the queue."""

    queue_id: int
    name: QueueName
    version: int
    rules: QueueRules
    parts: tuple[Part, ...]

    @property
    def is_frozen(self) -> bool:
        return any(part.state == "frozen" for part in self.parts)


# --- To the home --------------------------------------------------------------------------------


class CreatePlaced(Command[Any], frozen=True, gc=False):
    """`CreateQueue` with parts on these shards. Answer: that of `CreateQueue`."""

    creation: CreateQueue
    shards: tuple[int, ...]


class GetPlacement(Command[Placement | None], frozen=True, gc=False):
    """Answer: the placement, None when the queue is gone."""

    queue_id: int


class ChangedPlacements(Command[tuple[int, tuple[int, ...]]], frozen=True, gc=False):
    """Answer: the queues placed anew after `after`, and the number to go on with."""

    after: int
    limit: int = 10_000


class AddPart(Command[Placement | None], frozen=True, gc=False):
    """Give a queue a part on a shard, unless it has one. Answer: its placement now."""

    queue_id: int
    shard: int


class NoteTold(Command[bool], frozen=True, gc=False):
    """A shard knows a part in this state, with the rules as of this version of the queue."""

    part_id: int
    version: int
    state: PartState


class Owed(NamedTuple):
    """What a shard has not been told yet."""

    queue_ids: tuple[int, ...]
    """Queues with a part whose rules it does not know."""
    dropped: tuple[tuple[int, int, int], ...]
    """The shard, a part that it need not keep, and the queue that this was a part of."""


class GetOwed(Command[Owed], frozen=True, gc=False):
    """Answer: at most `limit` of each sort, the oldest ones."""

    shard: int
    limit: int = 100


class NoteDropped(Command[bool], frozen=True, gc=False):
    """A shard has dropped this part."""

    part_id: int


class ListShards(Command[Sequence[Shard]], frozen=True, gc=False):
    """Answer: all shards in the order of their numbers, the home first; none if there is none."""


class ShardIdentity(NamedTuple):
    home_id: str
    number: int
    generation: int
    """How many had joined when it did; 0: the home. Unlike the number, never given twice."""


class JoinShard(Command[ShardIdentity | None], frozen=True, gc=False):
    """Register a shard of this name as `joining`, unless it is there.

    Answer: its identity, or that of the home if this is none; None when there is no number left.
    """

    name: str
    home_id: str
    """Becomes the identity of the home, if it has none."""


class SetShardState(Command[bool], frozen=True, gc=False):
    """Answer: whether there is a shard of that name in one of the states `after`."""

    name: str
    state: ShardState
    after: tuple[ShardState, ...]


class CountNodes(Command[int], frozen=True, gc=False):
    """Answer: how many servers listen to this database. Asked of the home, and of a shard."""


class CountShard(Command[int], frozen=True, gc=False):
    """Answer: about how many messages a database has, of all queues."""


class RemoveShard(Command[bool], frozen=True, gc=False):
    """Forget a shard without parts that is joining or drained. Answer: whether it was so."""

    name: str


class PartsToMove(Command[Sequence[int]], frozen=True, gc=False):
    """Answer: at most `limit` queues with a part on a shard that is in one of these states."""

    shard: int
    states: tuple[PartState, ...]
    limit: int


class LeaseMover(Command["int | None"], frozen=True, gc=False):
    """Be the one that moves queues for half a minute. Answer: until when; None: another is.

    `leased_until_ms` is what was answered before, to go on; else 0.
    """

    leased_until_ms: int


class RetirePart(Command[Placement | None], frozen=True, gc=False):
    """Begin to move a part of a queue from a shard: it is on its way, under a new id.

    A part on `heir_shard` takes over; it is made if there is none. For a part that is on its way
    already, only what copies it is begun anew, under another id. One whose shard does not know it
    yet, or to which another part is on its way, is left as it is. Answer: the placement now; None
    when the part is gone.
    """

    queue_id: int
    shard: int
    heir_shard: int


class ReplacePart(Command[bool], frozen=True, gc=False):
    """The end of a move: a part is gone, and its slots belong to another part of the queue.

    Answer: False, and nothing is done, when there is no such other part.
    """

    part_id: int
    heir_id: int


# --- To a shard ---------------------------------------------------------------------------------


class Identify(Command[ShardIdentity | None], frozen=True, gc=False):
    """Make a database a shard, if it is none yet and has no queues. Answer: what it is now.

    None: it has queues of its own. Without `identity` nothing is made. One that was a shard of the
    same home before, and is empty, becomes the new one.
    """

    identity: ShardIdentity | None


class AdoptPart(Command[bool], frozen=True, gc=False):
    """Make the row of a part, or bring its rules up to date. Older parts of the queue go.

    So does one of the name. Nothing is buried in one that is made as `arriving`, nor from there,
    until it is told to be open. Answer: False when there is a newer part, or this one was dropped.
    """

    part_id: int
    home_queue_id: int
    name: QueueName
    version: int
    rules: QueueRules
    state: PartState = "open"


class DropPart(Command[bool], frozen=True, gc=False):
    """Forget a part and, in the background, its messages; it can never be adopted again.

    Nor can older parts of the queue, one of which the shard may have instead.
    """

    part_id: int
    home_queue_id: int


class RenamePart(Command[bool], frozen=True, gc=False):
    """Give the part of that name another, higher id: keeps out who knows only the old one.

    When this is answered, nobody is at work under the old id. With `is_frozen` nobody reaches it
    by its name either: no dead letter and no move task comes or goes, whoever looks for one.
    Answer: whether there was a part of that name.
    """

    name: QueueName
    new_id: int
    is_frozen: bool = False


class LeavePart(Command["bool | None"], frozen=True, gc=False):
    """Keep dead letters from coming to a part, if it has no messages.

    Answer: whether it has none; None: there is no such part.
    """

    part_id: int


class FindAttempt(Command[bool], frozen=True, gc=False):
    """Answer: whether an attempt was used lately."""

    queue_id: int
    attempt_id: str
    attempt_ms: int


MessageRow = tuple[Any, ...]
"""A message as it is moved; see `transit` for the columns. The first two: number and lane."""

IN_TRANSIT_LANE = -1
"""Out of view: may be on another shard too."""
MOVED_LANE = -2
"""Is on another shard for good, and to be deleted here."""


class PickMessages(Command[Sequence[MessageRow] | None], frozen=True, gc=False):
    """Take free messages of a standard part out of view, to be moved. None: there is no part.

    Answer: those that are out of view already, else at most `limit` more, about 4 MiB of them.
    """

    queue_id: int
    limit: int


class ListStaged(Command[Sequence[int]], frozen=True, gc=False):
    """Answer: numbers of copies that are not in view yet."""

    queue_id: int


class StageMessages(Command[bool], frozen=True, gc=False):
    """Put copies of messages into a standard part, out of view. Those that are there stay.

    `leaving_id` is the part that they come from: a purge ends it, and the home, whose part keeps
    its id, takes nothing from one that has ended. Answer: False when nothing is taken.
    """

    queue_id: int
    leaving_id: int
    rows: Sequence[MessageRow]


class MarkMoved(Command[Sequence[int]], frozen=True, gc=False):
    """Decide that messages have moved. Answer: those of them that are still there."""

    queue_id: int
    sequences: tuple[int, ...]


class ShowStaged(Command[bool], frozen=True, gc=False):
    """Let staged copies come into view, and drop others."""

    queue_id: int
    shown: tuple[int, ...]
    dropped: tuple[int, ...]


class ForgetMoved(Command[bool], frozen=True, gc=False):
    """Delete what is marked as moved."""

    queue_id: int
    sequences: tuple[int, ...]


class FifoCopy(NamedTuple):
    """A piece of a FIFO part."""

    messages: Sequence[MessageRow]
    deduplication: Sequence[tuple[Any, ...]]
    attempts: Sequence[tuple[Any, ...]]


class ReadFifo(Command["FifoCopy | None"], frozen=True, gc=False):
    """Messages of a frozen part with numbers after `after`, at most about `limit` and 4 MiB.

    With `after` 0, all that is remembered of deduplication and attempts comes too.
    """

    queue_id: int
    after: int
    limit: int


class WriteFifo(Command[bool], frozen=True, gc=False):
    """Append a piece to a part; what is there already stays. Numbers given later are higher."""

    queue_id: int
    copy: FifoCopy
