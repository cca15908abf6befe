"""The commands of message move tasks; they belong to the contract as much as those in `contract`.

A store does the work in its `Upkeep` steps. Each step is one transaction, so that a message is
never lost and never twice there, whenever the process ends.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from stanchion.store.contract import Command, QueueName

MoveStatus = Literal["RUNNING", "COMPLETED", "CANCELLING", "CANCELLED", "FAILED"]
MoveFailure = Literal["no_source", "no_destination", "too_long"]
"""`no_source`: a message never was in another queue. `no_destination`: the queue is gone."""


class MoveTask(Struct, frozen=True):
    """A task that moves the messages of a dead-letter queue elsewhere, as new messages."""

    task_id: str
    source: QueueName
    destination: QueueName | None
    """None: each message goes back to the queue that it came from."""
    messages_per_s: int | None
    status: MoveStatus
    started_at_ms: int
    moved: int
    to_move: int
    """How many messages there were when the task started."""
    failure: MoveFailure | None


class StartMove(
    Command["MoveTask | Literal['running', 'too_many', 'elsewhere'] | None"], frozen=True, gc=False
):
    """Start a task; `Upkeep` does the work. Answer: the task; None when the source is gone.

    `running` when the source has an active task already, `too_many` when its account has
    `tasks_max` of them; `elsewhere` when messages of the source cannot get to the destination,
    which is a FIFO queue on another shard.
    """

    task_id: str
    source_id: int
    destination: QueueName | None
    messages_per_s: int | None
    tasks_max: int


class ListMoves(Command[Sequence[MoveTask]], frozen=True, gc=False):
    """Answer: the latest tasks of a source queue, newest first."""

    source: QueueName
    limit: int


class CancelMove(Command[MoveTask | None], frozen=True, gc=False):
    """Answer: the task as it stands now, or None if no such task is running."""

    task_id: str
    source: QueueName
    """Tells where the task is, if there are several places."""
