"""A store that was moved goes on where the other one stood, at the same instant."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from stanchion.store.contract import Lease, QueueDeletedRecently, QueueName, SealedAs, SendFifo
from stanchion.store.moves import ListMoves
from tests.migrate.conftest import FullDirectory
from tests.migrate.rig import Full, MovedStore, Schema, same_message
from tests.store.driver import SEALED, Driver, create_queue, texts


class Moved(NamedTuple):
    driver: Driver
    full: Full


@pytest.fixture
def moved(directory: FullDirectory, schema: Schema) -> Iterator[Moved]:
    schema.migrate(directory.path)
    store = MovedStore(schema)
    yield Moved(Driver(store, directory.full.now_ms), directory.full)
    store.close()


def test_counts_are_those_of_before(moved: Moved) -> None:
    driver, full = moved
    assert {queue_id: driver.counts(queue_id) for queue_id in full.counts} == full.counts
    assert full.counts[full.standard] == (2, 1, 1)


def test_a_lease_of_before_deletes(moved: Moved) -> None:
    driver, full = moved
    assert driver.delete(full.standard, full.leased.lease) == ("deleted",)
    assert driver.counts(full.standard) == (2, 0, 1)


def test_what_is_in_flight_comes_back_at_its_time_and_not_before(moved: Moved) -> None:
    driver, full = moved
    bodies = driver.bodies(full.standard, visibility_ms=3_600_000)
    assert sorted(bodies) == ["once more", "£" * 20_000]
    driver.now_ms = full.leased_until_ms - 1
    assert driver.bodies(full.standard) == []
    driver.wait(1)
    (back,) = driver.claim(full.standard, visibility_ms=3_600_000).messages
    assert (back.message_id, back.body) == (full.leased.message_id, b"in flight")
    assert back.lease == Lease(full.leased.lease.sequence, 3)
    assert back.first_received_at_ms == full.leased.first_received_at_ms
    driver.wait(300_000)
    assert driver.bodies(full.standard) == ["later"]


def test_deduplication_remembers(moved: Moved) -> None:
    driver, full = moved
    for n, sent in enumerate(full.sent, full.deduplicated - len(full.sent) + 1):
        again = same_message(driver, n, "a1")
        assert driver.run(SendFifo(full.fifo, (again,), by_group=False)) == (sent,)


def test_sequence_numbers_go_on_growing(moved: Moved) -> None:
    driver, full = moved
    (sent,) = driver.send_fifo(full.fifo, "z1")
    assert sent.sequence > max(before.sequence for before in full.sent)


def test_a_group_in_flight_stays_blocked(moved: Moved) -> None:
    driver, full = moved
    assert sorted(texts(driver.take(full.fifo))) == ["b1", "c1"]
    assert driver.delete(full.fifo, full.attempted[0].lease) == ("deleted",)
    assert texts(driver.take(full.fifo)) == ["a2"]


def test_an_attempt_of_before_is_answered_with_the_same_messages(moved: Moved) -> None:
    driver, full = moved
    assert driver.take(full.fifo, 1, 300_000, attempt="attempt").messages == full.attempted


def test_a_moved_body_is_still_vouched_for(moved: Moved) -> None:
    driver, full = moved
    dead = driver.claim(full.ids["dead"]).messages
    assert {m.body.decode() for m in dead} <= {SEALED + "dead one", SEALED + "dead two"}
    origin = QueueName("000000000000", "eu-west-1", "work")
    assert [m.sealed_as for m in dead] == [SealedAs(origin, m.message_id) for m in dead]
    (ordered,) = driver.take(full.ordered_ids["dead"]).messages
    assert isinstance(ordered.sealed_as, SealedAs)
    assert ordered.sealed_as.queue.name == "work.fifo"


def test_an_exhausted_message_goes_to_the_dead_letter_queue(moved: Moved) -> None:
    driver, full = moved
    driver.wait(30_000)
    driver.upkeep()
    assert driver.counts(full.ids["work"]) == (0, 0, 0)
    bodies = driver.bodies(full.ids["dead"]) + driver.bodies(full.ids["archive"])
    assert SEALED + "exhausted" in bodies


def test_a_move_task_goes_on(moved: Moved) -> None:
    driver, _ = moved
    dead = ListMoves(QueueName("000000000000", "eu-west-1", "dead"), 1)
    (before,) = driver.run(dead)
    assert (before.status, before.moved, before.to_move) == ("RUNNING", 1, 2)
    driver.wait(1000)
    driver.upkeep()
    (after,) = driver.run(dead)
    assert (after.task_id, after.status, after.moved) == (before.task_id, "COMPLETED", 2)


def test_a_deleted_name_stays_in_quarantine(moved: Moved) -> None:
    driver, _ = moved
    assert driver.run(create_queue("deleted")) == QueueDeletedRecently()
    driver.wait(60_000)
    driver.create("deleted")


def test_a_noisy_tenant_stays_behind_the_quiet_ones(moved: Moved) -> None:
    driver, _ = moved
    ((queue_id,),) = driver.query("SELECT id FROM queue WHERE name = ?", "fair")
    driver.wait(5000)
    assert driver.bodies(queue_id, 1) == ["quiet"]
    assert driver.bodies(queue_id, 1) == ["F"]


def test_queue_time_is_not_earlier_than_before(moved: Moved) -> None:
    driver, full = moved
    assert driver.store.latest_ms() >= full.now_ms - 1000
