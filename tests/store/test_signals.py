"""Long polls: nobody sleeps through a message, and nobody looks without a reason."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from stanchion.clock import Clock
from stanchion.store.batcher import Batcher, InlineWriter
from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    Claimed,
    Delete,
    DeleteQueue,
    Flush,
    Send,
    Wake,
)
from stanchion.store.signals import QueueSignals
from stanchion.store.sqlite import SqliteStore
from tests.store.driver import create_queue, message, texts
from tests.store.virtual_loop import LoopClock, VirtualLoop, run


class Poll:
    """One long poll under way, with what became of it."""

    def __init__(self, bench: "Bench", wait_ms: int, visibility_ms: int, limit: int) -> None:
        self.started_s = bench.loop.now_s
        self.ended_s = -1.0
        self.claims = 0
        self.task = bench.loop.create_task(self._run(bench, wait_ms, visibility_ms, limit))

    async def _run(
        self, bench: "Bench", wait_ms: int, visibility_ms: int, limit: int
    ) -> list[str] | None:
        deadline_ms = bench.clock.now_ms() + wait_ms
        command = Claim(bench.queue_id, limit, visibility_ms, bench.in_flight_max)
        try:
            with bench.signals.waiter(bench.queue_id) as waiter:
                while True:
                    self.claims += 1
                    assert self.claims < 1000, "no pause between claims"
                    claimed = await bench.batcher.run(command)
                    if claimed is None:
                        return None
                    self.claimed: Claimed = claimed
                    if claimed.messages or bench.clock.now_ms() >= deadline_ms:
                        return texts(claimed)
                    if not await waiter.sleep(deadline_ms, claimed.next_visible_at_ms):
                        return texts(claimed)
        finally:
            self.ended_s = bench.loop.now_s


class Behind:
    """The clock of a store that is slow."""

    def __init__(self, clock: Clock, by_ms: int) -> None:
        self._clock = clock
        self._by_ms = by_ms

    def now_ms(self) -> int:
        return self._clock.now_ms() - self._by_ms

    def wall_s(self) -> float:
        return self.now_ms() / 1000


class Bench:
    """Signals, batcher and store on a loop whose time is ours."""

    def __init__(self, store_behind_ms: int = 0) -> None:
        self.loop = VirtualLoop()
        self.clock = LoopClock(self.loop)
        self.signals = QueueSignals(self.clock)
        self.store = SqliteStore.in_memory()
        self.in_flight_max = 120_000
        self.batcher = Batcher(
            self.store,
            Behind(self.clock, store_behind_ms),
            self.signals,
            writer=InlineWriter(),
            on_broken=lambda _: None,
        )

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        async def whole() -> None:
            created = await self.batcher.run(create_queue())
            self.queue_id = created.record.id  # type: ignore[union-attr]
            await coroutine
            assert self.signals.waiting == 0
            assert self.signals._queues == {}
            assert self.signals._pulse is None

        run(self.loop, whole())
        self.store.close()

    def poll(self, wait_ms: int = 20_000, visibility_ms: int = 30_000, limit: int = 1) -> Poll:
        return Poll(self, wait_ms, visibility_ms, limit)

    def send_silently(self, body: str) -> Flush:
        """What a flush does, without anybody being told."""
        send = Send(self.queue_id, (message(body),))
        return self.store.execute([send], self.clock.now_ms())

    async def send(self, *bodies: str, delay_ms: int = 0) -> None:
        messages = tuple(message(body, delay_ms) for body in bodies)
        assert await self.batcher.run(Send(self.queue_id, messages)) is True


async def bodies(polls: list[Poll]) -> list[list[str] | None]:
    return list(await asyncio.gather(*(poll.task for poll in polls)))


def test_an_idle_poll_claims_twice_and_ends_at_its_deadline() -> None:
    bench = Bench()

    async def scenario() -> None:
        poll = bench.poll(wait_ms=20_000)
        assert await poll.task == []
        assert poll.claims == 2
        assert poll.ended_s == pytest.approx(20, abs=0.01)

    bench.run(scenario())


def test_a_message_wakes_one_poll_at_once_the_oldest() -> None:
    bench = Bench()

    async def scenario() -> None:
        polls = [bench.poll() for _ in range(5)]
        await asyncio.sleep(3)
        await bench.send("a")
        await asyncio.sleep(1)
        assert polls[0].task.result() == ["a"]
        assert polls[0].ended_s == pytest.approx(3)
        assert [poll.claims for poll in polls] == [2, 1, 1, 1, 1]
        await bodies(polls)

    bench.run(scenario())


def test_as_many_wake_as_there_are_messages() -> None:
    bench = Bench()

    async def scenario() -> None:
        polls = [bench.poll() for _ in range(5)]
        await asyncio.sleep(3)
        await bench.send("a", "b", "c")
        assert await bodies(polls) == [["a"], ["b"], ["c"], [], []]
        assert polls[2].ended_s == pytest.approx(3)

    bench.run(scenario())


def test_a_delay_that_ends_wakes_as_many_as_it_has_messages_for() -> None:
    bench = Bench()

    async def scenario() -> None:
        polls = [bench.poll() for _ in range(4)]
        await asyncio.sleep(1)
        await bench.send("a", "b", delay_ms=5000)
        assert await bodies(polls) == [["a"], ["b"], [], []]
        assert polls[0].ended_s == polls[1].ended_s == pytest.approx(6, abs=0.01)
        # The third took the baton in vain and ended the chain; the fourth slept on.
        assert [poll.claims for poll in polls] == [2, 2, 3, 2]

    bench.run(scenario())


def test_a_lease_that_ends_is_known_to_who_comes_later() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.send("a")
        assert await bench.poll(visibility_ms=7000).task == ["a"]
        late = bench.poll()
        assert await late.task == ["a"]
        assert late.ended_s == pytest.approx(7, abs=0.01)
        assert late.claims == 2

    bench.run(scenario())


def test_a_lease_that_ends_by_a_clock_that_is_behind_costs_few_claims() -> None:
    bench = Bench(store_behind_ms=1000)

    async def scenario() -> None:
        await bench.send("a")
        assert await bench.poll(visibility_ms=7000).task == ["a"]
        late = bench.poll()
        assert await late.task == ["a"]
        assert 7 <= late.ended_s < 7.06
        assert late.claims < 30

    bench.run(scenario())


def test_a_message_wakes_who_waits_for_a_clock_that_is_behind() -> None:
    bench = Bench(store_behind_ms=1000)

    async def scenario() -> None:
        await bench.send("a")
        await bench.poll(visibility_ms=7000).task
        poll = bench.poll()
        await asyncio.sleep(6.51)
        assert poll.claims > 5
        await bench.send("b")
        assert await poll.task == ["b"]
        assert poll.ended_s == pytest.approx(6.51)

    bench.run(scenario())


def test_a_lease_given_up_early_wakes() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.send("a")
        first = bench.poll()
        await first.task
        second = bench.poll()
        await asyncio.sleep(2)
        lease = first.claimed.messages[0].lease
        await bench.batcher.run(ChangeVisibility(bench.queue_id, ((lease, 0),)))
        assert await second.task == ["a"]
        assert second.ended_s == pytest.approx(2)

    bench.run(scenario())


def test_a_wake_in_the_middle_of_a_claim_is_not_lost() -> None:
    bench = Bench()

    async def scenario() -> None:
        with bench.signals.waiter(bench.queue_id) as waiter:
            # A claim is under way, finds nothing, and now the message comes.
            await bench.send("a")
            assert await asyncio.wait_for(waiter.sleep(2**50, None), 0.001)

    bench.run(scenario())


def test_a_cancelled_poll_passes_its_wake_on() -> None:
    bench = Bench()

    async def scenario() -> None:
        first, second = bench.poll(), bench.poll()
        await asyncio.sleep(1)
        bench.signals.notify(bench.send_silently("a").wakes)
        first.task.cancel()
        await asyncio.gather(first.task, return_exceptions=True)
        assert await second.task == ["a"]
        assert second.ended_s == pytest.approx(1)

    bench.run(scenario())


def test_a_poll_cancelled_in_the_claim_that_it_was_woken_for_passes_the_wake_on() -> None:
    bench = Bench()

    async def woken_and_gone() -> None:
        with bench.signals.waiter(bench.queue_id) as waiter:
            assert await waiter.sleep(2**50, None)
            raise asyncio.CancelledError

    async def scenario() -> None:
        gone = bench.loop.create_task(woken_and_gone())
        await asyncio.sleep(0)
        other = bench.poll()
        await asyncio.sleep(1)
        bench.signals.notify(bench.send_silently("a").wakes)
        assert await other.task == ["a"]
        assert other.ended_s == pytest.approx(1)
        assert gone.cancelled()

    bench.run(scenario())


def test_a_poll_that_ends_with_an_unused_wake_passes_it_on() -> None:
    bench = Bench()

    async def scenario() -> None:
        with bench.signals.waiter(bench.queue_id) as other:
            with bench.signals.waiter(bench.queue_id):
                # Both are in the middle of a claim, and the wake meets one of them.
                bench.signals.notify([Wake(bench.queue_id, 0, 2)])
                assert await other.sleep(2**50, None)
                sleeping = bench.loop.create_task(other.sleep(2**50, None))
                await asyncio.sleep(1)
                assert not sleeping.done()
            await sleeping
        assert bench.loop.now_s == pytest.approx(1)

    bench.run(scenario())


def test_a_cancelled_poll_hands_on_the_baton() -> None:
    bench = Bench()

    async def scenario() -> None:
        first, second = bench.poll(), bench.poll()
        await asyncio.sleep(1)
        bench.send_silently("a")
        bench.signals._queues[bench.queue_id].pass_baton()
        first.task.cancel()
        await asyncio.gather(first.task, return_exceptions=True)
        assert await second.task == ["a"]
        assert second.ended_s == pytest.approx(1)

    bench.run(scenario())


def test_deleting_the_queue_ends_its_polls() -> None:
    bench = Bench()

    async def scenario() -> None:
        polls = [bench.poll() for _ in range(3)]
        await asyncio.sleep(1)
        await bench.batcher.run(DeleteQueue(bench.queue_id))
        bench.signals.close_queue(bench.queue_id)
        assert await bodies(polls) == [None, None, None]
        assert polls[0].ended_s == pytest.approx(1)

    bench.run(scenario())


def test_a_stopping_server_lets_go_of_its_polls() -> None:
    bench = Bench()

    async def scenario() -> None:
        polls = [bench.poll() for _ in range(3)]
        await asyncio.sleep(1)
        assert bench.signals.waiting == 3
        bench.signals.wake_all()
        polls.append(bench.poll())
        assert await bodies(polls) == [[], [], [], []]
        assert polls[0].ended_s == pytest.approx(1)

    bench.run(scenario())


def test_a_full_queue_is_looked_at_each_second() -> None:
    bench = Bench()
    bench.in_flight_max = 1

    async def scenario() -> None:
        await bench.send("a", "b")
        first = bench.poll()
        await first.task
        second = bench.poll()
        await asyncio.sleep(3.5)
        lease = first.claimed.messages[0].lease
        await bench.batcher.run(Delete(bench.queue_id, (lease,)))
        assert await second.task == ["b"]
        assert second.ended_s < 4.6
        assert second.claims <= 6

    bench.run(scenario())


def test_a_clock_that_jumps_ahead_ends_leases_in_time() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.send("a")
        await bench.poll(visibility_ms=600_000).task
        poll = bench.poll(wait_ms=15_000_000)
        await asyncio.sleep(5.5)
        bench.clock.ahead_ms = 599_000
        assert await poll.task == ["a"]
        assert poll.ended_s < 8

    bench.run(scenario())


def test_a_thousand_idle_polls_cost_one_timer_a_second() -> None:
    bench = Bench()
    turns = 0
    select = bench.loop.select

    def counted(timeout: float | None) -> Any:
        nonlocal turns
        turns += 1
        return select(timeout)

    bench.loop.select = counted  # type: ignore[method-assign]

    async def scenario() -> None:
        nonlocal turns
        polls = [bench.poll(wait_ms=30_000) for _ in range(1000)]
        await asyncio.sleep(1)
        turns = 0
        await asyncio.sleep(20)
        assert turns < 50
        await bodies(polls)
        assert all(poll.claims == 2 for poll in polls)

    bench.run(scenario())


@pytest.mark.parametrize("seed", range(30))
def test_no_wake_is_lost_in_a_random_crowd(seed: int) -> None:
    """Polls come, are cancelled and time out; delays and leases end; everything is delivered."""
    bench = Bench()
    chance = random.Random(seed)

    async def scenario() -> None:
        received: list[str] = []
        polls: list[Poll] = []
        for n in range(60):
            visibilities_ms = chance.choices([0, 50, 3_600_000], k=chance.randrange(4))
            polls += [bench.poll(20_000, visibility_ms) for visibility_ms in visibilities_ms]
            await bench.send(f"m{n}", delay_ms=chance.choice([0, 0, 3, 40, 500]))
            await asyncio.sleep(chance.choice([0, 0, 0.001, 0.02]))
            if polls and chance.random() < 0.3:
                chance.choice(polls).task.cancel()
        idle_s = 0.0
        while idle_s < 1.0:
            # Somebody always polls: as long as messages remain, one of them is woken for it.
            while sum(not poll.task.done() for poll in polls) < 3:
                polls.append(bench.poll(20_000, 3_600_000))
            before = sum(poll.task.done() for poll in polls)
            await asyncio.sleep(0.1)
            idle_s = idle_s + 0.1 if sum(p.task.done() for p in polls) == before else 0.0
        command = Claim(bench.queue_id, 10, 0, 120_000)
        left = await bench.batcher.run(command)
        assert texts(left) == []
        for outcome in await asyncio.gather(*(p.task for p in polls), return_exceptions=True):
            received += outcome if isinstance(outcome, list) else []
        assert len(received) > 40

    bench.run(scenario())
