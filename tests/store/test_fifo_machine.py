"""Random commands to FIFO queues against lists and loops: claims, counts and answers stay equal."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stanchion.store.contract import (
    Claimed,
    ClaimFifo,
    Lease,
    NewMessage,
    QueueRules,
    SendFifo,
    Store,
    UpdateQueue,
)
from stanchion.store.sqlite import SqliteStore
from tests.store.conftest import open_postgres
from tests.store.driver import Driver, fifo_message

RETENTION_MS = 900_000
WINDOW_MS = 300_000
IN_FLIGHT_MAX = 12
groups = st.sampled_from("abc")
ids = st.sampled_from("stuvwxyz")
delays = st.sampled_from([0, 0, 1000, 1500, 60_000])
visibilities = st.sampled_from([0, 1, 500, 1000, 30_000, 400_000])
waits = st.sampled_from([1, 499, 999, 1000, 1001, 30_000, 60_000, 299_000, 300_000, 900_000])


@dataclass
class Message:
    message_id: str
    group_id: str
    sequence: int
    sent_at_ms: int
    received: int = 0
    visible_at_ms: int = 0
    lease: Lease | None = None


@dataclass
class Model:
    """A FIFO queue as a list in order of sending."""

    messages: list[Message] = field(default_factory=list)
    accepted: dict[tuple[str, str], tuple[int, tuple[str, int]]] = field(default_factory=dict)
    attempts: dict[str, tuple[int, list[tuple[Message, Lease, int]]]] = field(default_factory=dict)
    delay_ms: int = 0

    def expire(self, now_ms: int) -> None:
        self.messages = [m for m in self.messages if m.sent_at_ms > now_ms - RETENTION_MS]

    def in_flight(self, now_ms: int) -> list[Message]:
        return [m for m in self.messages if m.received and m.visible_at_ms > now_ms]

    def is_delayed(self, message: Message, now_ms: int) -> bool:
        return not message.received and message.sent_at_ms + self.delay_ms > now_ms

    def ready(self, now_ms: int) -> dict[str, list[Message]]:
        """By group that is ready: what can be had of it."""
        blocked = {m.group_id for m in self.in_flight(now_ms)}
        found: dict[str, list[Message]] = {}
        for message in self.messages:
            if self.is_delayed(message, now_ms):
                blocked.add(message.group_id)
            if message.group_id not in blocked:
                found.setdefault(message.group_id, []).append(message)
        return found

    def next_ready_at_ms(self, now_ms: int) -> int | None:
        instants = []
        for group_id in {m.group_id for m in self.messages}:
            mine = [m for m in self.messages if m.group_id == group_id]
            held = [m.visible_at_ms for m in self.in_flight(now_ms) if m in mine]
            delay_ms = 0 if mine[0].received else self.delay_ms
            instants.append(max(held, default=mine[0].sent_at_ms + delay_ms))
        return min(instants, default=None)


class ReferenceFifo(RuleBasedStateMachine):
    open_store: Callable[[], Store] = staticmethod(SqliteStore.in_memory)

    @initialize(by_group=st.booleans())
    def start(self, by_group: bool) -> None:
        self.by_group = by_group
        self.driver = Driver(self.open_store())
        self.queue_id = self.driver.create_fifo(retention_ms=RETENTION_MS).id
        self.version = 1
        self.model = Model()
        self.old_leases: list[Lease] = []

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.driver.store.close()

    @property
    def now_ms(self) -> int:
        return self.driver.now_ms

    @rule(batches=st.lists(st.lists(st.tuples(groups, ids), min_size=1, max_size=4), max_size=3))
    def send(self, batches: list[list[tuple[str, str]]]) -> None:
        """Several commands in one flush."""
        commands = []
        for batch in batches:
            messages = tuple(self.message(group_id, once) for group_id, once in batch)
            commands.append(SendFifo(self.queue_id, messages, self.by_group))
        answers = self.driver.flush(*commands).answers
        for command, answer in zip(commands, answers, strict=True):
            assert isinstance(answer, tuple)
            for message, sent in zip(command.messages, answer, strict=True):
                self.check_sent(message, sent)

    def message(self, group_id: str, once: str) -> NewMessage:
        self.driver.sent += 1
        return fifo_message(group_id, group_id, once, f"id-{self.driver.sent}")

    def check_sent(self, message: NewMessage, sent: tuple[str, int]) -> None:
        assert message.group_id
        assert message.deduplication_id
        key = (message.group_id if self.by_group else "", message.deduplication_id)
        at_ms, first = self.model.accepted.get(key, (0, ("", 0)))
        if self.now_ms < at_ms + WINDOW_MS:
            assert sent == first
            return
        assert sent[0] == message.message_id
        assert sent[1] > max((m.sequence for m in self.model.messages), default=0)
        self.model.accepted[key] = (self.now_ms, sent)
        self.model.messages.append(Message(sent[0], message.group_id, sent[1], self.now_ms))

    @rule(claims=st.lists(st.tuples(st.integers(1, 10), visibilities), min_size=1, max_size=3))
    def claim(self, claims: list[tuple[int, int]]) -> None:
        commands = [ClaimFifo(self.queue_id, n, v, IN_FLIGHT_MAX) for n, v in claims]
        answers = self.driver.flush(*commands).answers
        self.model.expire(self.now_ms)
        ready = self.model.ready(self.now_ms)
        room = IN_FLIGHT_MAX - len(self.model.in_flight(self.now_ms))
        unused = 0
        takes: list[tuple[Claimed, int]] = []
        for (limit, visibility_ms), answer in zip(claims, answers, strict=True):
            assert isinstance(answer, Claimed)
            # Room is set aside for each claim in turn, though it may find less.
            granted = max(0, min(limit, room))
            room -= granted
            self.check_claimed(answer, granted, ready if granted else {})
            unused += granted - len(answer.messages)
            assert answer.at_capacity == (granted == 0 and not unused)
            takes.append((answer, visibility_ms))
        for taken, visibility_ms in takes:
            self.note(taken, visibility_ms)
        for taken, _ in takes:
            if not taken.messages and not taken.at_capacity:
                expected_ms = self.model.next_ready_at_ms(self.now_ms)
                next_ms = taken.next_visible_at_ms
                assert next_ms == expected_ms or (
                    # Ready already, since whenever.
                    next_ms is not None
                    and expected_ms is not None
                    and max(next_ms, expected_ms) <= self.now_ms
                )

    def check_claimed(self, answer: Claimed, limit: int, ready: dict[str, list[Message]]) -> None:
        """What it got is the first of ready groups, each but the last as far as possible."""
        left = limit
        got = [message.message_id for message in answer.messages]
        while got:
            group_id = next(m.group_id for m in answer.messages if m.message_id == got[0])
            assert group_id
            expected = [m.message_id for m in ready.pop(group_id)][: min(left, 10)]
            assert got[: len(expected)] == expected
            got = got[len(expected) :]
            left -= len(expected)
        assert left == 0 or not ready

    def note(self, taken: Claimed, visibility_ms: int) -> None:
        for got in taken.messages:
            mine = next(m for m in self.model.messages if m.message_id == got.message_id)
            mine.received += 1
            mine.visible_at_ms = self.now_ms + visibility_ms
            if mine.lease:
                self.old_leases.append(mine.lease)
            mine.lease = got.lease
            assert got.lease == (mine.sequence, mine.received)

    @rule(attempt=st.sampled_from("pq"), limit=st.integers(1, 10), visibility_ms=visibilities)
    def attempt(self, attempt: str, limit: int, visibility_ms: int) -> None:
        answer = self.driver.take(self.queue_id, limit, visibility_ms, attempt)
        self.model.expire(self.now_ms)
        at_ms, held = self.model.attempts.get(attempt, (-WINDOW_MS, []))
        stands = self.now_ms < at_ms + WINDOW_MS and all(
            m in self.model.messages
            and m.lease == lease
            and m.visible_at_ms == visible_at_ms > self.now_ms
            for m, lease, visible_at_ms in held
        )
        if held and stands:
            assert [got.lease for got in answer.messages] == [lease for _, lease, _ in held]
            assert answer.received_at_ms == at_ms
            for message, _, _ in held:
                message.visible_at_ms = self.now_ms + visibility_ms
            first_ms = at_ms
        else:
            self.check_claimed(answer, limit, self.model.ready(self.now_ms))
            self.note(answer, visibility_ms)
            first_ms = self.now_ms
        if answer.messages:
            ids = [got.message_id for got in answer.messages]
            mine = [m for one in ids for m in self.model.messages if m.message_id == one]
            leases = [
                (m, got.lease, m.visible_at_ms)
                for m, got in zip(mine, answer.messages, strict=True)
            ]
            self.model.attempts[attempt] = (first_ms, leases)

    def leased(self) -> list[Message]:
        self.driver.counts(self.queue_id)
        self.model.expire(self.now_ms)
        return [m for m in self.model.messages if m.lease]

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        leased = self.leased()
        chosen = data.draw(st.lists(st.sampled_from(leased), max_size=5)) if leased else []
        outcomes = self.driver.delete(self.queue_id, *(m.lease for m in chosen if m.lease))
        expected = ["deleted" if m.visible_at_ms > self.now_ms else "expired" for m in chosen]
        assert outcomes == tuple(expected)
        for message, outcome in zip(chosen, expected, strict=True):
            if outcome == "deleted" and message in self.model.messages:
                self.model.messages.remove(message)

    @rule(data=st.data(), visibility_ms=visibilities)
    def show(self, data: st.DataObject, visibility_ms: int) -> None:
        if leased := self.leased():
            chosen = data.draw(st.sampled_from(leased))
            assert chosen.lease
            is_current = chosen.visible_at_ms > self.now_ms
            answer = self.driver.show(self.queue_id, visibility_ms, chosen.lease)
            assert answer == (is_current,)
            if is_current:
                chosen.visible_at_ms = self.now_ms + visibility_ms

    @rule()
    def old_leases_do_nothing(self) -> None:
        outcomes = self.driver.delete(self.queue_id, *self.old_leases[-3:])
        assert outcomes is not None
        assert set(outcomes) <= {"superseded", "absent"}

    @rule(ms=waits)
    def wait(self, ms: int) -> None:
        self.driver.wait(ms)

    @rule(delay_ms=delays)
    def set_delay(self, delay_ms: int) -> None:
        rules = QueueRules(RETENTION_MS, is_fifo=True, delay_ms=delay_ms)
        assert self.driver.run(UpdateQueue(self.queue_id, self.version, {}, {}, rules))
        self.version += 1
        self.model.delay_ms = delay_ms

    @rule()
    def purge(self) -> None:
        if self.driver.purge(self.queue_id) == "purged":
            self.model.messages = []

    @rule(limit=st.sampled_from([1, 3, 1000]))
    def upkeep(self, limit: int) -> None:
        self.driver.upkeep(limit)

    @invariant()
    def counts_are_exact(self) -> None:
        if not hasattr(self, "driver"):
            return
        self.model.expire(self.now_ms)
        in_flight = len(self.model.in_flight(self.now_ms))
        delayed = sum(self.model.is_delayed(m, self.now_ms) for m in self.model.messages)
        visible = len(self.model.messages) - in_flight - delayed
        assert self.driver.counts(self.queue_id) == (visible, in_flight, delayed)

    @invariant()
    def every_group_with_messages_has_a_row(self) -> None:
        if hasattr(self, "driver"):
            found = self.driver.query(
                "SELECT g.group_id FROM fifo_group AS g JOIN backlog AS b ON b.id = g.backlog"
                " WHERE b.queue_id = ? ORDER BY g.group_id",
                self.queue_id,
            )
            expected = sorted({m.group_id for m in self.model.messages})
            assert [group_id for (group_id,) in found] == expected


class PostgresReferenceFifo(ReferenceFifo):
    open_store = staticmethod(open_postgres)


TestReferenceFifo = ReferenceFifo.TestCase
TestPostgresReferenceFifo = PostgresReferenceFifo.TestCase
