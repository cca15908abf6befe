"""What the PostgreSQL store does when the database refuses, disappears, or does not say."""

import asyncio
from collections.abc import Iterator

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import (
    CountMessages,
    MessageCounts,
    OutcomeUnknown,
    Send,
    StoreError,
    StoreFull,
    StoreUnusable,
)
from stanchion.store.postgres import database
from stanchion.store.postgres.engine import PostgresStore
from tests.postgres import SCHEMA, BlockingPostgresStore, shared_database
from tests.store.driver import Driver, claim, message

FAULT = "fault"


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A store in whose tables `break_sends` may have left a trigger."""
    yield Driver(BlockingPostgresStore.open_empty())
    shared_database().query(f"DROP FUNCTION IF EXISTS {FAULT}() CASCADE")
    shared_database().query(f"DROP SEQUENCE IF EXISTS {FAULT}s")


def break_sends(action: str, *, at_commit: bool) -> None:
    """Have PostgreSQL itself do something whenever a message is inserted, or that is committed."""
    query = shared_database().query
    query(f"CREATE SEQUENCE {FAULT}s")
    query(
        f"CREATE FUNCTION {FAULT}() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {action}; RETURN NULL; END $$"
    )
    kind = "CONSTRAINT TRIGGER" if at_commit else "TRIGGER"
    when = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
    query(
        f"CREATE {kind} {FAULT} AFTER INSERT ON message {when}"
        f" FOR EACH ROW EXECUTE FUNCTION {FAULT}()"
    )


def mend() -> None:
    shared_database().query(f"DROP TRIGGER {FAULT} ON message")


def raised(code: str, times: int) -> str:
    """An error of this code, so many times; what a sequence counts is never undone."""
    return (
        f"IF nextval('{FAULT}s') <= {times} THEN"
        f" RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; END IF"
    )


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03"])
@pytest.mark.parametrize("at_commit", [False, True])
def test_a_transaction_that_loses_is_tried_again(
    driver: Driver, code: str, at_commit: bool
) -> None:
    queue = driver.create()
    break_sends(raised(code, 3), at_commit=at_commit)
    assert driver.send(queue.id, "a") is True
    assert driver.bodies(queue.id) == ["a"]
    assert driver.counts(queue.id) == (0, 1, 0)


def test_a_connection_lost_before_the_commit_is_replaced(driver: Driver) -> None:
    queue = driver.create()
    break_sends(
        f"IF nextval('{FAULT}s') <= 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF",
        at_commit=False,
    )
    assert driver.send(queue.id, "a") is True
    assert driver.bodies(queue.id) == ["a"]


def test_connections_that_were_lost_while_idle_are_replaced(driver: Driver) -> None:
    queue = driver.create()
    driver.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'stanchion' AND pid != pg_backend_pid()"
    )
    assert driver.send(queue.id, "a") is True


def test_a_connection_lost_during_the_commit_leaves_the_outcome_unknown(driver: Driver) -> None:
    queue = driver.create()
    break_sends("PERFORM pg_terminate_backend(pg_backend_pid())", at_commit=True)
    flush = driver.flush(Send(queue.id, (message(),)), CountMessages(queue.id))
    assert [type(answer) for answer in flush.answers] == [OutcomeUnknown] * 2
    assert flush.wakes == []
    mend()
    assert driver.send(queue.id, "again") is True


def test_a_commit_whose_replication_was_given_up_is_not_vouched_for(driver: Driver) -> None:
    """That is a warning; PostgreSQL reports success."""
    queue = driver.create()
    break_sends("RAISE WARNING 'canceling wait for synchronous replication'", at_commit=True)
    (answer,) = driver.flush(Send(queue.id, (message(),))).answers
    assert isinstance(answer, OutcomeUnknown)


def test_a_full_disk_sheds_sends_and_nothing_else(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "first")
    break_sends(raised("53100", 1000), at_commit=False)
    sent, claimed, counts = driver.flush(
        Send(queue.id, (message(),)), claim(queue.id), CountMessages(queue.id)
    ).answers
    assert isinstance(sent, StoreFull)
    assert len(claimed.messages) == 1  # type: ignore[attr-defined]
    assert counts == MessageCounts(0, 1, 0)
    mend()
    assert driver.send(queue.id, "again") is True


def test_an_error_of_one_command_is_its_own(driver: Driver) -> None:
    queue = driver.create()
    nul = message()
    nul = type(nul)(*(*(nul.message_id, nul.body, nul.attributes), "a\x00b", 0))
    first, second = driver.flush(Send(queue.id, (nul,)), Send(queue.id, (message("b"),))).answers
    assert type(first) is StoreError
    assert second is True
    assert driver.bodies(queue.id) == ["b"]


# --- Opening ------------------------------------------------------------------------------------


def refusal(url: str, schema: str = SCHEMA) -> str:
    with pytest.raises(StoreUnusable) as caught:
        asyncio.run(PostgresStore.open(url, schema=schema))
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1:1/nowhere",
        "postgresql:///postgres?host=/nonexistent",
        "mysql://127.0.0.1/",
    ],
)
def test_a_database_that_is_not_there_is_refused_in_one_line(url: str) -> None:
    assert "\n" not in refusal(url)


def test_a_database_that_does_not_exist_is_named() -> None:
    url = shared_database().url.replace("/postgres?", "/nothing?")
    assert 'database "nothing" does not exist' in refusal(url)


def test_a_newer_schema_is_refused() -> None:
    shared = shared_database()
    shared.query("INSERT INTO schema_version VALUES (1000)")
    try:
        assert f"{SCHEMA} has version 1000, from a newer Stanchion" in refusal(shared.url)
    finally:
        shared.query("DELETE FROM schema_version WHERE version = 1000")


def test_a_database_in_another_encoding_is_refused() -> None:
    shared = shared_database()
    shared.query("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    try:
        assert "LATIN1" in refusal(shared.url.replace("/postgres?", "/latin?"))
    finally:
        shared.query("DROP DATABASE latin")


def test_an_old_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_VERSION_MIN", 99)
    assert "too old: 99 or later is needed" in refusal(shared_database().url)


def test_of_many_processes_that_start_one_makes_the_schema() -> None:
    shared = shared_database()

    async def run() -> None:
        opening = (PostgresStore.open(shared.url, schema="At once") for _ in range(4))
        for store in await asyncio.gather(*opening):
            (counts,) = (await store.execute([CountMessages(1)])).answers
            assert counts is None
            await store.close()

    try:
        asyncio.run(run())
        (versions,) = shared.query('SELECT count(*) FROM "At once".schema_version')
        assert versions[0] == len(database._migrations())
    finally:
        shared.query('DROP SCHEMA "At once" CASCADE')


def test_queue_time_goes_on_where_the_store_was() -> None:
    """A standby whose clock is behind was promoted, say."""
    driver = Driver(BlockingPostgresStore.open_empty(), now_ms=32_503_680_000_000)
    queue = driver.create()
    driver.send(queue.id, "a")

    async def run() -> int:
        store = await PostgresStore.open(shared_database().url, schema=SCHEMA)
        (claimed,) = (await store.execute([claim(queue.id)])).answers
        await store.close()
        return claimed.received_at_ms  # type: ignore[attr-defined, no-any-return]

    assert driver.now_ms <= asyncio.run(run()) < driver.now_ms + 5000
