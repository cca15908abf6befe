"""Random commands against queues that redrive to each other, and against their reference."""

import json
import tempfile
from collections.abc import Callable
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
from stanchion.model.errors import InvalidParameterValue
from stanchion.store.contract import Store
from tests.model_based.dead_letters import Redrive, Redrives
from tests.model_based.driver import Driver, Files, in_postgres
from tests.model_based.messages import Handle, Message
from tests.model_based.profiles import share

RETENTION_S = {"first": 345_600, "second": 345_600, "dead": 172_800}
TARGETS = {"first": "dead", "second": "dead", "dead": "first"}
"""The dead-letter queue may have one itself, and then dead letters go around."""
queue = st.sampled_from(sorted(RETENTION_S))
source = st.sampled_from(["first", "first", "second", "dead"])
limit = st.sampled_from([1, 2, 10])
visibility = st.none() | st.sampled_from([0, 0, 1, 30])


class DeadLetters(RuleBasedStateMachine):
    """Two queues with a dead-letter queue, which may have one as well."""

    files: Callable[[], Files] = staticmethod(lambda: None)
    sabotage: Callable[[Store], Store] = staticmethod(lambda store: store)

    @initialize(receive_count_max=st.sampled_from([1, 2]))
    def start(self, receive_count_max: int) -> None:
        self.driver = Driver(self.files(), 1000, self.sabotage)
        self.model = Redrives(dict(RETENTION_S))
        self.deleted_at_ms = -60_000
        self.sent = 0
        for name in RETENTION_S:
            self._create(name)
        self.set_policy("first", receive_count_max)

    def _create(self, name: str) -> None:
        attributes = {"MessageRetentionPeriod": str(RETENTION_S[name])}
        self.driver.call(
            "CreateQueue", model.CreateQueueRequest(queue_name=name, attributes=attributes)
        )

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.driver.close()

    @property
    def now_ms(self) -> int:
        return self.driver.clock.now_ms()

    def _is_there(self, name: str) -> bool:
        return name in self.model.retention_s

    # --- What clients do ----------------------------------------------------------------------

    @rule(queue=queue, delay_s=st.sampled_from([0, 0, 0, 1]))
    def send(self, queue: str, delay_s: int) -> None:
        if not self._is_there(queue):
            return
        self.sent += 1
        body = f"body {self.sent}"
        request = model.SendMessageRequest(
            queue_url=_url(queue), message_body=body, delay_seconds=delay_s
        )
        reply = self.driver.call("SendMessage", request)
        message = Message(reply.message_id, body, self.now_ms, self.now_ms + delay_s * 1000)
        self.model.send(queue, message)

    @rule(queue=queue, limit=limit, visibility=visibility)
    def receive(self, queue: str, limit: int, visibility: int | None) -> None:
        if not self._is_there(queue):
            return
        self.model.update(self.now_ms)
        least, most = self.model.deliverable(queue, self.now_ms)
        request = model.ReceiveMessageRequest(
            queue_url=_url(queue),
            max_number_of_messages=limit,
            visibility_timeout=visibility,
            message_system_attribute_names=["All"],
        )
        messages = self.driver.call("ReceiveMessage", request).messages or ()
        assert min(limit, least) <= len(messages) <= min(limit, most)
        self.model.swept(queue, len(messages) < limit, self.now_ms)
        for seen in messages:
            self._take_in(queue, seen, visibility)

    @rule(queue=source)
    def receive_at_once(self, queue: str) -> None:
        """Exhaust what there is: messages come into view again right away."""
        self.receive(queue, 10, 0)

    def _take_in(self, queue: str, seen: Any, visibility: int | None) -> None:
        message = self.model.received(
            queue, seen.message_id, seen.receipt_handle, visibility, self.now_ms
        )
        assert seen.body == message.body
        assert seen.attributes == message.system_attributes()

    @precondition(lambda self: self.model.handles)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        queue, handle, letter = data.draw(st.sampled_from(self.model.handles[::-1]))
        if self._is_usable(queue, handle):
            self.driver.call(
                "DeleteMessage",
                model.DeleteMessageRequest(queue_url=_url(queue), receipt_handle=handle.text),
            )
            self.model.update(self.now_ms)
            self.model.delete(queue, handle, letter)

    @precondition(lambda self: self.model.handles)
    @rule(data=st.data(), seconds=st.sampled_from([0, 0, 1, 30]))
    def change_visibility(self, data: st.DataObject, seconds: int) -> None:
        queue, handle, letter = data.draw(st.sampled_from(self.model.handles[::-1]))
        if not self._is_usable(queue, handle):
            return
        self.model.update(self.now_ms)
        request = model.ChangeMessageVisibilityRequest(
            queue_url=_url(queue), receipt_handle=handle.text, visibility_timeout=seconds
        )
        is_known = any(other is letter for other in self.model.letters)
        may_change = handle.within_limit(seconds, self.now_ms) and handle.is_latest()
        if not is_known or not may_change or queue not in letter.places:
            with pytest.raises(InvalidParameterValue):
                self.driver.call("ChangeMessageVisibility", request)
            return
        try:
            self.driver.call("ChangeMessageVisibility", request)
        except InvalidParameterValue:
            assert letter.places != {queue}, "the message is there, and can be changed"
            letter.places.discard(queue)
        else:
            self.model.change_visibility(queue, letter, seconds, self.now_ms)

    def _is_usable(self, queue: str, handle: Handle) -> bool:
        """A handle of a queue that was deleted, and perhaps made again, is another story."""
        return self._is_there(queue) and handle.received_at_ms > self.deleted_at_ms

    # --- What operators do --------------------------------------------------------------------

    @rule(queue=source, receive_count_max=st.none() | st.sampled_from([1, 2, 3]))
    def set_policy(self, queue: str, receive_count_max: int | None) -> None:
        if not (self._is_there(queue) and self._is_there(TARGETS[queue])):
            return
        self.model.update(self.now_ms)
        policy = ""
        redrive = None
        if receive_count_max is not None:
            redrive = Redrive(TARGETS[queue], receive_count_max)
            target = f"arn:aws:sqs:us-east-1:000000000000:{redrive.target}"
            policy = json.dumps(
                {"deadLetterTargetArn": target, "maxReceiveCount": receive_count_max}
            )
        attributes = {"RedrivePolicy": policy}
        self.driver.call(
            "SetQueueAttributes",
            model.SetQueueAttributesRequest(queue_url=_url(queue), attributes=attributes),
        )
        self.model.set_policy(queue, redrive)

    @rule(queue=queue)
    def purge(self, queue: str) -> None:
        if self._is_there(queue):
            self.model.update(self.now_ms)
            try:
                self.driver.call("PurgeQueue", model.PurgeQueueRequest(queue_url=_url(queue)))
            except model.PurgeQueueInProgress:
                return
            self.model.purge(queue)

    @precondition(lambda self: self._is_there("dead"))
    @rule()
    def delete_the_dead_letter_queue(self) -> None:
        self.model.update(self.now_ms)
        self.driver.call("DeleteQueue", model.DeleteQueueRequest(queue_url=_url("dead")))
        self.model.delete_queue("dead")
        self.deleted_at_ms = self.now_ms

    @precondition(lambda self: not self._is_there("dead"))
    @rule()
    def create_the_dead_letter_queue(self) -> None:
        self.driver.clock.advance(max(0, self.deleted_at_ms + 60_000 - self.now_ms))
        self.model.update(self.now_ms)
        self._create("dead")
        self.model.retention_s["dead"] = RETENTION_S["dead"]

    # --- What time and the server do ----------------------------------------------------------

    @rule(milliseconds=st.sampled_from([1, 999, 1000, 1001, 30_000, 60_000, 100_000_000]))
    def wait(self, milliseconds: int) -> None:
        self.driver.clock.advance(milliseconds)

    @rule()
    def upkeep(self) -> None:
        self.driver.upkeep()

    @rule()
    def settle(self) -> None:
        """Nobody receives, and what is exhausted moves all the same."""
        self.driver.settle()
        self.model.update(self.now_ms)
        self.model.settled(self.now_ms)

    @rule()
    def restart(self) -> None:
        self.driver.restart()

    # --- What everybody sees ------------------------------------------------------------------

    @invariant()
    def counts_are_possible(self) -> None:
        if not hasattr(self, "model"):
            return
        self.model.update(self.now_ms)
        together = 0
        for name in self.model.retention_s:
            visible, in_flight, delayed = self.driver.counts(_url(name))
            least, most = self.model.visible(name, self.now_ms)
            assert least <= visible <= most, name
            assert in_flight == self.model.in_flight(name, self.now_ms), name
            assert delayed == self.model.delayed(name, self.now_ms), name
            together += visible
        least, most = self.model.everywhere(self.now_ms)
        assert least <= together <= most, "a message is lost, or in two places"


def _url(name: str) -> str:
    return f"http://localhost/000000000000/{name}"


class InFiles(DeadLetters):
    """On a SQLite file, which a restart opens again."""

    @initialize(receive_count_max=st.sampled_from([1, 2]))
    def start(self, receive_count_max: int) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.files = lambda: Path(self._temporary.name) / "data"
        super().start(receive_count_max)

    def teardown(self) -> None:
        super().teardown()
        self._temporary.cleanup()


class InPostgres(DeadLetters):
    """In PostgreSQL, where a restart forgets what a process has in memory."""

    files = staticmethod(in_postgres)


TestInMemory = DeadLetters.TestCase
TestInMemory.settings = share(0.8)
TestInFiles = InFiles.TestCase
TestInFiles.settings = share(0.4)
TestInPostgres = InPostgres.TestCase
TestInPostgres.settings = share(0.3)
