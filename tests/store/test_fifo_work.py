"""What a FIFO queue costs does not grow with what waits in it; counted in steps of SQLite."""

import pytest

from stanchion.store.contract import Command, Delete
from stanchion.store.sqlite import SqliteStore
from tests.store.driver import Driver, claim_fifo

_PROGRESS_STEPS = 10
_GROWTH_MAX = 1.5


def steps(driver: Driver, *commands: Command[object]) -> int:
    """How much one flush costs, in tens of the virtual machine's instructions."""
    assert isinstance(driver.store, SqliteStore)
    connection = driver.store._connection
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    connection.set_progress_handler(count, _PROGRESS_STEPS)
    driver.flush(*commands)
    connection.set_progress_handler(None, 0)
    return counted


def cycle(driver: Driver, queue_id: int) -> list[int]:
    """The work of a send, a claim, a repeated claim and a delete."""
    sent = steps(driver, *[driver.sending(queue_id, "y1", "z1")] * 4)
    claimed = steps(driver, claim_fifo(queue_id, 2), claim_fifo(queue_id, 2))
    leases = [message.lease for message in driver.take(queue_id, 1, attempt="one").messages]
    repeated = steps(driver, claim_fifo(queue_id, 1, attempt_id="one"))
    deleted = steps(driver, Delete(queue_id, tuple(leases)))
    return [sent, claimed, repeated, deleted]


def fill(driver: Driver, queue_id: int, messages: int, groups: str) -> None:
    for start in range(0, messages, 500):
        driver.send_fifo(queue_id, *[groups[n % len(groups)] for n in range(start, start + 500)])


@pytest.mark.parametrize("groups", ["a", "abcdefghijklmnopqrstuvw"])
def test_what_waits_behind_blocked_groups_costs_nothing(groups: str) -> None:
    work = []
    for messages in (500, 5000):
        driver = Driver(SqliteStore.in_memory())
        queue = driver.create_fifo()
        fill(driver, queue.id, messages, groups)
        for _ in groups:
            driver.take(queue.id, 1, 3_600_000)
        work.append(cycle(driver, queue.id))
        driver.store.close()
    few, many = work
    assert all(after < before * _GROWTH_MAX for before, after in zip(few, many, strict=True)), work


def test_the_number_of_groups_costs_nothing() -> None:
    work = []
    for groups in (500, 5000):
        driver = Driver(SqliteStore.in_memory())
        queue = driver.create_fifo()
        fill(driver, queue.id, groups, "".join(map(chr, range(0x4E00, 0x4E00 + groups))))
        # Half of them in flight, half of them ready.
        for _ in range(groups // 20):
            driver.take(queue.id, 10, 3_600_000)
        work.append(cycle(driver, queue.id))
        driver.store.close()
    few, many = work
    assert all(after < before * _GROWTH_MAX for before, after in zip(few, many, strict=True)), work
