"""Claims begin where the last one found something, and still find everything."""

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import Delete
from stanchion.store.postgres.low_water import MARGIN_MS, LowWater
from tests.postgres import BlockingPostgresStore
from tests.store.driver import Driver

NOW_MS = 1_700_000_000_000
QUEUE = (7, 0)


@pytest.fixture
def driver() -> Driver:
    return Driver(BlockingPostgresStore.open_empty())


def looked(low_water: LowWater, now_ms: int, first_ms: int) -> int:
    """A look that finds this first; answers where it began."""
    since_ms = low_water.of(*QUEUE, now_ms)
    low_water.note(*QUEUE, first_ms)
    return since_ms


def test_the_first_look_begins_at_the_start_and_the_next_behind_what_it_found() -> None:
    low_water = LowWater()
    assert looked(low_water, NOW_MS, NOW_MS - 50_000) == 0
    assert looked(low_water, NOW_MS + 1, NOW_MS - 10) == NOW_MS - 50_000 - MARGIN_MS
    assert low_water.peek(*QUEUE) == NOW_MS - 10 - MARGIN_MS
    assert low_water.of(8, 0, NOW_MS) == low_water.of(7, 1, NOW_MS) == 0


def test_there_is_a_look_from_the_start_every_second() -> None:
    low_water = LowWater()
    begun = [looked(low_water, NOW_MS + ms, NOW_MS) for ms in range(0, 3000, 100)]
    assert [n for n, since_ms in enumerate(begun) if since_ms == 0] == [0, 10, 20]


def test_a_clock_that_is_behind_looks_from_the_start() -> None:
    low_water = LowWater()
    looked(low_water, NOW_MS, NOW_MS)
    assert looked(low_water, NOW_MS - 10_000, NOW_MS - 10_000) == 0


def test_what_is_forgotten_is_looked_for_from_the_start() -> None:
    low_water = LowWater()
    looked(low_water, NOW_MS, NOW_MS)
    low_water.forget(QUEUE[0], (1,))
    assert low_water.peek(*QUEUE) > 0
    low_water.forget(QUEUE[0], (0,))
    assert low_water.of(*QUEUE, NOW_MS + 1) == 0


def test_what_comes_into_view_behind_the_mark_is_found_within_a_second(driver: Driver) -> None:
    """A flush that took longer than the margin, at another process."""
    queue = driver.create()
    driver.send(queue.id, "a")
    assert driver.bodies(queue.id) == ["a"]
    driver.now_ms -= MARGIN_MS + 500
    driver.send(queue.id, "late")
    driver.now_ms += MARGIN_MS + 500
    assert driver.bodies(queue.id) == []
    driver.wait(1000)
    assert driver.bodies(queue.id) == ["late"]


def test_what_comes_into_view_within_the_margin_is_found_at_once(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a")
    (received,) = driver.claim(queue.id).messages
    driver.now_ms -= MARGIN_MS - 100
    driver.send(queue.id, "late")
    driver.now_ms += MARGIN_MS - 100
    assert driver.bodies(queue.id) == ["late"]
    assert driver.run(Delete(queue.id, (received.lease,))) == ("deleted",)


def test_an_old_backlog_is_served_to_the_end(driver: Driver) -> None:
    queue = driver.create()
    for n in range(30):
        driver.send(queue.id, str(n))
        driver.wait(700)
    found = [driver.bodies(queue.id, limit=1) for _ in range(31)]
    assert found == [[str(n)] for n in range(30)] + [[]]
