"""Real nodes on a real PostgreSQL, for tests about several processes at once.

Every node has a data directory of its own and the root key of all. What may go wrong while some
other node is down, and what may not, is judged here; the history by `tests.crash.checker`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tools.postgres_server import PostgresServer

from tests.crash.history import Event, History
from tests.crash.rig import Downtime, Rig, rig
from tests.postgres import new_server
from tests.server import root_key_file


def nodes_on(
    url: str, directory: Path, nodes: int, settings: Mapping[str, str] | None = None
) -> AbstractContextManager[Rig]:
    """So many nodes on a database, for the length of a block."""
    shared = {"store": url, "root_key_file": root_key_file(directory)}
    return rig(directory, nodes, shared | dict(settings or {}))


@contextmanager
def durable_postgres(**options: object) -> Iterator[PostgresServer]:
    """A PostgreSQL that syncs what it commits, for the length of a block. Skips the test."""
    server = new_server(fsync=True, **options)
    try:
        yield server
    finally:
        server.stop()


def at_node(name: str, node: int) -> str:
    """The name of a worker all of whose calls go to this node."""
    return f"{name}@{node}"


def failures_without_cause(history: History, downtimes: Sequence[Downtime]) -> list[Event]:
    """Calls that failed although the node that they went to was not down at any time meanwhile."""
    refused = refusals(history)
    return [
        event
        for event in history.events
        if event in refused
        or (event.outcome == "unknown" and "@" in event.client and not _was_down(event, downtimes))
    ]


def _was_down(event: Event, downtimes: Sequence[Downtime]) -> bool:
    node = int(event.client.partition("@")[2])
    return any(
        down.node == node and event.return_ms > down.killed_ms and event.call_ms < down.ready_ms
        for down in downtimes
    )


def refusals(history: History) -> list[Event]:
    """Calls that were answered with an error not worth repeating, for which there is no cause.

    Except when a handle of a FIFO queue has expired: on a slow machine a delete may be late.
    """
    received = [event for event in history.of("receive", "ok") if event.attempt_id]
    return [
        event
        for event in history.events
        if event.outcome == "fail" and not _is_late(event, received)
    ]


def _is_late(event: Event, received: Sequence[Event]) -> bool:
    """Whether it is a delete that ended after the lease of the message may have ended."""
    attempts = [
        receive
        for receive in received
        if (receive.client, receive.queue) == (event.client, event.queue)
        and receive.return_ms <= event.call_ms
        and any(delivery.token == event.token for delivery in receive.deliveries)
    ]
    if event.op != "delete" or not attempts:
        return False
    last = max(attempts, key=lambda attempt: attempt.call_ms)
    # A repeated attempt shows the same receive, which began with the first.
    began_ms = min(a.call_ms for a in attempts if a.attempt_id == last.attempt_id)
    return event.return_ms > began_ms + last.visibility_ms
