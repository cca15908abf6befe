"""Group commit: commands that arrive while a transaction runs are executed together in the next.

A flush runs as a whole in one writer thread, never on the event loop, and its answers are handed
out after its commit. One command that fails does not touch the others; a broken store fails all
that is waiting and all that comes. Called by the actions, on the event loop's thread only.

Beside a busy event loop the writer has to ask for the interpreter's lock again and again; each time
may take `sys.getswitchinterval()`, whose default of 5 ms is far too long for this.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from stanchion.clock import Clock
from stanchion.store.contract import (
    Command,
    Flush,
    Send,
    SendFifo,
    Store,
    StoreBroken,
    StoreBusy,
    StoreError,
)
from stanchion.store.signals import QueueSignals

Answer = TypeVar("Answer")

_FLUSH_COMMANDS_MAX = 128
_FLUSH_BYTES_MAX = 16 * 1024 * 1024
_WAITING_COMMANDS_MAX = 50_000
_WAITING_BYTES_MAX = 64 * 1024 * 1024

Outcome = Flush | BaseException
Job = Callable[[], None]


class Writer(Protocol):
    """Where flushes run: one after the other, in the order given."""

    def submit(self, job: Job) -> None: ...

    def deliver(self, loop: asyncio.AbstractEventLoop, callback: Job) -> None:
        """Called in a job: run the callback on the loop."""
        ...

    def close(self) -> None: ...


class WriterThread:
    """The one thread that touches the store."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        self._jobs.put(job)

    def deliver(self, loop: asyncio.AbstractEventLoop, callback: Job) -> None:
        loop.call_soon_threadsafe(callback)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while job := self._jobs.get():
            job()


class InlineWriter:
    """Runs flushes on the loop itself, so that a simulation takes the same course every time."""

    def submit(self, job: Job) -> None:
        job()

    def deliver(self, loop: asyncio.AbstractEventLoop, callback: Job) -> None:
        loop.call_soon(callback)

    def close(self) -> None:
        pass


class _Waiting(NamedTuple):
    command: Command[Any]
    future: "asyncio.Future[Any]"
    size_bytes: int


class Batcher:
    """Runs commands on a store. Made and used on one event loop."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        signals: QueueSignals,
        *,
        writer: Writer,
        on_broken: Callable[[StoreBroken], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._signals = signals
        self._writer = writer
        self._on_broken = on_broken
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._is_scheduled = False
        self._running: list[_Waiting] = []
        self._refusal: StoreError | None = None
        self._idle: asyncio.Future[None] | None = None
        self.flushes = 0
        """How many flushes have been executed."""
        self.commands = 0
        """How many commands they had."""

    @property
    def waiting(self) -> int:
        """How many commands wait for a flush of theirs."""
        return len(self._waiting)

    async def run(self, command: Command[Answer]) -> Answer:
        """The command's answer, once it is durable. Raises `StoreError`.

        A caller that is cancelled gives up the answer; the command may be done all the same.
        """
        if self._refusal is not None:
            raise type(self._refusal)(*self._refusal.args)
        size_bytes = _size_bytes(command) if isinstance(command, Send | SendFifo) else 0
        if (
            len(self._waiting) >= _WAITING_COMMANDS_MAX
            or self._waiting_bytes + size_bytes > _WAITING_BYTES_MAX
        ):
            raise StoreBusy("too many commands are waiting")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_Waiting(command, future, size_bytes))
        self._waiting_bytes += size_bytes
        if not self._is_scheduled and not self._running:
            # Not at once: what this turn of the loop still brings goes into the same flush.
            self._is_scheduled = True
            loop.call_soon(self._start)
        return cast(Answer, await future)

    def _start(self) -> None:
        self._is_scheduled = False
        flush = self._next_flush()
        if not flush:
            self._settle()
            return
        self._running = flush
        commands = [waiting.command for waiting in flush]
        loop = asyncio.get_running_loop()
        now_ms = self._clock.now_ms()
        self._writer.submit(lambda: self._execute(loop, commands, now_ms))

    def _next_flush(self) -> list[_Waiting]:
        flush: list[_Waiting] = []
        size_bytes = 0
        waiting = self._waiting
        while waiting and len(flush) < _FLUSH_COMMANDS_MAX and size_bytes < _FLUSH_BYTES_MAX:
            item = waiting.popleft()
            self._waiting_bytes -= item.size_bytes
            if not item.future.done():
                size_bytes += item.size_bytes
                flush.append(item)
        return flush

    def _execute(
        self, loop: asyncio.AbstractEventLoop, commands: Sequence[Command[Any]], now_ms: int
    ) -> None:
        """In the writer: everything that touches the store."""
        outcome: Outcome
        try:
            outcome = self._store.execute(commands, now_ms)
        except BaseException as error:
            outcome = error
        self._writer.deliver(loop, lambda: self._finish(outcome))
        if isinstance(outcome, Flush):
            self._maintain(loop)

    def _maintain(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._store.maintain()
        except BaseException as error:
            failure = error
            self._writer.deliver(loop, lambda: self._fail(failure))

    def _finish(self, outcome: Outcome) -> None:
        """Back on the loop: the next flush sets off before the answers of this one are used."""
        done, self._running = self._running, []
        if not isinstance(outcome, Flush):
            self._fail(outcome, done)
            return
        self.flushes += 1
        self.commands += len(done)
        self._start()
        self._signals.notify(outcome.wakes)
        for item, answer in zip(done, outcome.answers, strict=True):
            if item.future.done():
                continue
            if isinstance(answer, StoreError):
                item.future.set_exception(answer)
            else:
                item.future.set_result(answer)

    def _fail(self, error: BaseException, done: Sequence[_Waiting] = ()) -> None:
        """The store is of no use any more. Its error goes to all that wait, and all that come."""
        if isinstance(error, StoreBroken):
            broken = error
        else:
            broken = StoreBroken(f"the store has failed: {type(error).__name__}: {error}")
        is_first = not isinstance(self._refusal, StoreBroken)
        self._refusal = broken
        for item in (*done, *self._waiting):
            if not item.future.done():
                item.future.set_exception(broken)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._settle()
        if is_first:
            self._on_broken(broken)

    def _settle(self) -> None:
        if self._idle is not None and not self._idle.done() and not self._running:
            self._idle.set_result(None)

    async def close(self) -> None:
        """Finish what is waiting, take nothing more, and stop the writer. The store stays open."""
        if self._refusal is None:
            self._refusal = StoreBusy("the server is stopping")
        if self._running or self._waiting:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        self._writer.close()


def _size_bytes(command: Send | SendFifo) -> int:
    return sum(len(message.body) + len(message.attributes) for message in command.messages)
