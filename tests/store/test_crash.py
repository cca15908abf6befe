"""kill -9 of a process that writes: what it acknowledged is there, and leases hold."""

import subprocess
import sys
from pathlib import Path

from stanchion.store.sqlite import SqliteStore
from tests.store.conftest import RESERVE_BYTES
from tests.store.driver import START_MS, Driver, create_queue

ROUNDS = 4
ACKNOWLEDGED_PER_ROUND = 40
WRITER = """
import sys
from pathlib import Path
from stanchion.store.sqlite import SqliteStore
from tests.store.driver import Driver

driver = Driver(SqliteStore.open(Path(sys.argv[1]), reserve_bytes=65536), int(sys.argv[2]))
queue_id, number = int(sys.argv[3]), int(sys.argv[4])
while True:
    driver.wait(1)
    driver.send(queue_id, f"kept-{number}", f"gone-{number}")
    leases = {m.body.decode(): m.lease for m in driver.claim(queue_id, 10, 3_600_000).messages}
    driver.delete(queue_id, leases[f"gone-{number}"])
    print(number, driver.now_ms, flush=True)
    number += 1
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)
    queue_id = Driver(store).run(create_queue()).record.id  # type: ignore[union-attr]
    store.close()
    now_ms, acknowledged = START_MS, 0
    for round_number in range(ROUNDS):
        done, now_ms = _write_and_kill(tmp_path, now_ms, queue_id, round_number * 1_000_000)
        acknowledged += done
        driver = Driver(SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES))
        driver.now_ms = driver.store.latest_ms()
        assert driver.now_ms >= now_ms
        _, in_flight, delayed = driver.counts(queue_id)
        assert delayed == 0
        assert in_flight >= acknowledged
        # What the kill met half done may be visible still; from here on it is in flight too.
        driver.claim(queue_id, 10, 3_600_000)
        now_ms = driver.now_ms + 10
        driver.store.close()
    driver = Driver(SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES), now_ms)
    assert driver.bodies(queue_id) == []
    driver.wait(4_000_000)
    bodies = driver.bodies(queue_id, limit=100_000)
    assert len(bodies) == len(set(bodies))
    assert sum(body.startswith("kept") for body in bodies) >= acknowledged
    assert sum(body.startswith("gone") for body in bodies) <= ROUNDS
    driver.store.close()


def _write_and_kill(
    directory: Path, now_ms: int, queue_id: int, first_number: int
) -> tuple[int, int]:
    """How many rounds were acknowledged, and the time of the last."""
    arguments = [str(directory), str(now_ms), str(queue_id), str(first_number)]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(ACKNOWLEDGED_PER_ROUND)]
        process.kill()
        lines += process.stdout.readlines()
    whole = [line for line in lines if line.endswith("\n")]
    return len(whole), int(whole[-1].split()[1])
