"""A node without its database says so, and is ready again by itself when that is back."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tools.postgres_server import PostgresServer

from tests.crash.workload import client
from tests.nodes.processes import get
from tests.postgres import new_server, server
from tests.server import KEY, Server, root_key_file, running

AWAY = (503, "the database cannot be reached\n")
READY = (200, "ready\n")
PATIENCE_S = 20


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    started = new_server()
    yield started
    started.stop()


@pytest.fixture
def node(database: PostgresServer, tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path / "data", settings={"store": database.url}) as started:
        yield started


def health(node: Server, which: str = "ready") -> tuple[int, str]:
    return get(f"{node.url}/health/{which}")


def eventually(check: Callable[[], bool]) -> float:
    """How many seconds it took."""
    start_s = time.monotonic()
    while not check():
        assert time.monotonic() < start_s + PATIENCE_S
        time.sleep(0.05)
    return time.monotonic() - start_s


@pytest.mark.parametrize("fault", ["frozen", "killed"])
def test_a_database_that_is_away_is_told(
    node: Server, database: PostgresServer, fault: str
) -> None:
    assert health(node) == READY
    database.freeze() if fault == "frozen" else database.kill()
    try:
        away_after_s = eventually(lambda: health(node) != READY)
        assert health(node) == AWAY
        assert health(node, "live") == (200, "live\n")
    finally:
        database.thaw() if fault == "frozen" else database.resume()
    eventually(lambda: health(node) == READY)
    assert 3 < away_after_s < 10
    assert client(node.url, KEY).list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


def reading(node: Server, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", get(f"{node.url}/metrics")[1], re.MULTILINE)
    assert found, f"there is no metric {name}"
    return float(found[1])


def test_the_work_of_the_database_is_counted(tmp_path: Path) -> None:
    settings = {
        "store": server().url,
        "postgres_schema": "readings",
        "root_key_file": root_key_file(tmp_path),
    }
    with (
        running(tmp_path / "here", settings=settings) as here,
        running(tmp_path / "there", settings=settings) as there,
    ):
        sqs = client(here.url, KEY)
        queue = sqs.create_queue(QueueName="q")["QueueUrl"]
        before = reading(here, "stanchion_store_statements_total")
        flushes = reading(here, "stanchion_store_flushes_total")
        for _ in range(20):
            sqs.send_message(QueueUrl=queue, MessageBody="hello")
        statements = reading(here, "stanchion_store_statements_total") - before
        # From one that does it all, to BEGIN, the queue, the messages, the counts and COMMIT.
        assert 1 <= statements / (reading(here, "stanchion_store_flushes_total") - flushes) <= 8
        assert 0 <= reading(here, "stanchion_store_connections_in_use") <= 8

        def is_told() -> bool:
            sqs.send_message(QueueUrl=queue, MessageBody="hello")
            received = reading(there, "stanchion_wakeups_received_total")
            return 0 < received <= reading(here, "stanchion_wakeups_sent_total")

        eventually(is_told)
