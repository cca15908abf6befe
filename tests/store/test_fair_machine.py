"""Random commands with tenants that turn noisy and quiet all the time, against a plain list.

Whatever lanes do: a claim takes as many messages as are visible, none twice inside its lease, and
nothing is lost, across restarts and undone transactions. The thresholds are made small for it.
"""

import os
from collections.abc import Callable
from importlib import import_module

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stanchion.store.contract import Claim, Claimed, Lease, Send, Store
from stanchion.store.sqlite import SqliteStore, tenants
from tests.store.conftest import open_postgres
from tests.store.driver import Driver, claim

GROUPS = ("A", "B", "C", None)


class Held(msgspec.Struct):
    """A message as the model has it."""

    visible_at_ms: int
    lease: Lease | None = None


class FairMachine(RuleBasedStateMachine):
    open_store: Callable[[], Store] = staticmethod(SqliteStore.in_memory)

    @initialize()
    def start(self) -> None:
        self.driver = Driver(self.open_store())
        self.queue_id = self.driver.create().id
        self.held: dict[str, Held] = {}
        self.send("A", 40, 0)
        self._claim([8], 30_000)

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self._drain()
            self.driver.store.close()

    @rule(
        group_id=st.sampled_from(GROUPS),
        count=st.integers(1, 30),
        delay_ms=st.sampled_from((0, 0, 0, 1500)),
    )
    def send(self, group_id: str | None, count: int, delay_ms: int) -> None:
        messages = [self.driver.message("x", delay_ms) for _ in range(count)]
        grouped = tuple(msgspec.structs.replace(m, group_id=group_id) for m in messages)
        assert self.driver.run(Send(self.queue_id, grouped))
        for message in messages:
            visible_at_ms = self.driver.now_ms + delay_ms
            self.held[message.message_id] = Held(visible_at_ms)

    @rule(
        limits=st.lists(st.integers(1, 10), min_size=1, max_size=4),
        visibility_ms=st.sampled_from((0, 700, 30_000, 30_000)),
    )
    def claim(self, limits: list[int], visibility_ms: int) -> None:
        self._claim(limits, visibility_ms)

    def _claim(self, limits: list[int], visibility_ms: int) -> None:
        visible = self._visible()
        claims = [claim(self.queue_id, limit, visibility_ms) for limit in limits]
        answers = self.driver.flush(*claims).answers
        taken = [m for claimed in answers if isinstance(claimed, Claimed) for m in claimed.messages]
        assert len(taken) == min(sum(limits), len(visible))
        assert len({message.message_id for message in taken}) == len(taken)
        assert {message.message_id for message in taken} <= visible
        for message in taken:
            held = self.held[message.message_id]
            receive_count = held.lease.receive_count + 1 if held.lease else 1
            assert message.lease.receive_count == receive_count
            held.lease = message.lease
            held.visible_at_ms = self.driver.now_ms + visibility_ms
        for claimed in answers:
            if isinstance(claimed, Claimed) and not claimed.messages:
                instants = [held.visible_at_ms for held in self.held.values()]
                assert claimed.next_visible_at_ms == min(instants, default=None)

    def _visible(self) -> set[str]:
        now_ms = self.driver.now_ms
        return {name for name, held in self.held.items() if held.visible_at_ms <= now_ms}

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        names = self._choose(data)
        leases = [self.held.pop(name).lease for name in names]
        outcomes = self.driver.delete(self.queue_id, *(lease for lease in leases if lease))
        assert outcomes == ("deleted",) * len(names)

    @rule(data=st.data(), visibility_ms=st.sampled_from((0, 0, 900, 40_000)))
    def change_visibility(self, data: st.DataObject, visibility_ms: int) -> None:
        names = self._choose(data)
        leases = [self.held[name].lease for name in names]
        self.driver.show(self.queue_id, visibility_ms, *(lease for lease in leases if lease))
        for name in names:
            self.held[name].visible_at_ms = self.driver.now_ms + visibility_ms

    def _choose(self, data: st.DataObject) -> list[str]:
        received = sorted(name for name, held in self.held.items() if held.lease)
        if not received:
            return []
        chosen: list[str] = data.draw(st.lists(st.sampled_from(received), unique=True, max_size=20))
        return chosen

    @rule(ms=st.sampled_from((1, 1, 500, 500, 2_000, 2_000, 35_000, 400_000)))
    def wait(self, ms: int) -> None:
        self.driver.wait(ms)

    @rule()
    def restart(self) -> None:
        """All that was in memory is gone."""
        self.driver.store = self.reopened(self.driver.store)

    def reopened(self, store: Store) -> Store:
        assert isinstance(store, SqliteStore)
        return SqliteStore(store._connection, os.urandom, None)

    @rule(limit=st.integers(1, 10))
    def undo(self, limit: int) -> None:
        """A transaction that fails; its claim is done again, without what broke it."""
        limits = [limit]
        visible = self._visible()
        broken = _Unknown(self.queue_id, 1, 0, 1)
        answers = self.driver.flush(claim(self.queue_id, limit, 30_000), broken).answers
        assert isinstance(answers[1], Exception)
        assert isinstance(answers[0], Claimed)
        assert len(answers[0].messages) == min(sum(limits), len(visible))
        for message in answers[0].messages:
            self.held[message.message_id].lease = message.lease
            self.held[message.message_id].visible_at_ms = self.driver.now_ms + 30_000

    @invariant()
    def counts_are_exact(self) -> None:
        if not hasattr(self, "driver"):
            return
        now_ms = self.driver.now_ms
        hidden = [held for held in self.held.values() if held.visible_at_ms > now_ms]
        in_flight = sum(held.lease is not None for held in hidden)
        expected = (len(self.held) - len(hidden), in_flight, len(hidden) - in_flight)
        assert self.driver.counts(self.queue_id) == expected

    @invariant()
    def every_lane_has_its_tenant(self) -> None:
        if not hasattr(self, "driver"):
            return
        (orphans,) = self.driver.query(
            "SELECT count(*) FROM message AS m WHERE lane >= 2 AND NOT EXISTS ("
            "SELECT 1 FROM noisy_tenant AS t WHERE t.backlog = m.backlog AND t.lane = m.lane)"
        )
        assert orphans[0] == 0

    def _drain(self) -> None:
        self.driver.wait(400_000)
        while self.held:
            before = len(self.held)
            claimed = self.driver.claim(self.queue_id)
            for message in claimed.messages:
                del self.held[message.message_id]
            assert len(self.held) < before
            self.driver.delete(self.queue_id, *(message.lease for message in claimed.messages))
        assert self.driver.claim(self.queue_id).messages == ()


class PostgresFairMachine(FairMachine):
    open_store = staticmethod(open_postgres)

    def reopened(self, store: Store) -> Store:
        return type(store)()


class _Unknown(Claim, frozen=True, gc=False):
    pass


@pytest.fixture(autouse=True)
def _small_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenants, "NOISY_IN_FLIGHT_MIN", 4)
    monkeypatch.setattr(tenants, "NOISY_BUSY_MIN_MS", 1_000)
    for store in ("sqlite", "postgres"):
        fair = import_module(f"stanchion.store.{store}.fair")
        monkeypatch.setattr(fair, "_MOVED_MAX", 6)
        monkeypatch.setattr(fair, "_LANES_MAX", 2)


@pytest.mark.usefixtures("_small_thresholds")
class TestFairness(FairMachine.TestCase):  # type: ignore[misc]
    settings = settings(stateful_step_count=40)


@pytest.mark.usefixtures("_small_thresholds")
class TestFairnessOnPostgres(PostgresFairMachine.TestCase):  # type: ignore[misc]
    settings = settings(max_examples=10, stateful_step_count=30)
