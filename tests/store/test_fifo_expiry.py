"""Conformance: what is left of FIFO queues when messages expire, are purged, or deleted."""

import pytest

from stanchion.store.contract import Claimed, DeleteQueue, Upkeep, Wake
from tests.store.driver import Driver, texts
from tests.store.test_fifo import leases
from tests.store.test_upkeep import rows


def test_expiry_at_the_head_frees_the_group(driver: Driver) -> None:
    queue = driver.create_fifo(retention_ms=60_000)
    driver.send_fifo(queue.id, "a1", "b1")
    driver.wait(30_000)
    driver.send_fifo(queue.id, "a2")
    assert texts(driver.take(queue.id, 1, 3_600_000)) == ["a1"]
    driver.wait(29_999)
    assert texts(driver.take(queue.id, 1, 0)) == ["b1"]
    driver.wait(1)
    assert texts(driver.take(queue.id)) == ["a2"]
    assert driver.counts(queue.id) == (0, 1, 0)


def test_upkeep_wakes_somebody_for_a_group_that_expiry_frees(driver: Driver) -> None:
    queue = driver.create_fifo(retention_ms=60_000)
    driver.send_fifo(queue.id, "a1")
    driver.wait(30_000)
    driver.send_fifo(queue.id, "a2")
    driver.take(queue.id, 1, 3_600_000)
    driver.wait(30_000)
    assert driver.flush(Upkeep()).wakes == [Wake(queue.id, driver.now_ms, 1)]


def test_a_claim_gets_past_many_dead_messages(driver: Driver) -> None:
    queue = driver.create_fifo(retention_ms=60_000)
    for _ in range(5):
        driver.send_fifo(queue.id, *["dead"] * 500)
    driver.wait(60_000)
    driver.send_fifo(queue.id, "alive", "also")
    assert texts(driver.take(queue.id)) == ["alive", "also"]
    assert driver.counts(queue.id) == (0, 2, 0)


def test_too_many_dead_messages_are_left_to_later_claims(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_SWEEP_MESSAGES_MAX", "_SWEEPS_MAX"):
        monkeypatch.setattr(driver.module("fifo", name), name, 2)
    queue = driver.create_fifo(retention_ms=60_000)
    driver.send_fifo(queue.id, *["dead"] * 5)
    driver.wait(30_000)
    driver.send_fifo(queue.id, "alive")
    driver.wait(30_000)
    assert driver.take(queue.id) == Claimed((), driver.now_ms, driver.now_ms)
    assert texts(driver.take(queue.id)) == ["alive"]


def test_purging_drops_messages_and_groups_but_not_what_was_accepted(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2", "b1")
    (held,) = leases(driver.take(queue.id, 1))
    assert driver.purge(queue.id) == "purged"
    assert driver.counts(queue.id) == (0, 0, 0)
    assert driver.delete(queue.id, held) == ("absent",)
    driver.send_fifo(queue.id, "a3")
    assert texts(driver.take(queue.id)) == ["a3"]
    driver.upkeep(limit=1)
    assert rows(driver, "fifo_group") == 1
    assert rows(driver, "deduplication") == 4
    driver.wait(120_000)
    assert driver.upkeep()
    assert rows(driver, "backlog") == 1


def test_nothing_is_left_of_a_deleted_queue(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2", "b1")
    driver.take(queue.id, attempt="one")
    driver.run(DeleteQueue(queue.id))
    driver.wait(24 * 3600 * 1000 + 1)
    driver.upkeep()
    tables = ("backlog", "message", "message_body", "fifo_group", "deduplication")
    for table in (*tables, "receive_attempt", "tally"):
        assert rows(driver, table) == 0, table


def test_a_group_without_messages_has_no_row(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2", "b1")
    claimed = driver.take(queue.id)
    driver.delete(queue.id, *leases(claimed)[:2])
    assert rows(driver, "fifo_group") == 1
    driver.delete(queue.id, *leases(claimed)[2:])
    assert rows(driver, "fifo_group") == 0
