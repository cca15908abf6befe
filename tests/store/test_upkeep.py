"""Upkeep: bounded steps, and nothing left behind of what is gone."""

import pytest

from stanchion.store.contract import (
    DeleteQueue,
    QueueDeletedRecently,
    QueueRules,
    UpdateQueue,
    Upkeep,
)
from stanchion.store.sqlite import SqliteStore, upkeep
from tests.store.driver import Driver, create_queue


def rows(driver: Driver, table: str) -> int:
    count: int = driver.query(f"SELECT count(*) FROM {table}")[0][0]
    return count


def test_a_step_is_bounded(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, *["m"] * 25)
    driver.purge(queue.id)
    assert driver.run(Upkeep(limit=10)) == 0
    assert rows(driver, "message") == 15
    assert driver.upkeep(limit=10) == 3
    assert rows(driver, "message") == rows(driver, "message_body") == 0
    driver.wait(120_000)
    driver.upkeep()
    assert rows(driver, "backlog") == 1


def test_a_step_is_bounded_in_bytes(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.module("expiry"), "_STEP_BYTES_MAX", 2500)
    purged, dying = driver.create("purged"), driver.create("dying", retention_ms=60_000)
    for queue in (purged, dying):
        driver.send(queue.id, *["x" * 1000] * 7)
    driver.purge(purged.id)
    driver.wait(60_000)
    assert driver.run(Upkeep()) == 0
    assert rows(driver, "message") == 8
    driver.upkeep()
    assert rows(driver, "message") == rows(driver, "message_body") == 0


def test_nothing_is_left_of_a_deleted_queue(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a", "b")
    driver.send(queue.id, "c", delay_ms=5000)
    driver.claim(queue.id, 1)
    driver.run(DeleteQueue(queue.id))
    driver.upkeep()
    driver.wait(24 * 3600 * 1000 + 1)
    driver.upkeep()
    for table in ("queue", "backlog", "message", "message_body", "tally", "deleted_queue"):
        assert rows(driver, table) == 0, table


def test_names_are_kept_for_longer_than_their_quarantine(driver: Driver) -> None:
    driver.run(DeleteQueue(driver.create("orders").id))
    driver.wait(50_000)
    driver.upkeep()
    assert driver.run(create_queue("orders")) == QueueDeletedRecently()


def test_dead_messages_of_untouched_queues_go(driver: Driver) -> None:
    queues = [driver.create(f"q{n}", retention_ms=60_000 + n * 1000) for n in range(5)]
    for queue in queues:
        driver.send(queue.id, "a")
        driver.claim(queue.id, visibility_ms=1_000_000)
        driver.send(queue.id, "b", delay_ms=900_000)
    driver.wait(61_999)
    driver.upkeep()
    assert rows(driver, "message") == rows(driver, "message_body") == 6
    driver.wait(10_000)
    driver.upkeep()
    assert rows(driver, "message") == 0
    assert [driver.counts(queue.id) for queue in queues] == [(0, 0, 0)] * 5


def test_many_dead_messages_take_several_steps(driver: Driver) -> None:
    queue = driver.create(retention_ms=60_000)
    driver.send(queue.id, *["m"] * 95)
    driver.wait(10)
    driver.send(queue.id, *["later"] * 5)
    driver.wait(59_990)
    assert driver.run(Upkeep(limit=10)) == 0
    assert rows(driver, "message") == 90
    driver.upkeep(limit=10)
    assert rows(driver, "message") == 5
    driver.wait(10)
    driver.upkeep(limit=10)
    assert rows(driver, "message") == 0


def test_shortened_retention_is_looked_at_soon(driver: Driver) -> None:
    queue = driver.create(retention_ms=86_400_000)
    driver.send(queue.id, "a")
    driver.wait(60_000)
    driver.run(UpdateQueue(queue.id, 1, {}, {}, QueueRules(60_000)))
    driver.upkeep()
    assert rows(driver, "message") == 0


def test_nothing_to_do_writes_nothing(sqlite_driver: Driver) -> None:
    queue = sqlite_driver.create()
    sqlite_driver.send(queue.id, "a")
    assert isinstance(sqlite_driver.store, SqliteStore)
    before = sqlite_driver.store._connection.total_changes
    sqlite_driver.wait(2000)
    assert sqlite_driver.upkeep() == 1
    sqlite_driver.claim(sqlite_driver.create("empty").id)
    after_creation = sqlite_driver.store._connection.total_changes
    sqlite_driver.claim(queue.id + 1)
    sqlite_driver.counts(queue.id)
    assert sqlite_driver.store._connection.total_changes == after_creation
    assert before < after_creation


def test_past_seconds_are_forgotten(driver: Driver) -> None:
    queue = driver.create()
    for _ in range(5):
        driver.send(queue.id, "a")
        driver.claim(queue.id, visibility_ms=1000)
        driver.wait(1000)
    driver.upkeep()
    assert rows(driver, "tally WHERE bucket_s > 0") == 5
    driver.wait(1_000_000)
    driver.upkeep()
    assert rows(driver, "tally WHERE bucket_s > 0") == 0


def test_seconds_that_came_to_nothing_are_forgotten_before_they_have_passed(
    driver: Driver,
) -> None:
    queue = driver.create()
    for _ in range(5):
        driver.send(queue.id, "a", "b")
        kept, done = driver.claim(queue.id, visibility_ms=43_200_000).messages
        driver.wait(1000)
        driver.delete(queue.id, done.lease)
        driver.upkeep(limit=2)
        assert driver.show(queue.id, 42_000_000, kept.lease) == (True,)
        driver.upkeep(limit=2)
        assert rows(driver, "tally WHERE bucket_s > 0") == 1
        assert driver.counts(queue.id) == (0, 1, 0)
        driver.delete(queue.id, kept.lease)
    driver.upkeep()
    assert rows(driver, "tally WHERE bucket_s > 0") == 0


def test_a_drained_backlog_gives_its_space_back(
    sqlite_driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_FREE_PAGES_KEPT", 100)
    queue = sqlite_driver.create()
    for _ in range(4):
        sqlite_driver.send(queue.id, "x" * 1_000_000)
    assert isinstance(sqlite_driver.store, SqliteStore)
    sqlite_driver.purge(queue.id)
    sqlite_driver.upkeep(limit=50)
    pages = sqlite_driver.store._connection.execute("PRAGMA page_count").fetchone()[0]
    assert pages < 200
