"""kill -9 in the middle of moves: each message is in exactly one queue, and the task knows."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from stanchion.store.moves import ListMoves
from stanchion.store.sqlite import SqliteStore
from tests.store.conftest import RESERVE_BYTES
from tests.store.driver import Driver
from tests.store.redrive import VISIBILITY_MS, Queues

ROUNDS = 3
STEPS_PER_ROUND = 10
MESSAGES = 200
WORKER = """
import sys
from pathlib import Path
from stanchion.store.contract import Upkeep
from stanchion.store.moves import StartMove
from stanchion.store.sqlite import SqliteStore
from tests.store.driver import Driver
from tests.store.redrive import Queues

is_fifo = sys.argv[2] == "fifo"
driver = Driver(SqliteStore.open(Path(sys.argv[1]), reserve_bytes=65536), int(sys.argv[3]))
work, dead = int(sys.argv[4]), int(sys.argv[5])
claim = driver.take if is_fifo else driver.claim
number = int(sys.argv[6])
while True:
    # What is received for the last time here is moved there, and back again by a task.
    claim(work, 10, 1)
    driver.wait(2)
    number += 1
    driver.run(StartMove(str(number), dead, None, None, 100))
    driver.run(Upkeep(limit=7))
    print(driver.now_ms, number, flush=True)
"""


@pytest.mark.parametrize("is_fifo", [False, True], ids=["standard", "fifo"])
def test_a_kill_leaves_each_message_in_one_queue(tmp_path: Path, is_fifo: bool) -> None:
    driver = Driver(SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES))
    queues = Queues(driver, is_fifo)
    for name in ("work", "dead"):
        queues.create(name)
    queues.set("work", "dead", 1)
    bodies = [f"{'abcdefghij'[n % 10]}{n}" for n in range(MESSAGES)]
    queues.send("work", *bodies)
    number = 0
    for _ in range(ROUNDS):
        driver.store.close()
        driver.now_ms, number = _work_and_kill(tmp_path, queues, driver.now_ms + 1, number)
        driver.store = SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)
        driver.now_ms = max(driver.now_ms, driver.store.latest_ms()) + 10
        assert _stored(driver) == Counter(bodies)
        assert sum(sum(queues.counts(name)) for name in ("work", "dead")) == MESSAGES
        for task in driver.run(ListMoves(queues.name("dead"), 100)):
            assert task.moved <= task.to_move
    assert sorted(_drained(queues)) == sorted(bodies)
    driver.store.close()


def _work_and_kill(directory: Path, queues: Queues, now_ms: int, number: int) -> tuple[int, int]:
    """The time and the number of the last round that was acknowledged."""
    kind = "fifo" if queues.is_fifo else "standard"
    ids = (queues.ids["work"], queues.ids["dead"])
    arguments = [str(directory), kind, str(now_ms), *map(str, ids), str(number)]
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(STEPS_PER_ROUND)]
        process.kill()
        lines += process.stdout.readlines()
    now, last = [line for line in lines if line.endswith("\n")][-1].split()
    return int(now), int(last) + 1


def _stored(driver: Driver) -> Counter[str]:
    assert isinstance(driver.store, SqliteStore)
    rows = driver.store._connection.execute(
        "SELECT cast(b.body AS TEXT) FROM message AS m"
        " JOIN message_body AS b ON b.sequence = m.sequence"
    )
    return Counter(body for (body,) in rows)


def _drained(queues: Queues) -> list[str]:
    queues.set("work")
    queues.driver.wait(VISIBILITY_MS)
    queues.driver.upkeep()
    found = []
    for name in ("work", "dead"):
        while claimed := queues.claim(name, 10).messages:
            found += [message.body.decode() for message in claimed]
            queues.delete(name, *(message.lease for message in claimed))
    return found
