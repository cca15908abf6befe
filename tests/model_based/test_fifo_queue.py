"""Random commands against FIFO queues and their reference: what can be seen stays equal."""

import tempfile
from collections.abc import Callable
from hashlib import md5, sha256
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
from tests.model_based.driver import IN_FLIGHT_MAX, Driver, Files, in_postgres
from tests.model_based.fifo import FifoQueue
from tests.model_based.messages import Handle, Message
from tests.model_based.profiles import share

NAMES = ("first.fifo", "second.fifo")
URLS = [f"http://localhost/000000000000/{name}" for name in NAMES]
which = st.integers(0, len(URLS) - 1)
group = st.sampled_from(["a", "b", "c"])
token = st.none() | st.sampled_from(["t1", "t2"])
"""A deduplication id, or the body where the queue makes ids of bodies; None: one never used."""
attempt = st.none() | st.sampled_from(["r1", "r2"])
visibility = st.none() | st.sampled_from([0, 1, 2, 30, 600, 43_200])
milliseconds = st.sampled_from(
    [1, 250, 999, 1000, 1001, 2000, 30_000, 60_000, 299_999, 300_000]
) | st.integers(1, 400_000_000)


class FifoQueues(RuleBasedStateMachine):
    """Two queues, one of which makes deduplication ids of bodies, for each group apart."""

    files: Callable[[], Files] = staticmethod(lambda: None)
    sabotage: Callable[[Store], Store] = staticmethod(lambda store: store)

    @initialize()
    def start(self) -> None:
        self.driver = Driver(self.files(), sabotage=self.sabotage)
        self.queues = [FifoQueue(IN_FLIGHT_MAX), FifoQueue(IN_FLIGHT_MAX, by_group=True)]
        self.sent = 0
        for name, extra in zip(NAMES, ({}, BY_CONTENT), strict=True):
            attributes = {"FifoQueue": "true", **extra}
            self.driver.call(
                "CreateQueue", model.CreateQueueRequest(queue_name=name, attributes=attributes)
            )

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.driver.close()

    @property
    def now_ms(self) -> int:
        return self.driver.clock.now_ms()

    # --- Sending ------------------------------------------------------------------------------

    @rule(which=which, group=group, token=token)
    def send(self, which: int, group: str, token: str | None) -> None:
        request = self._message(which, group, token)
        reply = self.driver.call("SendMessage", request)
        self._sent(which, request, reply)

    @rule(which=which, entries=st.lists(st.tuples(group, token), min_size=1, max_size=10))
    def send_batch(self, which: int, entries: list[tuple[str, str | None]]) -> None:
        requests = [self._message(which, group, token) for group, token in entries]
        batch = [
            model.SendMessageBatchRequestEntry(
                id=str(n),
                message_body=request.message_body,
                message_group_id=request.message_group_id,
                message_deduplication_id=request.message_deduplication_id,
            )
            for n, request in enumerate(requests)
        ]
        reply = self.driver.call(
            "SendMessageBatch",
            model.SendMessageBatchRequest(queue_url=URLS[which], entries=batch),
        )
        assert [result.id for result in reply.successful] == [entry.id for entry in batch]
        for request, result in zip(requests, reply.successful, strict=True):
            self._sent(which, request, result)

    @rule(which=which, groups=st.lists(group, min_size=2, max_size=3), token=token)
    def send_together(self, which: int, groups: list[str], token: str | None) -> None:
        """Several sends in one flush, possibly of one deduplication id."""
        requests = [self._message(which, group, token) for group in groups]
        replies = self.driver.call_together(*(("SendMessage", request) for request in requests))
        for request, reply in zip(requests, replies, strict=True):
            self._sent(which, request, reply)

    def _message(self, which: int, group: str, token: str | None) -> model.SendMessageRequest:
        self.sent += 1
        body = f"body {self.sent}" if token is None or which == 0 else token
        explicit = (token or f"id-{self.sent}") if which == 0 else None
        return model.SendMessageRequest(
            queue_url=URLS[which],
            message_body=body,
            message_group_id=group,
            message_deduplication_id=explicit,
        )

    def _sent(self, which: int, request: model.SendMessageRequest, reply: Any) -> None:
        """A repeat is answered with what was sent first; else it is the latest of the queue."""
        queue = self.queues[which]
        body, group = request.message_body, request.message_group_id
        assert body is not None
        assert group is not None
        deduplication_id = request.message_deduplication_id or sha256(body.encode()).hexdigest()
        assert len(reply.sequence_number) == 20
        assert reply.md5_of_message_body == md5(body.encode()).hexdigest()
        sequence = int(reply.sequence_number)
        if first := queue.repeat_of(group, deduplication_id, self.now_ms):
            assert (reply.message_id, sequence) == (first.message_id, first.sequence)
            return
        queue.send(
            Message(
                message_id=reply.message_id,
                body=body,
                sent_at_ms=self.now_ms,
                visible_at_ms=self.now_ms,
                group_id=group,
                deduplication_id=deduplication_id,
                sequence=sequence,
            )
        )

    # --- Receiving ----------------------------------------------------------------------------

    @rule(which=which, limit=st.integers(1, 10), visibility=visibility, attempt=attempt)
    def receive(self, which: int, limit: int, visibility: int | None, attempt: str | None) -> None:
        request = _receive(which, limit, visibility, attempt)
        reply = self.driver.call("ReceiveMessage", request)
        repeated = attempt and self.queues[which].attempt_to_repeat(attempt, self.now_ms)
        if repeated:
            handles = [handle.text for handle in repeated.handles]
            assert [seen.receipt_handle for seen in reply.messages] == handles
            self.queues[which].repeat_attempt(repeated, visibility, self.now_ms)
            for seen, handle in zip(reply.messages, repeated.handles, strict=True):
                _check(seen, handle.message)
        else:
            self._take_in(which, reply, limit, visibility, attempt)

    @rule(which=which, limits=st.lists(st.integers(1, 10), min_size=2, max_size=4))
    def receive_together(self, which: int, limits: list[int]) -> None:
        """Several receives in one flush: as if one came after the other."""
        replies = self.driver.call_together(
            *(("ReceiveMessage", _receive(which, limit, 30, None)) for limit in limits)
        )
        for limit, reply in zip(limits, replies, strict=True):
            self._take_in(which, reply, limit, 30, None)

    def _take_in(
        self, which: int, reply: Any, limit: int, visibility: int | None, attempt: str | None
    ) -> None:
        queue = self.queues[which]
        messages = reply.messages or ()
        assert len(messages) == min(limit, queue.available(self.now_ms))
        queue.check_batch([seen.message_id for seen in messages], self.now_ms)
        handles = []
        for seen in messages:
            handle = queue.received(seen.message_id, seen.receipt_handle, visibility, self.now_ms)
            _check(seen, handle.message)
            handles.append(handle)
        if attempt:
            queue.remember_attempt(attempt, handles, self.now_ms)

    # --- Handles ------------------------------------------------------------------------------

    @precondition(lambda self: any(queue.handles for queue in self.queues))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        which, handle = self._some_handle(data)
        queue = self.queues[which]
        request = model.DeleteMessageRequest(queue_url=URLS[which], receipt_handle=handle.text)
        if queue.is_there(handle, self.now_ms) and not queue.is_current(handle, self.now_ms):
            with pytest.raises(InvalidParameterValue, match="The receipt handle has expired"):
                self.driver.call("DeleteMessage", request)
        else:
            self.driver.call("DeleteMessage", request)
            queue.delete(handle)

    @precondition(lambda self: any(queue.handles for queue in self.queues))
    @rule(data=st.data(), seconds=st.sampled_from([0, 1, 30, 43_199, 43_200]))
    def change_visibility(self, data: st.DataObject, seconds: int) -> None:
        which, handle = self._some_handle(data)
        request = model.ChangeMessageVisibilityRequest(
            queue_url=URLS[which], receipt_handle=handle.text, visibility_timeout=seconds
        )
        if self.queues[which].can_change(handle, seconds, self.now_ms):
            self.driver.call("ChangeMessageVisibility", request)
            self.queues[which].change_visibility(handle, seconds, self.now_ms)
        else:
            with pytest.raises(InvalidParameterValue):
                self.driver.call("ChangeMessageVisibility", request)

    def _some_handle(self, data: st.DataObject) -> tuple[int, Handle]:
        handles = [(n, handle) for n, queue in enumerate(self.queues) for handle in queue.handles]
        # The latest are the ones that are likely to be good for something.
        return data.draw(st.sampled_from(handles[-12:][::-1] + handles[:-12]))

    # --- The queue ----------------------------------------------------------------------------

    @rule(which=which)
    def purge(self, which: int) -> None:
        request = model.PurgeQueueRequest(queue_url=URLS[which])
        if self.queues[which].purge(self.now_ms):
            self.driver.call("PurgeQueue", request)
        else:
            with pytest.raises(model.PurgeQueueInProgress):
                self.driver.call("PurgeQueue", request)

    @rule(
        which=which,
        delay_s=st.sampled_from([0, 1, 900]),
        visibility_timeout_s=st.sampled_from([0, 1, 30]),
        retention_s=st.sampled_from([60, 3600, 345_600, 1_209_600]),
    )
    def set_attributes(
        self, which: int, delay_s: int, visibility_timeout_s: int, retention_s: int
    ) -> None:
        attributes = {
            "DelaySeconds": str(delay_s),
            "VisibilityTimeout": str(visibility_timeout_s),
            "MessageRetentionPeriod": str(retention_s),
        }
        request = model.SetQueueAttributesRequest(queue_url=URLS[which], attributes=attributes)
        self.driver.call("SetQueueAttributes", request)
        queue = self.queues[which]
        queue.messages = queue.live(self.now_ms)  # those that have expired are gone for good
        queue.delay_s, queue.visibility_timeout_s = delay_s, visibility_timeout_s
        queue.retention_s = retention_s

    # --- What time and operators do -----------------------------------------------------------

    @rule(milliseconds=milliseconds)
    def wait(self, milliseconds: int) -> None:
        self.driver.clock.advance(milliseconds)

    @precondition(lambda self: self._edges())
    @rule(data=st.data(), ms_before=st.sampled_from([0, 1]))
    def wait_for_an_edge(self, data: st.DataObject, ms_before: int) -> None:
        """Until the very millisecond in which something changes by itself, or the one before."""
        edge_ms = data.draw(st.sampled_from(self._edges()))
        self.driver.clock.advance(max(0, edge_ms - ms_before - self.now_ms))

    def _edges(self) -> list[int]:
        edges = {edge for queue in self.queues for edge in queue.edges(self.now_ms)}
        return sorted(edges)[:10]

    @rule()
    def upkeep(self) -> None:
        self.driver.upkeep()

    @rule()
    def restart(self) -> None:
        self.driver.restart()

    # --- What everybody sees ------------------------------------------------------------------

    @invariant()
    def counts_are_equal(self) -> None:
        for url, queue in zip(URLS, getattr(self, "queues", ()), strict=False):
            assert self.driver.counts(url) == queue.counts(self.now_ms)


BY_CONTENT = {"ContentBasedDeduplication": "true", "DeduplicationScope": "messageGroup"}


def _receive(
    which: int, limit: int, visibility: int | None, attempt: str | None
) -> model.ReceiveMessageRequest:
    return model.ReceiveMessageRequest(
        queue_url=URLS[which],
        max_number_of_messages=limit,
        visibility_timeout=visibility,
        receive_request_attempt_id=attempt,
        message_system_attribute_names=["All"],
    )


def _check(seen: Any, message: Message) -> None:
    assert seen.body == message.body
    assert seen.md5_of_body == md5(message.body.encode()).hexdigest()
    assert seen.attributes == message.system_attributes()


class InFiles(FifoQueues):
    """On a SQLite file, which a restart opens again."""

    @initialize()
    def start(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.files = lambda: Path(self._temporary.name) / "data"
        super().start()

    def teardown(self) -> None:
        super().teardown()
        self._temporary.cleanup()


class InPostgres(FifoQueues):
    """In PostgreSQL, where a restart forgets what a process has in memory."""

    files = staticmethod(in_postgres)


TestInMemory = FifoQueues.TestCase
TestInMemory.settings = share(0.8)
TestInFiles = InFiles.TestCase
TestInFiles.settings = share(0.5)
TestInPostgres = InPostgres.TestCase
TestInPostgres.settings = share(0.3)
