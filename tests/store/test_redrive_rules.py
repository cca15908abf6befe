"""Conformance: exhausted messages when rules change, in chains of queues, and beside purges."""

import pytest

from stanchion.store.contract import DeleteQueue, ListDeadLetterSources, Upkeep
from stanchion.store.sqlite import SqliteStore
from tests.store.driver import Driver
from tests.store.redrive import VISIBILITY_MS, Queues


@pytest.fixture(params=[False, True], ids=["standard", "fifo"])
def queues(request: pytest.FixtureRequest, driver: Driver) -> Queues:
    """A queue `work` whose messages go to `dead` after two receives."""
    queues = Queues(driver, request.param)
    queues.create("work")
    queues.create("dead")
    queues.set("work", "dead", 2)
    return queues


# --- When rules change --------------------------------------------------------------------------


def test_a_higher_maximum_keeps_it_deliverable(queues: Queues) -> None:
    queues.send("work", "a")
    queues.exhaust("work", 2)
    queues.set("work", "dead", 3)
    assert queues.bodies("work") == ["a"]
    queues.driver.wait(VISIBILITY_MS)
    assert queues.bodies("work") == []
    assert queues.bodies("dead") == ["a"]


def test_without_a_policy_it_is_deliverable_again(queues: Queues) -> None:
    queues.send("work", "a")
    queues.exhaust("work", 2)
    queues.set("work")
    for _ in range(3):
        assert queues.bodies("work") == ["a"]
        queues.driver.wait(VISIBILITY_MS)
    assert queues.counts("work") == (1, 0, 0)


def test_upkeep_gives_back_what_is_not_exhausted_any_more(queues: Queues) -> None:
    queues.send("work", "a")
    queues.exhaust("work", 2)
    queues.set("work")
    flush = queues.driver.flush(Upkeep())
    assert (queues.ids["work"], queues.driver.now_ms, 1) in flush.wakes
    assert queues.bodies("work") == ["a"]


def test_a_lower_maximum_holds_for_messages_already_there(queues: Queues) -> None:
    queues.set("work")
    queues.send("work", *[f"{letter}1" for letter in "abcdefgh"])
    queues.exhaust("work", 3)
    queues.send("work", "z1")
    queues.set("work", "dead", 3)
    assert queues.bodies("work", limit=1) == ["z1"]
    assert queues.counts("work") == (0, 1, 0)
    assert len(queues.bodies("dead")) == 8


def test_a_policy_that_comes_while_it_is_in_flight(queues: Queues) -> None:
    queues.set("work")
    queues.send("work", "a")
    queues.exhaust("work", 1)
    queues.claim("work")
    queues.set("work", "dead", 1)
    queues.driver.wait(VISIBILITY_MS)
    assert queues.bodies("work") == []
    assert queues.bodies("dead") == ["a"]


# --- Chains and cycles --------------------------------------------------------------------------


def test_a_queue_may_be_its_own_dead_letter_queue(queues: Queues) -> None:
    queues.set("work", "work", 2)
    queues.send("work", "a")
    for receive in range(1, 6):
        (message,) = queues.claim("work").messages
        assert message.lease.receive_count == receive
        queues.driver.wait(VISIBILITY_MS)
        assert queues.counts("work") == (1, 0, 0)
    assert message.dead_letter_source == queues.name("work")


def test_messages_bounce_between_two_queues(queues: Queues) -> None:
    queues.set("dead", "work", 2)
    queues.send("work", "a")
    queues.exhaust("work", 2)
    for _ in range(3):
        assert queues.bodies("work") == []
        assert queues.bodies("dead") == ["a"]
        queues.driver.wait(VISIBILITY_MS)
        assert queues.bodies("dead") == []
        assert queues.bodies("work") == ["a"]
        queues.driver.wait(VISIBILITY_MS)


def test_a_dead_letter_that_arrives_is_handed_out_once_at_least(queues: Queues) -> None:
    queues.create("end")
    queues.set("dead", "end", 1)
    queues.send("work", "a")
    queues.exhaust("work", 2)
    queues.driver.upkeep()
    queues.driver.upkeep()
    assert queues.bodies("end") == []
    (message,) = queues.claim("dead").messages
    assert message.lease.receive_count == 3
    queues.driver.wait(VISIBILITY_MS)
    queues.driver.upkeep()
    (message,) = queues.claim("end").messages
    assert message.dead_letter_source == queues.name("dead")


def test_an_arrival_is_told_from_what_a_new_rule_has_exhausted(queues: Queues) -> None:
    queues.create("end")
    queues.send("dead", "x")
    queues.exhaust("dead", 1)
    queues.send("work", "a")
    queues.exhaust("work", 2)
    queues.driver.upkeep()
    queues.set("dead", "end", 1)
    assert queues.bodies("dead") == ["a"]
    assert queues.bodies("end") == ["x"]


# --- Purges, wakes, sources ---------------------------------------------------------------------


def test_purged_messages_do_not_move(queues: Queues) -> None:
    queues.set("work", "dead", 1)
    queues.send("work", *[f"{letter}1" for letter in "abcdefgh"])
    queues.exhaust("work", 1)
    queues.driver.purge(queues.ids["work"])
    for _ in range(20):
        queues.driver.run(Upkeep(limit=2))
    assert queues.counts("dead") == queues.counts("work") == (0, 0, 0)
    queues.send("work", "i1")
    queues.exhaust("work", 1)
    queues.driver.upkeep()
    assert queues.bodies("dead") == ["i1"]


def test_purged_messages_do_not_hold_up_others(queues: Queues) -> None:
    queues.create("other")
    for name in ("work", "other"):
        queues.set(name, "dead", 1)
    queues.send("work", *[f"{letter}1" for letter in "abcdefgh"])
    queues.exhaust("work", 1)
    queues.send("other", "i1")
    queues.exhaust("other", 1)
    queues.driver.purge(queues.ids["work"])
    for _ in range(3):
        queues.driver.run(Upkeep(limit=2))
    assert queues.bodies("dead") == ["i1"]


def test_purging_the_dead_letter_queue_spares_what_comes_later(queues: Queues) -> None:
    queues.set("work", "dead", 1)
    queues.send("work", "a")
    queues.exhaust("work", 1)
    queues.driver.purge(queues.ids["dead"])
    queues.driver.upkeep()
    assert queues.bodies("dead") == ["a"]


def test_waiters_of_the_dead_letter_queue_are_woken(queues: Queues) -> None:
    queues.send("work", "a")
    queues.exhaust("work", 2)
    flush = queues.driver.flush(Upkeep())
    assert (queues.ids["dead"], queues.driver.now_ms, 1) in flush.wakes


def test_an_empty_claim_tells_when_to_look_again(queues: Queues) -> None:
    queues.set("work", "dead", 1)
    queues.send("work", "a")
    queues.claim("work", visibility_ms=5000)
    assert queues.claim("work").next_visible_at_ms == queues.driver.now_ms + 5000
    queues.driver.wait(5000)
    assert queues.claim("work").next_visible_at_ms is None


def test_sources_are_listed_by_name(queues: Queues) -> None:
    for name in ("c", "a", "b", "other"):
        queues.create(name)
    for name in ("c", "a", "b", "dead"):
        queues.set(name, "dead", 5)
    target = queues.name("dead")

    def listed(after: str, limit: int) -> list[str]:
        found = queues.driver.run(ListDeadLetterSources(target, after, limit))
        return [record.name.name.removesuffix(".fifo") for record in found]

    assert listed("", 10) == ["a", "b", "c", "dead", "work"]
    assert listed("", 2) == ["a", "b"]
    assert listed(queues.name("b").name, 2) == ["c", "dead"]
    queues.set("c")
    queues.driver.run(DeleteQueue(queues.ids["a"]))
    assert listed("", 10) == ["b", "dead", "work"]
    assert queues.driver.run(ListDeadLetterSources(queues.name("other"), "", 10)) == []


def test_reading_a_queue_without_a_policy_writes_nothing(sqlite_driver: Driver) -> None:
    driver = sqlite_driver
    queue = driver.create()
    assert isinstance(driver.store, SqliteStore)
    before = driver.store._connection.total_changes
    assert driver.bodies(queue.id) == []
    assert driver.store._connection.total_changes == before
