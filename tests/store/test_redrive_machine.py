"""Random commands on queues that are each other's dead-letter queues: nothing lost, nothing twice.

After each command every message that should be alive is looked up in the database. It must be in
exactly one place: where it was, or where the rules and the running task allow it to have gone.
What the store counts must then be what one counts by hand, and what it hands out must be due.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stanchion.store.contract import ClaimedMessage, DeleteQueue, Lease, SealedAs, Store, Upkeep
from stanchion.store.moves import CancelMove, ListMoves, StartMove
from stanchion.store.sqlite import SqliteStore
from tests.store.conftest import RESERVE_BYTES, open_postgres
from tests.store.driver import SEALED, Driver
from tests.store.redrive import Queues

NAMES = ("one", "two")
TICK_MS = 10
"""Nothing comes into view in the very instant of a later command, so that a move can be seen."""
ROWS = """
SELECT q.name, b.body, m.sequence, b.message_id, m.receive_count,
       b.sent_at_ms, m.visible_at_ms, m.dead_letter_source IS NOT NULL
FROM message AS m JOIN message_body AS b ON b.sequence = m.sequence
JOIN queue AS q ON q.backlog = m.backlog
"""
name = st.sampled_from(NAMES)


@dataclass(slots=True)
class Message:
    body: str
    queue: str
    sent_at_ms: int
    visible_at_ms: int
    receive_count: int = 0
    message_id: str = ""
    sequence: int = 0
    sent_to: str = ""
    sent_as: str = ""
    """The first message id."""
    is_arrival: bool = False
    """It came as a dead letter, and was not received since."""


def text(found: ClaimedMessage) -> str:
    return found.body.decode().removeprefix(SEALED)


@dataclass(slots=True)
class Rules:
    dead_letters: str | None = None
    receive_count_max: int = 0
    retention_ms: int = 10_000_000


class Redrive(RuleBasedStateMachine):
    is_fifo = False
    directory: Callable[[], Path | None] = staticmethod(lambda: None)

    @initialize()
    def start(self) -> None:
        self.path = self.directory()
        self.driver = Driver(self._open())
        self.queues = Queues(self.driver, self.is_fifo)
        self.rules = {name: Rules() for name in NAMES}
        self.messages: dict[str, Message] = {}
        self.leases: list[tuple[str, Message, Lease]] = []
        self.sent = self.tasks = 0
        self.missing = ""
        self.moved: dict[str, int] = {}
        for name in NAMES:
            self.queues.create(name, self.rules[name].retention_ms)
        self.set_rules("one", "two", 2, 10_000_000)

    def _open(self) -> Store:
        if self.path is None:
            return SqliteStore.in_memory()
        return SqliteStore.open(self.path, reserve_bytes=RESERVE_BYTES)

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.driver.store.close()

    # --- What happens -------------------------------------------------------------------------

    @rule(name=name, groups=st.text("ab", min_size=1, max_size=4))
    def send(self, name: str, groups: str) -> None:
        bodies = [f"{group}{self.sent + n}" for n, group in enumerate(groups)]
        self.sent += len(bodies)
        self.queues.send(name, *(SEALED + body for body in bodies))
        now_ms = self.driver.now_ms
        for body in bodies:
            self.messages[body] = Message(body, name, now_ms, now_ms, sent_to=name)

    @rule(name=name, limit=st.integers(1, 10), visibility_ms=st.sampled_from([0, 507, 1007, 5007]))
    def claim(self, name: str, limit: int, visibility_ms: int) -> None:
        claimed = self.queues.claim(name, limit, visibility_ms).messages
        self.look(received={text(found) for found in claimed})
        self.check_short(name, len(claimed), limit)
        seen: dict[str, int] = {}
        for found in claimed:
            message = self.messages[text(found)]
            assert message.queue == name
            assert message.visible_at_ms <= self.driver.now_ms
            assert found.message_id == message.message_id
            assert (found.sealed_as or self.place_of(message)) == self.origin_of(message)
            assert (found.dead_letter_source is not None) == self._has_source[message.body]
            assert found.lease.sequence > seen.get(message.body[0], 0) or not self.is_fifo
            seen[message.body[0]] = found.lease.sequence
            assert not self.is_exhausted(message), "it should have been moved"
            message.receive_count += 1
            message.is_arrival = False
            assert found.lease == (message.sequence, message.receive_count)
            self.leases.append((name, message, found.lease))
        for found in claimed:
            message = self.messages[text(found)]
            message.visible_at_ms = self.driver.now_ms + visibility_ms
        self.driver.wait(TICK_MS)

    def check_short(self, name: str, count: int, limit: int) -> None:
        """All that could be handed out was, and nothing exhausted stays where it could be met."""
        in_view = [m for m in self.here(name) if m.visible_at_ms <= self.driver.now_ms]
        if not self.is_fifo:
            assert count == min(limit, sum(not self.is_exhausted(m) for m in in_view))
        if count < limit:
            blocked = {m.body[0] for m in self.here(name) if m not in in_view and self.is_fifo}
            free = [m for m in in_view if m.body[0] not in blocked]
            assert not any(self.is_exhausted(m) for m in free)
            if self.is_fifo:
                groups = [m.body[0] for m in free]
                assert count == sum(min(10, groups.count(group)) for group in set(groups))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name, message, lease = data.draw(st.sampled_from(self.leases))
        (outcome,) = self.queues.delete(name, lease)
        assert (outcome == "deleted") == self.is_current(name, message, lease)
        if outcome == "deleted":
            del self.messages[message.body]

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), visibility_ms=st.sampled_from([0, 707, 5007]))
    def show(self, data: st.DataObject, visibility_ms: int) -> None:
        name, message, lease = data.draw(st.sampled_from(self.leases))
        shown = self.driver.show(self.queues.ids[name], visibility_ms, lease)
        assert shown == (self.is_current(name, message, lease),)
        if shown == (True,):
            message.visible_at_ms = self.driver.now_ms + visibility_ms
        self.driver.wait(TICK_MS)

    @rule(
        name=name,
        dead_letters=st.none() | name,
        receive_count_max=st.integers(1, 3),
        retention_ms=st.sampled_from([3000, 8000, 10_000_000]),
    )
    def set_rules(
        self, name: str, dead_letters: str | None, receive_count_max: int, retention_ms: int
    ) -> None:
        self.queues.set(name, dead_letters, receive_count_max, retention_ms)
        self.rules[name] = Rules(dead_letters, receive_count_max, retention_ms)

    @rule(name=name)
    def purge(self, name: str) -> None:
        assert self.driver.purge(self.queues.ids[name], interval_ms=0) == "purged"
        self.forget(name)

    @rule(name=name)
    def delete_and_create(self, name: str) -> None:
        self.driver.run(DeleteQueue(self.queues.ids[name]))
        self.forget(name)
        self.missing = name
        self.driver.upkeep()
        self.look()
        self.driver.wait(60_000)
        self.look()
        self.missing = ""
        self.queues.create(name)
        self.rules[name] = Rules()
        self.set_rules(name, *self._standard_rules(name))

    def _standard_rules(self, name: str) -> tuple[str, int, int]:
        return NAMES[name == "one"], 2, 10_000_000

    def forget(self, name: str) -> None:
        self.messages = {m.body: m for m in self.messages.values() if m.queue != name}

    @rule(source=name, destination=st.none() | name, rate=st.sampled_from([None, 2, 50]))
    def start_move(self, source: str, destination: str | None, rate: int | None) -> None:
        if destination == source:
            return  # the actions refuse it
        self.tasks += 1
        target = self.queues.name(destination) if destination else None
        command = StartMove(str(self.tasks), self.queues.ids[source], target, rate, 100)
        if self.driver.run(command) != "running":
            self.moved[str(self.tasks)] = 0

    @rule(name=name)
    def cancel_move(self, name: str) -> None:
        for task in self.driver.run(ListMoves(self.queues.name(name), 1)):
            cancelled = self.driver.run(CancelMove(task.task_id, task.source))
            assert (cancelled is not None) == (task.status == "RUNNING")

    @rule(milliseconds=st.sampled_from([TICK_MS, 500, 1000, 3000]))
    def wait(self, milliseconds: int) -> None:
        self.driver.wait(milliseconds)

    @rule(limit=st.sampled_from([1, 3, 1000]))
    def upkeep(self, limit: int) -> None:
        self.driver.run(Upkeep(limit))

    @rule()
    def restart(self) -> None:
        if self.path is not None:
            self.driver.store.close()
            self.driver.store = self._open()

    # --- What is so ---------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_and_nothing_is_there_twice(self) -> None:
        if hasattr(self, "driver"):
            self.look()
            for name in NAMES:
                assert self.queues.counts(name) == self.counted(name)

    def look(self, received: frozenset[str] | set[str] = frozenset()) -> None:
        """Find every message, and believe a change of place that may be.

        A message may be moved and received in one command, so what was received has a receive more.
        """
        rows: dict[str, list[tuple[Any, ...]]] = {}
        for queue, sealed, *rest in self.driver.query(ROWS):
            body = sealed.decode().removeprefix(SEALED)
            rows.setdefault(body, []).append((queue.removesuffix(".fifo"), *rest))
        self._has_source = {body: bool(found[0][6]) for body, found in rows.items()}
        for message in list(self.messages.values()):
            found = rows.get(message.body, [])
            assert len(found) <= 1, "twice"
            if found:
                self.follow(message, found[0], message.body in received)
            if self.is_dead(message):
                del self.messages[message.body]
            else:
                assert found or self.may_die_elsewhere(message), "lost"
                if not found:
                    del self.messages[message.body]
        self.check_tasks()

    def follow(self, message: Message, row: tuple[Any, ...], was_received: bool) -> None:
        queue, sequence, message_id, count, sent_at_ms, visible_at_ms, _ = row
        count -= was_received
        if not message.message_id:
            message.message_id, message.sequence = message_id, sequence
            message.sent_as = message_id
        if message_id != message.message_id:
            assert visible_at_ms == sent_at_ms == self.driver.now_ms or was_received
            assert message.visible_at_ms <= self.driver.now_ms
            assert count == 0
            assert sequence > message.sequence
            self._redriven(message)
            message.message_id, message.receive_count = message_id, 0
            message.is_arrival = False
            message.sent_at_ms, message.visible_at_ms = sent_at_ms, self.driver.now_ms
        elif (queue, sequence) != (message.queue, message.sequence) or (
            row[6]
            and self.is_exhausted(message)
            and not message.is_arrival
            and message.visible_at_ms != self.driver.now_ms
            and (visible_at_ms == self.driver.now_ms or was_received)
        ):
            assert self.is_exhausted(message), "moved although it was not exhausted"
            assert queue == self.rules[message.queue].dead_letters
            if self.is_fifo:
                assert sequence > message.sequence
                message.sent_at_ms = self.driver.now_ms
            else:
                assert sequence == message.sequence
            message.is_arrival = True
            message.visible_at_ms = self.driver.now_ms
        message.queue, message.sequence = queue, sequence
        assert (count, sent_at_ms) == (message.receive_count, message.sent_at_ms)

    def _redriven(self, message: Message) -> None:
        # Before it was taken it may have been moved to its dead-letter queue by the same step.
        (task, *_) = [
            task
            for name in (message.queue, self.rules[message.queue].dead_letters or message.queue)
            for task in self.driver.run(ListMoves(self.queues.name(name), 1))
            if task.moved > self.moved.get(task.task_id, 0)
        ]
        self.moved[task.task_id] += 1

    def check_tasks(self) -> None:
        for name in NAMES:
            for task in self.driver.run(ListMoves(self.queues.name(name), 10)):
                assert task.moved == self.moved[task.task_id] <= task.to_move

    def is_dead(self, message: Message) -> bool:
        return message.sent_at_ms + self.rules[message.queue].retention_ms <= self.driver.now_ms

    def may_die_elsewhere(self, message: Message) -> bool:
        """A dead letter that arrives too old for its new queue is gone at once."""
        target = self.rules[message.queue].dead_letters
        if self.is_fifo or target is None or not self.is_exhausted(message):
            return False
        return message.sent_at_ms + self.rules[target].retention_ms <= self.driver.now_ms

    def is_exhausted(self, message: Message) -> bool:
        """Whether it may not be handed out where it is."""
        rules = self.rules[message.queue]
        return (
            rules.dead_letters not in (None, self.missing)
            and not message.is_arrival
            and message.visible_at_ms <= self.driver.now_ms
            and message.receive_count >= rules.receive_count_max
        )

    def place_of(self, message: Message) -> SealedAs:
        return SealedAs(self.queues.name(message.queue), message.message_id)

    def origin_of(self, message: Message) -> SealedAs:
        return SealedAs(self.queues.name(message.sent_to), message.sent_as)

    def is_current(self, name: str, message: Message, lease: Lease) -> bool:
        return (
            self.messages.get(message.body) is message
            and message.queue == name
            and lease == (message.sequence, message.receive_count)
            and (not self.is_fifo or message.visible_at_ms > self.driver.now_ms)
        )

    def here(self, name: str) -> list[Message]:
        return [message for message in self.messages.values() if message.queue == name]

    def counted(self, name: str) -> tuple[int, int, int]:
        in_flight = sum(m.visible_at_ms > self.driver.now_ms for m in self.here(name))
        return len(self.here(name)) - in_flight, in_flight, 0


class FifoRedrive(Redrive):
    is_fifo = True


class RedriveInFiles(Redrive):
    @initialize()
    def start(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.directory = lambda: Path(self._temporary.name) / "data"
        super().start()

    def teardown(self) -> None:
        super().teardown()
        self._temporary.cleanup()


class FifoRedriveInFiles(RedriveInFiles):
    is_fifo = True


class RedriveOnPostgres(Redrive):
    def _open(self) -> Store:
        return open_postgres()


class FifoRedriveOnPostgres(RedriveOnPostgres):
    is_fifo = True


TestStandard = Redrive.TestCase
TestFifo = FifoRedrive.TestCase
TestStandardOnPostgres = RedriveOnPostgres.TestCase
TestFifoOnPostgres = FifoRedriveOnPostgres.TestCase
TestStandardInFiles = RedriveInFiles.TestCase
TestFifoInFiles = FifoRedriveInFiles.TestCase
