"""What can be read of a server without credentials: whether it is up, and its metrics.

None of it says anything about queues, messages or callers. Called by the server, once per process.
"""

import asyncio
from collections.abc import Callable

from stanchion.backends import Backend, DatabaseReadings
from stanchion.gateway import Page
from stanchion.http.listener import Listener
from stanchion.http.message import HttpResponse
from stanchion.observe.metrics import CONTENT_TYPE, Metrics, Reading
from stanchion.sqs.encryption import Bodies


def pages(
    metrics: Metrics, outcome: asyncio.Future[int], is_reachable: Callable[[], bool]
) -> dict[str, Page]:
    """By path. `outcome` is the exit code to come: with one, the server is stopping."""

    def ready() -> HttpResponse:
        if outcome.done():
            return _text(503, "stopping\n")
        if not is_reachable():
            return _text(503, "the database cannot be reached\n")
        return _text(200, "ready\n")

    return {
        "/health/live": lambda: _text(200, "live\n"),
        "/health/ready": ready,
        "/metrics": lambda: HttpResponse(
            200, (("Content-Type", CONTENT_TYPE),), metrics.exposition()
        ),
    }


def _text(status: int, text: str) -> HttpResponse:
    return HttpResponse(status, (("Content-Type", "text/plain; charset=utf-8"),), text.encode())


def watch(
    metrics: Metrics,
    listener: Listener,
    backend: Backend,
    bodies: Bodies,
) -> None:
    metrics.watch(
        Reading(
            "stanchion_connections",
            "Open client connections.",
            "gauge",
            lambda: listener.connection_count,
        ),
        Reading(
            "stanchion_request_buffered_bytes",
            "Memory held by large request bodies.",
            "gauge",
            lambda: listener.buffered_bytes,
        ),
        Reading(
            "stanchion_long_polls",
            "Receives waiting for a message.",
            "gauge",
            lambda: backend.signals.waiting,
        ),
        Reading(
            "stanchion_store_commands_waiting",
            "Commands waiting for a transaction.",
            "gauge",
            lambda: backend.store.waiting,
        ),
        Reading(
            "stanchion_store_flushes",
            "Transactions executed.",
            "counter",
            lambda: backend.store.flushes,
        ),
        Reading(
            "stanchion_store_commands",
            "Commands executed; divided by flushes, how well they share transactions.",
            "counter",
            lambda: backend.store.commands,
        ),
        Reading(
            "stanchion_unreadable_bodies",
            "Received messages whose body did not open, and that were kept back.",
            "counter",
            lambda: bodies.unreadable,
        ),
    )
    if backend.database is not None:
        _watch_database(metrics, backend.database)


def _watch_database(metrics: Metrics, database: DatabaseReadings) -> None:
    metrics.watch(
        Reading(
            "stanchion_store_statements",
            "Statements of transactions, BEGIN and COMMIT included.",
            "counter",
            database.statements,
        ),
        Reading(
            "stanchion_store_connections_in_use",
            "Connections to the database with a transaction.",
            "gauge",
            database.connections_in_use,
        ),
        Reading(
            "stanchion_wakeups_sent",
            "Notifications to other processes of messages in view.",
            "counter",
            database.wakeups_sent,
        ),
        Reading(
            "stanchion_wakeups_received",
            "Notifications from other processes.",
            "counter",
            database.wakeups_received,
        ),
    )
