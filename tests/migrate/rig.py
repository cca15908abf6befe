"""A data directory with something in every table, and new schemas to move it to.

The directory is filled through the store, with a clock that stands still; where time goes on, it
does so in the database that the directory was moved to, at the same instant.
"""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from stanchion.store.contract import (
    Command,
    DeleteQueue,
    Flush,
    SentFifo,
)
from stanchion.store.migrate import Moved, migrate
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.records import Change, EditRecords, RecordKey
from stanchion.store.sqlite import SqliteStore
from tests.postgres import Loop, server
from tests.store.driver import SEALED, START_MS, Driver
from tests.store.redrive import bury, set_up, start
from tests.store.test_fair import Tenants

MOVE_KEY = b"the key that vouches for moves"
_numbers = itertools.count(1)


class Schema:
    """A schema that does not exist yet, in the database of this test run."""

    def __init__(self) -> None:
        self.url = server().url
        self.name = f"moved_{next(_numbers)}"
        self.loop = Loop()

    def migrate(self, directory: Path) -> Moved:
        return asyncio.run(migrate(directory, self.url, self.name, lambda progress: None))

    def query(self, text: str, *parameters: object) -> list[Any]:
        return self.loop.run(self._query(text, parameters))

    async def _query(self, text: str, parameters: Sequence[object]) -> list[Any]:
        settings = {"search_path": self.name}
        connection = await asyncpg.connect(self.url, server_settings=settings)
        try:
            found: list[Any] = await connection.fetch(text, *parameters)
            return found
        finally:
            await connection.close()

    def exists(self) -> bool:
        return bool(self.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", self.name))

    def drop(self) -> None:
        self.query(f"DROP SCHEMA IF EXISTS {self.name} CASCADE")


@contextmanager
def new_schema() -> Iterator[Schema]:
    schema = Schema()
    try:
        yield schema
    finally:
        schema.drop()


class MovedStore:
    """A `Store` over a schema, for a `Driver`."""

    def __init__(self, schema: Schema) -> None:
        self._loop = schema.loop
        self.database = schema
        self._store = self._loop.run(self._open())
        self._store.set_move_key(MOVE_KEY)

    async def _open(self) -> PostgresStore:
        return await PostgresStore.open(self.database.url, schema=self.database.name)

    def execute(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        return self._loop.run(self._store.execute(commands, now_ms))

    def set_move_key(self, key: bytes) -> None:
        self._store.set_move_key(key)

    def maintain(self) -> None:
        pass

    def latest_ms(self) -> int:
        return self._store.latest_ms()

    def close(self) -> None:
        self._loop.run(self._store.close())


class Full:
    """Fills a directory, and knows what is in it."""

    def __init__(self, directory: Path, prefix: str = "user") -> None:
        """`prefix` makes its documents different from those of others."""
        self._prefix = prefix
        store = SqliteStore.open(directory, reserve_bytes=0)
        store.set_move_key(MOVE_KEY)
        with closing(store):
            driver = Driver(store, START_MS)
            self._records(driver)
            self._standard(driver)
            self._fifo(driver)
            self._tenants(driver)
            self._dead_letters(driver)
            self._gone(driver)
            self.now_ms = driver.now_ms
            self.counts = {
                queue_id: driver.counts(queue_id)
                for (queue_id,) in driver.query("SELECT id FROM queue")
            }

    def _records(self, driver: Driver) -> None:
        for n in range(3):
            key = RecordKey("user", "1", f"{self._prefix} {n}")
            driver.run(EditRecords((), (Change(key, bytes([n, 0, 255])),), is_quiet=n == 2))

    def _standard(self, driver: Driver) -> None:
        """In view, delayed, in flight, received twice, and empty."""
        self.standard = driver.create("standard").id
        driver.send(self.standard, "in flight", "once more")
        assert len(driver.claim(self.standard, 2, visibility_ms=1000).messages) == 2
        driver.wait(1000)
        (self.leased,) = driver.claim(self.standard, 1, 600_000).messages
        assert self.leased.body == b"in flight"
        self.leased_until_ms = driver.now_ms + 600_000
        driver.send(self.standard, "£" * 20_000)
        driver.send(self.standard, "later", delay_ms=900_000)
        self.empty = driver.create("empty").id

    def _fifo(self, driver: Driver) -> None:
        """A group in flight, one that waits behind it, and one that nobody has received from."""
        self.fifo = driver.create_fifo("first.fifo").id
        self.sent: list[SentFifo] = driver.send_fifo(self.fifo, "a1", "b1", "a2", "c1")
        self.deduplicated = driver.sent
        self.attempted = driver.take(self.fifo, 1, 300_000, attempt="attempt").messages
        assert [message.body for message in self.attempted] == [b"a1"]

    def _tenants(self, driver: Driver) -> None:
        tenants = Tenants(driver, driver.create("fair").id)
        tenants.flood(count=60)
        # Those that are met in the ordinary lane now go to a lane of the tenant's.
        tenants.send("quiet")
        assert tenants.take(1, visibility_ms=5000) == "quiet"
        assert 2 in tenants.lanes()

    def _dead_letters(self, driver: Driver) -> None:
        """Sealed bodies that were moved, one that is about to be, and a task at work."""
        ordered = set_up(driver, is_fifo=True)
        bury(ordered, "work", SEALED + "dead in order")
        queues = set_up(driver, is_fifo=False)
        bury(queues, "work", SEALED + "dead one", SEALED + "dead two")
        start(queues, "archive", rate=1)
        driver.upkeep()
        queues.send("work", SEALED + "exhausted")
        assert queues.claim("work").messages
        self.ids, self.ordered_ids = queues.ids, ordered.ids

    def _gone(self, driver: Driver) -> None:
        """A name in quarantine, and rows that nobody can see any more."""
        deleted, purged = driver.create("deleted").id, driver.create("purged").id
        for queue_id in (deleted, purged):
            driver.send(queue_id, "gone")
        assert driver.purge(purged) == "purged"
        assert driver.run(DeleteQueue(deleted))


def same_message(driver: Driver, n: int, body: str) -> Any:
    """The `n`-th message that a driver has sent to a FIFO queue, to be sent again."""
    message = msgspec.structs.replace(driver.message(body), group_id=body[0])
    return msgspec.structs.replace(message, deduplication_id=f"deduplication-{n}")
