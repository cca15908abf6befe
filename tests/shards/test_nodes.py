"""Real servers, a home and a shard as PostgreSQL servers of their own, and clients that judge."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

pytest.importorskip("asyncpg")

from tests.crash.checker import violations
from tests.crash.rig import InTurn, Rig, at_work
from tests.crash.workload import (
    Consumer,
    FifoConsumer,
    FifoProducer,
    Producer,
    delivery_of,
    drain,
)
from tests.postgres import new_server
from tests.server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, root_key_file

NODES = 2
SHARD = (sys.executable, "-m", "stanchion", "shard")
BY_GROUP = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}


class Shards:
    """A home, a shard, and what servers and the command line are told of them."""

    def __init__(self, directory: Path) -> None:
        self.home, self.a = new_server(), new_server()
        self.alone = {"store": self.home.url, "root_key_file": root_key_file(directory)}
        self.settings = {**self.alone, "shards": f"a={self.a.url}"}

    def stop(self) -> None:
        self.home.stop()
        self.a.stop()

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STANCHION_")}
        return subprocess.run(
            [*SHARD, *arguments, "--store", self.home.url, "--shards", self.settings["shards"]],
            capture_output=True,
            text=True,
            timeout=30,
            env=environment,
            check=False,
        )

    def listed(self) -> dict[str, dict[str, str]]:
        return {row["name"]: row for row in json.loads(self.cli("list", "--json").stdout)}


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[Shards]:
    made = Shards(tmp_path)
    yield made
    made.stop()


@contextmanager
def nodes(directory: Path, settings: dict[str, str]) -> Iterator[Rig]:
    made = Rig(directory, NODES, settings)
    try:
        yield made
    finally:
        made.end()


@contextmanager
def opened(directory: Path, shards: Shards) -> Iterator[Rig]:
    """Servers that know the shard, which is open."""
    with nodes(directory, shards.settings) as running:
        until(lambda: not shards.cli("open", "a").returncode, "opened")
        time.sleep(1.2)  # servers look once a second
        yield running


def until(reached: Callable[[], bool], what: str, limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < deadline, f"not {what} in time"
        time.sleep(0.2)


def queue(running: Rig, name: str, spread: str = "all") -> str:
    attributes = {"FifoQueue": "true", **BY_GROUP} if name.endswith(".fifo") else {}
    tags = {"stanchion:spread": spread}
    reply = running.admin.create_queue(QueueName=name, Attributes=attributes, tags=tags)
    url: str = reply["QueueUrl"]
    return url


def load(running: Rig, standard: str, fifo: str) -> list[Any]:
    return [
        *(running.worker(Producer, f"p{n}", standard, n) for n in range(NODES)),
        *(running.worker(Consumer, f"c{n}", standard, n) for n in range(NODES)),
        *(running.worker(FifoProducer, f"fp{n}", fifo, n) for n in range(NODES)),
        *(running.worker(FifoConsumer, f"fc{n}", fifo, n) for n in range(NODES)),
    ]


def judge(running: Rig, *urls: str) -> None:
    drain(*(running.worker(Consumer, "drain", url) for url in urls))
    assert violations(running.history) == []
    assert len(running.history.of("delete", "ok")) > 100, "too little load to show anything"


def test_a_shard_that_is_killed_under_load(tmp_path: Path, shards: Shards) -> None:
    with opened(tmp_path, shards) as running:
        standard, fifo = queue(running, "spread"), queue(running, "spread.fifo")
        with at_work(load(running, standard, fifo)):
            time.sleep(1)
            shards.a.kill()
            down_ms = time.time() * 1000
            time.sleep(2)
            shards.a.resume()
            up_ms = time.time() * 1000
            time.sleep(2)
        meanwhile = [
            event
            for event in running.history.of("send", "ok")
            if event.queue == "spread" and down_ms + 500 < event.call_ms < up_ms
        ]
        assert len(meanwhile) > 10, "sends go on through the other shard"
        judge(running, standard, fifo)


def test_a_shard_is_drained_under_load(tmp_path: Path, shards: Shards) -> None:
    with opened(tmp_path, shards) as running:
        urls = [queue(running, name, "1") for name in ("q0", "q1")]
        fifos = [queue(running, name, "1") for name in ("q0.fifo", "q1.fifo")]
        assert shards.listed()["a"]["queues"] == "2", "one of each is there"
        held = hold(running, urls)
        workers = [
            worker
            for n, (url, fifo) in enumerate(zip(urls, fifos, strict=True))
            for worker in (
                running.worker(Producer, f"p{n}", url, None),
                running.worker(Consumer, f"c{n}", url, None),
                running.worker(FifoProducer, f"fp{n}", fifo, None),
                running.worker(FifoConsumer, f"fc{n}", fifo, None),
            )
        ]
        with at_work(workers):
            time.sleep(1)
            assert shards.cli("drain", "a").returncode == 0
            time.sleep(2)
            for url, handle in held:
                running.admin.delete_message(QueueUrl=url, ReceiptHandle=handle)
            until(lambda: shards.listed()["a"]["state"] == "drained", "drained")
            time.sleep(0.5)
        assert shards.listed()["a"]["messages"] == "0"
        judge(running, *urls, *fifos)
        assert shards.cli("remove", "a").returncode == 0


def hold(running: Rig, urls: list[str]) -> list[tuple[str, str]]:
    """Messages that are leased for long: their handles, which have to work after all."""
    held = []
    for url in urls:
        producer = running.worker(Producer, f"held-{url[-1]}", url)
        for _ in range(3):
            producer.step()
        found = running.worker(Consumer, "holder", url)
        found.visibility_s = 600
        for message in found.receive():
            held.append((url, message["ReceiptHandle"]))
            assert delivery_of(message).intact
    assert len(held) == 6
    return held


def test_a_shard_is_added_to_running_servers(tmp_path: Path, shards: Shards) -> None:
    """One server after the other is stopped in good order and started with the new setting."""
    with nodes(tmp_path, shards.alone) as running:
        url = running.queue("orders")
        clients = [patient(server.url) for server in running.servers]
        workers = [
            Producer("p", InTurn(clients), url, running.history),
            Consumer("c", InTurn([patient(s.url) for s in running.servers]), url, running.history),
        ]
        with at_work(workers):
            for node in range(NODES):
                refused = shards.cli("open", "a")
                assert refused.returncode == 2, "not while there is a server that does not know it"
                restart(running, node, shards.settings)
            until(lambda: not shards.cli("open", "a").returncode, "opened")
            time.sleep(1.5)
            spread = queue(running, "spread")
            assert shards.listed()["a"]["queues"] == "1"
            time.sleep(0.5)
        assert [event for event in running.history.events if event.outcome != "ok"] == []
        judge(running, url, spread)


def patient(url: str) -> Any:
    """A client that tries again, as they are by default."""
    return boto3.client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
        config=Config(retries={"mode": "standard", "total_max_attempts": 20}),
    )


def restart(running: Rig, node: int, settings: dict[str, str]) -> None:
    server = running.servers[node]
    assert server.stop() == 0
    running._settings = settings
    running.servers[node] = running._start(node, int(server.url.rpartition(":")[2]))


def test_a_server_without_shards_is_refused_once_they_have_queues(
    tmp_path: Path, shards: Shards
) -> None:
    with opened(tmp_path, shards):
        pass
    for settings, reason in (
        (shards.alone, "name a in shards"),
        ({**shards.alone, "store": shards.a.url}, "the database is shard 1 of a home"),
    ):
        refused = serve(tmp_path, settings)
        assert refused.returncode == 2
        assert reason in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def serve(directory: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A server that does not start."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STANCHION_")}
    environment |= {f"STANCHION_{name.upper()}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "stanchion", "serve", "--data-dir", str(directory), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
        check=False,
    )


def test_a_server_starts_while_a_shard_is_down(tmp_path: Path, shards: Shards) -> None:
    with opened(tmp_path, shards) as running:
        url = queue(running, "spread")
        shards.a.kill()
        running.kill()
        Producer("p", running.client(), url, running.history).step()
        assert len(running.history.of("send", "ok")) == 1
        shards.a.resume()
        until(lambda: shards.listed()["a"]["messages"] != "unknown", "up")
        time.sleep(2)
        worker = running.worker(Producer, "again", url)
        for _ in range(6):
            worker.step()
        drain(running.worker(Consumer, "drain", url))
        assert violations(running.history) == []
        assert running.admin.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
