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
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import uvloop
from msgspec import Struct, structs

from stanchion import __version__, config
from stanchion.access import root
from stanchion.access.authenticator import Authenticator
from stanchion.assembly import (
    Assembly,
    Foundation,
    assemble,
    by_name,
    by_signature,
    close,
    keep,
)
from stanchion.backends import Backend, OpenBackend, in_postgres, in_process, in_shards
from stanchion.clock import Clock, RandomIds
from stanchion.config import Settings
from stanchion.gateway import Gateway
from stanchion.http.limits import HttpLimits
from stanchion.http.listener import Listener
from stanchion.http.proxies import TrustedProxies
from stanchion.http.tls import CertificateWatcher, TlsFiles, words_of
from stanchion.keys.choice import root_of
from stanchion.keys.ring import KeyRing, open_ring
from stanchion.keys.root import RootSource, RootUnusable
from stanchion.observe import logs
from stanchion.observe.metrics import Metrics
from stanchion.pages import pages, watch, watch_certificates
from stanchion.store.contract import (
    StoreBroken,
    StoreClient,
    StoreError,
    StoreUnusable,
    Upkeep,
)
from stanchion.store.documents import Documents
from stanchion.store.sqlite import SqliteStore
from stanchion.store.sqlite.files import make_directory
from stanchion.workers import Refused, Worker, hold, supervise

EXIT_REFUSED = 2
"""Of a worker that could not start."""
EXIT_BROKEN = 70
"""The store failed under way: EX_SOFTWARE, so that a supervisor starts the server again."""

UPKEEP_INTERVAL_S = 1.0
"""Upkeep says when there is more to do, but a command may bring that forward."""
UPKEEP_PAUSE_S = 0.01
KEEP_INTERVAL_S = 0.5
"""How long an edit by another process may go unnoticed."""
BROKEN_DRAIN_TIMEOUT_S = 1.0
END_MARGIN_S = 15.0
"""What a worker may take beyond its drain timeout before it is killed."""

# The store's writer shares the interpreter with the event loop; 5 ms turns would starve it.
_SWITCH_INTERVAL_S = 0.0005
_FILES_BESIDE_CONNECTIONS = 1024

Announce = Callable[[str], None]
Prepare = Callable[[Foundation, Assembly], Awaitable[Authenticator]]
OpenRing = Callable[[Documents, Clock], Awaitable[KeyRing]]


class Mode(Struct, frozen=True):
    """In what `serve` and `develop` differ."""

    open_backend: OpenBackend
    open_ring: OpenRing
    prepare: Prepare
    """Sees to credentials, and answers with who believes them."""
    kms_needs_tls: bool = True
    """Whether queues with SSE-KMS are served over TLS only."""


class StartError(Exception):
    """The server cannot start; the message is one line that says why."""


def serve(settings: Settings, root_key: config.RootKey | None, announce: Announce) -> int:
    """Run the production server until it is told to stop. Answer: the process's exit code.

    `announce` is given the ready line. Raises `StartError`.
    """
    data_dir = settings.data_path
    try:
        mode = Mode(
            open_backend=_backend(settings),
            # A passphrase can be read from its descriptor once, and workers all need it.
            open_ring=partial(_open_ring, root_of(settings, data_dir, os.environ)),
            prepare=partial(_with_root_key, settings, root_key, data_dir),
        )
    except (StoreUnusable, RootUnusable) as error:
        raise StartError(str(error)) from error
    if settings.workers > 1:
        return _with_workers(settings, mode, announce)
    return run(settings, mode, announce)


def _with_workers(settings: Settings, mode: Mode, announce: Announce) -> int:
    logs.configure(settings.log_level, settings.log_format)
    held: list[socket.socket] = []
    ports: dict[str, int] = {}
    for name in _ports(settings):
        held += _held(settings.host, getattr(settings, name))
        ports[name] = held[-1].getsockname()[1]
    shared = structs.replace(settings, **ports)

    def work(worker: Worker) -> int:
        try:
            return run(shared, mode, worker.ready, worker)
        except StartError as error:
            worker.refuse(str(error))
            return EXIT_REFUSED

    try:
        return supervise(
            settings.workers,
            work,
            announce,
            held,
            hang_up=bool(settings.tls_cert),
            end_within_s=settings.drain_timeout_s + END_MARGIN_S,
        )
    except Refused as error:
        raise StartError(str(error)) from error


def _ports(settings: Settings) -> list[str]:
    """The settings that name a port that is listened on."""
    return ["port"] * settings.plain_http + ["tls_port"] * bool(settings.tls_cert)


def _held(host: str, port: int) -> list[socket.socket]:
    try:
        return hold(host, port)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from error


def _backend(settings: Settings) -> OpenBackend:
    if settings.store != config.SQLITE:
        if settings.data_path is not None:
            # For the root key; everything else is in the database.
            make_directory(settings.data_path)
        if settings.shards:
            return in_shards(settings.store, settings.postgres_schema, settings.shard_urls)
        return in_postgres(settings.store, settings.postgres_schema)
    data_dir = Path(settings.data_dir)
    return in_process(lambda: SqliteStore.open(data_dir))


def develop(settings: Settings, announce: Announce) -> int:
    """Run a server in memory that believes any credentials. As `serve` otherwise."""
    return run(settings, development(), announce)


def development() -> Mode:
    async def forgotten_ring(documents: Documents, clock: Clock) -> KeyRing:
        return KeyRing.ephemeral()

    async def prepare(base: Foundation, assembly: Assembly) -> Authenticator:
        return by_name(base, assembly)

    return Mode(in_process(SqliteStore.in_memory), forgotten_ring, prepare, kms_needs_tls=False)


def run(settings: Settings, mode: Mode, announce: Announce, worker: Worker | None = None) -> int:
    """Run a server until it is told to stop. Raises `StartError`."""
    number = worker.number if worker else 0
    logs.configure(settings.log_level, settings.log_format, worker=number)
    _allow_connections(settings.connections_max)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        return uvloop.run(_serve(settings, mode, announce, worker))
    except (StoreUnusable, RootUnusable, root.UnreadableCredentialsError, StoreError) as error:
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


# --- Keys and credentials -----------------------------------------------------------------------


async def _open_ring(source: RootSource, documents: Documents, clock: Clock) -> KeyRing:
    ring = await open_ring(documents, source, clock)
    if ring.notice:
        logs.event("key ring made", logs.WARNING, notice=ring.notice)
    return ring


async def _with_root_key(
    settings: Settings,
    root_key: config.RootKey | None,
    data_dir: Path | None,
    base: Foundation,
    assembly: Assembly,
) -> Authenticator:
    given = None if root_key is None else root.RootKey(root_key.access_key_id, root_key.secret)
    written = await root.ensure_root_key(
        base.documents,
        base.ring,
        given,
        data_dir,
        endpoint_url=_own_url(settings),
        now_ms=base.clock.now_ms(),
    )
    if written is not None:
        logs.event("root credentials written", file=written)
    return by_signature(settings, base, assembly)


def _own_url(settings: Settings) -> str:
    """Where clients on this machine find the server, as far as that can be told beforehand."""
    if settings.external_url:
        return settings.external_url
    scheme, port = ("http", settings.port) if settings.plain_http else ("https", settings.tls_port)
    # Where any free port will do, there is no telling where the server will be tomorrow.
    return _origin(scheme, settings.host, port) if port else ""


# --- Running ------------------------------------------------------------------------------------


async def _serve(settings: Settings, mode: Mode, announce: Announce, worker: Worker | None) -> int:
    outcome = _outcome_of_signals()
    if worker is not None:
        _end_with(worker.supervisor, outcome)
    async with mode.open_backend(partial(_on_broken, outcome)) as backend:
        base = await _foundation(mode, backend)
        assembly = await assemble(settings, base, kms_needs_tls=mode.kms_needs_tls)
        metrics = Metrics(worker.number if worker else 0)
        gateway = Gateway(
            await mode.prepare(base, assembly),
            assembly.services,
            base.ids,
            metrics,
            external_url=settings.external_url or None,
            proxies=TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None,
            pages=pages(metrics, outcome, backend.is_reachable),
        )
        listener = Listener(gateway.handle, base.clock, _http_limits(settings), gateway.refuse)
        watch(metrics, listener, backend, assembly.bodies)
        keeper = asyncio.create_task(_keep(base, assembly))
        try:
            url = await _listen(listener, metrics, settings, is_shared=worker is not None)
            announce(f"stanchion ready on {url}")
            gc.freeze()
            status = await _until(outcome, backend.store)
        finally:
            keeper.cancel()
            backend.signals.wake_all()
            await listener.drain(_drain_timeout_s(settings, outcome))
            with contextlib.suppress(StoreError):
                await close(assembly)
    logs.event("stopped", status=status)
    return status


async def _foundation(mode: Mode, backend: Backend) -> Foundation:
    documents = Documents(backend.store)
    ring = await mode.open_ring(documents, backend.clock)
    backend.set_move_key(await ring.secret(documents, "moves"))
    return Foundation(backend.store, backend.signals, documents, ring, backend.clock, RandomIds())


async def _keep(base: Foundation, assembly: Assembly) -> None:
    """Notice what other processes have edited, and note what this one has seen."""
    while True:
        await asyncio.sleep(KEEP_INTERVAL_S)
        try:
            await keep(base, assembly)
        except (StoreError, RootUnusable) as error:
            logs.event("housekeeping failed", logs.WARNING, error=error)
        except Exception as error:
            # Whoever stopped looking would go on with what is old.
            logs.event("housekeeping failed", logs.ERROR, error=f"{type(error).__name__}: {error}")


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


def _end_with(supervisor: int, outcome: asyncio.Future[int]) -> None:
    """End well when the supervisor is gone, which is seen by the end of a pipe."""
    loop = asyncio.get_running_loop()

    def on_gone() -> None:
        # What has come to its end stays readable, and would be told of again and again.
        loop.remove_reader(supervisor)
        _end(outcome, 0)

    loop.add_reader(supervisor, on_gone)


def _on_broken(outcome: asyncio.Future[int], error: StoreBroken) -> None:
    logs.event("the store is broken and the server stops", logs.ERROR, error=error)
    _end(outcome, EXIT_BROKEN)


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


async def _until(outcome: asyncio.Future[int], store: StoreClient) -> int:
    """Keep the store in order until the process is to end. Answer: its exit code."""
    pause_s = UPKEEP_INTERVAL_S
    while not outcome.done():
        await asyncio.wait([outcome], timeout=pause_s)
        if outcome.done():
            break
        upkeep = asyncio.ensure_future(store.run(Upkeep()))
        await asyncio.wait([outcome, upkeep], return_when=asyncio.FIRST_COMPLETED)
        if outcome.done():
            # The store sees to the end of what it has begun; its answer is not waited for.
            upkeep.cancel()
            await asyncio.gather(upkeep, return_exceptions=True)
        else:
            pause_s = _pause_s(upkeep)
    return outcome.result()


def _pause_s(upkeep: asyncio.Future[int]) -> float:
    """For how long there is nothing to do after a step of upkeep."""
    try:
        more_in_ms = upkeep.result()
    except StoreError as error:
        logs.event("upkeep failed", logs.WARNING, error=error)
        return UPKEEP_INTERVAL_S
    return min(max(UPKEEP_PAUSE_S, more_in_ms / 1000), UPKEEP_INTERVAL_S)


# --- Listening ----------------------------------------------------------------------------------


async def _listen(
    listener: Listener, metrics: Metrics, settings: Settings, *, is_shared: bool
) -> str:
    """Open the ports. Answer: where plain HTTP is served, or TLS where that is all there is."""
    origins: list[str] = []
    if settings.plain_http:
        port = await _open(listener, settings.host, settings.port, None, is_shared)
        origins.append(_origin("http", settings.host, port))
    if settings.tls_cert:
        certificates = _certificates(settings)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, certificates.reload)
        watch_certificates(metrics, certificates)
        port = await _open(listener, settings.host, settings.tls_port, certificates, is_shared)
        origins.append(_origin("https", settings.host, port))
    for origin in origins:
        logs.event("listening", url=origin, version=__version__)
    return origins[0]


async def _open(
    listener: Listener, host: str, port: int, tls: CertificateWatcher | None, is_shared: bool
) -> int:
    try:
        return await listener.open(host, port, tls, is_shared=is_shared)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from error


def _cannot_listen(host: str, port: int, error: OSError | UnicodeError) -> StartError:
    if isinstance(error, UnicodeError):
        reason = "not a host name"
    elif error.errno and error.errno > 0:
        reason = os.strerror(error.errno)
    else:
        # A resolver's numbers are below zero, and its words are in the error itself.
        reason = str(error)
    return StartError(f"cannot listen on {host} port {port}: {reason}")


def _certificates(settings: Settings) -> CertificateWatcher:
    client_ca = Path(settings.tls_client_ca) if settings.tls_client_ca else None
    files = TlsFiles(Path(settings.tls_cert), Path(settings.tls_key), client_ca)
    try:
        return CertificateWatcher(files)
    except (OSError, ValueError) as error:
        names = " and ".join(map(str, files.paths()))
        raise StartError(f"cannot use {names} for TLS: {words_of(error)}") from error


def _origin(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
