"""Conformance: when a message is exhausted, what moving it changes, and that it is never lost."""

import pytest

from stanchion.store.contract import (
    DeleteQueue,
    NewMessage,
    Send,
    SendFifo,
    Upkeep,
)
from tests.store.driver import Driver
from tests.store.redrive import VISIBILITY_MS, Queues, queue_name, same_but_for


@pytest.fixture(params=[False, True], ids=["standard", "fifo"])
def queues(request: pytest.FixtureRequest, driver: Driver) -> Queues:
    """A queue `work` whose messages go to `dead` after two receives."""
    queues = Queues(driver, request.param)
    queues.create("work")
    queues.create("dead")
    queues.set("work", "dead", 2)
    return queues


# --- When ---------------------------------------------------------------------------------------


def test_the_last_allowed_receive_hands_it_out_and_the_next_finds_nothing(queues: Queues) -> None:
    queues.send("work", "a")
    assert queues.bodies("work") == ["a"]
    queues.driver.wait(VISIBILITY_MS)
    assert queues.bodies("work") == ["a"]
    assert queues.counts("work") == (0, 1, 0)
    queues.driver.wait(VISIBILITY_MS - 1)
    assert queues.bodies("dead") == queues.bodies("work") == []
    queues.driver.wait(1)
    assert queues.bodies("work") == []
    assert queues.bodies("dead") == ["a"]


def test_it_moves_without_anybody_polling(queues: Queues) -> None:
    queues.send("work", "a")
    queues.exhaust("work", 2)
    assert queues.counts("work") == (1, 0, 0)
    queues.driver.upkeep()
    assert queues.counts("work") == (0, 0, 0)
    assert queues.bodies("dead") == ["a"]


def test_upkeep_says_when_it_will_be_time(queues: Queues) -> None:
    queues.send("work", "a")
    queues.exhaust("work", 1)
    queues.driver.upkeep()
    queues.claim("work", visibility_ms=700)
    assert queues.driver.run(Upkeep()) == 700
    queues.driver.wait(699)
    assert queues.driver.run(Upkeep()) == 1
    assert queues.bodies("dead") == []
    queues.driver.wait(1)
    queues.driver.upkeep()
    assert queues.bodies("dead") == ["a"]


def test_deleting_it_in_time_spares_the_move(queues: Queues) -> None:
    queues.send("work", "a")
    queues.exhaust("work", 1)
    (message,) = queues.claim("work").messages
    assert queues.delete("work", message.lease) == ("deleted",)
    queues.driver.wait(VISIBILITY_MS)
    queues.driver.upkeep()
    assert queues.counts("work") == queues.counts("dead") == (0, 0, 0)


def test_showing_it_at_once_makes_it_move_at_once(queues: Queues) -> None:
    queues.send("work", "a")
    queues.exhaust("work", 1)
    (message,) = queues.claim("work").messages
    queues.driver.show(queues.ids["work"], 0, message.lease)
    assert queues.bodies("work") == []
    assert queues.bodies("dead") == ["a"]


def test_a_longer_visibility_puts_the_move_off(queues: Queues) -> None:
    queues.send("work", "a")
    queues.exhaust("work", 1)
    (message,) = queues.claim("work").messages
    queues.driver.show(queues.ids["work"], 2 * VISIBILITY_MS, message.lease)
    queues.driver.wait(2 * VISIBILITY_MS - 1)
    queues.driver.upkeep()
    assert queues.counts("work") == (0, 1, 0)
    queues.driver.wait(1)
    queues.driver.upkeep()
    assert queues.counts("dead") == (1, 0, 0)


def test_one_receive_may_be_all(queues: Queues) -> None:
    queues.set("work", "dead", 1)
    queues.send("work", "a", "b")
    assert queues.bodies("work", limit=1, visibility_ms=0) == ["a"]
    assert queues.bodies("work") == ["b"]
    assert queues.bodies("dead") == ["a"]


def test_a_full_queue_still_lets_go_of_its_exhausted_messages(queues: Queues) -> None:
    queues.set("work", "dead", 1)
    queues.send("work", "a", "b")
    queues.claim("work", limit=1)
    queues.driver.wait(VISIBILITY_MS)
    queues.claim("work", limit=0)
    assert queues.bodies("dead") == ["a"]


def test_many_are_moved_in_bounded_steps(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues.driver.module("transfer"), "_STEP_BYTES_MAX", 7)
    queues.set("work", "dead", 1)
    queues.send("work", *[f"{chr(ord('a') + n)}{n}" for n in range(9)])
    queues.exhaust("work", 1, limit=100)
    assert queues.driver.run(Upkeep()) == 0
    assert queues.counts("dead") == (3, 0, 0)
    assert queues.driver.run(Upkeep(limit=2)) == 0
    assert queues.counts("work") == (4, 0, 0)
    queues.driver.upkeep()
    assert queues.counts("dead") == (9, 0, 0)


# --- What changes and what stays ----------------------------------------------------------------


def full_message(message_id: str = "id-1", **changes: object) -> NewMessage:
    return same_but_for(
        NewMessage(message_id, b"body", b"attributes", "sender", 0, "g", "trace"), **changes
    )


def test_a_standard_message_stays_as_it_is(driver: Driver) -> None:
    queues = Queues(driver, is_fifo=False)
    queues.create("work")
    queues.create("dead")
    queues.set("work", "dead", 1)
    driver.run(Send(queues.ids["work"], (full_message(),)))
    driver.wait(1234)
    (before,) = queues.claim("work").messages
    driver.wait(VISIBILITY_MS)
    queues.claim("work")
    driver.wait(1000)
    (after,) = queues.claim("dead").messages
    assert after == same_but_for(
        before,
        lease=after.lease,
        dead_letter_source=queue_name("work"),
    )
    assert after.lease == (before.lease.sequence, 2)


def test_a_fifo_message_is_appended(driver: Driver) -> None:
    queues = Queues(driver, is_fifo=True)
    queues.create("work")
    queues.create("dead")
    queues.set("work", "dead", 1)
    sent = full_message(deduplication_id="once")
    driver.run(SendFifo(queues.ids["work"], (sent,), by_group=False))
    driver.wait(1234)
    (before,) = queues.claim("work").messages
    driver.wait(VISIBILITY_MS)
    queues.claim("work")
    moved_at_ms = driver.now_ms
    driver.wait(1000)
    (after,) = queues.claim("dead").messages
    assert after == same_but_for(
        before,
        lease=after.lease,
        sent_at_ms=moved_at_ms,
        deduplication_id="id-1",
        dead_letter_source=queue_name("work.fifo"),
    )
    assert after.lease.sequence > before.lease.sequence
    assert after.lease.receive_count == 2


def test_a_lease_of_the_source_is_of_no_use_afterwards(queues: Queues) -> None:
    queues.send("work", "a")
    (lease,) = queues.exhaust("work", 2)
    queues.driver.upkeep()
    assert queues.delete("work", lease) == ("absent",)
    assert queues.driver.show(queues.ids["work"], 0, lease) == (False,)
    assert queues.counts("dead") == (1, 0, 0)


def test_the_next_messages_of_a_group_proceed(driver: Driver) -> None:
    queues = Queues(driver, is_fifo=True)
    queues.create("work")
    queues.create("dead")
    queues.set("work", "dead", 1)
    queues.send("work", "g1", "g2", "g3")
    assert queues.bodies("work", limit=1) == ["g1"]
    assert queues.bodies("work", limit=1) == []
    driver.wait(VISIBILITY_MS)
    assert queues.bodies("work", limit=1) == ["g2"]
    assert queues.bodies("dead") == ["g1"]
    driver.wait(VISIBILITY_MS)
    driver.upkeep()
    assert queues.bodies("work") == ["g3"]
    assert queues.bodies("dead") == ["g1", "g2"]


def test_a_group_stays_blocked_by_what_is_still_in_flight(driver: Driver) -> None:
    queues = Queues(driver, is_fifo=True)
    queues.create("work")
    queues.create("dead")
    queues.set("work", "dead", 1)
    queues.send("work", "g1", "g2", "g3")
    first, _ = queues.claim("work", limit=2).messages
    driver.show(queues.ids["work"], 0, first.lease)
    assert queues.bodies("work") == []
    assert queues.bodies("dead") == ["g1"]
    driver.wait(VISIBILITY_MS)
    assert queues.bodies("work") == ["g3"]


def test_messages_of_a_group_that_move_together_keep_their_order(driver: Driver) -> None:
    queues = Queues(driver, is_fifo=True)
    queues.create("work")
    queues.create("dead")
    queues.set("work", "dead", 1)
    queues.send("work", "g1", "g2")
    first, second = queues.claim("work").messages
    driver.show(queues.ids["work"], 2000, first.lease)
    driver.show(queues.ids["work"], 1000, second.lease)
    driver.wait(2000)
    driver.upkeep()
    assert queues.bodies("dead") == ["g1", "g2"]


def test_moving_asks_nothing_of_deduplication(driver: Driver) -> None:
    queues = Queues(driver, is_fifo=True)
    queues.create("work")
    queues.create("dead")
    queues.set("work", "dead", 1)
    sent = full_message(deduplication_id="x")
    same_id = full_message("other", deduplication_id="id-1")
    driver.run(SendFifo(queues.ids["dead"], (same_id,), by_group=False))
    driver.run(SendFifo(queues.ids["work"], (sent,), by_group=False))
    queues.exhaust("work", 1)
    driver.upkeep()
    moved = [m.message_id for m in queues.claim("dead").messages]
    assert moved == ["other", "id-1"]


def test_the_retention_of_a_standard_message_goes_on(driver: Driver) -> None:
    queues = Queues(driver, is_fifo=False)
    queues.create("work")
    queues.create("dead", retention_ms=100_000)
    queues.set("work", "dead", 1)
    queues.send("work", "a")
    queues.exhaust("work", 1)
    queues.send("dead", "younger")
    driver.upkeep()
    assert queues.counts("dead") == (2, 0, 0)
    driver.wait(100_000 - VISIBILITY_MS)
    driver.upkeep()
    assert messages_stored(driver) == 1
    assert queues.bodies("dead") == ["younger"]


def messages_stored(driver: Driver) -> int:
    count: int = driver.query("SELECT count(*) FROM message")[0][0]
    return count


def test_the_retention_of_a_fifo_message_starts_anew(driver: Driver) -> None:
    queues = Queues(driver, is_fifo=True)
    queues.create("work")
    queues.create("dead", retention_ms=100_000)
    queues.set("work", "dead", 1)
    queues.send("work", "a")
    queues.exhaust("work", 1)
    driver.upkeep()
    driver.wait(99_999)
    driver.upkeep()
    assert queues.counts("dead") == (1, 0, 0)
    driver.wait(1)
    driver.upkeep()
    assert queues.counts("dead") == (0, 0, 0)


def test_what_the_dead_letter_queue_would_not_keep_expires_there(driver: Driver) -> None:
    queues = Queues(driver, is_fifo=False)
    queues.create("work")
    queues.create("dead", retention_ms=20_000)
    queues.set("work", "dead", 1)
    queues.send("work", "a")
    queues.exhaust("work", 1)
    assert queues.bodies("work") == queues.bodies("dead") == []
    assert queues.counts("work") == queues.counts("dead") == (0, 0, 0)


def test_the_dead_do_not_move(queues: Queues) -> None:
    queues.set("work", "dead", 1, retention_ms=60_000)
    queues.send("work", "a")
    queues.claim("work", visibility_ms=60_000)
    queues.driver.wait(60_000)
    queues.claim("work")
    queues.driver.upkeep()
    assert queues.counts("work") == queues.counts("dead") == (0, 0, 0)


def test_without_the_dead_letter_queue_it_stays_where_it_is(queues: Queues) -> None:
    queues.send("work", "a")
    queues.exhaust("work", 2)
    queues.driver.run(DeleteQueue(queues.ids["dead"]))
    for _ in range(3):
        assert queues.bodies("work") == ["a"]
        queues.driver.wait(VISIBILITY_MS)
        queues.driver.upkeep()
    queues.driver.wait(60_000)
    queues.create("dead")
    assert queues.bodies("work") == []
    assert queues.bodies("dead") == ["a"]
