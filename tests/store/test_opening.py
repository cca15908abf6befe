"""What is refused at opening, what survives closing, and who may read the files."""

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from stanchion.store.contract import GetQueue, QueueName, Send, StoreError, StoreUnusable
from stanchion.store.records import Change, EditRecords, GetRecords, RecordKey
from stanchion.store.sqlite import SqliteStore, database
from tests.store.conftest import RESERVE_BYTES
from tests.store.driver import RETENTION_MS, START_MS, Driver


def opened(directory: Path) -> SqliteStore:
    return SqliteStore.open(directory, reserve_bytes=RESERVE_BYTES)


def refusal(directory: Path) -> str:
    with pytest.raises(StoreUnusable) as caught:
        opened(directory)
    text = str(caught.value)
    assert str(directory) in text
    assert "\n" not in text
    return text


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    driver = Driver(opened(tmp_path))
    queue = driver.create()
    driver.send(queue.id, "a", "b", "c")
    key = RecordKey("user", "1", "alice")
    driver.run(EditRecords((), (Change(key, b"{}"),)))
    records = driver.run(GetRecords((key,)))
    taken = driver.claim(queue.id, 2, visibility_ms=10_000)
    driver.delete(queue.id, taken.messages[0].lease)
    driver.store.close()

    again = Driver(opened(tmp_path), driver.now_ms + 1)
    assert again.run(GetQueue(queue.name)) == queue
    assert again.run(GetRecords((key,))) == records
    assert again.counts(queue.id) == (1, 1, 0)
    assert again.bodies(queue.id) == ["c"]
    again.wait(10_000)
    (message,) = again.claim(queue.id).messages
    assert (message.body, message.lease.receive_count) == (b"b", 2)
    again.store.close()


def test_sequence_numbers_do_not_come_back(tmp_path: Path) -> None:
    highest = 0
    for _ in range(3):
        driver = Driver(opened(tmp_path))
        queue = driver.create(f"q{highest}")
        driver.send(queue.id, "a", "b")
        leases = [message.lease for message in driver.claim(queue.id).messages]
        assert min(lease.sequence for lease in leases) > highest
        highest = max(lease.sequence for lease in leases)
        driver.delete(queue.id, *leases)
        driver.store.close()


def test_a_number_reserved_in_a_failed_flush_is_reserved_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    driver = Driver(store)
    queue = driver.create()
    bad: Any = (driver.message("fails"), None)
    assert isinstance(driver.flush(Send(queue.id, bad)).answers[0], StoreError)
    driver.send(queue.id, "a")
    (first,) = driver.claim(queue.id).messages
    driver.delete(queue.id, first.lease)
    store.close()
    again = Driver(opened(tmp_path), driver.now_ms)
    again.send(queue.id, "b")
    (second,) = again.claim(queue.id).messages
    assert second.lease.sequence > first.lease.sequence
    again.store.close()


def test_queue_time_goes_on_where_it_was(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.latest_ms() == 0
    driver = Driver(store)
    queue = driver.create()
    driver.wait(3000)
    driver.claim(queue.id)
    driver.send(queue.id, "a")
    driver.wait(10)
    driver.send(queue.id, "b")
    store.close()
    again = opened(tmp_path)
    assert again.latest_ms() == START_MS + 3010
    again.close()


def test_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "here"
    mask = os.umask(0)
    try:
        store = opened(directory)
        Driver(store).create()
    finally:
        os.umask(mask)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"stanchion.db", "stanchion.db-wal", "stanchion.lock"} <= set(modes)
    store.close()


def test_a_directory_has_one_owner(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert "in use" in refusal(tmp_path)
    store.close()
    opened(tmp_path).close()


def test_a_refused_directory_is_not_left_locked(tmp_path: Path) -> None:
    (tmp_path / "stanchion.db").write_bytes(b"rubbish" * 1000)
    refusal(tmp_path)
    (tmp_path / "stanchion.db").unlink()
    opened(tmp_path).close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "stanchion.db") as connection:
        known = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute("PRAGMA user_version = 77")
    connection.close()
    text = refusal(tmp_path)
    assert "77" in text
    assert str(known) in text


def test_a_database_of_another_application_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "stanchion.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    assert "another application" in refusal(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"?" * 5000]
)
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stanchion.db").write_bytes(content)
    refusal(tmp_path)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    driver = Driver(opened(tmp_path))
    driver.create()
    driver.store.close()
    path = tmp_path / "stanchion.db"
    os.truncate(path, path.stat().st_size // 2)
    refusal(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refusal(tmp_path / "file" / "data")


def test_messages_of_an_earlier_schema_are_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        scripts = database._migrations()[:2]
        earlier.setattr(database, "_migrations", lambda: scripts)
        store = opened(tmp_path)
        store._connection.executescript(
            f"""
            INSERT INTO backlog (id, queue_id, messages) VALUES (1, 1, 1);
            INSERT INTO queue (account_id, region, name, version, attributes, tags, retention_ms,
                               is_fifo, delay_ms, receive_count_max, backlog, created_at_ms,
                               modified_at_ms)
            VALUES ('1', 'eu-west-1', 'q', 1, '{{}}', '{{}}', {RETENTION_MS}, 0, 0, 0, 1, 1, 1);
            INSERT INTO message (backlog, sequence, visible_at_ms)
            SELECT backlog, 1, {START_MS} FROM queue;
            INSERT INTO message_body (sequence, sent_at_ms, message_id, body_md5, sender_id,
                                      attributes, body)
            VALUES (1, {START_MS}, 'id-1', 'md5', 'sender', x'02', x'61');
            """
        )
        store.close()
    again = Driver(opened(tmp_path))
    queue = again.run(GetQueue(QueueName("1", "eu-west-1", "q")))
    assert queue is not None
    (found,) = again.claim(queue.id).messages
    assert (found.message_id, found.sender_id, found.body) == ("id-1", "sender", b"a")
    assert (found.attributes, found.sealed_as) == (b"\x02", None)
    assert again.delete(queue.id, found.lease) == ("deleted",)
    assert again.counts(queue.id) == (0, 0, 0)
    again.store.close()
