"""Conformance: sending, claiming, deleting messages, visibility, retention, purging."""

from typing import Any

import pytest

from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    Claimed,
    CountMessages,
    Delete,
    DeleteQueue,
    Lease,
    NewMessage,
    PurgeQueue,
    QueueRules,
    Send,
    StoreError,
    UpdateQueue,
    Upkeep,
    Wake,
)
from tests.store.driver import Driver, claim, texts


def test_a_message_arrives_as_it_was_sent(driver: Driver) -> None:
    queue = driver.create()
    body = bytes(range(256))
    sent = NewMessage("id-1", body, b"\x00attrs", "sender", 0, "group", "trace")
    driver.run(Send(queue.id, (sent,)))
    sent_at_ms = driver.now_ms
    driver.wait(1500)
    (received,) = driver.claim(queue.id).messages
    assert received.message_id == "id-1"
    assert received.body == body
    assert received.attributes == b"\x00attrs"
    assert received.sender_id == "sender"
    assert received.group_id == "group"
    assert received.trace_header == "trace"
    assert received.sent_at_ms == sent_at_ms
    assert received.first_received_at_ms == sent_at_ms + 1500
    assert received.lease.receive_count == 1


def test_absent_parts_stay_absent(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "")
    (received,) = driver.claim(queue.id).messages
    assert (received.body, received.group_id, received.trace_header) == (b"", None, None)


@pytest.mark.parametrize("count", [1, 2, 3, 63, 64, 65, 130])
def test_any_number_of_messages_goes_in_one_flush(driver: Driver, count: int) -> None:
    queue = driver.create()
    bodies = [str(n) for n in range(count)]
    driver.send(queue.id, *bodies)
    assert driver.bodies(queue.id, limit=count + 1) == bodies


def test_oldest_visible_comes_first(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "late", delay_ms=500)
    driver.wait(1)
    driver.send(queue.id, "a", "b")
    driver.wait(1000)
    driver.send(queue.id, "c")
    assert driver.bodies(queue.id) == ["a", "b", "late", "c"]


def test_a_leased_message_is_hidden_until_its_lease_ends(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a")
    assert driver.bodies(queue.id, visibility_ms=1000) == ["a"]
    driver.wait(999)
    again = driver.claim(queue.id)
    assert again.messages == ()
    assert again.next_visible_at_ms == driver.now_ms + 1
    driver.wait(1)
    (message,) = driver.claim(queue.id).messages
    assert message.lease.receive_count == 2
    assert message.first_received_at_ms == driver.now_ms - 1000


def test_visibility_of_zero_leaves_it_visible(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a")
    assert driver.bodies(queue.id, visibility_ms=0) == ["a"]
    assert driver.counts(queue.id) == (1, 0, 0)
    (message,) = driver.claim(queue.id).messages
    assert message.lease.receive_count == 2


def test_a_delayed_message_waits(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a", delay_ms=5000)
    claimed = driver.claim(queue.id)
    assert (claimed.messages, claimed.next_visible_at_ms) == ((), driver.now_ms + 5000)
    driver.wait(5000)
    assert driver.bodies(queue.id) == ["a"]


def test_an_empty_queue_has_nothing_to_wait_for(driver: Driver) -> None:
    queue = driver.create()
    assert driver.claim(queue.id) == Claimed((), driver.now_ms, None)


def test_claims_of_one_flush_share_what_there_is_in_their_order(driver: Driver) -> None:
    queue, other = driver.create("orders"), driver.create("other")
    driver.send(queue.id, *"abcde")
    driver.send(other.id, "x")
    answers = driver.flush(
        claim(queue.id, 2, 1000),
        claim(other.id, 1),
        claim(queue.id, 2, 9000),
        claim(queue.id, 10, 1000),
        claim(queue.id, 1),
    ).answers
    assert [texts(answer) for answer in answers] == [["a", "b"], ["x"], ["c", "d"], ["e"], []]
    empty = answers[-1]
    assert isinstance(empty, Claimed)
    assert empty.next_visible_at_ms == driver.now_ms + 1000
    driver.wait(1000)
    assert driver.bodies(queue.id) == ["a", "b", "e"]


def test_a_claim_finds_what_the_same_flush_sends(driver: Driver) -> None:
    queue = driver.create()
    _, claimed = driver.flush(Send(queue.id, (driver.message("a"),)), claim(queue.id)).answers
    assert texts(claimed) == ["a"]


def test_large_messages_are_shared_among_the_claims_of_a_flush(driver: Driver) -> None:
    queue = driver.create()
    body = "x" * 1_000_000
    for _ in range(6):
        driver.send(queue.id, *[body] * 4)
    answers = driver.flush(claim(queue.id, 10), claim(queue.id, 10), claim(queue.id, 10)).answers
    sizes = [len(texts(answer)) for answer in answers]
    assert all(sizes)
    assert sum(sizes) < 24
    # Nothing was leased that nobody got.
    assert driver.counts(queue.id) == (24 - sum(sizes), sum(sizes), 0)


def test_no_more_than_the_limit_are_in_flight(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, *"abcdefgh")
    capped = Claim(queue.id, 3, 10_000, in_flight_max=4)
    first, second, third = driver.flush(capped, capped, capped).answers
    assert (texts(first), texts(second), texts(third)) == (["a", "b", "c"], ["d"], [])
    assert isinstance(third, Claimed)
    assert third.at_capacity
    driver.wait(100)
    full = driver.run(capped)
    assert full is not None
    assert full.at_capacity
    assert full.next_visible_at_ms == driver.now_ms + 1000
    assert isinstance(first, Claimed)
    driver.delete(queue.id, first.messages[0].lease)
    assert texts(driver.run(capped)) == ["e"]
    driver.wait(9_900)
    # The first leases have ended; one that began a little later is still in flight.
    assert texts(driver.run(capped)) == ["f", "g", "h"]


def test_a_lease_that_is_extended_counts_as_in_flight_again(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a", "b", "c")
    capped = Claim(queue.id, 1, 1000, in_flight_max=1)
    claimed = driver.run(capped)
    assert claimed is not None
    driver.wait(1000)
    driver.show(queue.id, 5000, claimed.messages[0].lease)
    again = driver.run(capped)
    assert again is not None
    assert again.at_capacity


def test_delete_takes_only_the_current_lease(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a", "b")
    old = [message.lease for message in driver.claim(queue.id, visibility_ms=0).messages]
    new = [message.lease for message in driver.claim(queue.id).messages]
    outcomes = driver.delete(queue.id, old[0], new[1], Lease(999, 1))
    assert outcomes == ("superseded", "deleted", "absent")
    assert driver.delete(queue.id, new[1], new[0]) == ("absent", "deleted")
    assert driver.counts(queue.id) == (0, 0, 0)


def test_delete_works_after_the_window_until_somebody_else_has_it(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a")
    (message,) = driver.claim(queue.id, visibility_ms=1000).messages
    driver.wait(1001)
    assert driver.delete(queue.id, message.lease) == ("deleted",)
    assert driver.bodies(queue.id) == []


def test_a_lease_of_one_queue_does_nothing_in_another(driver: Driver) -> None:
    queue, other = driver.create("orders"), driver.create("other")
    driver.send(queue.id, "a")
    (message,) = driver.claim(queue.id).messages
    assert driver.delete(other.id, message.lease) == ("absent",)
    assert driver.show(other.id, 0, message.lease) == (False,)
    assert driver.delete(queue.id, message.lease) == ("deleted",)


def test_the_same_lease_twice_in_a_flush_is_gone_for_both(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a")
    lease = driver.claim(queue.id).messages[0].lease
    answers = driver.flush(Delete(queue.id, (lease,)), Delete(queue.id, (lease, lease))).answers
    assert answers == [("deleted",), ("deleted", "deleted")]
    assert driver.counts(queue.id) == (0, 0, 0)


def test_visibility_can_be_cut_short_and_extended(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a", "b")
    first, second = (m.lease for m in driver.claim(queue.id, visibility_ms=1000).messages)
    answer = driver.run(ChangeVisibility(queue.id, ((first, 0), (second, 5000), (Lease(9, 1), 0))))
    assert answer == (True, True, False)
    assert driver.bodies(queue.id) == ["a"]
    driver.wait(4999)
    assert driver.bodies(queue.id) == []
    driver.wait(1)
    assert driver.bodies(queue.id) == ["b"]


def test_visibility_of_an_ended_lease_can_be_changed_until_received_again(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a")
    lease = driver.claim(queue.id, visibility_ms=1000).messages[0].lease
    driver.wait(2000)
    assert driver.show(queue.id, 1000, lease) == (True,)
    assert driver.bodies(queue.id) == []
    driver.wait(1000)
    assert driver.bodies(queue.id) == ["a"]
    assert driver.show(queue.id, 0, lease) == (False,)


def test_sequence_numbers_only_go_up(driver: Driver) -> None:
    queue, other = driver.create("orders"), driver.create("other")
    numbers = []
    for target in (queue, other, queue):
        driver.send(target.id, "a", "b")
        messages = driver.claim(target.id).messages
        numbers += [message.lease.sequence for message in messages]
        driver.delete(target.id, *(message.lease for message in messages))
    assert numbers == sorted(set(numbers))


def test_a_message_is_gone_when_its_retention_ends(driver: Driver) -> None:
    queue = driver.create(retention_ms=60_000)
    driver.send(queue.id, "a")
    driver.wait(59_999)
    driver.send(queue.id, "b")
    assert driver.bodies(queue.id, limit=1, visibility_ms=0) == ["a"]
    driver.wait(1)
    assert driver.bodies(queue.id) == ["b"]
    assert driver.counts(queue.id) == (0, 1, 0)


def test_retention_ends_in_flight_too(driver: Driver) -> None:
    queue = driver.create(retention_ms=60_000)
    driver.send(queue.id, "a")
    lease = driver.claim(queue.id, visibility_ms=120_000).messages[0].lease
    driver.wait(60_000)
    assert driver.counts(queue.id) == (0, 0, 0)
    assert driver.delete(queue.id, lease) == ("absent",)


def test_shorter_retention_holds_for_what_is_queued(driver: Driver) -> None:
    queue = driver.create(retention_ms=60_000)
    driver.send(queue.id, "a")
    driver.wait(30_000)
    driver.run(UpdateQueue(queue.id, 1, {}, {}, QueueRules(20_000)))
    driver.send(queue.id, "b")
    assert driver.bodies(queue.id) == ["b"]


def test_a_claim_gets_past_many_dead_messages(driver: Driver) -> None:
    queue = driver.create(retention_ms=60_000)
    for _ in range(5):
        driver.send(queue.id, *["dead"] * 500)
    driver.wait(60_000)
    driver.send(queue.id, "alive")
    assert driver.bodies(queue.id) == ["alive"]
    assert driver.counts(queue.id) == (0, 1, 0)


def test_purging_drops_every_message_whatever_its_state(driver: Driver) -> None:
    queue, other = driver.create("orders"), driver.create("other")
    driver.send(queue.id, "visible", "in flight")
    driver.send(queue.id, "delayed", delay_ms=1000)
    driver.send(other.id, "kept")
    lease = driver.claim(queue.id, limit=1, visibility_ms=1000).messages[0].lease
    assert driver.purge(queue.id) == "purged"
    assert driver.counts(queue.id) == (0, 0, 0)
    assert driver.delete(queue.id, lease) == ("absent",)
    driver.send(queue.id, "new")
    driver.wait(2000)
    assert driver.bodies(queue.id) == ["new"]
    assert driver.bodies(other.id) == ["kept"]


def test_purging_again_has_to_wait(driver: Driver) -> None:
    queue = driver.create()
    assert driver.purge(queue.id) == "purged"
    driver.wait(59_999)
    assert driver.purge(queue.id) == "in_progress"
    driver.wait(1)
    assert driver.purge(queue.id) == "purged"


def test_messages_sent_in_the_flush_of_a_purge_stay_consistent(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "old")
    send = Send(queue.id, (driver.message("new"),))
    driver.flush(send, PurgeQueue(queue.id, 0), CountMessages(queue.id), Upkeep())
    assert driver.bodies(queue.id) == ["new"]
    driver.upkeep()
    assert driver.counts(queue.id) == (0, 1, 0)


def test_commands_that_meet_a_deletion_find_no_queue(driver: Driver) -> None:
    queue = driver.create()
    driver.send(queue.id, "a")
    commands = (claim(queue.id), Send(queue.id, (driver.message(),)), DeleteQueue(queue.id))
    assert driver.flush(*commands).answers == [None, False, True]


def test_a_flush_reports_what_comes_into_view_and_when(driver: Driver) -> None:
    queue, other = driver.create("orders"), driver.create("other")
    now_ms = driver.now_ms
    flush = driver.flush(
        Send(queue.id, (driver.message(), driver.message(delay_ms=700))),
        Send(queue.id, (driver.message(),)),
        Send(other.id, (driver.message(),)),
    )
    assert sorted(flush.wakes) == [
        Wake(queue.id, now_ms, 2),
        Wake(queue.id, now_ms + 700, 1),
        Wake(other.id, now_ms, 1),
    ]
    flush = driver.flush(claim(queue.id, 1, 1000), claim(queue.id, 1, 2000))
    assert sorted(flush.wakes) == [
        Wake(queue.id, now_ms + 1000, 1),
        Wake(queue.id, now_ms + 2000, 1),
    ]
    (first,) = flush.answers[0].messages  # type: ignore[attr-defined]
    flush = driver.flush(ChangeVisibility(queue.id, ((first.lease, 0),)))
    assert flush.wakes == [Wake(queue.id, now_ms, 1)]


def test_nobody_is_woken_for_what_the_same_flush_gave_away(driver: Driver) -> None:
    queue = driver.create()
    send = Send(queue.id, (driver.message(), driver.message()))
    flush = driver.flush(send, claim(queue.id, 10, 1000))
    assert flush.wakes == [Wake(queue.id, driver.now_ms + 1000, 2)]
    flush = driver.flush(send, claim(queue.id, 1, 1000))
    assert Wake(queue.id, driver.now_ms, 2) in flush.wakes


def test_one_bad_command_does_not_fail_its_neighbours(driver: Driver) -> None:
    queue = driver.create()
    bad = NewMessage("id", b"x", b"", object(), 0)  # type: ignore[arg-type]
    answers = driver.flush(
        Send(queue.id, (driver.message("a"),)),
        Send(queue.id, (driver.message("lost"), bad)),
        Send(queue.id, (driver.message("b"),)),
        CountMessages(queue.id),
    ).answers
    assert answers[0] is answers[2] is True
    assert isinstance(answers[1], StoreError)
    assert driver.bodies(queue.id) == ["a", "b"]
    assert driver.counts(queue.id) == (0, 2, 0)


def test_a_foreign_command_fails_alone(driver: Driver) -> None:
    queue = driver.create()
    foreign: Any = object()
    answers = driver.flush(Send(queue.id, (driver.message("a"),)), foreign).answers
    assert answers[0] is True
    assert isinstance(answers[1], StoreError)
