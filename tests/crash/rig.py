"""A server under load that is killed and started again on what it left on the disk.

Made by every suite of this folder: it owns the process and the workers, and ends both whatever
happens. How many rounds a suite runs can be set by STANCHION_CRASH_ROUNDS.
"""

import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.crash.history import History
from tests.crash.workload import Worker, client
from tests.server import KEY, Server, start


def rounds(default: int) -> int:
    return int(os.environ.get("STANCHION_CRASH_ROUNDS", default))


class Rig:
    """One server, its data, and the history of its clients."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "data"
        self.server: Server = start(self._data)
        self._port = int(self.server.url.rpartition(":")[2])
        self.history = History()
        self.admin = self.client()
        # The load decides what a moment hits; the seed, when that moment is.
        self.moments = random.Random(20260101)

    def client(self) -> Any:
        return client(self.server.url, KEY)

    def queue(self, name: str, attributes: Mapping[str, str] | None = None) -> str:
        """Create a queue; its URL. A name that ends in `.fifo` makes a FIFO queue."""
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        reply = self.admin.create_queue(QueueName=name, Attributes=fifo | dict(attributes or {}))
        url: str = reply["QueueUrl"]
        return url

    def arn(self, queue_url: str) -> str:
        reply = self.admin.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        arn: str = reply["Attributes"]["QueueArn"]
        return arn

    def worker(self, kind: Callable[..., Any], name: str, queue_url: str) -> Any:
        return kind(name, self.client(), queue_url, self.history)

    def kill(self) -> None:
        """SIGKILL, and a start on the same data and port."""
        self.server.kill()
        self.server = start(self._data, self._port)

    def kill_under_load(self, times: int, least_s: float, most_s: float) -> None:
        for _ in range(times):
            time.sleep(self.moments.uniform(least_s, most_s))  # the load runs on meanwhile
            self.kill()

    def pause(self, seconds: float) -> None:
        """SIGSTOP for so long: nothing answers, and time goes on."""
        self.server.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.server.process.send_signal(signal.SIGCONT)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"{self.server.url}/metrics", timeout=10) as reply:
            for line in reply.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
        raise AssertionError(f"there is no metric {name}")

    def end(self) -> None:
        if self.server.process.poll() is None:
            self.server.process.send_signal(signal.SIGCONT)
            self.server.kill()


@contextmanager
def rig(directory: Path) -> Iterator[Rig]:
    """A server for the length of a block."""
    made = Rig(directory)
    try:
        yield made
    finally:
        made.end()


@contextmanager
def at_work(workers: Sequence[Worker]) -> Iterator[None]:
    """Workers run for the length of a block, and are through with their last step after it."""
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join(20)
