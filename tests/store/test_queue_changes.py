"""Conformance: what a process is told of queues that others have created, updated and deleted."""

import pytest

from stanchion.store.changes import ListQueueChanges, QueueChanges
from stanchion.store.contract import DeleteQueue, QueueRules, UpdateQueue
from tests.store.driver import Driver, create_queue

RULES = QueueRules(retention_ms=1000)


def changes(driver: Driver, after: int, limit: int = 100) -> QueueChanges:
    return driver.run(ListQueueChanges(after, limit))


def names(found: QueueChanges) -> list[str]:
    return [name.name for name in found.names]


def latest(driver: Driver) -> int:
    """Where somebody begins who knows nothing yet: at the end."""
    found = changes(driver, 0, limit=0)
    assert (found.names, found.reached) == ([], 0)
    return found.latest


def test_each_change_is_told_once_and_the_oldest_first(driver: Driver) -> None:
    start = latest(driver)
    one, _, three = (driver.create(name) for name in ("one", "two", "three"))
    driver.run(UpdateQueue(one.id, 1, {}, {"t": "v"}, RULES))
    driver.run(DeleteQueue(three.id))
    found = changes(driver, start)
    assert names(found) == ["two", "one", "three"]
    assert found.reached == found.latest == latest(driver)
    assert changes(driver, found.reached) == QueueChanges([], found.reached, found.reached)


def test_a_queue_in_its_account_and_region_is_named(driver: Driver) -> None:
    record = driver.create("orders")
    assert record.name in changes(driver, 0).names


def test_what_changes_nothing_is_not_told(driver: Driver) -> None:
    record = driver.create("orders")
    start = latest(driver)
    driver.run(create_queue("orders"))
    driver.run(UpdateQueue(record.id, 99, {}, {}, RULES))
    driver.run(DeleteQueue(99))
    driver.send(record.id, "a")
    driver.purge(record.id)
    assert names(changes(driver, start)) == []


def test_a_name_that_is_used_again_is_told_once(driver: Driver) -> None:
    start = latest(driver)
    driver.run(DeleteQueue(driver.create("orders").id))
    driver.wait(60_000)
    driver.create("orders")
    assert names(changes(driver, start)) == ["orders"]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_is_gone_on_from(driver: Driver, limit: int) -> None:
    start = latest(driver)
    driver.flush(*(create_queue(f"queue-{n}") for n in range(3)))
    told: list[str] = []
    reached = start
    for _ in range(4):
        found = changes(driver, reached, limit)
        told += names(found)
        reached = found.reached
        if reached == found.latest:
            break
    assert told == ["queue-0", "queue-1", "queue-2"]
    assert reached == latest(driver)


def test_many_changes_in_one_flush_have_a_number_each(driver: Driver) -> None:
    records = [driver.create(f"queue-{n}") for n in range(3)]
    start = latest(driver)
    updates = [UpdateQueue(record.id, 1, {}, {}, RULES) for record in records[:2]]
    driver.flush(*updates, DeleteQueue(records[2].id), create_queue("queue-3"))
    one_by_one = []
    reached = start
    while reached < latest(driver):
        found = changes(driver, reached, 1)
        one_by_one += names(found)
        reached = found.reached
    assert sorted(one_by_one) == ["queue-0", "queue-1", "queue-2", "queue-3"]
