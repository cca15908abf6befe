"""Connections to the database, and bringing its schema up to date.

Every session has the same settings, whatever the server's defaults: plans that never change with
statistics of a table that happens to be empty, durable commits, and limits on how long anything may
hold others up. A schema of a newer Stanchion is refused with one line. Called by the engine and by
the listener.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Coroutine, Sequence
from importlib.resources import files
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from stanchion.store.contract import StoreUnusable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECT_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    ValueError,
)
"""What `connect` raises: refused, unreachable, only a standby, or not a URL at all."""
_CONNECT_S = 5.0
_COMMAND_S = 15.0
"""When the network swallows what is said: longer than the server lets a statement run."""
_SILENCE_MAX_MS = 10_000
_UNREADABLE = "its URL cannot be read: special characters in a password are written as %XX"
_CACHED_STATEMENTS = 500
_VERSION_MIN = 15
_SETTINGS = {
    "application_name": "stanchion",
    # Plans are made once, without looking at values, and always go by index.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    # Workers would read a whole table beside a statement that stops after a few rows.
    "max_parallel_workers_per_gather": "0",
    # An answer leaves after its commit is on disk, here and on synchronous standbys.
    "synchronous_commit": "on",
    # Or the warning that a commit is not on them after all would not be sent.
    "client_min_messages": "warning",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "10000",
    "lock_timeout": "5000",
    # A session that holds a snapshot for long keeps dead rows from being cleaned up.
    "idle_in_transaction_session_timeout": "10000",
}
_MIGRATION_LOCK = "SELECT pg_advisory_xact_lock(hashtext($1), 0)"
_FIND_SCHEMA = "SELECT to_regnamespace($1)::text"
_HAS_SCHEMA = "SELECT to_regclass('schema_version')::text"
_SCHEMA_VERSION = "SELECT max(version) FROM schema_version"
_HAS_MOVED_DIRECTORY = "SELECT to_regclass('moved_directory') IS NOT NULL"
_MOVED_DIRECTORY = "SELECT status FROM moved_directory"


async def connect(url: str, schema: str, **settings: str) -> Connection:
    """A connection to a server that takes writes. Raises `CONNECT_ERRORS`."""
    settings = {**_SETTINGS, "search_path": _quoted(schema), **settings}
    try:
        connection = await _first([_connect(each, settings) for each in urls_of(url)])
    except ValueError as error:
        # It names a part of the URL, which may be one of the password.
        raise ValueError(_UNREADABLE) if type(error) is ValueError else error from None
    _notice_silence(connection)
    return connection


async def _connect(url: str, settings: dict[str, str]) -> Connection:
    try:
        return await asyncpg.connect(
            url,
            timeout=_CONNECT_S,
            command_timeout=_COMMAND_S,
            statement_cache_size=_CACHED_STATEMENTS,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
            target_session_attrs=SessionAttribute.read_write,
            server_settings=settings,
        )
    except CONNECT_ERRORS as error:
        if type(error) is not ValueError:
            error.add_note(f"{_place(url)}: {_reason(url, error)}")
        raise


def _place(url: str) -> str:
    """Where a server is, without anything of its login."""
    parts = urlsplit(url)
    if "@" in parts.path + parts.query + parts.fragment:
        return "the database"  # What is taken for its host may be of a password.
    query = dict(parse_qsl(parts.query))
    host = parts.hostname or query.get("host") or os.environ.get("PGHOST") or "localhost"
    port = parts.port or query.get("port") or os.environ.get("PGPORT") or "5432"
    if host.startswith("/"):
        return f"{host}/.s.PGSQL.{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


def _reason(url: str, error: Exception) -> str:
    """What keeps from connecting. Of a file that cannot be read, the system does not say which."""
    if isinstance(error, FileNotFoundError | PermissionError):
        query = dict(parse_qsl(urlsplit(url).query))
        for name in _TLS_FILES:
            file = query.get(name) or os.environ.get(f"PG{name.upper()}", "")
            if file and not os.access(file, os.R_OK):
                return f"cannot read {name} {file}"
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {_CONNECT_S:g} s"
    # Numbers of TLS are not those of the system, and those of a resolver are below zero.
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error)
    return str(error) or type(error).__name__


def words_of(error: Exception) -> str:
    """One line for one of `CONNECT_ERRORS`: each place that was tried, and what is wrong there."""
    told = "; ".join(getattr(error, "__notes__", ())) or str(error) or type(error).__name__
    return " ".join(told.split())


async def _first(attempts: Sequence[Coroutine[None, None, Connection]]) -> Connection:
    """The first that succeeds. In turn, a server that is silent would keep the others from theirs.

    Raises one of `CONNECT_ERRORS`: what a server said, rather than that there is none.
    """
    opened: list[Connection] = []
    errors: list[Exception] = []

    async def attempt(connecting: Coroutine[None, None, Connection]) -> None:
        try:
            opened.append(await connecting)
        except CONNECT_ERRORS as error:
            errors.append(error)

    tasks = [asyncio.ensure_future(attempt(connecting)) for connecting in attempts]
    try:
        for finished in asyncio.as_completed(tasks):
            await finished
            if opened:
                return opened.pop(0)
        raise _worst(errors)
    finally:
        for task in tasks:
            task.cancel()
        for connection in opened:
            connection.terminate()


def _worst(errors: Sequence[Exception]) -> Exception:
    """The one to raise, with the notes of all."""
    worst = next((e for e in errors if isinstance(e, asyncpg.PostgresError)), errors[0])
    for other in errors:
        if other is not worst:
            for note in getattr(other, "__notes__", ()):
                worst.add_note(note)
    return worst


def urls_of(url: str) -> list[str]:
    """One URL for each host of a `postgresql://…` that may name several."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    if "," in hosts:
        netlocs = [f"{login}{at}{host}" for host in hosts.split(",")]
        return [urlunsplit(parts._replace(netloc=netloc)) for netloc in netlocs]
    query = dict(parse_qsl(parts.query))
    named = query.get("host", "").split(",")
    if hosts or len(named) == 1:
        return [url]
    ports = query.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(named)
    return [
        urlunsplit(parts._replace(query=_query(query, host=host, port=port)))
        for host, port in zip(named, ports, strict=False)
    ]


def _query(query: dict[str, str], **changes: str) -> str:
    return urlencode({name: value for name, value in {**query, **changes}.items() if value})


def _notice_silence(connection: Connection) -> None:
    """Have the kernel give up a peer that acknowledges nothing, such as a machine without power."""
    shown: Any = connection  # asyncpg does not show its socket
    own = shown._transport.get_extra_info("socket")
    if own is not None and own.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_MAX_MS)


async def migrate(connection: Connection, schema: str) -> None:
    """Bring the schema to the newest version, all in one transaction. Raises `StoreUnusable`.

    Of several processes that start at once, one does it and the others wait.
    """
    _check_server(connection)
    migrations = _migrations()
    async with connection.transaction():
        await connection.execute(_MIGRATION_LOCK, schema)
        # Only where there is none: a role that owns nothing but its schema may not make any.
        if await connection.fetchval(_FIND_SCHEMA, _quoted(schema)) is None:
            await connection.execute(f"CREATE SCHEMA {_quoted(schema)}")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY)"
        )
        version = await connection.fetchval(_SCHEMA_VERSION) or 0
        _check_not_newer(schema, version)
        for number, script in enumerate(migrations[version:], version + 1):
            await connection.execute(script)
            await connection.execute("INSERT INTO schema_version VALUES ($1)", number)


def _check_not_newer(schema: str, version: int) -> None:
    known = len(_migrations())
    if version > known:
        raise StoreUnusable(
            f"the PostgreSQL schema {schema} has version {version}, from a newer Stanchion; "
            f"this one knows versions up to {known}: use the newer one"
        )


async def check_version(connection: Connection, schema: str) -> None:
    """Raises `StoreUnusable` unless the schema is there, as this release has it."""
    _check_server(connection)
    if await connection.fetchval(_HAS_SCHEMA) is None:
        raise StoreUnusable(
            f"there is no PostgreSQL schema {schema} of Stanchion's there: the first server that "
            "starts on it makes it"
        )
    version = await connection.fetchval(_SCHEMA_VERSION) or 0
    _check_not_newer(schema, version)
    if version < len(_migrations()):
        raise StoreUnusable(
            f"the PostgreSQL schema {schema} has version {version}, from an older Stanchion, and "
            f"this one needs version {len(_migrations())}: use the release of its servers"
        )


async def check_complete(connection: Connection, schema: str) -> None:
    """Raises `StoreUnusable` for a schema that a data directory is still being moved to.

    Also for one from which it was taken back.
    """
    if await has_moved_directory(connection):
        status = await connection.fetchval(_MOVED_DIRECTORY)
        if status == "copying":
            raise StoreUnusable(
                f"a data directory is still being moved to the PostgreSQL schema {schema}: "
                "run stanchion migrate again until it says that all is there"
            )
        if status == "taken back":
            raise StoreUnusable(
                f"what was moved to the PostgreSQL schema {schema} was taken back to its data "
                "directory: serve that one"
            )


async def has_moved_directory(connection: Connection) -> bool:
    """Whether the schema's data comes from a data directory, by `stanchion migrate`."""
    found: bool = await connection.fetchval(_HAS_MOVED_DIRECTORY)
    return found


def _check_server(connection: Connection) -> None:
    version = connection.get_server_version()
    if version.major < _VERSION_MIN:
        raise StoreUnusable(
            f"PostgreSQL {version.major} is too old: {_VERSION_MIN} or later is needed"
        )
    encoding: Any = connection.get_settings().server_encoding
    if encoding != "UTF8":
        raise StoreUnusable(f"the database's encoding is {encoding}: Stanchion needs UTF8")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _migrations() -> list[str]:
    """The scripts in order of their numbers, which have no gaps."""
    directory = files(__package__).joinpath("migrations")
    scripts = sorted((f.name, f) for f in directory.iterdir() if f.name.endswith(".sql"))
    assert [int(name[:4]) for name, _ in scripts] == list(range(1, len(scripts) + 1))
    return [script.read_text("utf-8") for _, script in scripts]
