"""Many clients and no kills: the same rules hold over what they saw, and nothing is left behind."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.crash.checker import violations
from tests.crash.history import Event
from tests.crash.rig import Rig, at_work, rig
from tests.crash.workload import (
    Consumer,
    FifoConsumer,
    FifoProducer,
    Producer,
    drain,
    now_ms,
)
from tests.raw import signed


def test_standard_and_fifo_queues(tmp_path: Path) -> None:
    with rig(tmp_path) as running:
        standard, fifo = running.queue("busy"), running.queue("busy.fifo")
        workers = [
            *(running.worker(Producer, f"p{n}", standard) for n in range(2)),
            *(running.worker(Consumer, f"c{n}", standard) for n in range(2)),
            *(running.worker(FifoProducer, f"fp{n}", fifo) for n in range(2)),
            *(running.worker(FifoConsumer, f"fc{n}", fifo) for n in range(3)),
        ]
        with at_work(workers):
            time.sleep(4)
        drains = [running.worker(Consumer, "drain", url) for url in (standard, fifo)]
        drain(*drains)
        assert violations(running.history) == []
        assert len(running.history.of("delete", "ok")) > 100, "too little load to show anything"
        assert len(running.history.of("send", "unknown")) == 0


def test_purge_and_delete_leave_nothing(tmp_path: Path) -> None:
    """S9, while producers and consumers go on; what is sent afterwards is not touched."""
    with rig(tmp_path) as running:
        purged, deleted = running.queue("purged"), running.queue("deleted")
        workers = [
            running.worker(kind, f"{kind.__name__}-{name}", url)
            for kind in (Producer, Consumer)
            for name, url in (("purged", purged), ("deleted", deleted))
        ]
        with at_work(workers):
            time.sleep(0.7)
            _empty(running, "purge", purged)
            time.sleep(0.4)
            _empty(running, "delete_queue", deleted)
            running.kill()
            time.sleep(0.7)
        drain(running.worker(Consumer, "drain", purged))
        assert violations(running.history) == []


def _empty(running: Rig, op: str, queue_url: str) -> None:
    called_ms = now_ms()
    act = running.admin.purge_queue if op == "purge" else running.admin.delete_queue
    act(QueueUrl=queue_url)
    name = queue_url.rpartition("/")[2]
    event = Event("admin", op, called_ms, now_ms(), "ok", queue=name)  # type: ignore[arg-type]
    running.history.events.append(event)


def test_clients_that_vanish_in_long_polls(tmp_path: Path) -> None:
    """A message that was handed to nobody comes back; no waiter stays behind."""
    with rig(tmp_path) as running:
        standard, fifo = running.queue("quiet"), running.queue("quiet.fifo")
        for serial in range(3):
            pollers = [_Poller(running, url) for url in (standard, fifo) for _ in range(8)]
            _until(lambda: running.metric("stanchion_long_polls") == 16)
            for poller in pollers[:: 1 if serial == 2 else 2]:
                poller.vanish()
            if serial < 2:
                running.worker(Producer, f"p{serial}", standard).step()
                running.worker(FifoProducer, f"f{serial}", fifo).step()
            for poller in pollers:
                poller.vanish()
            _until(lambda: running.metric("stanchion_long_polls") == 0)
        drains = [running.worker(Consumer, "drain", url) for url in (standard, fifo)]
        drain(*drains)
        assert violations(running.history) == []


class _Poller:
    """A long poll on a connection of its own, whose client can go away in the middle of it."""

    def __init__(self, running: Rig, queue_url: str) -> None:
        url = urlsplit(running.server.url)
        self._connection = socket.create_connection((url.hostname, url.port), timeout=10)
        parameters = {
            "QueueUrl": queue_url,
            "WaitTimeSeconds": 20,
            "VisibilityTimeout": 1,
            "MaxNumberOfMessages": 1,
        }
        body = json.dumps(parameters).encode()
        self._connection.sendall(signed(running.server.url, "ReceiveMessage", body))
        # Whether it was handed a message, nobody will know.
        queue = queue_url.rpartition("/")[2]
        event = Event("gone", "receive", now_ms(), now_ms(), "unknown", queue=queue)
        running.history.events.append(event)

    def vanish(self) -> None:
        self._connection.close()


def _until(reached: Callable[[], bool], limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
