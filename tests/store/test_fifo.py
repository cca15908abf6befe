"""Conformance: FIFO queues, their groups, and when a group is free."""

from typing import Any

import msgspec

from stanchion.store.contract import (
    ChangeVisibility,
    Claimed,
    ClaimFifo,
    Delete,
    DeleteQueue,
    Lease,
    QueueRules,
    SendFifo,
    SentFifo,
    UpdateQueue,
    Wake,
)
from tests.store.driver import RETENTION_MS, Driver, claim_fifo, fifo_message, texts
from tests.store.test_upkeep import rows


def leases(claimed: Claimed) -> list[Lease]:
    return [message.lease for message in claimed.messages]


def set_delay(driver: Driver, queue_id: int, version: int, delay_ms: int) -> None:
    rules = QueueRules(RETENTION_MS, is_fifo=True, delay_ms=delay_ms)
    assert driver.run(UpdateQueue(queue_id, version, {}, {}, rules))


def test_a_message_arrives_as_it_was_sent(driver: Driver) -> None:
    queue = driver.create_fifo()
    sent = msgspec.structs.replace(
        fifo_message("hello", "the group", "once", "id-1"),
        attributes=b"\x00attrs",
        sender_id="sender",
        trace_header="trace",
    )
    answer = driver.run(SendFifo(queue.id, (sent,), by_group=False))
    sent_at_ms = driver.now_ms
    driver.wait(1500)
    (received,) = driver.take(queue.id).messages
    assert answer == (SentFifo("id-1", received.lease.sequence),)
    assert received.body == b"hello"
    assert received.attributes == b"\x00attrs"
    assert received.sender_id == "sender"
    assert received.group_id == "the group"
    assert received.deduplication_id == "once"
    assert received.trace_header == "trace"
    assert received.sent_at_ms == sent_at_ms
    assert received.first_received_at_ms == sent_at_ms + 1500
    assert received.lease.receive_count == 1
    assert received.dead_letter_source is None


def test_a_queue_that_is_gone_answers_none(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a")
    commands = (claim_fifo(queue.id), driver.sending(queue.id, "a"), DeleteQueue(queue.id))
    assert driver.flush(*commands).answers == [None, None, True]


def test_order_is_kept_inside_each_group(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "b1", "a2")
    driver.send_fifo(queue.id, "b2", "a3")
    assert texts(driver.take(queue.id, 4)) == ["a1", "a2", "a3", "b1"]


def test_a_group_in_flight_blocks_what_comes_after(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2", "a3", "b1")
    first = driver.take(queue.id, 1)
    assert texts(first) == ["a1"]
    assert texts(driver.take(queue.id)) == ["b1"]
    driver.send_fifo(queue.id, "a4")
    assert texts(driver.take(queue.id)) == []
    driver.delete(queue.id, *leases(first))
    assert texts(driver.take(queue.id)) == ["a2", "a3", "a4"]


def test_a_group_is_free_when_all_of_it_is_back_or_gone(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2", "a3", "a4")
    one, two, three = leases(driver.take(queue.id, 3, 10_000))
    driver.delete(queue.id, two)
    driver.show(queue.id, 0, one)
    driver.wait(5000)
    blocked = driver.take(queue.id)
    assert (blocked.messages, blocked.next_visible_at_ms) == ((), driver.now_ms + 5000)
    driver.delete(queue.id, three)
    assert texts(driver.take(queue.id)) == ["a1", "a4"]


def test_what_comes_back_comes_first(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2", "a3")
    driver.take(queue.id, 2, 1000)
    driver.wait(999)
    assert texts(driver.take(queue.id)) == []
    driver.wait(1)
    again = driver.take(queue.id)
    assert texts(again) == ["a1", "a2", "a3"]
    assert [lease.receive_count for lease in leases(again)] == [2, 2, 1]


def test_the_latest_of_its_leases_blocks_a_group(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2")
    _, second = leases(driver.take(queue.id, 2, 1000))
    driver.show(queue.id, 5000, second)
    driver.wait(4999)
    assert texts(driver.take(queue.id)) == []
    driver.wait(1)
    assert texts(driver.take(queue.id)) == ["a1", "a2"]


def test_visibility_of_zero_frees_the_group_at_once(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2")
    assert texts(driver.take(queue.id, 1, 0)) == ["a1"]
    assert driver.counts(queue.id) == (2, 0, 0)
    assert texts(driver.take(queue.id)) == ["a1", "a2"]


def test_claims_fill_from_one_group_and_then_from_the_next(driver: Driver) -> None:
    queue = driver.create_fifo()
    for number in range(3):
        driver.send_fifo(queue.id, f"a{number}", f"b{number}", f"c{number}")
    driver.wait(1)
    answers = driver.flush(
        claim_fifo(queue.id, 4), claim_fifo(queue.id, 2), claim_fifo(queue.id, 2)
    ).answers
    assert [texts(answer) for answer in answers] == [["a0", "a1", "a2", "b0"], ["c0", "c1"], []]


def test_the_group_that_was_ready_first_comes_first(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1")
    driver.take(queue.id, visibility_ms=2000)
    driver.wait(1000)
    driver.send_fifo(queue.id, "b1")
    driver.wait(2000)
    driver.send_fifo(queue.id, "c1")
    assert texts(driver.take(queue.id)) == ["b1", "a1", "c1"]


def test_a_claim_takes_ten_of_a_group_at_most(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, *[f"a{n}" for n in range(12)])
    assert len(driver.take(queue.id, 20).messages) == 10


def test_a_claim_finds_what_the_same_flush_sends_and_frees(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2")
    taken = driver.take(queue.id, 1)
    _, claimed, _ = driver.flush(
        driver.sending(queue.id, "b1"),
        claim_fifo(queue.id),
        Delete(queue.id, tuple(leases(taken))),
    ).answers
    assert texts(claimed) == ["a2", "b1"]


def test_large_messages_are_shared_among_the_claims_of_a_flush(driver: Driver) -> None:
    queue = driver.create_fifo()
    for group in "abcdefghi":
        driver.send_fifo(queue.id, *[f"{group}{n}" + "x" * 1_000_000 for n in range(4)])
    answers = driver.flush(*[claim_fifo(queue.id, 10)] * 3).answers
    taken = [[text[:2] for text in texts(answer)] for answer in answers]
    assert all(taken)
    assert sum(map(len, taken)) < 30
    for each in taken:
        assert each == sorted(each)
    # Nothing was leased that nobody got, and no group is blocked for it.
    in_flight = sum(map(len, taken))
    assert driver.counts(queue.id) == (36 - in_flight, in_flight, 0)
    blocked = {text[0] for each in taken for text in each}
    rest = driver.take(queue.id)
    assert {text[0] for text in texts(rest)} <= set("abcdefghi") - blocked


# --- Capacity, delay, retention -----------------------------------------------------------------


def test_no_more_than_the_limit_are_in_flight(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2", "b1", "c1", "d1")
    capped = ClaimFifo(queue.id, 3, 10_000, in_flight_max=4)
    first, second, third = driver.flush(capped, capped, capped).answers
    assert (texts(first), texts(second), texts(third)) == (["a1", "a2", "b1"], ["c1"], [])
    full = driver.run(capped)
    assert third == full == Claimed((), driver.now_ms, driver.now_ms + 1000, at_capacity=True)
    assert isinstance(first, Claimed)
    driver.delete(queue.id, first.messages[2].lease)
    assert texts(driver.run(capped)) == ["d1"]


def test_a_blocked_queue_is_not_at_capacity(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2")
    driver.take(queue.id, 1, 1000)
    answers = driver.flush(*[ClaimFifo(queue.id, 10, 1000, in_flight_max=4)] * 3).answers
    assert answers == [Claimed((), driver.now_ms, driver.now_ms + 1000)] * 3


def test_an_empty_queue_has_nothing_to_wait_for(driver: Driver) -> None:
    queue = driver.create_fifo()
    assert driver.take(queue.id) == Claimed((), driver.now_ms, None)


def test_the_delay_of_the_queue_holds_messages_back(driver: Driver) -> None:
    queue = driver.create_fifo(delay_ms=5000)
    driver.send_fifo(queue.id, "a1")
    driver.wait(2000)
    driver.send_fifo(queue.id, "a2", "b1")
    claimed = driver.take(queue.id)
    assert (claimed.messages, claimed.next_visible_at_ms) == ((), driver.now_ms + 3000)
    assert driver.counts(queue.id) == (0, 0, 3)
    driver.wait(3000)
    assert driver.counts(queue.id) == (1, 0, 2)
    assert texts(driver.take(queue.id, visibility_ms=1000)) == ["a1"]
    assert driver.counts(queue.id) == (0, 1, 2)
    driver.wait(1000)
    assert texts(driver.take(queue.id, visibility_ms=100)) == ["a1"]
    driver.wait(1000)
    assert texts(driver.take(queue.id)) == ["a1", "a2", "b1"]


def test_a_change_of_the_delay_holds_for_what_is_queued(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "b1")
    assert texts(driver.take(queue.id, 1, 1500)) == ["a1"]
    driver.wait(1000)
    driver.send_fifo(queue.id, "c1")
    set_delay(driver, queue.id, 1, 1500)
    assert driver.counts(queue.id) == (0, 1, 2)
    assert driver.take(queue.id).next_visible_at_ms == driver.now_ms + 500
    driver.wait(500)
    # What was received before is not delayed again.
    assert driver.counts(queue.id) == (2, 0, 1)
    assert texts(driver.take(queue.id)) == ["a1", "b1"]
    set_delay(driver, queue.id, 2, 0)
    assert texts(driver.take(queue.id)) == ["c1"]


def test_a_change_of_the_delay_wakes_everybody(driver: Driver) -> None:
    queue = driver.create_fifo(delay_ms=900_000)
    driver.send_fifo(queue.id, "a1", "b1")
    rules = QueueRules(RETENTION_MS, is_fifo=True)
    (wake,) = driver.flush(UpdateQueue(queue.id, 1, {}, {}, rules)).wakes
    assert (wake.queue_id, wake.visible_at_ms) == (queue.id, driver.now_ms)
    assert wake.messages >= 2


def test_delayed_messages_are_counted_for_the_longest_delay(driver: Driver) -> None:
    queue = driver.create_fifo(delay_ms=900_000)
    driver.send_fifo(queue.id, "a1")
    driver.wait(450_000)
    driver.send_fifo(queue.id, "a2")
    driver.upkeep()
    assert driver.counts(queue.id) == (0, 0, 2)
    driver.wait(449_999)
    driver.upkeep()
    assert driver.counts(queue.id) == (0, 0, 2)
    driver.wait(1)
    assert driver.counts(queue.id) == (1, 0, 1)
    (message,) = driver.take(queue.id).messages
    driver.delete(queue.id, message.lease)
    driver.wait(450_000)
    assert driver.counts(queue.id) == (1, 0, 0)
    driver.wait(1_000_000)
    driver.upkeep()
    assert rows(driver, "tally WHERE bucket_s > 0") == 0


# --- Leases -------------------------------------------------------------------------------------


def test_deletes_answer_what_became_of_each(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "b1", "c1", "d1")
    old = leases(driver.take(queue.id, 1, 0))
    current = leases(driver.take(queue.id, 2, 1000))
    late = leases(driver.take(queue.id, 1, 500))
    driver.wait(500)
    outcomes = driver.delete(queue.id, *old, *current, *late, Lease(999, 1))
    assert outcomes == ("superseded", "deleted", "deleted", "expired", "absent")
    assert driver.delete(queue.id, *current) == ("absent", "absent")
    assert driver.counts(queue.id) == (2, 0, 0)


def test_the_second_of_a_batch_may_be_deleted_first(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2", "a3")
    _, second = leases(driver.take(queue.id, 2, 1000))
    assert driver.delete(queue.id, second) == ("deleted",)
    driver.wait(1000)
    assert texts(driver.take(queue.id)) == ["a1", "a3"]


def test_visibility_changes_inside_the_window_only(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1")
    (lease,) = leases(driver.take(queue.id, 1, 1000))
    driver.wait(999)
    assert driver.show(queue.id, 1000, lease) == (True,)
    driver.wait(1000)
    assert driver.show(queue.id, 1000, lease) == (False,)
    (again,) = leases(driver.take(queue.id))
    assert driver.show(queue.id, 0, lease, again) == (False, True)
    assert driver.counts(queue.id) == (1, 0, 0)


# --- Wakes --------------------------------------------------------------------------------------


def test_wakes_tell_when_a_group_can_be_had(driver: Driver) -> None:
    queue = driver.create_fifo()
    now_ms = driver.now_ms

    def wakes(*commands: Any) -> list[tuple[int, int]]:
        found = driver.flush(*commands).wakes
        assert all(wake.queue_id == queue.id for wake in found)
        return sorted((wake.visible_at_ms - now_ms, wake.messages) for wake in found)

    # One waiter for each group: whoever takes its first message blocks the rest.
    assert wakes(driver.sending(queue.id, "a1", "a2", "b1")) == [(0, 2)]
    # Those who claimed before the group's other messages came know of it already.
    assert wakes(driver.sending(queue.id, "a3")) == []
    claimed = driver.take(queue.id, 2, 1000)
    assert texts(claimed) == ["a1", "a2"]
    assert wakes(driver.sending(queue.id, "a4", "c1")) == [(0, 1)]
    first, second = leases(claimed)
    assert wakes(Delete(queue.id, (first,))) == []
    assert wakes(Delete(queue.id, (second,))) == [(0, 1)]
    (third,) = leases(driver.take(queue.id, 1, 1000))
    assert wakes(ChangeVisibility(queue.id, ((third, 5000),))) == [(5000, 1)]
    assert wakes(ChangeVisibility(queue.id, ((third, 0),))) == [(0, 1)]


def test_delayed_groups_wake_when_their_delay_ends(driver: Driver) -> None:
    queue = driver.create_fifo(delay_ms=700)
    flush = driver.flush(driver.sending(queue.id, "a1", "b1"))
    assert flush.wakes == [Wake(queue.id, driver.now_ms + 700, 2)]


def test_a_lease_wakes_when_it_ends(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "b1")
    flush = driver.flush(claim_fifo(queue.id, 1, 1000))
    assert [wake.visible_at_ms for wake in flush.wakes] == [driver.now_ms + 1000]


def test_nobody_is_woken_for_what_the_same_flush_gave_away(driver: Driver) -> None:
    queue = driver.create_fifo()
    flush = driver.flush(driver.sending(queue.id, "a1", "b1"), claim_fifo(queue.id))
    assert all(wake.visible_at_ms > driver.now_ms for wake in flush.wakes)
    flush = driver.flush(driver.sending(queue.id, "c1", "d1"), claim_fifo(queue.id, 1))
    assert Wake(queue.id, driver.now_ms, 2) in flush.wakes
