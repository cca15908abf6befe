"""The command by which a process learns which queues others have changed.

Every creation, update and deletion of a queue draws a number, and numbers are drawn in the order of
the commits: whoever has been told up to a number has missed nothing before it. A deletion is told
of for a day. The sharing of queues is the store's business; what is done about a change is that of
the layer above, whose catalogue is the one caller.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from stanchion.store.contract import Command, QueueName


class QueueChanges(NamedTuple):
    names: Sequence[QueueName]
    """Of queues that were created, updated or deleted, each once; the longest unchanged first."""
    reached: int
    """Up to here all has been told: the `after` to go on with."""
    latest: int
    """The number of the latest change there is. While it is above `reached` there is more."""


class ListQueueChanges(Command[QueueChanges], frozen=True, gc=False):
    """Answer: `QueueChanges` with at most `limit` names of what changed after a number."""

    after: int
    limit: int


def told(command: ListQueueChanges, latest: int, rows: Sequence[Any]) -> QueueChanges:
    """For the stores: the answer. `rows` are numbers and names, read after `latest`."""
    last: int = rows[-1][0] if rows else command.after
    reached = last if len(rows) == command.limit else max(latest, last)
    return QueueChanges([QueueName(*name) for _, *name in rows], reached, max(latest, reached))
