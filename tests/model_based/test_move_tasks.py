"""Move tasks in the middle of everything else: no message is ever lost, and none is doubled.

Which of the waiting messages a task takes next is its own choice, so the reference is a bag of
bodies: what was sent and not deleted is somewhere, exactly once, at every moment.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from stanchion.model import sqs as model
from tests.model_based.driver import Driver, Files, in_postgres
from tests.model_based.profiles import share

MOVES_END_AFTER_PAUSES_MAX = 2_000
destination = st.sampled_from([None, "work", "other"])
rate = st.sampled_from([None, None, 1, 5, 500])


@dataclass(slots=True)
class Item:
    """A message, under whatever message id it has by now."""

    body: str
    queue: str
    """Where it was seen last, with what it looked like there."""
    message_id: str
    seen_at_ms: int
    receive_count: int = 0
    handle: str = ""
    held_until_ms: int = 0
    is_dead_letter: bool = False


class MoveTasks(RuleBasedStateMachine):
    """`work` has the dead-letter queue `dead`; tasks take that to `work`, `other` or the source."""

    suffix = ""
    files: Callable[[], Files] = staticmethod(lambda: None)

    @initialize(messages=st.integers(1, 12), is_moving=st.booleans())
    def start(self, messages: int, is_moving: bool) -> None:
        self.driver = Driver(self.files(), in_flight_max=1000)
        self.items: dict[str, Item] = {}
        self.lost = 0
        self.sent = 0
        self.queues = ["dead", "work", "other"]
        self.handle = ""
        self.rate: int | None = None
        self.started_at_ms = 0
        self.moves = 0
        for name in self.queues:
            redrive = {"deadLetterTargetArn": self._arn("dead"), "maxReceiveCount": 1}
            attributes = {"RedrivePolicy": json.dumps(redrive)} if name == "work" else {}
            if self.suffix:
                attributes["FifoQueue"] = "true"
            request = model.CreateQueueRequest(queue_name=name + self.suffix, attributes=attributes)
            self.driver.call("CreateQueue", request)
        self.bury(messages)
        if is_moving:
            self.start_task(None, None)

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            if self._is_running():
                self.finish()
            self.everything_is_somewhere()
            self.driver.close()

    @property
    def now_ms(self) -> int:
        return self.driver.clock.now_ms()

    def _url(self, name: str) -> str:
        return f"http://localhost/000000000000/{name}{self.suffix}"

    def _arn(self, name: str) -> str:
        return f"arn:aws:sqs:us-east-1:000000000000:{name}{self.suffix}"

    def _task(self) -> Any:
        """The latest task."""
        request = model.ListMessageMoveTasksRequest(source_arn=self._arn("dead"))
        results = self.driver.call("ListMessageMoveTasks", request).results
        return results[0] if results else None

    def _is_running(self) -> bool:
        task = self._task()
        return task is not None and task.status == "RUNNING"

    # --- What clients do ----------------------------------------------------------------------

    @rule(messages=st.integers(1, 12))
    def bury(self, messages: int) -> None:
        """Messages go to `work`, and are received as often as they may be."""
        for _ in range(messages):
            self.send("work")
        for _ in range(1 + messages // 10):
            self.receive("work", 0)
        self.driver.upkeep(limit=messages)

    @rule(queue=st.sampled_from(["dead", "work"]))
    def send(self, queue: str) -> None:
        self.sent += 1
        body = f"body-{self.sent}"
        extra = {}
        if self.suffix:
            extra = {"message_group_id": f"g{self.sent % 3}", "message_deduplication_id": body}
        request = model.SendMessageRequest(queue_url=self._url(queue), message_body=body, **extra)
        reply = self.driver.call("SendMessage", request)
        self.items[body] = Item(body, queue, reply.message_id, self.now_ms)

    @rule(queue=st.sampled_from(["dead", "work", "other"]), visibility=st.sampled_from([0, 2, 30]))
    def receive(self, queue: str, visibility: int) -> None:
        if queue not in self.queues:
            return
        request = model.ReceiveMessageRequest(
            queue_url=self._url(queue),
            max_number_of_messages=10,
            visibility_timeout=visibility,
            message_system_attribute_names=["All"],
        )
        for seen in self.driver.call("ReceiveMessage", request).messages or ():
            self._take_in(queue, seen, visibility)

    def _take_in(self, queue: str, seen: Any, visibility: int) -> None:
        item = self.items[seen.body]
        assert item.held_until_ms <= self.now_ms, "it was in flight"
        count = int(seen.attributes["ApproximateReceiveCount"])
        source = seen.attributes.get("DeadLetterQueueSourceArn")
        if seen.message_id == item.message_id:
            assert count == item.receive_count + 1
            is_dead_letter = item.is_dead_letter or (queue, item.queue) == ("dead", "work")
        else:
            # A task moved it, as a new message, and since then it may have been buried anew: but
            # not before it was received.
            assert self.moves, "it has a new message id, and there was no task"
            assert count == 1
            assert queue != "dead"
            assert int(seen.attributes["SentTimestamp"]) >= item.seen_at_ms
            is_dead_letter = False
        assert source == (self._arn("work") if is_dead_letter else None)
        item.queue, item.message_id, item.receive_count = queue, seen.message_id, count
        item.handle, item.held_until_ms = seen.receipt_handle, self.now_ms + visibility * 1000
        item.seen_at_ms, item.is_dead_letter = self.now_ms, is_dead_letter

    @precondition(lambda self: self._held())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        item = self.items.pop(data.draw(st.sampled_from(self._held())))
        request = model.DeleteMessageRequest(
            queue_url=self._url(item.queue), receipt_handle=item.handle
        )
        self.driver.call("DeleteMessage", request)

    def _held(self) -> list[str]:
        return [
            body
            for body, item in self.items.items()
            if item.held_until_ms > self.now_ms and item.queue in self.queues
        ]

    # --- Tasks --------------------------------------------------------------------------------

    @rule(destination=destination, rate=rate)
    def start_task(self, destination: str | None, rate: int | None) -> None:
        if destination is not None and destination not in self.queues:
            return
        request = model.StartMessageMoveTaskRequest(
            source_arn=self._arn("dead"),
            destination_arn=self._arn(destination) if destination else None,
            max_number_of_messages_per_second=rate,
        )
        task = self._task()
        if task is not None and task.status in ("RUNNING", "CANCELLING"):
            with pytest.raises(model.UnsupportedOperation):
                self.driver.call("StartMessageMoveTask", request)
            return
        to_move = sum(self.driver.counts(self._url("dead")))
        self.handle = self.driver.call("StartMessageMoveTask", request).task_handle
        self.rate, self.started_at_ms = rate, self.now_ms
        self.moves += 1
        task = self._task()
        assert task.status == "RUNNING"
        assert task.approximate_number_of_messages_to_move == to_move
        assert task.approximate_number_of_messages_moved == 0
        assert task.started_timestamp == self.now_ms
        assert task.task_handle == self.handle

    @rule(destination=destination, rate=rate, steps=st.integers(0, 4))
    def start_and_finish(self, destination: str | None, rate: int | None, steps: int) -> None:
        self.start_task(destination, rate)
        for _ in range(steps):
            self.driver.upkeep(limit=2)
            self.driver.clock.advance(100)
            self.everything_is_somewhere()
        self.driver.restart()
        if self._is_running():
            self.finish()

    @precondition(lambda self: self.moves)
    @rule()
    def cancel(self) -> None:
        request = model.CancelMessageMoveTaskRequest(task_handle=self.handle)
        if self._is_running():
            moved = self._task().approximate_number_of_messages_moved
            reply = self.driver.call("CancelMessageMoveTask", request)
            assert reply.approximate_number_of_messages_moved == moved
        else:
            with pytest.raises(model.ResourceNotFoundException):
                self.driver.call("CancelMessageMoveTask", request)

    @precondition(lambda self: self._is_running())
    @rule()
    def finish(self) -> None:
        """Left to itself, a task comes to an end."""
        for _ in range(MOVES_END_AFTER_PAUSES_MAX):
            pause_ms = self.driver.settle()
            if not self._is_running():
                break
            self.driver.clock.advance(pause_ms)
        task = self._task()
        assert task.status in ("COMPLETED", "FAILED"), task
        if task.status == "FAILED":
            # Sent straight to the dead-letter queue, or a task's work in `other` that is gone.
            assert task.failure_reason == (
                "AWS.SimpleQueueService.NonExistentQueue"
                if task.destination_arn
                else "CouldNotDetermineMessageSource"
            )
            assert not task.destination_arn or "other" not in self.queues
        elif task.approximate_number_of_messages_moved < (
            task.approximate_number_of_messages_to_move
        ):
            assert sum(self.driver.counts(self._url("dead"))) == 0

    @precondition(lambda self: "other" in self.queues)
    @rule(is_meant=st.integers(0, 3))
    def delete_the_destination(self, is_meant: int) -> None:
        if is_meant:
            return
        self.lost += sum(self.driver.counts(self._url("other")))
        request = model.DeleteQueueRequest(queue_url=self._url("other"))
        self.driver.call("DeleteQueue", request)
        self.queues.remove("other")

    # --- What time and the server do ----------------------------------------------------------

    @rule(milliseconds=st.sampled_from([1, 100, 1000, 2000, 30_000]))
    def wait(self, milliseconds: int) -> None:
        self.driver.clock.advance(milliseconds)

    @rule(limit=st.integers(1, 4))
    def upkeep(self, limit: int) -> None:
        self.driver.upkeep(limit)

    @rule()
    def restart(self) -> None:
        self.driver.restart()

    # --- What everybody sees ------------------------------------------------------------------

    @invariant()
    def everything_is_somewhere(self) -> None:
        if hasattr(self, "queues"):
            there = sum(sum(self.driver.counts(self._url(name))) for name in self.queues)
            assert there == len(self.items) - self.lost

    @invariant()
    def tasks_keep_to_their_rate(self) -> None:
        if hasattr(self, "queues") and self.rate is not None:
            elapsed_s = (self.now_ms - self.started_at_ms) / 1000
            moved = self._task().approximate_number_of_messages_moved
            assert moved <= self.rate * (elapsed_s + 1) + 1


class FifoMoveTasks(MoveTasks):
    suffix = ".fifo"


class InFiles(MoveTasks):
    """On a SQLite file, which a restart opens again."""

    @initialize(messages=st.integers(1, 12), is_moving=st.booleans())
    def start(self, messages: int, is_moving: bool) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.files = lambda: Path(self._temporary.name) / "data"
        super().start(messages, is_moving)

    def teardown(self) -> None:
        super().teardown()
        self._temporary.cleanup()


class InPostgres(MoveTasks):
    """In PostgreSQL, where a restart forgets what a process has in memory."""

    files = staticmethod(in_postgres)


TestInMemory = MoveTasks.TestCase
TestInMemory.settings = share(0.8, steps=30)
TestFifoInMemory = FifoMoveTasks.TestCase
TestFifoInMemory.settings = share(0.8, steps=30)
TestInFiles = InFiles.TestCase
TestInFiles.settings = share(0.4, steps=30)
TestInPostgres = InPostgres.TestCase
TestInPostgres.settings = share(0.15)
