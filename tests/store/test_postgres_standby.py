"""What a commit is worth, and what happens while commits wait for a standby that is away."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import (
    CountMessages,
    MessageCounts,
    OutcomeUnknown,
    Send,
    StoreUnreachable,
)
from stanchion.store.postgres import connections, database, engine
from stanchion.store.postgres.engine import PostgresStore
from tests.postgres import SCHEMA, BlockingPostgresStore, shared_database
from tests.store.broken_sends import FAULT, break_sends, mend
from tests.store.driver import Driver, message

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
def driver() -> Iterator[Driver]:
    yield Driver(BlockingPostgresStore.open_empty())
    mend()


def test_a_commit_whose_replication_was_given_up_is_not_vouched_for(driver: Driver) -> None:
    """That is a warning; PostgreSQL reports success."""
    queue = driver.create()
    break_sends("RAISE WARNING 'canceling wait for synchronous replication'", at_commit=True)
    (answer,) = driver.flush(Send(queue.id, (message(),))).answers
    assert isinstance(answer, OutcomeUnknown)


def test_such_a_warning_arrives_whatever_the_role_wants_to_hear(driver: Driver) -> None:
    queue = driver.create()
    driver.query("ALTER ROLE stanchion SET client_min_messages = 'error'")
    break_sends("RAISE WARNING 'canceling wait for synchronous replication'", at_commit=True)

    async def run() -> object:
        store = await PostgresStore.open(shared_database().url, schema=SCHEMA)
        (answer,) = (await store.execute([Send(queue.id, (message(),))])).answers
        await store.close()
        return answer

    try:
        assert isinstance(asyncio.run(run()), OutcomeUnknown)
    finally:
        driver.query("ALTER ROLE stanchion RESET client_min_messages")


class Warner:
    """A connection on which every commit comes with a message."""

    def __init__(self, **fields: str) -> None:
        self._fields = {"severity_en": "WARNING", "server_source_function": None, **fields}

    def add_log_listener(self, listener: Any) -> None:
        self._listener = listener

    async def execute(self, text: str, **options: float) -> str:
        self._listener(self, SimpleNamespace(**self._fields))
        return "COMMIT"


async def commit_with(**fields: str) -> None:
    await connections.Session(cast(database.Connection, Warner(**fields))).commit()


def test_a_warning_is_known_in_every_language() -> None:
    with pytest.raises(connections.CommitInDoubt):
        asyncio.run(commit_with(severity="WARNUNG"))
    asyncio.run(commit_with(severity="HINWEIS", severity_en="NOTICE"))


def test_a_warning_of_numbers_that_run_out_is_no_doubt() -> None:
    """Else nothing could be acknowledged in the last millions of transactions."""
    asyncio.run(commit_with(severity="WARNING", server_source_function="GetNewTransactionId"))


# --- Standbys that are away ---------------------------------------------------------------------


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_COMMAND_S", 0.5)
    monkeypatch.setattr(connections, "_COMMIT_MAX_S", 0.5)
    monkeypatch.setattr(connections, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(engine, "_REACHABLE_FOR_S", 1.0)


@contextlib.contextmanager
def standby_away() -> Iterator[None]:
    _name_standby("gone")
    try:
        yield
    finally:
        _name_standby("")


def _name_standby(name: str) -> None:
    query = shared_database().query
    query(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    query("SELECT pg_reload_conf()")


@pytest.mark.usefixtures("impatience")
def test_while_commits_wait_for_a_standby_no_more_are_begun(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be given up in its turn, and stay on the server until there is no room there."""
    opened = Opened()
    queue = driver.create()
    sends = [Send(queue.id, (message(),))]

    async def run() -> None:
        store = await PostgresStore.open(shared_database().url, schema=SCHEMA)
        sent = 0
        with standby_away():
            while (answers := (await store.execute(sends)).answers) == [True]:
                sent += 1  # the server has not heard of it
            assert isinstance(answers[0], OutcomeUnknown)
            assert store.is_reachable()
            monkeypatch.setattr(database, "connect", opened.connect)
            start_s = time.monotonic()
            while store.is_reachable():
                flushes = [store.execute(sends) for _ in range(10)]
                flushes += [store.execute([CountMessages(queue.id)]) for _ in range(10)]
                for flush in await asyncio.gather(*flushes):
                    assert [type(answer) for answer in flush.answers] == [StoreUnreachable]
            assert time.monotonic() - start_s < 2
            assert await asyncio.to_thread(_one, driver, WAITING) == 1
            assert opened.most_at_once == 1
            assert opened.count <= (time.monotonic() - start_s) / connections._LOOK_EVERY_S + 1
        while (answers := (await store.execute(sends)).answers) != [True]:
            assert isinstance(answers[0], StoreUnreachable)
        assert store.is_reachable()
        (counts,) = (await store.execute([CountMessages(queue.id)])).answers
        assert counts == MessageCounts(sent + 2, 0, 0)
        await store.close()

    asyncio.run(asyncio.wait_for(run(), 30))


class Opened:
    """Connections."""

    def __init__(self) -> None:
        self.count = 0
        self.most_at_once = 0
        self._at_once = 0
        self._connect = database.connect

    async def connect(self, url: str, schema: str) -> database.Connection:
        self.count += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._connect(url, schema)
        finally:
            self._at_once -= 1


def _one(driver: Driver, text: str) -> object:
    return driver.query(text)[0][0]


@pytest.mark.usefixtures("impatience")
def test_a_commit_that_takes_long_by_itself_is_nobody_elses_business(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened()
    queue = driver.create()
    break_sends(f"IF nextval('{FAULT}s') = 1 THEN PERFORM pg_sleep(1); END IF", at_commit=True)

    async def run() -> None:
        store = await PostgresStore.open(shared_database().url, schema=SCHEMA)
        commands = [Send(queue.id, (message(),)), CountMessages(queue.id)]
        answers = (await store.execute(commands)).answers
        assert [type(answer) for answer in answers] == [OutcomeUnknown] * 2
        monkeypatch.setattr(database, "connect", opened.connect)
        for messages in (1, 2):
            answers = (await store.execute(commands)).answers
            assert answers == [True, MessageCounts(messages, 0, 0)]
        assert opened.count == 1
        await store.close()

    asyncio.run(asyncio.wait_for(run(), 30))
