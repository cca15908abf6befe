"""Random commands against the service and against the reference: what can be seen stays equal."""

import tempfile
from collections.abc import Callable
from hashlib import md5
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
from tests.model_based.messages import Handle
from tests.model_based.profiles import share
from tests.model_based.standard import Queue

URLS = [f"http://localhost/000000000000/{name}" for name in ("first", "second")]
which = st.integers(0, len(URLS) - 1)
tenant = st.none() | st.sampled_from(["quiet", "noisy"])
visibility = st.none() | st.sampled_from([0, 1, 2, 30, 43_200])
delay = st.none() | st.sampled_from([0, 1, 2, 900])
milliseconds = st.sampled_from([1, 250, 999, 1000, 1001, 2000, 30_000, 60_000]) | st.integers(
    1, 400_000_000
)


class StandardQueues(RuleBasedStateMachine):
    """Two queues, so that what happens to one is seen not to happen to the other."""

    files: Callable[[], Files] = staticmethod(lambda: None)
    sabotage: Callable[[Store], Store] = staticmethod(lambda store: store)
    in_flight_max = IN_FLIGHT_MAX

    @initialize()
    def start(self) -> None:
        self.driver = Driver(self.files(), self.in_flight_max, self.sabotage)
        self.queues = [Queue(self.in_flight_max) for _ in URLS]
        self.sent = 0
        for url in URLS:
            name = url.rpartition("/")[2]
            self.driver.call("CreateQueue", model.CreateQueueRequest(queue_name=name))

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.driver.close()

    @property
    def now_ms(self) -> int:
        return self.driver.clock.now_ms()

    # --- What clients do ----------------------------------------------------------------------

    @rule(which=which, delay=delay, tenant=tenant)
    def send(self, which: int, delay: int | None, tenant: str | None) -> None:
        body = self._next_body()
        reply = self.driver.call(
            "SendMessage",
            model.SendMessageRequest(
                queue_url=URLS[which],
                message_body=body,
                delay_seconds=delay,
                message_group_id=tenant,
            ),
        )
        self.queues[which].send(reply.message_id, body, delay, tenant, self.now_ms)

    @rule(which=which, delays=st.lists(delay, min_size=1, max_size=10), tenant=tenant)
    def send_batch(self, which: int, delays: list[int | None], tenant: str | None) -> None:
        entries = [
            model.SendMessageBatchRequestEntry(
                id=str(n),
                message_body=self._next_body(),
                delay_seconds=delay,
                message_group_id=tenant,
            )
            for n, delay in enumerate(delays)
        ]
        reply = self.driver.call(
            "SendMessageBatch",
            model.SendMessageBatchRequest(queue_url=URLS[which], entries=entries),
        )
        assert [result.id for result in reply.successful] == [entry.id for entry in entries]
        for entry, result, delay in zip(entries, reply.successful, delays, strict=True):
            self.queues[which].send(
                result.message_id, entry.message_body, delay, tenant, self.now_ms
            )

    @rule(which=which, limit=st.integers(1, 10), visibility=visibility)
    def receive(self, which: int, limit: int, visibility: int | None) -> None:
        if self.queues[which].at_capacity(self.now_ms):
            with pytest.raises(model.OverLimit):
                self.driver.call("ReceiveMessage", _receive(which, limit, visibility))
            return
        available = self.queues[which].available(self.now_ms)
        reply = self.driver.call("ReceiveMessage", _receive(which, limit, visibility))
        assert len(reply.messages or ()) == min(limit, available)
        self._take_in(which, reply, visibility)

    @rule(which=which, limits=st.lists(st.integers(1, 10), min_size=2, max_size=4))
    def receive_together(self, which: int, limits: list[int]) -> None:
        """Several receives in one flush: no message goes to two of them."""
        available = self.queues[which].available(self.now_ms)
        replies = self.driver.call_together(
            *(("ReceiveMessage", _receive(which, limit, 30)) for limit in limits)
        )
        answered = [reply for reply in replies if not isinstance(reply, model.OverLimit)]
        received = sum(len(reply.messages or ()) for reply in answered)
        assert received == min(sum(limits), available)
        for reply in answered:
            self._take_in(which, reply, 30)
        if len(answered) < len(replies):
            assert self.queues[which].at_capacity(self.now_ms)

    @precondition(lambda self: any(queue.handles for queue in self.queues))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self.remove(*self._some_handle(data))

    def remove(self, which: int, handle: Handle) -> None:
        request = model.DeleteMessageRequest(queue_url=URLS[which], receipt_handle=handle.text)
        self.driver.call("DeleteMessage", request)
        self.queues[which].delete(handle)

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

    @precondition(lambda self: any(queue.handles for queue in self.queues))
    @rule(data=st.data())
    def use_a_handle_on_the_other_queue(self, data: st.DataObject) -> None:
        which, handle = self._some_handle(data)
        other = URLS[1 - which]
        request = model.DeleteMessageRequest(queue_url=other, receipt_handle=handle.text)
        with pytest.raises(model.ReceiptHandleIsInvalid):
            self.driver.call("DeleteMessage", request)

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
        # A message that has expired is gone for good, even if retention is raised afterwards.
        queue.messages = queue.live(self.now_ms)
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

    # --- Helpers ------------------------------------------------------------------------------

    def _next_body(self) -> str:
        self.sent += 1
        return f"body {self.sent}"

    def _take_in(self, which: int, reply: Any, visibility: int | None) -> None:
        """Every message of a reply was visible, is told truthfully, and is now in flight."""
        for seen in reply.messages or ():
            message = self.queues[which].received(
                seen.message_id, seen.receipt_handle, visibility, self.now_ms
            )
            assert seen.body == message.body
            assert seen.md5_of_body == md5(message.body.encode()).hexdigest()
            assert seen.attributes == message.system_attributes()

    def _some_handle(self, data: st.DataObject) -> tuple[int, Handle]:
        handles = [(n, handle) for n, queue in enumerate(self.queues) for handle in queue.handles]
        return data.draw(st.sampled_from(handles))


def _receive(which: int, limit: int, visibility: int | None) -> model.ReceiveMessageRequest:
    return model.ReceiveMessageRequest(
        queue_url=URLS[which],
        max_number_of_messages=limit,
        visibility_timeout=visibility,
        message_system_attribute_names=["All"],
    )


class InFiles(StandardQueues):
    """On a SQLite file, which a restart opens again."""

    @initialize()
    def start(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.files = lambda: Path(self._temporary.name) / "data"
        super().start()

    def teardown(self) -> None:
        super().teardown()
        self._temporary.cleanup()


class InPostgres(StandardQueues):
    """In PostgreSQL, where a restart forgets what a process has in memory."""

    files = staticmethod(in_postgres)


TestInMemory = StandardQueues.TestCase
TestInMemory.settings = share(0.8)
TestInFiles = InFiles.TestCase
TestInFiles.settings = share(0.5)
TestInPostgres = InPostgres.TestCase
TestInPostgres.settings = share(0.15)
