"""A real PostgreSQL for the tests that need one: started once, emptied for each of them.

It listens on a socket in a temporary directory only, and does not sync: these tests are about what
statements do, not about power cuts. Without PostgreSQL's programs on the machine they are skipped.
"""

import asyncio
import atexit
import functools
import os
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from tools.postgres_server import PostgresMissing, PostgresServer

from stanchion.store.contract import Command, Flush
from stanchion.store.postgres import database
from stanchion.store.postgres.connections import Connections
from stanchion.store.postgres.engine import PostgresStore

Answer = TypeVar("Answer")

SCHEMA = "stanchion_test"
_TRUNCATED_EVERY = 100


@functools.cache
def server() -> PostgresServer:
    """The server of this test run. Skips the test when there is none to be had."""
    started = new_server()
    atexit.register(started.stop)
    return started


def new_server(**options: Any) -> PostgresServer:
    """One more, for a test that does it harm and stops it. Skips the test likewise."""
    try:
        started = PostgresServer(**options)
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    try:
        started.start()
    except BaseException:
        started.stop()
        raise
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
