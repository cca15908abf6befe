"""Dead messages whose numbers do not follow the time of sending, as those of another shard."""

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.moves import StartMove
from tests.postgres import BlockingPostgresStore
from tests.store.driver import Driver


@pytest.fixture
def driver() -> Driver:
    return Driver(BlockingPostgresStore.open_empty())


def send_out_of_order(driver: Driver, queue_id: int, *texts: str) -> None:
    """A message that lives on, and then by number those that were sent 50 seconds before it."""
    driver.wait(50_000)
    driver.send(queue_id, "alive")
    driver.now_ms -= 50_000
    driver.send(queue_id, *texts)
    driver.wait(60_000)


@pytest.mark.parametrize("limit", [1, 10])
def test_a_dead_message_behind_a_live_one_stops_nobody(driver: Driver, limit: int) -> None:
    queue = driver.create(retention_ms=60_000)
    send_out_of_order(driver, queue.id, *["dead"] * 25)
    assert [body for _ in range(4) for body in driver.bodies(queue.id, limit=limit)] == ["alive"]
    assert driver.counts(queue.id) == (0, 1, 0)
    (left,) = driver.query("SELECT count(*) FROM message")[0]
    assert left == 1


def test_dead_messages_in_view_do_not_keep_a_move_task(driver: Driver) -> None:
    queue, target = driver.create(retention_ms=60_000), driver.create("target")
    driver.wait(50_000)
    driver.send(queue.id, "first")
    driver.send(queue.id, "last", delay_ms=30_000)
    driver.now_ms -= 50_000
    driver.send(queue.id, *["dead"] * 25)
    driver.wait(90_000)
    driver.run(StartMove("task", queue.id, target.name, None, 10))
    for _ in range(10):
        driver.upkeep(limit=5)
        driver.wait(1000)
    assert sorted(driver.bodies(target.id)) == ["first", "last"]
