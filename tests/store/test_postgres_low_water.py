"""Claims begin where the last one found something, and still find everything."""

import time

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import Delete
from stanchion.store.postgres import engine
from stanchion.store.postgres.dead_letters import EXHAUSTED_LANE
from stanchion.store.postgres.low_water import MARGIN_MS, Look, LowWater, SlowLooks
from tests.postgres import BlockingPostgresStore
from tests.store.driver import Driver, texts

NOW_MS = 1_700_000_000_000
QUEUE = (7, 0)


@pytest.fixture
def driver() -> Driver:
    return Driver(BlockingPostgresStore.open_empty())


def mark(driver: Driver, queue_id: int, lane: int = 0) -> int:
    """Where the next look of this process begins."""
    assert isinstance(driver.store, BlockingPostgresStore)
    resources = driver.store.store._resources
    return resources.low_water.peek(resources.places[queue_id].backlog, lane)


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


def test_a_claim_of_one_statement_marks_the_exhausted_lane_too(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a")
    assert driver.bodies(queue.id) == ["a"]
    driver.wait(10)
    assert driver.bodies(queue.id) == []
    assert mark(driver, queue.id) == mark(driver, queue.id, EXHAUSTED_LANE)
    assert mark(driver, queue.id) == driver.now_ms - MARGIN_MS


def test_only_what_came_into_view_slowly_is_looked_for_from_the_start(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that takes long must not forget where to begin, or the next one takes as long."""
    monkeypatch.setattr(engine, "MARGIN_MS", 0)
    queue, other = driver.create(), driver.create("other")
    driver.send(queue.id, "a")
    for _ in range(2):
        driver.claim(queue.id)
    driver.send(other.id, "b")
    driver.claim(other.id)
    assert mark(driver, queue.id) > 0
    assert mark(driver, other.id) > 0
    driver.send(queue.id, "c")
    assert mark(driver, queue.id) == 0
    assert mark(driver, other.id) > 0


def changes_left(driver: Driver) -> int:
    left: int = driver.query("SELECT count(*) FROM tally_change")[0][0]
    return left


def test_upkeep_adds_up_what_was_committed_out_of_order_within_a_minute(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a")
    driver.upkeep()
    driver.send(queue.id, "b")
    driver.upkeep()
    assert changes_left(driver) == 0
    driver.query(
        "INSERT INTO tally_change (number, backlog, received, bucket_s, messages)"
        " OVERRIDING SYSTEM VALUE SELECT 0, backlog, 2, 0, 1 FROM queue"
    )
    driver.send(queue.id, "c")
    driver.wait(59_000)
    driver.upkeep()
    assert changes_left(driver) == 1
    driver.wait(1000)
    driver.upkeep()
    assert changes_left(driver) == 0
    assert driver.counts(queue.id)[0] == 4


def test_after_a_slow_look_for_groups_there_is_none_from_the_start_for_a_while() -> None:
    looks = SlowLooks()
    looks.note(7, False, Look(0, NOW_MS, 10.0, 10.01))
    assert looks.of(7, False, 10.02) == 0
    looks.note(7, False, Look(0, NOW_MS, 10.0, 10.06))
    assert looks.of(7, False, 10.65) == NOW_MS - MARGIN_MS
    assert looks.of(7, True, 10.65) == looks.of(8, False, 10.65) == 0
    assert looks.of(7, False, 10.67) == 0
    looks.note(7, False, Look(0, NOW_MS, 20.0, 25.0))
    assert looks.of(7, False, 25.99) == NOW_MS - MARGIN_MS
    assert looks.of(7, False, 26.01) == 0


def test_looks_for_groups_that_begin_later_move_the_mark_and_a_fast_one_removes_it() -> None:
    looks = SlowLooks()
    looks.note(7, False, Look(0, NOW_MS, 10.0, 11.0))
    looks.note(7, False, Look(NOW_MS - MARGIN_MS, NOW_MS + 5000, 11.1, 11.2))
    assert looks.of(7, False, 11.3) == NOW_MS + 5000 - MARGIN_MS
    looks.lower(7, False, NOW_MS - 60_000)
    assert looks.of(7, False, 11.3) == NOW_MS - 60_000
    looks.note(7, False, Look(0, NOW_MS, 12.1, 12.11))
    assert looks.of(7, False, 12.12) == 0


def test_a_group_that_gets_ready_behind_the_mark_lowers_it(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "b1")
    driver.wait(5000)
    driver.send_fifo(queue.id, "a2")
    first = driver.take(queue.id, 1)
    assert texts(first) == ["a1"]
    driver.wait(20_000)
    assert isinstance(driver.store, BlockingPostgresStore)
    resources = driver.store.store._resources
    backlog = resources.places[queue.id].backlog
    now_s = time.monotonic()
    # It rests for longer than this test takes.
    resources.slow_looks.note(backlog, False, Look(0, driver.now_ms, now_s, now_s + 1000))
    missed = driver.take(queue.id)
    assert missed.messages == ()
    assert missed.next_visible_at_ms is not None
    assert missed.next_visible_at_ms > driver.now_ms
    driver.delete(queue.id, first.messages[0].lease)
    assert texts(driver.take(queue.id)) == ["a2"]
    resources.slow_looks.note(backlog, False, Look(0, driver.now_ms, now_s, now_s))
    assert texts(driver.take(queue.id)) == ["b1"]
