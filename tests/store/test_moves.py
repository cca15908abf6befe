"""Conformance: message move tasks, from their start to their end."""

from pathlib import Path

import pytest

from stanchion.store.contract import Delete, DeleteQueue, NewMessage, Send, SendFifo, Upkeep
from stanchion.store.moves import MoveTask
from stanchion.store.sqlite import SqliteStore
from tests.store.conftest import RESERVE_BYTES
from tests.store.driver import Driver, texts
from tests.store.redrive import (
    VISIBILITY_MS,
    Queues,
    bury,
    same_but_for,
    set_up,
    start,
    state,
    task,
)

HOURS_MS = 3600 * 1000


@pytest.fixture(params=[False, True], ids=["standard", "fifo"])
def queues(request: pytest.FixtureRequest, driver: Driver) -> Queues:
    """Queues `work` and `other` whose messages go to `dead` after one receive."""
    return set_up(driver, request.param)


@pytest.fixture
def standard(driver: Driver) -> Queues:
    return set_up(driver, is_fifo=False)


@pytest.fixture
def fifo(driver: Driver) -> Queues:
    return set_up(driver, is_fifo=True)


# --- Where messages go --------------------------------------------------------------------------


def test_messages_go_back_to_where_they_came_from(queues: Queues) -> None:
    bury(queues, "work", "a1", "b1")
    bury(queues, "other", "c1")
    bury(queues, "work", "d1")
    assert queues.counts("dead") == (4, 0, 0)
    start(queues)
    queues.driver.upkeep()
    assert state(queues) == ("COMPLETED", 4, 4)
    assert queues.counts("dead") == (0, 0, 0)
    assert queues.bodies("work") == ["a1", "b1", "d1"]
    assert queues.bodies("other") == ["c1"]


def test_messages_go_to_a_destination(queues: Queues) -> None:
    bury(queues, "work", "a1")
    queues.send("dead", "b1")
    started = start(queues, "archive", rate=7)
    assert started == MoveTask(
        task_id="task",
        source=queues.name("dead"),
        destination=queues.name("archive"),
        messages_per_s=7,
        status="RUNNING",
        started_at_ms=queues.driver.now_ms,
        moved=0,
        to_move=2,
        failure=None,
    )
    queues.driver.wait(1000)
    queues.driver.upkeep()
    assert state(queues) == ("COMPLETED", 2, 2)
    assert sorted(queues.bodies("archive")) == ["a1", "b1"]


def test_they_arrive_as_new_messages(standard: Queues) -> None:
    check_renewal(standard)


def test_they_arrive_as_new_fifo_messages(fifo: Queues) -> None:
    check_renewal(fifo)


def check_renewal(queues: Queues) -> None:
    driver = queues.driver
    sent = NewMessage("id-1", b"body", b"attributes", "sender", 0, "g", "trace")
    if queues.is_fifo:
        messages = (same_but_for(sent, deduplication_id="x"),)
        driver.run(SendFifo(queues.ids["work"], messages, by_group=False))
    else:
        driver.run(Send(queues.ids["work"], (sent,)))
    bury(queues, "work")
    (before,) = queues.claim("dead").messages
    driver.wait(VISIBILITY_MS)
    start(queues)
    driver.upkeep()
    moved_at_ms = driver.now_ms
    driver.wait(10)
    (after,) = queues.claim("work").messages
    assert after == same_but_for(
        before,
        lease=after.lease,
        message_id=after.message_id,
        sent_at_ms=moved_at_ms,
        first_received_at_ms=moved_at_ms + 10,
        dead_letter_source=None,
    )
    assert after.lease.sequence > before.lease.sequence
    assert after.lease.receive_count == 1
    assert len(after.message_id) == 36
    assert after.message_id[14] == "4"


def test_the_retention_starts_anew(queues: Queues) -> None:
    queues.set("archive", retention_ms=60_000)
    queues.send("dead", "a1")
    queues.driver.wait(50_000)
    start(queues, "archive")
    queues.driver.upkeep()
    queues.driver.wait(59_999)
    queues.driver.upkeep()
    assert queues.counts("archive") == (1, 0, 0)
    queues.driver.wait(1)
    queues.driver.upkeep()
    assert queues.counts("archive") == (0, 0, 0)


def test_groups_keep_their_order_however_small_the_steps(fifo: Queues) -> None:
    bodies = [f"{letter}{n}" for n in range(25) for letter in "abc"]
    fifo.send("dead", *bodies)
    start(fifo, "archive")
    steps = 0
    while task(fifo).status == "RUNNING":
        fifo.driver.run(Upkeep(limit=4))
        steps += 1
    assert steps > 10
    arrived = []
    while claimed := fifo.claim("archive", limit=10).messages:
        arrived += [message.body.decode() for message in claimed]
        fifo.delete("archive", *(message.lease for message in claimed))
    assert sorted(arrived) == sorted(bodies)
    for letter in "abc":
        assert [b for b in arrived if b[0] == letter] == [b for b in bodies if b[0] == letter]


def test_a_blocked_group_is_waited_for_and_the_others_are_not(fifo: Queues) -> None:
    fifo.send("dead", "a1", "a2", "b1")
    (first,) = fifo.claim("dead", limit=1).messages
    start(fifo, "archive")
    fifo.driver.upkeep()
    assert fifo.bodies("archive") == ["b1"]
    assert state(fifo) == ("RUNNING", 1, 3)
    fifo.delete("dead", first.lease)
    fifo.driver.wait(1000)
    fifo.driver.upkeep()
    assert fifo.bodies("archive") == ["a2"]
    assert state(fifo) == ("COMPLETED", 2, 3)


def test_the_delay_of_a_fifo_destination_holds(fifo: Queues) -> None:
    later = fifo.driver.create_fifo("later.fifo", delay_ms=5000)
    fifo.ids["later"] = later.id
    fifo.send("dead", "a1", "a2")
    start(fifo, "later")
    fifo.driver.upkeep()
    assert fifo.counts("later") == (0, 0, 2)
    assert fifo.claim("later").next_visible_at_ms == fifo.driver.now_ms + 5000
    fifo.driver.wait(5000)
    assert fifo.counts("later") == (2, 0, 0)
    assert fifo.bodies("later") == ["a1", "a2"]


def test_dead_letters_of_a_queue_that_is_its_own_are_moved_once(queues: Queues) -> None:
    queues.set("dead", "dead", 1)
    bury_in_itself = ["a1", "b1", "c1"]
    queues.send("dead", *bury_in_itself)
    queues.claim("dead")
    queues.driver.wait(VISIBILITY_MS)
    queues.driver.upkeep()
    start(queues)
    queues.driver.upkeep()
    assert state(queues) == ("COMPLETED", 3, 3)
    assert queues.bodies("dead") == bury_in_itself
    assert queues.counts("dead") == (0, 3, 0)


# --- When it goes on and when it ends -----------------------------------------------------------


def test_what_is_in_flight_or_delayed_is_waited_for(standard: Queues) -> None:
    driver = standard.driver
    standard.send("dead", "in flight", "gone")
    in_flight, gone = standard.claim("dead").messages
    driver.send(standard.ids["dead"], "delayed", delay_ms=3000)
    standard.send("dead", "visible")
    start(standard, "archive")
    driver.upkeep()
    assert state(standard) == ("RUNNING", 1, 4)
    driver.wait(3000)
    driver.upkeep()
    assert state(standard) == ("RUNNING", 2, 4)
    driver.run(Delete(standard.ids["dead"], (gone.lease,)))
    driver.wait(VISIBILITY_MS)
    driver.upkeep()
    assert state(standard) == ("COMPLETED", 3, 4)
    assert sorted(standard.bodies("archive")) == ["delayed", "in flight", "visible"]
    assert in_flight.body == b"in flight"


def test_no_more_are_moved_than_there_were(queues: Queues) -> None:
    queues.send("dead", "a1", "b1")
    start(queues, "archive")
    queues.send("dead", "c1")
    queues.driver.run(Upkeep(limit=1))
    queues.driver.upkeep()
    assert state(queues) == ("COMPLETED", 2, 2)
    assert queues.counts("dead") == (1, 0, 0)


def test_an_empty_queue_is_done_at_once(queues: Queues) -> None:
    start(queues)
    queues.driver.upkeep()
    assert state(queues) == ("COMPLETED", 0, 0)


def test_a_rate_is_kept_evenly(queues: Queues) -> None:
    queues.send("dead", *[f"{letter}{n}" for n in range(10) for letter in "abcdef"])
    start(queues, "archive", rate=20)
    moved_by_second = []
    while task(queues).status == "RUNNING":
        before = task(queues).moved
        for _ in range(10):
            queues.driver.upkeep()
            assert queues.driver.run(Upkeep()) > 0
            queues.driver.wait(100)
        moved_by_second.append(task(queues).moved - before)
    assert moved_by_second == [20, 20, 20]


def test_a_slow_rate_is_kept_too(queues: Queues) -> None:
    queues.send("dead", "a1", "b1", "c1")
    start(queues, "archive", rate=1)
    queues.driver.upkeep()
    for moved in (1, 2):
        assert task(queues).moved == moved
        assert queues.driver.run(Upkeep()) == 1000
        queues.driver.wait(999)
        queues.driver.upkeep()
        assert task(queues).moved == moved
        queues.driver.wait(1)
        queues.driver.upkeep()
    assert state(queues) == ("COMPLETED", 3, 3)


def test_time_lost_is_not_made_up_for(queues: Queues) -> None:
    queues.send("dead", *[f"{letter}{n}" for n in range(10) for letter in "abcdef"])
    start(queues, "archive", rate=10)
    queues.driver.upkeep()
    queues.driver.wait(60_000)
    queues.driver.upkeep()
    assert task(queues).moved <= 12


def test_without_a_rate_a_step_takes_what_it_can(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues.driver.module("transfer"), "_STEP_BYTES_MAX", 5)
    queues.send("dead", "a1", "b1", "c1", "d1", "e1")
    start(queues, "archive")
    assert queues.driver.run(Upkeep()) == 0
    assert task(queues).moved == 2
    assert queues.driver.run(Upkeep(limit=1)) == 0
    assert task(queues).moved == 3
    queues.driver.upkeep()
    assert state(queues) == ("COMPLETED", 5, 5)


def test_a_message_without_a_source_fails_the_task(queues: Queues) -> None:
    bury(queues, "work", "a1")
    queues.send("dead", "b1")
    start(queues)
    queues.driver.upkeep()
    assert state(queues) == ("FAILED", 1, 2)
    assert task(queues).failure == "no_source"
    assert queues.bodies("dead") == ["b1"]
    assert queues.bodies("work") == ["a1"]


def test_a_source_that_sends_its_dead_letters_elsewhere_by_now_fails_the_task(
    queues: Queues,
) -> None:
    bury(queues, "other", "a1")
    bury(queues, "work", "b1")
    start(queues)
    queues.set("work", "archive", 1)
    queues.driver.upkeep()
    assert state(queues) == ("FAILED", 1, 2)
    assert task(queues).failure == "no_source"
    assert queues.bodies("dead") == ["b1"]
    assert queues.bodies("other") == ["a1"]


def test_a_source_that_is_gone_fails_the_task(queues: Queues) -> None:
    bury(queues, "other", "a1")
    bury(queues, "work", "b1")
    start(queues)
    queues.driver.run(DeleteQueue(queues.ids["work"]))
    queues.driver.upkeep()
    assert state(queues) == ("FAILED", 1, 2)
    assert task(queues).failure == "no_destination"
    assert queues.bodies("dead") == ["b1"]
    assert queues.bodies("other") == ["a1"]


def test_a_destination_that_is_gone_fails_the_task(queues: Queues) -> None:
    queues.send("dead", "a1")
    start(queues, "archive")
    queues.driver.run(DeleteQueue(queues.ids["archive"]))
    queues.driver.upkeep()
    assert task(queues).failure == "no_destination"
    assert queues.bodies("dead") == ["a1"]


def test_deleting_the_dead_letter_queue_fails_the_task(queues: Queues) -> None:
    queues.send("dead", "a1")
    start(queues, "archive")
    queues.driver.run(DeleteQueue(queues.ids["dead"]))
    queues.driver.upkeep()
    assert state(queues) == ("FAILED", 0, 1)


def test_purging_the_dead_letter_queue_completes_the_task(queues: Queues) -> None:
    queues.send("dead", "a1")
    start(queues, "archive")
    queues.driver.purge(queues.ids["dead"])
    queues.driver.upkeep()
    assert state(queues) == ("COMPLETED", 0, 1)


def test_a_task_runs_for_a_day_and_a_half_at_most(queues: Queues) -> None:
    queues.send("dead", "a1")
    queues.claim("dead", visibility_ms=100 * HOURS_MS)
    start(queues, "archive")
    queues.driver.wait(36 * HOURS_MS - 1)
    queues.driver.upkeep()
    assert state(queues) == ("RUNNING", 0, 1)
    queues.driver.wait(1000)
    queues.driver.upkeep()
    assert state(queues) == ("FAILED", 0, 1)
    assert task(queues).failure == "too_long"


@pytest.mark.parametrize("is_fifo", [False, True])
def test_a_full_disk_makes_tasks_wait(sqlite_driver: Driver, is_fifo: bool) -> None:
    queues = set_up(sqlite_driver, is_fifo)
    queues.send("dead", "a1")
    start(queues, "archive")
    assert isinstance(sqlite_driver.store, SqliteStore)
    sqlite_driver.store._become_full()
    queues.driver.run(Upkeep())
    assert state(queues) == ("RUNNING", 0, 1)
    queues.driver.wait(1000)
    queues.driver.upkeep()
    assert state(queues) == ("COMPLETED", 1, 1)


def test_the_dead_are_not_moved(queues: Queues) -> None:
    queues.set("dead", retention_ms=60_000)
    queues.send("dead", "a1")
    start(queues, "archive")
    queues.driver.wait(60_000)
    queues.driver.upkeep()
    assert state(queues) == ("COMPLETED", 0, 1)
    assert queues.counts("archive") == (0, 0, 0)


def test_waiters_of_the_destination_are_woken(queues: Queues) -> None:
    queues.send("dead", "a1")
    start(queues, "archive")
    flush = queues.driver.flush(Upkeep())
    assert (queues.ids["archive"], queues.driver.now_ms, 1) in flush.wakes


def test_a_task_goes_on_after_a_restart(tmp_path: Path) -> None:
    queues = set_up(Driver(SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)), is_fifo=False)
    queues.send("dead", *[str(n) for n in range(10)])
    start(queues, "archive", rate=30)
    queues.driver.run(Upkeep())
    assert state(queues) == ("RUNNING", 3, 10)
    queues.driver.store.close()
    queues.driver.store = SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)
    assert state(queues) == ("RUNNING", 3, 10)
    for _ in range(10):
        queues.driver.upkeep()
        queues.driver.wait(100)
    assert state(queues) == ("COMPLETED", 10, 10)
    assert texts(queues.claim("archive")) == [str(n) for n in range(10)]
    queues.driver.store.close()
