"""kill -9 under load: nothing acknowledged is lost, nothing deleted returns, leases hold.

Every round kills the server at another moment of the load, starts it again on what it left on the
disk, and lets the same clients go on. Their history is judged once, at the end, after a drain.
"""

from pathlib import Path

from tests.crash.checker import violations
from tests.crash.history import History
from tests.crash.rig import Rig, at_work, rig, rounds
from tests.crash.workload import Consumer, FifoConsumer, FifoProducer, Producer, drain

ROUNDS = rounds(20)
FIFO_ROUNDS = rounds(10)


def test_standard_queue(tmp_path: Path) -> None:
    with rig(tmp_path) as running:
        queue_url = running.queue("crash")
        workers = [
            *(running.worker(Producer, f"p{n}", queue_url) for n in range(4)),
            *(running.worker(Consumer, f"c{n}", queue_url) for n in range(3)),
        ]
        with at_work(workers):
            running.kill_under_load(ROUNDS, 0.1, 0.6)
        drain(running.worker(Consumer, "drain", queue_url))
        _judge(running, running.history, ROUNDS)


def test_fifo_queue(tmp_path: Path) -> None:
    """Producers share groups and repeat what was not answered; consumers repeat attempts."""
    with rig(tmp_path) as running:
        queue_url = running.queue("crash.fifo")
        workers = [
            *(running.worker(FifoProducer, f"p{n}", queue_url) for n in range(3)),
            *(running.worker(FifoConsumer, f"c{n}", queue_url) for n in range(3)),
        ]
        with at_work(workers):
            running.kill_under_load(FIFO_ROUNDS, 0.2, 0.8)
        drain(running.worker(Consumer, "drain", queue_url))
        _judge(running, running.history, FIFO_ROUNDS)


def _judge(running: Rig, history: History, rounds: int) -> None:
    assert running.server.stop() == 0
    assert violations(history) == []
    assert len(history.of("send", "ok")) > rounds * 10, "too little load to show anything"
    assert len(history.of("delete", "ok")) > rounds * 5, "too little load to show anything"
    assert history.of("send", "unknown"), "no call was under way at any kill"
