"""A long poll at one node is answered when a message comes into view through another.

Requests go over raw sockets, so that what is measured is the nodes and not a client library. The
bound of an ordinary run is loose, because other work shares the machine; TEST_CRASH_ROUNDS,
which asks for a long run, asks for the strict one too.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tools.postgres_server import PostgresServer

from tests.crash.rig import Rig
from tests.nodes.rig import durable_postgres, nodes_on
from tests.raw import read_reply, signed

SENDS = 300
IS_STRICT = "TEST_CRASH_ROUNDS" in os.environ
P99_MAX_MS = 20 if IS_STRICT else 150
ASLEEP_S = 0.008
"""So long after it was asked for, a long poll has found nothing and sleeps."""
LISTENS_S = 1.5
"""By then a node has noticed that it is not alone: it looks every second."""
WAIT_S = 20


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with durable_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def nodes(database: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two of them, which know of each other."""
    with nodes_on(database.url, tmp_path_factory.mktemp("nodes"), 2) as running:
        time.sleep(LISTENS_S)
        yield running


class Caller:
    """One connection to a node, on which a call can be begun and its reply read later."""

    def __init__(self, running: Rig, node: int) -> None:
        self._url = running.servers[node].url
        parts = urlsplit(self._url)
        self._connection = socket.create_connection((parts.hostname, parts.port), timeout=30)

    def begin(self, action: str, **parameters: object) -> None:
        self._connection.sendall(signed(self._url, action, json.dumps(parameters).encode()))

    def reply(self) -> dict[str, Any]:
        status, reply = read_reply(self._connection)
        assert status == 200, reply
        return reply

    def call(self, action: str, **parameters: object) -> dict[str, Any]:
        self.begin(action, **parameters)
        return self.reply()

    def poll(self, queue_url: str, visibility_s: int = 600) -> None:
        """Begin a long poll, and give it the time to fall asleep."""
        self.begin(
            "ReceiveMessage",
            QueueUrl=queue_url,
            WaitTimeSeconds=WAIT_S,
            VisibilityTimeout=visibility_s,
            MaxNumberOfMessages=1,
        )
        time.sleep(ASLEEP_S)

    def received(self) -> list[dict[str, Any]]:
        """What the long poll was answered with."""
        messages: list[dict[str, Any]] = self.reply().get("Messages", [])
        return messages

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def here(nodes: Rig) -> Iterator[Caller]:
    caller = Caller(nodes, 0)
    yield caller
    caller.close()


@pytest.fixture
def there(nodes: Rig) -> Iterator[Caller]:
    """At the other node."""
    caller = Caller(nodes, 1)
    yield caller
    caller.close()


@pytest.mark.parametrize("name", ["woken", "woken.fifo"])
def test_a_send_at_one_node_wakes_the_other(
    nodes: Rig, here: Caller, there: Caller, name: str
) -> None:
    queue_url = nodes.queue(name)
    sends = SENDS if IS_STRICT or name == "woken" else SENDS // 3
    waits_ms = sorted(_wait_ms(here, there, queue_url, n) for n in range(sends))
    p50_ms, p99_ms = (waits_ms[int(sends * share)] for share in (0.5, 0.99))
    print(
        f"{name}: from the reply of a send to that of the long poll at the other node, of {sends}:"
        f" p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms, most {waits_ms[-1]:.1f} ms"
    )
    assert p99_ms < P99_MAX_MS


def _wait_ms(here: Caller, there: Caller, queue_url: str, serial: int) -> float:
    """Nothing is deleted: a message stays in flight, and in FIFO queues has a group of its own."""
    there.poll(queue_url)
    fifo = {"MessageGroupId": f"g{serial}", "MessageDeduplicationId": f"d{serial}"}
    extra = fifo if queue_url.endswith(".fifo") else {}
    here.call("SendMessage", QueueUrl=queue_url, MessageBody=str(serial), **extra)
    sent_s = time.perf_counter()
    (message,) = there.received()
    assert message["Body"] == str(serial)
    return (time.perf_counter() - sent_s) * 1000


@pytest.mark.parametrize("is_told_before", [False, True])
def test_a_delay_that_ends_wakes_the_other_node(
    nodes: Rig, here: Caller, there: Caller, is_told_before: bool
) -> None:
    """Whether the message is there when the long poll begins, or comes while it sleeps."""
    queue_url = nodes.queue(f"delayed-{is_told_before}")
    if not is_told_before:
        there.poll(queue_url)
    here.call("SendMessage", QueueUrl=queue_url, MessageBody="later", DelaySeconds=1)
    sent_s = time.perf_counter()
    if is_told_before:
        there.poll(queue_url)
    assert len(there.received()) == 1
    assert 0.95 < time.perf_counter() - sent_s < 1.0 + _slack_s()


@pytest.mark.parametrize("name", ["leased", "leased.fifo"])
def test_a_visibility_timeout_that_ends_wakes_the_other_node(
    nodes: Rig, here: Caller, there: Caller, name: str
) -> None:
    queue_url = nodes.queue(name)
    fifo = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if "fifo" in name else {}
    here.call("SendMessage", QueueUrl=queue_url, MessageBody="again", **fifo)
    here.poll(queue_url, visibility_s=1)
    assert len(here.received()) == 1
    leased_s = time.perf_counter()
    there.poll(queue_url)
    assert len(there.received()) == 1
    assert 0.9 < time.perf_counter() - leased_s < 1.0 + _slack_s()


def test_a_message_that_is_given_back_wakes_the_other_node(
    nodes: Rig, here: Caller, there: Caller
) -> None:
    queue_url = nodes.queue("given-back")
    here.call("SendMessage", QueueUrl=queue_url, MessageBody="again")
    here.poll(queue_url)
    (message,) = here.received()
    there.poll(queue_url)
    handle = message["ReceiptHandle"]
    here.call(
        "ChangeMessageVisibility", QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=0
    )
    given_back_s = time.perf_counter()
    assert len(there.received()) == 1
    assert time.perf_counter() - given_back_s < _slack_s()


def test_without_its_listening_connection_a_node_looks_once_a_second(
    nodes: Rig, here: Caller, there: Caller, database: PostgresServer
) -> None:
    queue_url = nodes.queue("unheard")
    for serial in range(2):
        there.poll(queue_url)
        ended = database.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name LIKE 'stanchion wakes%'"
        )
        assert int(ended) == 2
        here.call("SendMessage", QueueUrl=queue_url, MessageBody=str(serial))
        sent_s = time.perf_counter()
        assert len(there.received()) == 1
        assert time.perf_counter() - sent_s < 1.1 + _slack_s()
        time.sleep(LISTENS_S)
    # And it listens again.
    assert _wait_ms(here, there, queue_url, 2) < _slack_s() * 1000


def test_a_node_that_is_alone_notifies_nobody(tmp_path: Path) -> None:
    """A commit with a notification waits for others of its kind: that is for more than one node."""
    lines = ["log_statement = 'all'", "log_min_messages = log"]
    with durable_postgres(lines=lines) as server:
        with nodes_on(server.url, tmp_path, 1) as running:
            queue_url = running.queue("alone")
            time.sleep(LISTENS_S)
            sender, receiver = Caller(running, 0), Caller(running, 0)
            for serial in range(10):
                _wait_ms(sender, receiver, queue_url, serial)
            sender.close()
            receiver.close()
        log = server.log.read_text()
        assert "pg_stat_activity" in log, "the log is not of statements"
        assert "pg_notify" not in log


def _slack_s() -> float:
    return 0.05 if IS_STRICT else 0.5
