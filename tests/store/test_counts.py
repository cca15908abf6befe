"""Random commands against a list and a loop: claims and counts stay equal, whatever happens."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stanchion.store.contract import Claimed, Lease, Send, Store
from stanchion.store.sqlite import SqliteStore
from tests.store.conftest import open_postgres
from tests.store.driver import Driver, claim, message, texts

RETENTION_MS = 90_000
delays = st.sampled_from([0, 0, 1, 999, 1000, 1500, 20_000])
visibilities = st.sampled_from([0, 1, 500, 1000, 30_000, 100_000])
waits = st.sampled_from([1, 10, 877, 999, 1000, 1001, 30_000, 60_000, 90_000])


class Message:
    def __init__(self, body: str, sent_at_ms: int, visible_at_ms: int) -> None:
        self.body = body
        self.sent_at_ms = sent_at_ms
        self.visible_at_ms = visible_at_ms
        self.received = 0
        self.lease: Lease | None = None


class ReferenceQueue(RuleBasedStateMachine):
    open_store: Callable[[], Store] = staticmethod(SqliteStore.in_memory)

    @initialize()
    def start(self) -> None:
        self.driver = Driver(self.open_store())
        self.queue_id = self.driver.create(retention_ms=RETENTION_MS).id
        self.messages: list[Message] = []
        self.old_leases: list[Lease] = []

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.driver.store.close()

    @rule(sizes=st.lists(st.tuples(st.integers(1, 4), delays), min_size=1, max_size=3))
    def send(self, sizes: list[tuple[int, int]]) -> None:
        """Several commands in one flush."""
        commands = []
        now_ms = self.driver.now_ms
        for size, delay_ms in sizes:
            bodies = [f"m{self.driver.sent + n}" for n in range(size)]
            self.driver.sent += size
            commands.append(Send(self.queue_id, tuple(message(b, delay_ms) for b in bodies)))
            self.messages += [Message(body, now_ms, now_ms + delay_ms) for body in bodies]
        assert self.driver.flush(*commands).answers == [True] * len(sizes)

    @rule(claims=st.lists(st.tuples(st.integers(1, 10), visibilities), min_size=1, max_size=3))
    def claim(self, claims: list[tuple[int, int]]) -> None:
        now_ms = self.driver.now_ms
        flush = self.driver.flush(*(claim(self.queue_id, n, v) for n, v in claims))
        visible = [m for m in self.alive() if m.visible_at_ms <= now_ms]
        visible.sort(key=lambda m: m.visible_at_ms)
        for (limit, visibility_ms), answer in zip(claims, flush.answers, strict=True):
            expected, visible = visible[:limit], visible[limit:]
            assert texts(answer) == [m.body for m in expected]
            assert isinstance(answer, Claimed)
            for mine, got in zip(expected, answer.messages, strict=True):
                mine.received += 1
                mine.visible_at_ms = now_ms + visibility_ms
                if mine.lease:
                    self.old_leases.append(mine.lease)
                mine.lease = got.lease
                assert got.lease.receive_count == mine.received

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        leased = [m for m in self.messages if m.lease]
        chosen = data.draw(st.lists(st.sampled_from(leased), max_size=5)) if leased else []
        leases = tuple(m.lease for m in chosen if m.lease)
        self.driver.delete(self.queue_id, *leases)
        self.messages = [m for m in self.messages if m not in chosen]

    @rule(data=st.data(), visibility_ms=visibilities)
    def show(self, data: st.DataObject, visibility_ms: int) -> None:
        leased = [m for m in self.alive() if m.lease]
        if leased:
            chosen = data.draw(st.sampled_from(leased))
            assert chosen.lease
            assert self.driver.show(self.queue_id, visibility_ms, chosen.lease) == (True,)
            chosen.visible_at_ms = self.driver.now_ms + visibility_ms

    @rule()
    def old_leases_do_nothing(self) -> None:
        old = self.old_leases[-3:]
        outcomes = self.driver.delete(self.queue_id, *old)
        assert outcomes is not None
        assert "deleted" not in outcomes

    @rule(ms=waits)
    def wait(self, ms: int) -> None:
        self.driver.wait(ms)

    @rule()
    def purge(self) -> None:
        if self.driver.purge(self.queue_id) == "purged":
            self.messages = []

    @rule(limit=st.sampled_from([1, 3, 1000]))
    def upkeep(self, limit: int) -> None:
        self.driver.upkeep(limit)

    @invariant()
    def counts_are_exact(self) -> None:
        if not hasattr(self, "driver"):
            return
        hidden = [m for m in self.alive() if m.visible_at_ms > self.driver.now_ms]
        in_flight = sum(m.received > 0 for m in hidden)
        visible = len(self.alive()) - len(hidden)
        expected = (visible, in_flight, len(hidden) - in_flight)
        assert self.driver.counts(self.queue_id) == expected

    def alive(self) -> list[Message]:
        dead_ms = self.driver.now_ms - RETENTION_MS
        return [m for m in self.messages if m.sent_at_ms > dead_ms]


class PostgresReferenceQueue(ReferenceQueue):
    open_store = staticmethod(open_postgres)


TestReferenceQueue = ReferenceQueue.TestCase
TestPostgresReferenceQueue = PostgresReferenceQueue.TestCase


def test_many_messages_of_one_second_are_spread_over_it(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver.module("counts"), "_COUNTED_ONE_BY_ONE_MAX", 10)
    queue = driver.create()
    driver.wait(1000 - driver.now_ms % 1000)
    driver.send(queue.id, *["m"] * 100, delay_ms=1000)
    assert driver.counts(queue.id) == (0, 0, 100)
    driver.wait(250)
    assert driver.counts(queue.id) == (25, 0, 75)
    driver.wait(750)
    assert driver.counts(queue.id) == (100, 0, 0)
