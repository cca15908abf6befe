"""What can be read of a server without credentials: whether it is up, and its metrics.

None of it says anything about queues, messages or callers. Called by the server, once per process.
"""

import asyncio
from collections.abc import Callable

from stanchion import __version__
from stanchion.backends import Backend, DatabaseReadings
from stanchion.gateway import Page
from stanchion.http.listener import Listener
from stanchion.http.message import HttpResponse
from stanchion.http.tls import CertificateWatcher
from stanchion.observe.metrics import CONTENT_TYPE, Metrics, Reading
from stanchion.sqs.encryption import Bodies


def pages(
    metrics: Metrics, outcome: asyncio.Future[int], is_reachable: Callable[[], bool]
) -> dict[str, Page]:
    """By path. `outcome` is the exit code to come: with one, the server is stopping."""

    def fault() -> str:
        if outcome.done():
            return "stopping"
        return "" if is_reachable() else "the database cannot be reached"

    def ready() -> HttpResponse:
        why_not = fault()
        return _text(503, f"{why_not}\n") if why_not else _text(200, "ready\n")

    metrics.watch(
        Reading(
            "stanchion_ready",
            "Whether /health/ready answers 200.",
            "gauge",
            lambda: not fault(),
        )
    )
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
    _watch_listener(metrics, listener)
    metrics.watch(
        Reading(
            "stanchion_build_info",
            "The version that runs; always 1.",
            "gauge",
            lambda: {__version__: 1},
            label="version",
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
            "Transactions committed.",
            "counter",
            lambda: backend.store.flushes,
        ),
        Reading(
            "stanchion_store_commands",
            "Commands that were done; divided by flushes, how well they share transactions.",
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


def _watch_listener(metrics: Metrics, listener: Listener) -> None:
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
            "stanchion_response_unread_bytes",
            "Memory held by responses that clients are slow to read.",
            "gauge",
            lambda: listener.unread_bytes,
        ),
    )


def watch_certificates(metrics: Metrics, certificates: CertificateWatcher) -> None:
    metrics.watch(
        Reading(
            "stanchion_tls_reload_failures",
            "Changes of the TLS files that could not be used.",
            "counter",
            lambda: certificates.failures,
        ),
        Reading(
            "stanchion_tls_certificate_expiry_timestamp_seconds",
            "When the certificate that is served expires, in seconds since the epoch.",
            "gauge",
            lambda: certificates.expires_at_s,
        ),
    )


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
        Reading(
            "stanchion_shard_reachable",
            "Whether a shard has answered in the last few seconds.",
            "gauge",
            lambda: {name: float(is_up) for name, is_up in database.shards_reachable().items()},
            label="shard",
        ),
    )
