"""Conformance: a repeated send is sent once; a repeated receive attempt receives the same."""

from pathlib import Path

from stanchion.store.contract import Claimed, ClaimFifo, SendFifo, SentFifo
from stanchion.store.sqlite import SqliteStore
from tests.store.conftest import RESERVE_BYTES
from tests.store.driver import Driver, claim_fifo, fifo_message, texts
from tests.store.test_upkeep import rows

WINDOW_MS = 300_000


def send(driver: Driver, queue_id: int, *sent: tuple[str, str], by_group: bool = False) -> SendFifo:
    """Messages by group and deduplication id; the body is the message id."""
    messages = []
    for group_id, deduplication_id in sent:
        driver.sent += 1
        body = f"m{driver.sent}"
        messages.append(fifo_message(body, group_id, deduplication_id, body))
    return SendFifo(queue_id, tuple(messages), by_group)


def test_a_repeat_answers_what_was_sent_first(driver: Driver) -> None:
    queue = driver.create_fifo()
    (first,) = driver.run(send(driver, queue.id, ("g", "once"))) or ()
    (repeat,) = driver.run(send(driver, queue.id, ("other", "once"))) or ()
    assert first.message_id == "m1"
    assert repeat == first
    received = driver.take(queue.id)
    assert texts(received) == ["m1"]
    assert received.messages[0].lease.sequence == first.sequence
    assert driver.counts(queue.id) == (0, 1, 0)


def test_the_window_starts_with_the_first_and_is_not_extended(driver: Driver) -> None:
    queue = driver.create_fifo()
    (first,) = driver.run(send(driver, queue.id, ("g", "once"))) or ()
    driver.wait(WINDOW_MS - 1)
    assert driver.run(send(driver, queue.id, ("g", "once"))) == (first,)
    driver.wait(1)
    (second,) = driver.run(send(driver, queue.id, ("g", "once"))) or ()
    assert second.message_id == "m3"
    driver.wait(WINDOW_MS - 1)
    assert driver.run(send(driver, queue.id, ("g", "once"))) == (second,)
    assert texts(driver.take(queue.id)) == ["m1", "m3"]


def test_the_window_survives_receive_delete_and_purge(driver: Driver) -> None:
    queue = driver.create_fifo()
    (first,) = driver.run(send(driver, queue.id, ("g", "once"))) or ()
    driver.delete(queue.id, driver.take(queue.id).messages[0].lease)
    driver.purge(queue.id)
    driver.upkeep()
    assert driver.run(send(driver, queue.id, ("g", "once"))) == (first,)
    assert texts(driver.take(queue.id)) == []


def test_it_survives_a_restart(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)
    driver = Driver(store)
    queue = driver.create_fifo()
    (first,) = driver.run(send(driver, queue.id, ("g", "once"))) or ()
    driver.run(send(driver, queue.id, ("g", "twice"), ("h", "thrice")))
    taken = driver.take(queue.id, 1, attempt="try")
    store.close()
    again = Driver(SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES), driver.now_ms)
    (repeat,) = again.run(send(again, queue.id, ("g", "once"))) or ()
    assert repeat == first
    assert again.take(queue.id, 1, attempt="try") == taken
    # The group is still blocked, the other one still free.
    assert texts(again.take(queue.id)) == ["m3"]
    (later,) = again.run(send(again, queue.id, ("g", "new"))) or ()
    assert later.sequence > first.sequence
    again.store.close()


def test_groups_have_ids_of_their_own_if_asked(driver: Driver) -> None:
    queue = driver.create_fifo()
    first, second = driver.run(send(driver, queue.id, ("g", "x"), ("h", "x"), by_group=True)) or ()
    assert first != second
    repeats = driver.run(send(driver, queue.id, ("h", "x"), ("g", "x"), by_group=True))
    assert repeats == (second, first)


def test_queues_have_ids_of_their_own(driver: Driver) -> None:
    queue, other = driver.create_fifo("a.fifo"), driver.create_fifo("b.fifo")
    driver.flush(send(driver, queue.id, ("g", "x")), send(driver, other.id, ("g", "x")))
    assert texts(driver.take(queue.id)) == ["m1"]
    assert texts(driver.take(other.id)) == ["m2"]


def test_equal_ids_in_one_command_and_in_one_flush_count_too(driver: Driver) -> None:
    queue = driver.create_fifo()
    one, other = driver.flush(
        send(driver, queue.id, ("g", "x"), ("g", "y"), ("g", "x")),
        send(driver, queue.id, ("g", "y"), ("g", "z")),
    ).answers
    assert isinstance(one, tuple)
    assert isinstance(other, tuple)
    assert [sent.message_id for sent in one] == ["m1", "m2", "m1"]
    assert [sent.message_id for sent in other] == ["m2", "m5"]
    assert texts(driver.take(queue.id)) == ["m1", "m2", "m5"]
    assert driver.counts(queue.id) == (0, 3, 0)


def test_a_repeat_of_what_is_gone_opens_no_group(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.run(send(driver, queue.id, ("g", "x")))
    driver.delete(queue.id, driver.take(queue.id).messages[0].lease)
    flush = driver.flush(send(driver, queue.id, ("g", "x")))
    assert flush.wakes == []
    assert rows(driver, "fifo_group") == 0


def test_upkeep_forgets_what_is_over(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.run(send(driver, queue.id, ("g", "x"), ("g", "y")))
    driver.take(queue.id, attempt="try")
    driver.wait(1)
    driver.run(send(driver, queue.id, ("g", "z")))
    driver.wait(WINDOW_MS - 2)
    driver.upkeep(limit=1)
    assert (rows(driver, "deduplication"), rows(driver, "receive_attempt")) == (3, 1)
    driver.wait(1)
    driver.upkeep(limit=1)
    assert (rows(driver, "deduplication"), rows(driver, "receive_attempt")) == (1, 0)


# --- Receive attempts ---------------------------------------------------------------------------


def test_a_repeated_attempt_gets_the_same_messages_and_hides_them_anew(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2", "b1", "c1")
    first = driver.take(queue.id, 3, 10_000, attempt="try")
    driver.wait(9000)
    assert driver.take(queue.id, 1, 20_000, attempt="try") == first
    driver.wait(19_999)
    assert driver.counts(queue.id) == (1, 3, 0)
    assert texts(driver.take(queue.id)) == ["c1"]
    assert driver.delete(queue.id, first.messages[0].lease) == ("deleted",)
    driver.wait(1)
    assert texts(driver.take(queue.id)) == ["a2", "b1"]


def test_the_group_stays_blocked_for_as_long_as_the_repeat_says(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "a2")
    driver.take(queue.id, 1, 10_000, attempt="try")
    driver.take(queue.id, 1, 1000, attempt="try")
    driver.wait(1000)
    assert texts(driver.take(queue.id)) == ["a1", "a2"]


def refused(driver: Driver, queue_id: int) -> bool:
    """Whether the attempt is an ordinary claim now: the group `z` is not part of it."""
    driver.send_fifo(queue_id, "z")
    bodies = texts(driver.take(queue_id, attempt="try"))
    return "z" in bodies


def test_an_attempt_is_over_when_anything_about_it_has_changed(driver: Driver) -> None:
    for number in range(5):
        queue = driver.create_fifo(f"{number}.fifo")
        driver.send_fifo(queue.id, "a1", "b1")
        first, _ = driver.take(queue.id, 2, 10_000, attempt="try").messages
        driver.wait(1)
        match number:
            case 0:
                driver.delete(queue.id, first.lease)
            case 1:
                driver.show(queue.id, 0, first.lease)
            case 2:
                driver.show(queue.id, 10_000, first.lease)
            case 3:
                driver.wait(9_999)
            case 4:
                driver.purge(queue.id)
        assert refused(driver, queue.id), number


def test_an_attempt_that_stands_is_not_refused(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "b1")
    driver.take(queue.id, 2, 10_000, attempt="try")
    assert not refused(driver, queue.id)


def test_an_attempt_is_over_after_its_window(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1")
    driver.take(queue.id, visibility_ms=400_000, attempt="try")
    driver.wait(200_000)
    assert texts(driver.take(queue.id, visibility_ms=400_000, attempt="try")) == ["a1"]
    driver.wait(99_999)
    assert texts(driver.take(queue.id, visibility_ms=400_000, attempt="try")) == ["a1"]
    driver.wait(1)
    assert texts(driver.take(queue.id, attempt="try")) == []


def test_an_attempt_that_found_nothing_is_not_remembered(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.take(queue.id, attempt="try")
    driver.send_fifo(queue.id, "a1")
    assert texts(driver.take(queue.id, attempt="try")) == ["a1"]


def test_the_same_attempt_twice_in_a_flush_gets_the_same(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "b1", "c1")
    one, other, two = driver.flush(
        claim_fifo(queue.id, 1, attempt_id="try"),
        claim_fifo(queue.id, 1),
        claim_fifo(queue.id, 1, attempt_id="try"),
    ).answers
    assert one == two
    assert sorted([*texts(one), *texts(other)]) == ["a1", "b1"]


def test_a_repeated_attempt_needs_no_room(driver: Driver) -> None:
    queue = driver.create_fifo()
    driver.send_fifo(queue.id, "a1", "b1")
    capped = ClaimFifo(queue.id, 1, 10_000, in_flight_max=1, attempt_id="try")
    first = driver.run(capped)
    assert driver.run(capped) == first
    other = driver.run(ClaimFifo(queue.id, 1, 10_000, in_flight_max=1, attempt_id="other"))
    assert isinstance(other, Claimed)
    assert other.at_capacity


def test_sent_is_what_the_answer_names(driver: Driver) -> None:
    queue = driver.create_fifo()
    (sent,) = driver.send_fifo(queue.id, "a1")
    assert isinstance(sent, SentFifo)
    (received,) = driver.take(queue.id).messages
    assert sent == (received.message_id, received.lease.sequence)
