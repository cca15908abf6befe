"""Conformance: starting, listing and cancelling message move tasks, and many of them together."""

import pytest

from stanchion.store.contract import DeleteQueue
from stanchion.store.moves import CancelMove, ListMoves, MoveTask
from tests.store.driver import Driver
from tests.store.redrive import Queues, queue_name, set_up, start, state, task


@pytest.fixture(params=[False, True], ids=["standard", "fifo"])
def queues(request: pytest.FixtureRequest, driver: Driver) -> Queues:
    """Queues `work` and `other` whose messages go to `dead` after one receive."""
    return set_up(driver, request.param)


@pytest.fixture
def standard(driver: Driver) -> Queues:
    return set_up(driver, is_fifo=False)


def test_one_active_task_for_each_source(queues: Queues) -> None:
    queues.send("dead", "a1")
    queues.claim("dead")
    start(queues, "archive")
    assert start(queues, "archive", task_id="second") == "running"
    queues.driver.run(CancelMove("task", queues.name("dead")))
    assert start(queues, "archive", task_id="second") == "running"
    queues.driver.upkeep()
    assert isinstance(start(queues, "archive", task_id="second"), MoveTask)


def test_so_many_active_tasks_for_an_account(queues: Queues) -> None:
    start(queues, task_id="1", source="work", tasks_max=2)
    start(queues, task_id="2", source="other", tasks_max=2)
    assert start(queues, task_id="3", tasks_max=2) == "too_many"
    queues.driver.upkeep()
    assert isinstance(start(queues, task_id="3", tasks_max=2), MoveTask)


def test_no_task_without_a_queue(queues: Queues) -> None:
    queues.driver.run(DeleteQueue(queues.ids["dead"]))
    assert start(queues) is None


def test_the_latest_ten_finished_tasks_are_kept(queues: Queues) -> None:
    for number in range(13):
        start(queues, task_id=str(number))
        queues.driver.upkeep()
        queues.driver.wait(10)
    start(queues, task_id="active")
    start(queues, task_id="another", source="work")
    listed = queues.driver.run(ListMoves(queues.name("dead"), 100))
    assert [found.task_id for found in listed] == ["active", *map(str, range(12, 2, -1))]
    listed = queues.driver.run(ListMoves(queues.name("dead"), 2))
    assert [found.task_id for found in listed] == ["active", "12"]


def test_a_cancelled_task_leaves_what_it_has_not_moved(queues: Queues) -> None:
    queues.send("dead", "a1", "b1", "c1")
    start(queues, "archive", rate=1)
    queues.driver.upkeep()
    cancelled = queues.driver.run(CancelMove("task", queues.name("dead")))
    assert isinstance(cancelled, MoveTask)
    assert (cancelled.status, cancelled.moved) == ("CANCELLING", 1)
    assert task(queues) == cancelled
    queues.driver.upkeep()
    assert state(queues) == ("CANCELLED", 1, 3)
    queues.driver.wait(10_000)
    queues.driver.upkeep()
    assert queues.counts("dead") == (2, 0, 0)
    assert queues.counts("archive") == (1, 0, 0)


def test_only_a_running_task_can_be_cancelled(queues: Queues) -> None:
    assert queues.driver.run(CancelMove("nonsense", queues.name("dead"))) is None
    queues.send("dead", "a1")
    start(queues, "archive", rate=1)
    assert queues.driver.run(CancelMove("task", queues.name("dead"))) is not None
    assert queues.driver.run(CancelMove("task", queues.name("dead"))) is None
    queues.driver.upkeep()
    assert queues.driver.run(CancelMove("task", queues.name("dead"))) is None


def test_tasks_of_many_queues_get_on_together(standard: Queues) -> None:
    for number in range(25):
        standard.create(f"dead-{number}")
        standard.send(f"dead-{number}", "m")
        start(standard, "archive", task_id=str(number), source=f"dead-{number}")
    standard.driver.upkeep()
    assert standard.counts("archive") == (25, 0, 0)
    found = standard.driver.run(ListMoves(queue_name("dead-24"), 1))
    assert [one.status for one in found] == ["COMPLETED"]
