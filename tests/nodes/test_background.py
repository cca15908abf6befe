"""Background work is done once, whichever node does it, and goes on when the one at it dies.

Every node tries all the time; what must come out is what one of them alone would have done.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tools.postgres_server import PostgresServer

from stanchion.store.contract import CountMessages, MessageCounts, QueueCreated, Send, Upkeep
from stanchion.store.postgres.engine import PostgresStore
from tests.crash.rig import Rig
from tests.nodes.rig import nodes_on
from tests.postgres import SCHEMA, shared_database
from tests.store.driver import RETENTION_MS, create_queue, message

NODES = 3
MOVED = 2000
MOVED_PER_S = 500
EXHAUSTED = 300
PATIENCE_S = 30


@pytest.fixture
def running(postgres: PostgresServer, tmp_path: Path) -> Iterator[Rig]:
    with nodes_on(postgres.url, tmp_path, NODES) as nodes:
        yield nodes


def test_a_move_task_goes_on_at_the_node_that_is_left(running: Rig) -> None:
    """Two of three nodes are killed in the middle of it, one after the other, and stay dead."""
    target, source = _with_dead_letters(running, "moved")
    _send(running, source, MOVED)
    _receive_all_once(running, source, MOVED, visibility_s=0)
    _await_count(running.client(2), target, MOVED)
    sqs, arn = running.client(2), running.arn(target)
    sqs.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=MOVED_PER_S)
    for node, share in ((0, 0.25), (1, 0.6)):
        _await_moved(sqs, arn, int(MOVED * share))
        running.servers[node].kill()
    task = _await_moved(sqs, arn, MOVED)
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", MOVED)
    assert _counts(sqs, target) == 0
    assert _drained(sqs, source) == {str(n): 1 for n in range(MOVED)}


def test_exhausted_messages_are_moved_once_by_nobody_in_particular(running: Rig) -> None:
    """Nobody receives from the source: the nodes find out by themselves, and one is killed."""
    target, source = _with_dead_letters(running, "exhausted")
    _send(running, source, EXHAUSTED)
    _receive_all_once(running, source, EXHAUSTED, visibility_s=1)
    running.servers[0].kill()
    sqs = running.client(1)
    _await_count(sqs, target, EXHAUSTED)
    assert _counts(sqs, source) == 0
    assert _drained(sqs, target) == {str(n): 1 for n in range(EXHAUSTED)}


def _with_dead_letters(running: Rig, name: str) -> tuple[str, str]:
    """A dead-letter queue, and the queue whose messages go there after one receive."""
    target = running.queue(f"{name}-dead")
    policy = {"deadLetterTargetArn": running.arn(target), "maxReceiveCount": 1}
    return target, running.queue(name, {"RedrivePolicy": json.dumps(policy)})


def _send(running: Rig, queue_url: str, messages: int) -> None:
    def send(node: int) -> None:
        sqs = running.client(node)
        for start in range(10 * node, messages, 10 * NODES):
            numbers = map(str, range(start, min(start + 10, messages)))
            entries = [{"Id": n, "MessageBody": n} for n in numbers]
            assert "Failed" not in sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)

    with ThreadPoolExecutor(NODES) as pool:
        list(pool.map(send, range(NODES)))


def _receive_all_once(running: Rig, queue_url: str, messages: int, visibility_s: int) -> None:
    """Nothing that was received can be received again, so this ends."""

    def receive(node: int) -> int:
        sqs, received = running.client(node), 0
        while batch := _batch(sqs, queue_url, visibility_s, wait_s=1):
            received += len(batch)
        return received

    with ThreadPoolExecutor(NODES) as pool:
        assert sum(pool.map(receive, range(NODES))) == messages


def _batch(sqs: Any, queue_url: str, visibility_s: int, wait_s: int = 0) -> list[dict[str, Any]]:
    reply = sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=visibility_s,
        WaitTimeSeconds=wait_s,
    )
    messages: list[dict[str, Any]] = reply.get("Messages", [])
    return messages


def _drained(sqs: Any, queue_url: str) -> Counter[str]:
    """How often each body was there."""
    bodies: Counter[str] = Counter()
    while batch := _batch(sqs, queue_url, 600):
        bodies.update(message["Body"] for message in batch)
    return bodies


def _counts(sqs: Any, queue_url: str) -> int:
    """Messages in any state."""
    names = [f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed")]
    reply = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)
    return sum(map(int, reply["Attributes"].values()))


def _await_count(sqs: Any, queue_url: str, messages: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while (found := _counts(sqs, queue_url)) != messages:
        assert time.monotonic() < deadline_s, f"there are {found} messages, not {messages}"
        time.sleep(0.05)


def _await_moved(sqs: Any, arn: str, messages: int) -> dict[str, Any]:
    """The task, once it has moved so many, or ended."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        (task,) = sqs.list_message_move_tasks(SourceArn=arn)["Results"]
        if task["Status"] != "RUNNING":
            return dict(task)
        if messages <= task["ApproximateNumberOfMessagesMoved"] < MOVED:
            return dict(task)
        assert time.monotonic() < deadline_s, f"the task stands still: {task}"
        time.sleep(0.02)


def test_messages_expire_once() -> None:
    """Three nodes at it at once, in small steps: what is newer stays, and the counts are exact."""
    shared = shared_database()
    shared.empty()

    async def run() -> None:
        stores = [await PostgresStore.open(shared.url, schema=SCHEMA) for _ in range(NODES)]
        now_ms = stores[0].latest_ms()
        (created,) = (await stores[0].execute([create_queue()], now_ms)).answers
        assert isinstance(created, QueueCreated)
        queue_id, later_ms = created.record.id, now_ms + RETENTION_MS + 1
        old, new = (Send(queue_id, (message(),)) for _ in range(2))
        await stores[0].execute([old] * 100, now_ms)
        await stores[0].execute([new] * 50, later_ms)
        for _ in range(20):
            await asyncio.gather(*(s.execute([Upkeep(limit=10)], later_ms) for s in stores))
        (counts,) = (await stores[0].execute([CountMessages(queue_id)], later_ms)).answers
        assert counts == MessageCounts(50, 0, 0)
        ((rows,),) = await asyncio.to_thread(shared.query, "SELECT count(*) FROM message")
        assert rows == 50
        for store in stores:
            await store.close()

    asyncio.run(run())
