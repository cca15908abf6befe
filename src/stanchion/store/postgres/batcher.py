"""Group commit for many flushes at a time: what `Batcher` is for a store in a writer thread.

Commands are put in lanes by what they do, two flushes of a lane run at once, and what arrives while
they run is executed together in the next. So a slow kind of command does not hold up the others,
and flushes are large when there is much to do. Answers leave after the commit. Called by the
actions, on the event loop's thread only.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    ClaimFifo,
    Command,
    Delete,
    Flush,
    Send,
    SendFifo,
    StoreBusy,
    StoreError,
    Wake,
)
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.signals import QueueSignals

Answer = TypeVar("Answer")

_FLUSHES_PER_LANE = 2
_FLUSH_COMMANDS_MAX = 128
_FLUSH_BYTES_MAX = 16 * 1024 * 1024
_WAITING_COMMANDS_MAX = 50_000
_WAITING_BYTES_MAX = 64 * 1024 * 1024

_SEND, _CLAIM, _CHANGE, _OTHER = range(4)
_LANES: dict[type[Command[Any]], int] = {
    Send: _SEND,
    SendFifo: _SEND,
    Claim: _CLAIM,
    ClaimFifo: _CLAIM,
    Delete: _CHANGE,
    ChangeVisibility: _CHANGE,
}


class _Waiting(NamedTuple):
    command: Command[Any]
    future: "asyncio.Future[Any]"
    size_bytes: int


class _Lane:
    __slots__ = ("is_scheduled", "running", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.running = 0
        self.is_scheduled = False


class PostgresBatcher:
    """Runs commands on a store. Made and used on one event loop."""

    def __init__(
        self,
        store: PostgresStore,
        signals: QueueSignals,
        *,
        announce: Callable[[Sequence[Wake]], None] = lambda wakes: None,
    ) -> None:
        """`announce` tells other processes what has come into view."""
        self._store = store
        self._signals = signals
        self._announce = announce
        self._lanes = [_Lane() for _ in range(4)]
        self._waiting_bytes = 0
        self._flights: set[asyncio.Task[None]] = set()
        self._refusal: StoreError | None = None
        self.flushes = 0
        """How many flushes there were."""
        self.commands = 0
        """How many commands they had."""

    @property
    def waiting(self) -> int:
        """How many commands wait for a flush of theirs."""
        return sum(len(lane.waiting) for lane in self._lanes)

    async def run(self, command: Command[Answer]) -> Answer:
        """The command's answer, once it is durable. Raises `StoreError`.

        A caller that is cancelled gives up the answer; the command may be done all the same.
        """
        if self._refusal is not None:
            raise type(self._refusal)(*self._refusal.args)
        lane = self._lanes[_LANES.get(type(command), _OTHER)]
        size_bytes = _size_bytes(command) if isinstance(command, Send | SendFifo) else 0
        if (
            len(lane.waiting) >= _WAITING_COMMANDS_MAX
            or self._waiting_bytes + size_bytes > _WAITING_BYTES_MAX
        ):
            raise StoreBusy("too many commands are waiting")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        lane.waiting.append(_Waiting(command, future, size_bytes))
        self._waiting_bytes += size_bytes
        if not lane.is_scheduled and lane.running < _FLUSHES_PER_LANE:
            # Not at once: what this turn of the loop still brings goes into the same flush.
            lane.is_scheduled = True
            loop.call_soon(self._start, lane)
        return cast(Answer, await future)

    def _start(self, lane: _Lane) -> None:
        lane.is_scheduled = False
        while lane.running < _FLUSHES_PER_LANE and (flush := self._next_flush(lane)):
            lane.running += 1
            task = asyncio.get_running_loop().create_task(self._fly(lane, flush))
            self._flights.add(task)
            task.add_done_callback(self._flights.discard)

    def _next_flush(self, lane: _Lane) -> list[_Waiting]:
        flush: list[_Waiting] = []
        size_bytes = 0
        waiting = lane.waiting
        while waiting and len(flush) < _FLUSH_COMMANDS_MAX and size_bytes < _FLUSH_BYTES_MAX:
            item = waiting.popleft()
            self._waiting_bytes -= item.size_bytes
            if not item.future.done():
                size_bytes += item.size_bytes
                flush.append(item)
        return flush

    async def _fly(self, lane: _Lane, items: Sequence[_Waiting]) -> None:
        try:
            flush = await self._store.execute([item.command for item in items])
        except BaseException as error:
            failure = StoreError(f"{type(error).__name__}: {error}")
            flush = Flush([failure] * len(items), [])
            if not isinstance(error, Exception):
                raise
        finally:
            # The next flush sets off before the answers of this one are used.
            lane.running -= 1
            self._start(lane)
            self._hand_out(items, flush)

    def _hand_out(self, items: Sequence[_Waiting], flush: Flush) -> None:
        self.flushes += 1
        self.commands += len(items)
        if flush.wakes:
            self._signals.notify(flush.wakes)
            self._announce(flush.wakes)
        for item, answer in zip(items, flush.answers, strict=True):
            if item.future.done():
                continue
            if isinstance(answer, StoreError):
                item.future.set_exception(answer)
            else:
                item.future.set_result(answer)

    async def close(self) -> None:
        """Finish what is waiting, and take nothing more. The store stays open."""
        if self._refusal is None:
            self._refusal = StoreBusy("the server is stopping")
        while self._flights or self.waiting:
            # Where commands wait without a flight, one is about to start.
            if self._flights:
                await asyncio.wait(self._flights)
            else:
                await asyncio.sleep(0)


def _size_bytes(command: Send | SendFifo) -> int:
    return sum(len(message.body) + len(message.attributes) for message in command.messages)
