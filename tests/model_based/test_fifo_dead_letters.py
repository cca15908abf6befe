"""Random commands against a FIFO queue with a dead-letter queue, and against their references.

Background work runs to its end whenever something has come into view, so it is known when each
message moved, and with that its place in the dead-letter queue and its new SentTimestamp.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from tests.model_based.driver import Driver, Files, in_postgres
from tests.model_based.fifo import FifoQueue, bury
from tests.model_based.messages import Handle, Message
from tests.model_based.profiles import share

SOURCE, DEAD = "work.fifo", "dead.fifo"
SOURCE_ARN, DEAD_ARN = (f"arn:aws:sqs:us-east-1:000000000000:{name}" for name in (SOURCE, DEAD))
name = st.sampled_from([SOURCE, SOURCE, DEAD])
group = st.sampled_from(["a", "b"])
limit = st.sampled_from([1, 2, 10])
visibility = st.none() | st.sampled_from([0, 0, 1, 2, 30])


class FifoDeadLetters(RuleBasedStateMachine):
    files: Callable[[], Files] = staticmethod(lambda: None)
    sabotage: Callable[[Store], Store] = staticmethod(lambda store: store)

    @initialize(receive_count_max=st.sampled_from([1, 2]))
    def start(self, receive_count_max: int) -> None:
        self.driver = Driver(self.files(), 1000, self.sabotage)
        self.queues = {SOURCE: FifoQueue(1000), DEAD: FifoQueue(1000)}
        self.receive_count_max: int | None = None
        self.sent = 0
        for queue_name in (SOURCE, DEAD):
            request = model.CreateQueueRequest(
                queue_name=queue_name, attributes={"FifoQueue": "true"}
            )
            self.driver.call("CreateQueue", request)
        self.set_policy(receive_count_max)

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.driver.close()

    @property
    def now_ms(self) -> int:
        return self.driver.clock.now_ms()

    def _bury(self) -> None:
        """What the reference says has to move now."""
        if self.receive_count_max is not None:
            source, dead = self.queues[SOURCE], self.queues[DEAD]
            bury(source, dead, self.receive_count_max, SOURCE_ARN, self.now_ms)

    def _settle(self) -> None:
        self.driver.settle()
        self._bury()

    # --- What clients do ----------------------------------------------------------------------

    @rule(name=name, groups=st.lists(group, min_size=1, max_size=4))
    def send(self, name: str, groups: list[str]) -> None:
        for group_id in groups:
            self.sent += 1
            body = f"body {self.sent}"
            request = model.SendMessageRequest(
                queue_url=_url(name),
                message_body=body,
                message_group_id=group_id,
                message_deduplication_id=f"id-{self.sent}",
            )
            reply = self.driver.call("SendMessage", request)
            self.queues[name].send(
                Message(
                    message_id=reply.message_id,
                    body=body,
                    sent_at_ms=self.now_ms,
                    visible_at_ms=self.now_ms,
                    group_id=group_id,
                    deduplication_id=f"id-{self.sent}",
                    sequence=int(reply.sequence_number),
                )
            )

    @rule(name=name, limit=limit, visibility=visibility)
    def receive(self, name: str, limit: int, visibility: int | None) -> None:
        queue = self.queues[name]
        request = model.ReceiveMessageRequest(
            queue_url=_url(name),
            max_number_of_messages=limit,
            visibility_timeout=visibility,
            message_system_attribute_names=["All"],
        )
        messages = self.driver.call("ReceiveMessage", request).messages or ()
        self._bury()
        assert len(messages) == min(limit, queue.available(self.now_ms))
        queue.check_batch([seen.message_id for seen in messages], self.now_ms)
        for seen in messages:
            handle = queue.received(seen.message_id, seen.receipt_handle, visibility, self.now_ms)
            self._check(queue, seen, handle.message)
        self._settle()

    def _check(self, queue: FifoQueue, seen: Any, message: Message) -> None:
        """A dead letter has a new sequence number, above those of its group before it."""
        sequence = int(seen.attributes["SequenceNumber"])
        if not message.sequence:
            message.sequence = sequence
            before = [m for m in queue.messages if m.group_id == message.group_id]
            before = before[: before.index(message)]
            assert all(m.sequence < sequence for m in before)
        assert seen.body == message.body
        assert seen.attributes == message.system_attributes()

    @precondition(lambda self: any(queue.handles for queue in self.queues.values()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name, handle = self._some_handle(data)
        queue = self.queues[name]
        request = model.DeleteMessageRequest(queue_url=_url(name), receipt_handle=handle.text)
        if self._is_refused(name, handle):
            try:
                self.driver.call("DeleteMessage", request)
            except InvalidParameterValue:
                return
            raise AssertionError("an expired handle was good for a delete")
        self.driver.call("DeleteMessage", request)
        queue.delete(handle)

    def _is_refused(self, name: str, handle: Handle) -> bool:
        queue = self.queues[name]
        return queue.is_there(handle, self.now_ms) and not queue.is_current(handle, self.now_ms)

    @precondition(lambda self: any(queue.handles for queue in self.queues.values()))
    @rule(data=st.data(), seconds=st.sampled_from([0, 0, 1, 30]))
    def change_visibility(self, data: st.DataObject, seconds: int) -> None:
        name, handle = self._some_handle(data)
        if self.queues[name].can_change(handle, seconds, self.now_ms):
            request = model.ChangeMessageVisibilityRequest(
                queue_url=_url(name), receipt_handle=handle.text, visibility_timeout=seconds
            )
            self.driver.call("ChangeMessageVisibility", request)
            self.queues[name].change_visibility(handle, seconds, self.now_ms)
            self._settle()

    def _some_handle(self, data: st.DataObject) -> tuple[str, Handle]:
        handles = [(name, h) for name, queue in self.queues.items() for h in queue.handles]
        return data.draw(st.sampled_from(handles[::-1]))

    # --- What operators and time do -----------------------------------------------------------

    @rule(receive_count_max=st.none() | st.sampled_from([1, 2, 3]))
    def set_policy(self, receive_count_max: int | None) -> None:
        """A lower maximum is met by messages one by one, so it comes when there are none."""
        counts = [message.receive_count for message in self.queues[SOURCE].messages]
        if receive_count_max is not None and max(counts, default=0) >= receive_count_max:
            return
        policy = ""
        if receive_count_max is not None:
            policy = json.dumps(
                {"deadLetterTargetArn": DEAD_ARN, "maxReceiveCount": receive_count_max}
            )
        attributes = {"RedrivePolicy": policy}
        self.driver.call(
            "SetQueueAttributes",
            model.SetQueueAttributesRequest(queue_url=_url(SOURCE), attributes=attributes),
        )
        self.receive_count_max = receive_count_max

    @rule(name=name)
    def purge(self, name: str) -> None:
        if self.queues[name].purge(self.now_ms):
            self.driver.call("PurgeQueue", model.PurgeQueueRequest(queue_url=_url(name)))

    @rule(milliseconds=st.sampled_from([1, 999, 1000, 2000, 30_000, 60_000, 100_000_000]))
    def wait(self, milliseconds: int) -> None:
        self.driver.clock.advance(milliseconds)
        self._settle()

    @rule(milliseconds=st.sampled_from([1000, 2000, 30_000]), limit=limit, visibility=visibility)
    def wait_and_receive(self, milliseconds: int, limit: int, visibility: int | None) -> None:
        """The receive is what moves the exhausted ones."""
        self.driver.clock.advance(milliseconds)
        self.receive(SOURCE, limit, visibility)

    @rule()
    def restart(self) -> None:
        self.driver.restart()

    # --- What everybody sees ------------------------------------------------------------------

    @invariant()
    def counts_are_equal(self) -> None:
        for queue_name, queue in getattr(self, "queues", {}).items():
            assert self.driver.counts(_url(queue_name)) == queue.counts(self.now_ms), queue_name


def _url(name: str) -> str:
    return f"http://localhost/000000000000/{name}"


class InFiles(FifoDeadLetters):
    """On a SQLite file, which a restart opens again."""

    @initialize(receive_count_max=st.sampled_from([1, 2]))
    def start(self, receive_count_max: int) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.files = lambda: Path(self._temporary.name) / "data"
        super().start(receive_count_max)

    def teardown(self) -> None:
        super().teardown()
        self._temporary.cleanup()


class InPostgres(FifoDeadLetters):
    """In PostgreSQL, where a restart forgets what a process has in memory."""

    files = staticmethod(in_postgres)


TestInMemory = FifoDeadLetters.TestCase
TestInMemory.settings = share(0.6)
TestInFiles = InFiles.TestCase
TestInFiles.settings = share(0.3)
TestInPostgres = InPostgres.TestCase
TestInPostgres.settings = share(0.3)
