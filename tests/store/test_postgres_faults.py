"""What the PostgreSQL store does when the database refuses, disappears, or does not say."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

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
from stanchion.store.postgres import messages as long_way
from stanchion.store.postgres.engine import PostgresStore
from tests.postgres import SCHEMA, BlockingPostgresStore, server, shared_database
from tests.store.broken_sends import FAULT, break_sends, mend, raised
from tests.store.driver import Driver, claim, message, texts


@pytest.fixture
def driver() -> Iterator[Driver]:
    yield Driver(BlockingPostgresStore.open_empty())
    mend()


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
    sent, _ = driver.flush(Send(queue.id, (message("a"),)), CountMessages(queue.id)).answers
    assert sent is True
    assert driver.bodies(queue.id) == ["a"]


def test_a_statement_that_is_a_transaction_of_its_own_is_not_repeated(driver: Driver) -> None:
    """It may have been committed before the connection was lost: nobody can tell."""
    queue = driver.create()
    break_sends("PERFORM pg_terminate_backend(pg_backend_pid())", at_commit=False)
    (answer,) = driver.flush(Send(queue.id, (message(),))).answers
    assert isinstance(answer, OutcomeUnknown)
    mend()
    assert driver.send(queue.id, "again") is True


def test_connections_that_were_lost_while_idle_are_replaced(driver: Driver) -> None:
    queue = driver.create()
    driver.query(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'stanchion' AND pid != pg_backend_pid()"
    )
    assert driver.send(queue.id, "a") is True


def test_connections_to_what_has_become_a_standby_are_given_up(driver: Driver) -> None:
    """All of them: a demoted server goes on to answer, and would never take a write again."""
    queue = driver.create()
    before = _sessions(driver)
    break_sends(raised("25006", 1), at_commit=False)
    assert driver.send(queue.id, "a") is True
    assert not before & _sessions(driver)


def _sessions(driver: Driver) -> set[int]:
    rows = driver.query(
        "SELECT pid FROM pg_stat_activity"
        " WHERE application_name = 'stanchion' AND pid != pg_backend_pid()"
    )
    return {pid for (pid,) in rows}


def test_a_connection_lost_during_the_commit_leaves_the_outcome_unknown(driver: Driver) -> None:
    queue = driver.create()
    break_sends("PERFORM pg_terminate_backend(pg_backend_pid())", at_commit=True)
    flush = driver.flush(Send(queue.id, (message(),)), CountMessages(queue.id))
    assert [type(answer) for answer in flush.answers] == [OutcomeUnknown] * 2
    assert flush.wakes == []
    mend()
    assert driver.send(queue.id, "again") is True


def test_claims_that_are_committed_are_answered_whatever_is_asked_next(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the connection is lost while those in vain ask when to come back."""
    queue = driver.create()
    assert driver.bodies(queue.id) == []
    driver.send(queue.id, "a")
    with monkeypatch.context() as patch:
        end = "SELECT $1::bigint[], $2::bigint[], $3::bigint[], pg_terminate_backend(pid)"
        patch.setattr(long_way, "_NEXT_VISIBLE_AT", f"{end} FROM pg_backend_pid() AS pid")
        found, in_vain = driver.flush(claim(queue.id, 1), claim(queue.id, 1)).answers
    assert texts(found) == ["a"]
    assert texts(in_vain) == []
    assert in_vain.next_visible_at_ms == driver.now_ms + 1000  # type: ignore[attr-defined]
    assert driver.send(queue.id, "b") is True
    assert driver.bodies(queue.id) == ["b"]


def test_a_full_disk_sheds_sends_and_nothing_else(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "first")
    break_sends(raised("53100", 1000), at_commit=False)
    sent, claimed, counts = driver.flush(
        Send(queue.id, (message(),)), claim(queue.id), CountMessages(queue.id)
    ).answers
    assert isinstance(sent, StoreFull)
    assert "injected" in str(sent)
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


# --- Hosts that say nothing ---------------------------------------------------------------------


class Relay:
    """Stands between a store and the database, and can forget the connections that it has."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self._silent = asyncio.Event()

    @contextlib.asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        yield f"postgresql://stanchion@127.0.0.1:{port}/postgres"
        listening.close()

    def go_silent(self) -> None:
        """For every connection there is; those that come after work."""
        self._silent.set()
        self._silent = asyncio.Event()

    async def _serve(self, up: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        self.opened += 1
        silent = self._silent
        path = f"{server().directory}/.s.PGSQL.5432"
        from_server, to_server = await asyncio.open_unix_connection(path)
        copying = [
            asyncio.create_task(self._copy(up, to_server, silent)),
            asyncio.create_task(self._copy(from_server, down, silent)),
        ]
        await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
        self.closed += 1
        for task in copying:
            task.cancel()
        for writer in (down, to_server):
            writer.close()

    async def _copy(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, silent: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if not silent.is_set():
                    to.write(data)


def test_connections_that_go_silent_are_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first costs a timeout, and the others would cost one each."""
    monkeypatch.setattr(database, "_COMMAND_S", 0.5)

    async def run() -> None:
        relay = Relay()
        async with relay.url() as url:
            store = await PostgresStore.open(url, schema=SCHEMA)
            await asyncio.gather(*(store.execute([CountMessages(1)]) for _ in range(3)))
            closed = relay.closed
            relay.go_silent()
            assert (await store.execute([CountMessages(1)])).answers == [None]
            while relay.closed < closed + 3:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await store.close()
            while relay.closed < relay.opened:  # noqa: ASYNC110
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_silent_host_does_not_keep_the_others_from_their_turn() -> None:
    async def run(port: int) -> None:
        hosts = f"127.0.0.1,{server().directory}&port={port},5432"
        start_s = time.monotonic()
        url = f"postgresql://stanchion@/postgres?host={hosts}"
        connection = await database.connect(url, SCHEMA)
        assert time.monotonic() - start_s < database._CONNECT_S / 2
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(run(silent.getsockname()[1]))


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        ("postgresql://u:p%40@h/db?a=b", ["postgresql://u:p%40@h/db?a=b"]),
        ("postgresql:///db?host=/a", ["postgresql:///db?host=/a"]),
        (
            "postgresql://u:p%40@h:1,[::1]:2/db?a=b",
            ["postgresql://u:p%40@h:1/db?a=b", "postgresql://u:p%40@[::1]:2/db?a=b"],
        ),
        (
            "postgresql://u@/db?host=/a,h&port=1,2",
            ["postgresql://u@/db?host=%2Fa&port=1", "postgresql://u@/db?host=h&port=2"],
        ),
        (
            "postgresql://u@/db?host=/a,h&port=1",
            ["postgresql://u@/db?host=%2Fa&port=1", "postgresql://u@/db?host=h&port=1"],
        ),
        (
            "postgresql://u@/db?host=/a,h",
            ["postgresql://u@/db?host=%2Fa", "postgresql://u@/db?host=h"],
        ),
    ],
)
def test_each_host_of_a_url_has_a_url(url: str, urls: list[str]) -> None:
    assert database.urls_of(url) == urls


def test_what_a_server_says_counts_more_than_one_that_cannot_be_reached() -> None:
    directory = server().directory
    url = f"postgresql://stanchion@/nothing?host=/nonexistent,{directory}"
    assert 'database "nothing" does not exist' in refusal(url)


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


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sec/ret@h/db",
        "postgresql://u:sec?ret@h/db",
        "postgresql://u:sec#ret@h,g/db",
        "postgresql://u:sec[ret@h/db",
        "postgresql://u:sec\u2100ret@h/db",
    ],
)
def test_a_password_that_makes_a_url_unreadable_is_not_shown(url: str) -> None:
    assert refusal(url).endswith("special characters in a password are written as %XX")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://me:secret@127.0.0.1:1/x", ["127.0.0.1:1: "]),
        ("postgresql://me:secret@127.0.0.1:1,[::1]:2/x", ["127.0.0.1:1: ", "[::1]:2: "]),
        ("postgresql://me:secret@/x?host=/none&port=7", ["/none/.s.PGSQL.7: "]),
        (
            "postgresql://me:secret@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=/none.crt",
            ["127.0.0.1:1: cannot read sslrootcert /none.crt"],
        ),
    ],
)
def test_a_database_that_is_not_there_is_told_with_its_place(url: str, told: list[str]) -> None:
    message = refusal(url)
    assert all(place in message for place in told), message
    assert "secret" not in message


def test_a_password_that_is_taken_for_a_port_is_not_shown() -> None:
    assert "4711" not in refusal("postgresql://127.0.0.1:4711/secret@127.0.0.1/x")


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
