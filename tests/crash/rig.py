"""Servers under load that are killed and started again on what they left behind.

Made by every suite that does so, here with one server and in `tests/nodes` with several: it owns
the processes and ends them whatever happens. How many rounds a suite runs can be set by
TEST_CRASH_ROUNDS.
"""

import itertools
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.crash.history import History
from tests.crash.workload import Worker, client, now_ms
from tests.server import KEY, Server, start


def rounds(default: int) -> int:
    return int(os.environ.get("TEST_CRASH_ROUNDS", default))


class Rig:
    """One server or several nodes, what they have, and the history of their clients."""

    def __init__(
        self, directory: Path, nodes: int = 1, settings: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory
        self._settings = settings
        self.servers: list[Server] = []
        self.history = History()
        self.downtimes: list[Downtime] = []
        # The load decides what a moment hits; the seed, when that moment is.
        self.moments = random.Random(20260101)
        try:
            for node in range(nodes):
                self.servers.append(self._start(node))
        except BaseException:
            self.end()
            raise
        self.admin = self.client()

    def _start(self, node: int, port: int = 0) -> Server:
        return start(self._directory / f"data{node or ''}", port, self._settings)

    @property
    def server(self) -> Server:
        """The first of them, or the only one."""
        return self.servers[0]

    def client(self, node: int = 0) -> Any:
        return client(self.servers[node].url, KEY)

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

    def worker(
        self, kind: Callable[..., Any], name: str, queue_url: str, node: int | None = 0
    ) -> Any:
        """A worker whose calls go to one node, or to all in turn when `node` is None."""
        if node is None:
            nodes = range(len(self.servers))
            return kind(name, InTurn([self.client(n) for n in nodes]), queue_url, self.history)
        return kind(name, self.client(node), queue_url, self.history)

    def kill(self, node: int = 0) -> None:
        """SIGKILL, and a start on the same data and port."""
        killed_ms = now_ms()
        server = self.servers[node]
        server.kill()
        self.servers[node] = self._start(node, int(server.url.rpartition(":")[2]))
        self.downtimes.append(Downtime(node, killed_ms, now_ms()))

    def kill_under_load(self, times: int, least_s: float, most_s: float) -> None:
        """Any of the nodes, each time."""
        for _ in range(times):
            time.sleep(self.moments.uniform(least_s, most_s))  # the load runs on meanwhile
            self.kill(self.moments.randrange(len(self.servers)))

    def pause(self, seconds: float) -> None:
        """SIGSTOP for so long: nothing answers, and time goes on."""
        self.server.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.server.process.send_signal(signal.SIGCONT)

    def metric(self, name: str, node: int = 0) -> float:
        with urllib.request.urlopen(f"{self.servers[node].url}/metrics", timeout=10) as reply:
            for line in reply.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
        raise AssertionError(f"there is no metric {name}")

    def end(self) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGCONT)
                server.kill()


class Downtime(NamedTuple):
    """From before a node was killed until after it was ready again, as the history tells time."""

    node: int
    killed_ms: float
    ready_ms: float


class InTurn:
    """A client as it is behind a load balancer: each call goes to the next node."""

    def __init__(self, clients: Sequence[Any]) -> None:
        self._clients = itertools.cycle(clients)

    def __getattr__(self, operation: str) -> Any:
        return getattr(next(self._clients), operation)


@contextmanager
def rig(
    directory: Path, nodes: int = 1, settings: Mapping[str, str] | None = None
) -> Iterator[Rig]:
    """A server, or several nodes, for the length of a block."""
    made = Rig(directory, nodes, settings)
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
