"""A server that stands still, or is started again and again, while its clients go on."""

import time
from pathlib import Path

from tests.crash.checker import violations
from tests.crash.rig import at_work, rig
from tests.crash.workload import VISIBILITY_S, Consumer, FifoConsumer, FifoProducer, Producer, drain


def test_leases_that_run_out_while_the_server_is_stopped(tmp_path: Path) -> None:
    """SIGSTOP for longer than leases last: each runs out once, and nothing is handed out twice."""
    with rig(tmp_path) as running:
        standard, fifo = running.queue("paused"), running.queue("paused.fifo")
        workers = [
            running.worker(Producer, "p", standard),
            *(running.worker(Consumer, f"c{n}", standard) for n in range(2)),
            running.worker(FifoProducer, "fp", fifo),
            *(running.worker(FifoConsumer, f"fc{n}", fifo) for n in range(2)),
        ]
        with at_work(workers):
            for _ in range(2):
                time.sleep(0.5)
                running.pause(VISIBILITY_S + 0.3)
            time.sleep(0.5)
        drains = [running.worker(Consumer, "drain", url) for url in (standard, fifo)]
        drain(*drains)
        assert violations(running.history) == []
        assert len(running.history.of("delete", "ok")) > 50, "too little load to show anything"


def test_restart_storm(tmp_path: Path) -> None:
    """Killed as soon as it is ready, over and over: what was there before is there after."""
    with rig(tmp_path) as running:
        standard, fifo = running.queue("storm"), running.queue("storm.fifo")
        producers = [
            running.worker(Producer, "p", standard),
            running.worker(FifoProducer, "fp", fifo),
        ]
        for _ in range(50):
            for producer in producers:
                producer.step()
        with at_work([running.worker(Producer, "q", standard)]):
            running.kill_under_load(8, 0, 0.05)
        drains = [running.worker(Consumer, "drain", url) for url in (standard, fifo)]
        drain(*drains)
        assert violations(running.history) == []
        assert running.server.stop() == 0
