"""A full disk sheds sends and nothing else; a disk that fails ends the store."""

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stanchion.store.contract import (
    CountMessages,
    Delete,
    Flush,
    Send,
    StoreBroken,
    StoreError,
    StoreFull,
)
from stanchion.store.sqlite import SqliteStore
from tests.store.conftest import RESERVE_BYTES
from tests.store.driver import Driver, claim, create_queue, message

BODY = "x" * 10_000
DISK_BYTES = 24 * 1024 * 1024
RESERVE_ON_SMALL_DISK_BYTES = 8 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def fill(driver: Driver, queue_id: int) -> int:
    """Sends until there is no more space; answers how many messages went in."""
    for sent in range(0, 100_000, 10):
        (answer,) = driver.flush(Send(queue_id, (message(BODY),) * 10)).answers
        if answer is not True:
            assert isinstance(answer, StoreFull)
            return sent
        driver.wait(1)
    raise AssertionError("the disk never filled")


def take_all_space(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_full_disk_sheds_sends_and_recovers(small_disk: Path) -> None:
    store = SqliteStore.open(small_disk / "data", reserve_bytes=RESERVE_ON_SMALL_DISK_BYTES)
    driver = Driver(store)
    queue = driver.create()
    sent = fill(driver, queue.id)
    assert sent > 100

    flush = driver.flush(
        Send(queue.id, (message(BODY),)), claim(queue.id, 5), CountMessages(queue.id)
    )
    assert isinstance(flush.answers[0], StoreFull)
    claimed = flush.answers[1]
    assert len(claimed.messages) == 5  # type: ignore[attr-defined]
    received = 5
    leases = [m.lease for m in claimed.messages]  # type: ignore[attr-defined]
    while leases:
        assert driver.delete(queue.id, *leases) == ("deleted",) * len(leases)
        driver.wait(1)
        leases = [m.lease for m in driver.claim(queue.id).messages]
        received += len(leases)
    assert received == sent

    driver.upkeep()
    driver.wait(2000)
    assert driver.send(queue.id, BODY) is True
    assert fill(driver, queue.id) > sent // 2
    store.close()


def test_a_disk_filled_by_others_recovers_when_they_leave(small_disk: Path) -> None:
    store = SqliteStore.open(small_disk / "data", reserve_bytes=RESERVE_ON_SMALL_DISK_BYTES)
    driver = Driver(store)
    queue = driver.create()
    driver.send(queue.id, "first")
    other = small_disk / "other"
    take_all_space(other)
    fill(driver, queue.id)
    driver.wait(5000)
    assert isinstance(driver.flush(Send(queue.id, (message("no"),))).answers[0], StoreFull)
    assert driver.bodies(queue.id, limit=1) == ["first"]
    other.unlink()
    driver.wait(1000)
    assert driver.send(queue.id, "again") is True
    store.close()


def test_a_reserve_that_is_there_already_is_enough(small_disk: Path) -> None:
    for _ in range(2):
        store = SqliteStore.open(small_disk / "data", reserve_bytes=DISK_BYTES // 2)
        driver = Driver(store)
        driver.run(create_queue())
        assert driver.send(1, "a") is True
        store.close()


def test_a_store_opens_on_a_full_disk(small_disk: Path) -> None:
    directory = small_disk / "data"
    driver = Driver(SqliteStore.open(directory, reserve_bytes=RESERVE_ON_SMALL_DISK_BYTES))
    queue = driver.create()
    fill(driver, queue.id)
    driver.store.close()
    again = Driver(
        SqliteStore.open(directory, reserve_bytes=RESERVE_ON_SMALL_DISK_BYTES), driver.now_ms
    )
    (received,) = again.claim(queue.id, 1).messages
    assert again.delete(queue.id, received.lease) == ("deleted",)
    again.store.close()


def test_sends_are_shed_when_the_database_may_not_grow(sqlite_driver: Driver) -> None:
    """The same without a disk of its own, for whoever may not mount one."""
    assert isinstance(sqlite_driver.store, SqliteStore)
    queue = sqlite_driver.create()
    sqlite_driver.send(queue.id, "a", "b")
    connection = sqlite_driver.store._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    big = message("x" * 100_000)
    first, second, third = sqlite_driver.flush(
        Send(queue.id, (big,)), claim(queue.id, 1), Send(queue.id, (message("small"),))
    ).answers
    assert isinstance(first, StoreFull)
    assert isinstance(third, StoreFull)
    assert len(second.messages) == 1  # type: ignore[attr-defined]
    connection.execute("PRAGMA max_page_count = 1000000")
    sqlite_driver.wait(1000)
    assert sqlite_driver.send(queue.id, "c") is True
    assert sqlite_driver.bodies(queue.id) == ["b", "c"]


class FailingConnection:
    """A connection whose statement of one beginning fails as a broken disk would make it."""

    def __init__(self, connection: sqlite3.Connection, beginning: str, code: int) -> None:
        self._connection = connection
        self._beginning = beginning
        self._code = code

    def execute(self, text: str, parameters: object = ()) -> sqlite3.Cursor:
        if text.startswith(self._beginning):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            raise error
        return self._connection.execute(text, parameters)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def make_fail(store: SqliteStore, beginning: str, code: int) -> sqlite3.Connection:
    healthy = store._connection
    store._connection = FailingConnection(healthy, beginning, code)  # type: ignore[assignment]
    return healthy


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CORRUPT_INDEX,
    ],
)
def test_a_failing_disk_ends_the_store(sqlite_driver: Driver, code: int) -> None:
    assert isinstance(sqlite_driver.store, SqliteStore)
    queue = sqlite_driver.create()
    make_fail(sqlite_driver.store, "COMMIT", code)
    with pytest.raises(StoreBroken, match="disk I/O error"):
        sqlite_driver.send(queue.id, "a")
    with pytest.raises(StoreBroken):
        sqlite_driver.counts(queue.id)


def test_a_locked_database_fails_the_flush_and_no_more(sqlite_driver: Driver) -> None:
    assert isinstance(sqlite_driver.store, SqliteStore)
    queue = sqlite_driver.create()
    healthy = make_fail(sqlite_driver.store, "BEGIN", sqlite3.SQLITE_BUSY)
    answers = sqlite_driver.flush(claim(queue.id), Send(queue.id, (message(),))).answers
    assert [type(answer) for answer in answers] == [StoreError, StoreError]
    sqlite_driver.store._connection = healthy
    assert sqlite_driver.send(queue.id, "a") is True


def test_numbers_of_a_failed_flush_do_not_come_back_in_another(sqlite_driver: Driver) -> None:
    assert isinstance(sqlite_driver.store, SqliteStore)
    queue = sqlite_driver.create()
    healthy = make_fail(sqlite_driver.store, "COMMIT", sqlite3.SQLITE_ERROR)
    flush: Flush = sqlite_driver.flush(Send(queue.id, (message("lost"),)))
    assert isinstance(flush.answers[0], StoreError)
    sqlite_driver.store._connection = healthy
    sqlite_driver.send(queue.id, "kept")
    (received,) = sqlite_driver.claim(queue.id).messages
    assert (received.body, received.lease.sequence) == (b"kept", 2)
    assert sqlite_driver.flush(Delete(queue.id, (received.lease,))).answers == [("deleted",)]


def test_a_failing_checkpoint_ends_the_store(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)
    assert store._directory is not None
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    store._directory.checkpointer._error = error
    with pytest.raises(StoreBroken):
        store.maintain()
    store.close()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    SqliteStore.open(tmp_path / "warm", reserve_bytes=RESERVE_BYTES).close()
    before = descriptors()
    for _ in range(3):
        store = SqliteStore.open(tmp_path / "data", reserve_bytes=RESERVE_BYTES)
        Driver(store).flush()
        store.close()
    (tmp_path / "data" / "stanchion.db").write_bytes(b"rubbish" * 1000)
    for _ in range(3):
        with pytest.raises(Exception, match="cannot be read"):
            SqliteStore.open(tmp_path / "data", reserve_bytes=RESERVE_BYTES)
    assert descriptors() == before
