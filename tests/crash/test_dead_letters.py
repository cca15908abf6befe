"""kill -9 while messages change queues: each is in exactly one of them afterwards.

Messages move all the time: most are exhausted by their first receive, and come into view soon.
"""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.crash.checker import violations
from tests.crash.history import Event, Redrive
from tests.crash.rig import Rig, at_work, rig, rounds
from tests.crash.workload import (
    Consumer,
    FifoProducer,
    Producer,
    client,
    delivery_of,
    drain,
    now_ms,
)
from tests.server import KEY

ROUNDS = rounds(50)
MOVE_TASK_ROUNDS = rounds(5)


class Exhauster(Consumer):
    """Receives, deletes one in four, and leaves the rest to be moved."""

    visibility_s = 1

    def step(self) -> None:
        for message in self.receive(wait_s=0):
            self._serial += 1
            if self._serial % 4 == 0:
                self.delete(delivery_of(message))


class Undertaker(Exhauster):
    """The same on a dead-letter queue, at times: most of what arrives stays until the end."""

    def step(self) -> None:
        super().step()
        self._stopping.wait(0.5)


class SlowProducer(Producer):
    """Leaves the server time for other things than sends."""

    def step(self) -> None:
        super().step()
        self._stopping.wait(0.01)


def _with_dead_letters(running: Rig, name: str, suffix: str = "") -> tuple[str, str]:
    """A queue and its dead-letter queue, which gets what has been received once."""
    target = running.queue(f"{name}-dead{suffix}")
    policy = {"deadLetterTargetArn": running.arn(target), "maxReceiveCount": 1}
    source = running.queue(f"{name}{suffix}", {"RedrivePolicy": json.dumps(policy)})
    running.history.redrives[f"{name}{suffix}"] = Redrive(f"{name}-dead{suffix}", 1)
    return source, target


@pytest.mark.timeout(300)
def test_moves_to_dead_letter_queues(tmp_path: Path) -> None:
    with rig(tmp_path) as running:
        source, target = _with_dead_letters(running, "work")
        fifo_source, fifo_target = _with_dead_letters(running, "work", ".fifo")
        workers = [
            running.worker(SlowProducer, "p", source),
            running.worker(SlowFifoProducer, "fp", fifo_source),
            running.worker(Exhauster, "c", source),
            running.worker(Exhauster, "fc", fifo_source),
            running.worker(Undertaker, "u", target),
            running.worker(Undertaker, "fu", fifo_target),
        ]
        with at_work(workers):
            running.kill_under_load(ROUNDS, 0.1, 0.5)
        moved = sum(
            delivery.receive_count > 1
            for event in running.history.of("receive", "ok")
            for delivery in event.deliveries
        )
        # What is left in the sources moves on, and is drained from the dead-letter queues.
        queues = (source, fifo_source, target, fifo_target)
        drain(*(running.worker(Consumer, "drain", url) for url in queues))
        assert violations(running.history) == []
        _assert_each_is_gone_once(running)
        assert moved > ROUNDS, "too few moves to show anything"


class SlowFifoProducer(FifoProducer):
    """Leaves the server time for other things than sends."""

    groups = 40

    def step(self) -> None:
        super().step()
        self._stopping.wait(0.01)


def _assert_each_is_gone_once(running: Rig) -> None:
    """Whatever was acknowledged has been deleted from one queue, and from no other."""
    deleted = Counter(event.token for event in running.history.of("delete", "ok"))
    unknown = {event.token for event in running.history.of("delete", "unknown")}
    for event in running.history.of("send", "ok"):
        assert deleted[event.token] == 1 or event.token in unknown, event.token


def test_a_move_task_is_interrupted(tmp_path: Path) -> None:
    """Back to the source, at a rate that leaves time for a few kills on the way."""
    with rig(tmp_path) as running:
        source, target = _with_dead_letters(running, "redriven")
        sent = _send_batches(running, source, 400)
        _exhaust(running, source, target, len(sent))
        running.history.redrives.clear()  # they come back as new messages, to be received again
        running.history.events.append(Event("admin", "move", now_ms(), now_ms(), "ok"))
        arn = running.arn(target)
        running.admin.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=100)
        for _ in range(MOVE_TASK_ROUNDS):
            time.sleep(running.moments.uniform(0.1, 0.7))
            running.kill()
        task = _finished(running, arn)
        assert task["Status"] == "COMPLETED"
        assert task["ApproximateNumberOfMessagesMoved"] == len(sent)
        assert _counted(running, target) == 0
        drain(running.worker(Consumer, "drain", source))
        assert violations(running.history) == []
        arrived = Counter(event.token for event in running.history.of("delete", "ok"))
        assert arrived == Counter(sent)


def _send_batches(running: Rig, queue_url: str, messages: int) -> list[str]:
    """Send that many one by one, acknowledged; their tokens."""
    producer = running.worker(PlainProducer, "p", queue_url)
    for _ in range(messages):
        producer.step()
    return [event.token for event in running.history.of("send", "ok")]


class PlainProducer(Producer):
    """Delays nothing."""

    delays_one_in = 0


def _exhaust(running: Rig, source: str, target: str, messages: int) -> None:
    """Receive all there is until everything is in the dead-letter queue."""
    consumer = running.worker(Consumer, "c", source)
    consumer.visibility_s = 0
    deadline = time.monotonic() + 30
    while _counted(running, target) < messages:
        assert time.monotonic() < deadline, "the messages do not move"
        consumer.receive(wait_s=0)


def _counted(running: Rig, queue_url: str) -> int:
    name = "ApproximateNumberOfMessages"
    admin = client(running.server.url, KEY)
    reply = admin.get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])
    return int(reply["Attributes"][name])


def _finished(running: Rig, arn: str, limit_s: float = 30) -> dict[str, Any]:
    admin = client(running.server.url, KEY)
    deadline = time.monotonic() + limit_s
    while True:
        (task,) = admin.list_message_move_tasks(SourceArn=arn)["Results"]
        if task["Status"] != "RUNNING":
            return dict(task)
        assert time.monotonic() < deadline, f"the task does not end: {task}"
        time.sleep(0.1)
