"""The process: opens the store, puts the parts together, listens, and ends in good order.

`serve` keeps state on disk and verifies signatures; `develop` does neither. Nothing else differs.
It must never say that it is ready before it is, nor leave with status 0 when something acknowledged
could be at risk. Called by the command line, once per process.
"""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import uvloop

from stanchion import config
from stanchion.access import root
from stanchion.access.authenticator import (
    Authenticator,
    DevAuthenticator,
    SignatureAuthenticator,
)
from stanchion.access.sigv4 import Expectations
from stanchion.clock import Clock, RandomIds, SystemClock
from stanchion.config import Settings
from stanchion.gateway import Gateway, Page
from stanchion.http.limits import HttpLimits
from stanchion.http.listener import Listener, tls_context
from stanchion.http.message import HttpResponse
from stanchion.observe import logs
from stanchion.observe.metrics import CONTENT_TYPE, Metrics, Reading
from stanchion.sqs.catalogue import Catalogue
from stanchion.sqs.quotas import UNLIMITED, FifoQuotas
from stanchion.sqs.receipts import Receipts
from stanchion.sqs.service import Limits, Sqs
from stanchion.store.batcher import Batcher, WriterThread
from stanchion.store.contract import (
    GetSecret,
    Store,
    StoreBroken,
    StoreError,
    StoreUnusable,
    Upkeep,
)
from stanchion.store.signals import QueueSignals
from stanchion.store.sqlite import SqliteStore

EXIT_BROKEN = 70
"""The store failed under way: EX_SOFTWARE, so that a supervisor starts the server again."""

UPKEEP_INTERVAL_S = 1.0
"""Upkeep says when there is more to do, but a command may bring that forward."""
UPKEEP_PAUSE_S = 0.01
BROKEN_DRAIN_TIMEOUT_S = 1.0

# The store's writer shares the interpreter with the event loop; 5 ms turns would starve it.
_SWITCH_INTERVAL_S = 0.0005
_FILES_BESIDE_CONNECTIONS = 1024

Announce = Callable[[str], None]
Authenticate = Callable[[Batcher, Clock], Awaitable[Authenticator]]


class StartError(Exception):
    """The server cannot start; the message is one line that says why."""


def serve(settings: Settings, root_key: config.RootKey | None, announce: Announce) -> int:
    """Run the production server until it is told to stop. Answer: the process's exit code.

    `announce` is given the ready line. Raises `StartError`.
    """
    data_dir = Path(settings.data_dir)
    authenticate = partial(_by_signature, settings, root_key, data_dir)
    return _run(settings, lambda: SqliteStore.open(data_dir), authenticate, announce)


def develop(settings: Settings, announce: Announce) -> int:
    """Run a server in memory that believes any credentials. As `serve` otherwise."""
    return _run(settings, SqliteStore.in_memory, _by_name, announce)


def _run(
    settings: Settings,
    open_store: Callable[[], Store],
    authenticate: Authenticate,
    announce: Announce,
) -> int:
    logs.configure(settings.log_level, settings.log_format)
    _allow_connections(settings.connections_max)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        with _opened(open_store) as store:
            return uvloop.run(_serve(settings, store, authenticate, announce))
    except (StoreUnusable, root.UnreadableCredentialsError, StoreError) as error:
        raise StartError(str(error)) from error


def _allow_connections(connections_max: int) -> None:
    """Raise the limit on open files as far as is needed and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + _FILES_BESIDE_CONNECTIONS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _opened(open_store: Callable[[], Store]) -> Iterator[Store]:
    store = open_store()
    try:
        yield store
    finally:
        try:
            store.close()
        except Exception as error:
            # What was acknowledged is on the disk already, or the store was broken before.
            logs.event("the store could not be closed", logs.ERROR, error=error)


# --- Who may call -------------------------------------------------------------------------------


async def _by_signature(
    settings: Settings,
    root_key: config.RootKey | None,
    data_dir: Path,
    batcher: Batcher,
    clock: Clock,
) -> Authenticator:
    given = None if root_key is None else root.root_key(root_key.access_key_id, root_key.secret)
    # Where any free port will do, there is no telling where the server will be tomorrow.
    here = _origin("http", settings.host, settings.port) if settings.port else ""
    endpoint_url = settings.external_url or here
    written = await root.ensure_root_key(batcher, given, data_dir, endpoint_url=endpoint_url)
    if written is not None:
        logs.event("root credentials written", file=written)
    hosts = (settings.external_url.partition("://")[2],) if settings.external_url else ()
    return SignatureAuthenticator(batcher, clock, Expectations(frozenset(settings.regions), hosts))


async def _by_name(batcher: Batcher, clock: Clock) -> Authenticator:
    return DevAuthenticator()


# --- Running ------------------------------------------------------------------------------------


async def _serve(
    settings: Settings, store: Store, authenticate: Authenticate, announce: Announce
) -> int:
    outcome = _outcome_of_signals()
    clock = SystemClock(floor_ms=store.latest_ms())
    signals = QueueSignals(clock)
    batcher = Batcher(
        store, clock, signals, writer=WriterThread(), on_broken=partial(_on_broken, outcome)
    )
    try:
        sqs = await _service(settings, batcher, signals, clock)
        metrics = Metrics()
        gateway = Gateway(
            await authenticate(batcher, clock),
            sqs,
            metrics,
            settings.external_url or None,
            _pages(metrics, outcome),
        )
        listener = Listener(gateway.handle, clock, _http_limits(settings), gateway.refuse)
        _watch(metrics, listener, signals, batcher)
        try:
            announce(f"stanchion ready on {await _listen(listener, settings)}")
            gc.freeze()
            status = await _until(outcome, batcher)
        finally:
            signals.wake_all()
            await listener.drain(_drain_timeout_s(settings, outcome))
    finally:
        await batcher.close()
    logs.event("stopped", status=status)
    return status


def _outcome_of_signals() -> asyncio.Future[int]:
    """The future exit code. Told to stop, the process ends well."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _end, outcome, 0)
    return outcome


def _end(outcome: asyncio.Future[int], status: int) -> None:
    if not outcome.done():
        outcome.set_result(status)


def _on_broken(outcome: asyncio.Future[int], error: StoreBroken) -> None:
    logs.event("the store is broken and the server stops", logs.ERROR, error=error)
    _end(outcome, EXIT_BROKEN)


async def _service(
    settings: Settings, batcher: Batcher, signals: QueueSignals, clock: Clock
) -> Sqs:
    return Sqs(
        store=batcher,
        signals=signals,
        catalogue=Catalogue(batcher),
        receipts=Receipts(await batcher.run(GetSecret("receipts"))),
        clock=clock,
        ids=RandomIds(),
        limits=Limits(
            queue_name_quarantine_s=settings.queue_name_quarantine_s,
            purge_interval_s=settings.purge_interval_s,
            in_flight_max=settings.in_flight_max,
        ),
        quotas=FifoQuotas(clock) if settings.fifo_quotas else UNLIMITED,
    )


def _http_limits(settings: Settings) -> HttpLimits:
    return HttpLimits(
        connections_max=settings.connections_max,
        body_bytes_max=settings.body_bytes_max,
        header_timeout_s=settings.header_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
    )


def _drain_timeout_s(settings: Settings, outcome: asyncio.Future[int]) -> float:
    """With a broken store nothing that is under way can succeed any more."""
    ends_well = outcome.done() and outcome.result() == 0
    return settings.drain_timeout_s if ends_well else BROKEN_DRAIN_TIMEOUT_S


async def _until(outcome: asyncio.Future[int], batcher: Batcher) -> int:
    """Keep the store in order until the process is to end. Answer: its exit code."""
    pause_s = UPKEEP_INTERVAL_S
    while not outcome.done():
        await asyncio.wait([outcome], timeout=pause_s)
        if outcome.done():
            break
        try:
            more_in_ms = await batcher.run(Upkeep())
            pause_s = min(max(UPKEEP_PAUSE_S, more_in_ms / 1000), UPKEEP_INTERVAL_S)
        except StoreError as error:
            pause_s = UPKEEP_INTERVAL_S
            logs.event("upkeep failed", logs.WARNING, error=error)
    return outcome.result()


# --- Listening ----------------------------------------------------------------------------------


async def _listen(listener: Listener, settings: Settings) -> str:
    """Open the ports. Answer: where plain HTTP is served."""
    host = settings.host
    port = await _open(listener, host, settings.port, None)
    origin = _origin("http", host, port)
    logs.event("listening", url=origin)
    if settings.tls_cert:
        context = _tls(settings)
        tls_port = await _open(listener, host, settings.tls_port, context)
        logs.event("listening", url=_origin("https", host, tls_port))
    return origin


async def _open(listener: Listener, host: str, port: int, tls: ssl.SSLContext | None) -> int:
    try:
        return await listener.open(host, port, tls)
    except OSError as error:
        # A resolver's numbers are below zero, and its words are in the error itself.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise StartError(f"cannot listen on {host} port {port}: {reason}") from error


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        return tls_context(Path(settings.tls_cert), Path(settings.tls_key))
    except (OSError, ValueError) as error:
        names = f"{settings.tls_cert} and {settings.tls_key}"
        raise StartError(f"cannot use {names} for TLS: {error}") from error


def _origin(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


# --- Pages --------------------------------------------------------------------------------------


def _pages(metrics: Metrics, outcome: asyncio.Future[int]) -> dict[str, Page]:
    """What can be read without credentials. None of it says anything about queues or callers."""

    def ready() -> HttpResponse:
        return _text(503, "stopping\n") if outcome.done() else _text(200, "ready\n")

    return {
        "/health/live": lambda: _text(200, "live\n"),
        "/health/ready": ready,
        "/metrics": lambda: HttpResponse(
            200, (("Content-Type", CONTENT_TYPE),), metrics.exposition()
        ),
    }


def _text(status: int, text: str) -> HttpResponse:
    return HttpResponse(status, (("Content-Type", "text/plain; charset=utf-8"),), text.encode())


def _watch(metrics: Metrics, listener: Listener, signals: QueueSignals, batcher: Batcher) -> None:
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
            lambda: signals.waiting,
        ),
        Reading(
            "stanchion_store_commands_waiting",
            "Commands waiting for a transaction.",
            "gauge",
            lambda: batcher.waiting,
        ),
        Reading(
            "stanchion_store_flushes",
            "Transactions executed.",
            "counter",
            lambda: batcher.flushes,
        ),
        Reading(
            "stanchion_store_commands",
            "Commands executed; divided by flushes, how well they share transactions.",
            "counter",
            lambda: batcher.commands,
        ),
    )
