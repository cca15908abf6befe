"""The batcher: what goes into one flush, what a failure touches, and the way to a clean stop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from stanchion.clock import SystemClock
from stanchion.store import batcher as batching
from stanchion.store.batcher import Batcher, InlineWriter, WriterThread
from stanchion.store.contract import (
    Command,
    Flush,
    GetQueue,
    QueueName,
    Send,
    StoreBroken,
    StoreBusy,
    StoreError,
    Wake,
)
from stanchion.store.signals import QueueSignals
from stanchion.store.sqlite import SqliteStore
from tests.store.driver import claim, create_queue, message
from tests.store.virtual_loop import LoopClock, VirtualLoop, run


class FakeStore:
    """Answers each command with itself, and writes down what came together."""

    def __init__(self) -> None:
        self.flushes: list[list[object]] = []
        self.failure: BaseException | None = None
        self.maintenance_failure: BaseException | None = None
        self.wakes: list[Wake] = []
        self.answer: Callable[[object], object] = lambda command: command

    def execute(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        if self.failure is not None:
            raise self.failure
        self.flushes.append(list(commands))
        return Flush([self.answer(command) for command in commands], self.wakes)

    def set_move_key(self, key: bytes) -> None:
        raise NotImplementedError

    def maintain(self) -> None:
        if self.maintenance_failure is not None:
            raise self.maintenance_failure

    def latest_ms(self) -> int:
        return 0

    def close(self) -> None:
        pass


class HeldWriter(InlineWriter):
    """Keeps flushes until they are let go."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []

    def submit(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def let_go(self) -> None:
        self.jobs.pop(0)()


class Bench:
    def __init__(self, writer: InlineWriter | None = None) -> None:
        self.loop = VirtualLoop()
        self.store = FakeStore()
        self.signals = QueueSignals(LoopClock(self.loop))
        self.broken: list[StoreBroken] = []
        self.batcher = Batcher(
            self.store,
            LoopClock(self.loop),
            self.signals,
            writer=writer or InlineWriter(),
            on_broken=self.broken.append,
        )

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        run(self.loop, coroutine)

    def start(self, *names: str) -> list["asyncio.Task[Any]"]:
        return [self.loop.create_task(self.batcher.run(get(name))) for name in names]


def get(name: str) -> GetQueue:
    return GetQueue(QueueName("0", "r", name))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_arrives_in_one_turn_goes_together() -> None:
    bench = Bench()

    async def scenario() -> None:
        tasks = bench.start("a", "b", "c")
        assert await asyncio.gather(*tasks) == [get("a"), get("b"), get("c")]

    bench.run(scenario())
    assert bench.store.flushes == [[get("a"), get("b"), get("c")]]
    assert (bench.batcher.flushes, bench.batcher.commands) == (1, 3)


def test_what_arrives_during_a_flush_forms_the_next() -> None:
    writer = HeldWriter()
    bench = Bench(writer)

    async def scenario() -> None:
        tasks = bench.start("a")
        await turns()
        tasks += bench.start("b")
        await turns()
        tasks += bench.start("c")
        await turns()
        assert len(writer.jobs) == 1
        assert bench.batcher.waiting == 2
        writer.let_go()
        await turns()
        assert tasks[0].done()
        writer.let_go()
        await asyncio.gather(*tasks)

    bench.run(scenario())
    assert bench.store.flushes == [[get("a")], [get("b"), get("c")]]


def test_a_flush_is_bounded_by_commands_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_FLUSH_COMMANDS_MAX", 3)
    monkeypatch.setattr(batching, "_FLUSH_BYTES_MAX", 100)
    bench = Bench()

    async def scenario() -> None:
        await asyncio.gather(*bench.start(*"abcdefg"))
        big = Send(1, (message("x" * 60),))
        await asyncio.gather(*(bench.batcher.run(big) for _ in range(3)))

    bench.run(scenario())
    assert [len(flush) for flush in bench.store.flushes] == [3, 3, 1, 2, 1]


@pytest.mark.parametrize("limit", ["_WAITING_COMMANDS_MAX", "_WAITING_BYTES_MAX"])
def test_more_than_can_wait_is_refused(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(batching, limit, 2)
    bench = Bench()
    send = Send(1, (message("x"),))

    async def scenario() -> None:
        sends = (bench.batcher.run(send) for _ in range(3))
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Send, Send, StoreBusy]
        await bench.batcher.run(send)

    bench.run(scenario())


def test_an_error_is_one_commands_alone() -> None:
    bench = Bench()
    bench.store.answer = lambda command: StoreError("no") if command == get("b") else command

    async def scenario() -> None:
        outcomes = await asyncio.gather(*bench.start("a", "b", "c"), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [GetQueue, StoreError, GetQueue]

    bench.run(scenario())
    assert bench.broken == []


@pytest.mark.parametrize("failure", [StoreBroken("disk"), RuntimeError("a bug")])
def test_a_broken_store_fails_everything_once_and_for_all(failure: BaseException) -> None:
    writer = HeldWriter()
    bench = Bench(writer)
    bench.store.failure = failure

    async def scenario() -> None:
        tasks = bench.start("a", "b")
        await turns()
        tasks += bench.start("waiting")
        await turns()
        writer.let_go()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreBroken] * 3
        with pytest.raises(StoreBroken):
            await bench.batcher.run(get("later"))
        await bench.batcher.close()

    bench.run(scenario())
    assert len(bench.broken) == 1
    assert str(failure) in str(bench.broken[0])


def test_failing_maintenance_breaks_the_store_after_the_answers() -> None:
    bench = Bench()
    bench.store.maintenance_failure = StoreBroken("checkpoint")

    async def scenario() -> None:
        await asyncio.gather(*bench.start("a"))
        await turns()
        with pytest.raises(StoreBroken):
            await bench.batcher.run(get("b"))

    bench.run(scenario())
    assert len(bench.broken) == 1


def test_a_caller_that_is_cancelled_does_not_touch_the_others() -> None:
    writer = HeldWriter()
    bench = Bench(writer)

    async def scenario() -> None:
        running, waiting, kept, other = (
            *bench.start("running"),
            *(await _after_a_turn(bench, "waiting", "kept", "other")),
        )
        running.cancel()
        waiting.cancel()
        await turns()
        writer.let_go()
        await turns()
        writer.let_go()
        assert await asyncio.gather(kept, other) == [get("kept"), get("other")]

    bench.run(scenario())
    # One was under way; one had not begun, and never did.
    assert bench.store.flushes == [[get("running")], [get("kept"), get("other")]]


async def _after_a_turn(bench: Bench, *names: str) -> list["asyncio.Task[Any]"]:
    await turns()
    tasks = bench.start(*names)
    await turns()
    return tasks


def test_waiters_are_told_before_the_answers_are_seen() -> None:
    bench = Bench()
    bench.store.wakes = [Wake(7, 0, 1)]
    order = []

    async def sleeper() -> None:
        with bench.signals.waiter(7) as waiter:
            await waiter.sleep(2**50, None)
            order.append("woken")

    async def sender() -> None:
        await turns()
        await bench.batcher.run(get("a"))
        order.append("answered")

    async def scenario() -> None:
        await asyncio.gather(sleeper(), sender())

    bench.run(scenario())
    assert order == ["woken", "answered"]


def test_closing_finishes_what_waits_and_takes_nothing_more() -> None:
    writer = HeldWriter()
    bench = Bench(writer)

    async def scenario() -> None:
        tasks = bench.start("a")
        tasks += await _after_a_turn(bench, "b")
        closing = bench.loop.create_task(bench.batcher.close())
        await turns()
        with pytest.raises(StoreBusy):
            await bench.batcher.run(get("late"))
        writer.let_go()
        await turns()
        assert not closing.done()
        writer.let_go()
        await closing
        assert await asyncio.gather(*tasks) == [get("a"), get("b")]

    bench.run(scenario())


def test_a_whole_life_through_the_writer_thread() -> None:
    """The real thing: a thread, a loop of the standard library, a store."""
    threads: set[str] = set()

    class Watched(SqliteStore):
        def execute(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
            threads.add(threading.current_thread().name)
            return super().execute(commands, now_ms)

    async def scenario() -> None:
        clock = SystemClock()
        store = Watched.in_memory()
        batcher = Batcher(
            store, clock, QueueSignals(clock), writer=WriterThread(), on_broken=lambda _: None
        )
        created = await batcher.run(create_queue())
        queue_id = created.record.id  # type: ignore[union-attr]
        sends = (batcher.run(Send(queue_id, (message(f"m{n}"),))) for n in range(300))
        assert all(await asyncio.gather(*sends))
        claims = await asyncio.gather(*(batcher.run(claim(queue_id, 1)) for _ in range(300)))
        bodies = [m.body for claimed in claims if claimed for m in claimed.messages]
        assert len(bodies) == len(set(bodies)) == 300
        assert batcher.commands == 601
        await batcher.close()
        store.close()

    asyncio.run(scenario())
    assert threads == {"store-writer"}
