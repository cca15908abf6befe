"""Connections to the database, and bringing its schema up to date.

Every session has the same settings, whatever the server's defaults: plans that never change with
statistics of a table that happens to be empty, durable commits, and limits on how long anything may
hold others up. A schema of a newer Stanchion is refused with one line. Called by the engine and by
the listener.
"""

from importlib.resources import files
from typing import Any, TypeAlias

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
    # An answer leaves after its commit is on disk, here and on synchronous standbys.
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "10000",
    "lock_timeout": "5000",
    # A session that holds a snapshot for long keeps dead rows from being cleaned up.
    "idle_in_transaction_session_timeout": "10000",
}
_MIGRATION_LOCK = "SELECT pg_advisory_xact_lock(hashtext($1), 0)"
_SCHEMA_VERSION = "SELECT max(version) FROM schema_version"


async def connect(url: str, schema: str, **settings: str) -> Connection:
    """A connection to a server that takes writes. Raises `CONNECT_ERRORS`."""
    return await asyncpg.connect(
        url,
        timeout=_CONNECT_S,
        command_timeout=_COMMAND_S,
        statement_cache_size=_CACHED_STATEMENTS,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,
        target_session_attrs=SessionAttribute.read_write,
        server_settings={**_SETTINGS, "search_path": _quoted(schema), **settings},
    )


async def migrate(connection: Connection, schema: str) -> None:
    """Bring the schema to the newest version, all in one transaction. Raises `StoreUnusable`.

    Of several processes that start at once, one does it and the others wait.
    """
    _check_server(connection)
    migrations = _migrations()
    async with connection.transaction():
        await connection.execute(_MIGRATION_LOCK, schema)
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(schema)}")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY)"
        )
        version = await connection.fetchval(_SCHEMA_VERSION) or 0
        if version > len(migrations):
            raise StoreUnusable(
                f"the PostgreSQL schema {schema} has version {version}, from a newer Stanchion; "
                f"this one knows versions up to {len(migrations)}: use the newer one"
            )
        for number, script in enumerate(migrations[version:], version + 1):
            await connection.execute(script)
            await connection.execute("INSERT INTO schema_version VALUES ($1)", number)


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
