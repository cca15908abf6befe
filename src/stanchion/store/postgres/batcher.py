"""Group commit for many flushes at a time: what `Batcher` is for a store in a writer thread.

Commands are put in lanes by what they do, so that a slow kind does not hold up the others and most
flushes are one statement. What arrives while a flush of the lane runs is executed together in the
next: large flushes cost less for each command. A second one sets off beside it only when many
commands wait, or when it takes long. Answers leave after the commit. Called by the actions, on the
event loop's thread only.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from stanchion.store.changes import ListQueueChanges
from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    ClaimFifo,
    Command,
    Delete,
    Flush,
    GetQueue,
    ListQueues,
    Send,
    SendFifo,
    StoreBusy,
    StoreError,
    Wake,
)
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.records import EditRecords, GetRecords, LatestEdit, ListRecords
from stanchion.store.signals import Notified

Answer = TypeVar("Answer")

_FLUSHES_PER_LANE = 2
_FLUSHES_BESIDE_MAX = 3
"""Second ones, of all lanes together: so there is a connection for the first of each lane."""
_COMMANDS_BESIDE_MIN = 32
_PATIENCE_S = 0.005
"""A flush that takes longer waits for the network, a slow disk or locks: no reason to wait too."""
_FLUSH_COMMANDS_MAX = 128
_FLUSH_BYTES_MAX = 16 * 1024 * 1024
_WAITING_COMMANDS_MAX = 50_000
_WAITING_BYTES_MAX = 64 * 1024 * 1024

_KINDS: tuple[tuple[type[Command[Any]], ...], ...] = (
    *((Send,), (SendFifo,), (Claim,), (ClaimFifo,)),
    *((Delete,), (ChangeVisibility,)),
    # Whoever creates or deletes queues may wait for locks, and whoever edits for other edits; who
    # may do what, and what others have changed, is told all the same.
    (EditRecords,),
    (LatestEdit, ListQueueChanges, GetRecords, ListRecords, GetQueue, ListQueues),
)
_LANES = {kind: lane for lane, kinds in enumerate(_KINDS) for kind in kinds}
_OTHER = len(_KINDS)
FLUSHES_MAX = _OTHER + 1 + _FLUSHES_BESIDE_MAX
"""So many may be under way."""


class _Waiting(NamedTuple):
    command: Command[Any]
    future: "asyncio.Future[Any]"
    size_bytes: int


class _Lane:
    __slots__ = ("is_scheduled", "running", "started_s", "timer", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.running = 0
        self.started_s = 0.0
        """When the last flush set off."""
        self.is_scheduled = False
        self.timer: asyncio.TimerHandle | None = None


class PostgresBatcher:
    """Runs commands on a store. Made and used on one event loop."""

    def __init__(
        self,
        store: PostgresStore,
        signals: Notified,
        *,
        announce: Callable[[Sequence[Wake]], None] = lambda wakes: None,
    ) -> None:
        """`announce` tells other processes what has come into view."""
        self._store = store
        self._signals = signals
        self._announce = announce
        self._lanes = [_Lane() for _ in range(_OTHER + 1)]
        self._waiting_bytes = 0
        self._flights: set[asyncio.Task[None]] = set()
        self._refusal: StoreError | None = None
        self.flushes = 0
        """How many flushes were committed."""
        self.commands = 0
        """How many commands were done by them."""

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
        loop = asyncio.get_running_loop()
        while lane.running < _FLUSHES_PER_LANE and lane.waiting:
            if lane.running and not self._may_start_beside(lane):
                return
            if flush := self._next_flush(lane):
                lane.running += 1
                lane.started_s = loop.time()
                task = loop.create_task(self._fly(lane, flush))
                self._flights.add(task)
                task.add_done_callback(self._flights.discard)

    def _may_start_beside(self, lane: _Lane) -> bool:
        """Whether a second flush may set off; if it may later on, there is a timer for that."""
        if sum(other.running > 1 for other in self._lanes) >= _FLUSHES_BESIDE_MAX:
            return False
        loop = asyncio.get_running_loop()
        in_s = lane.started_s + _PATIENCE_S - loop.time()
        if len(lane.waiting) >= _COMMANDS_BESIDE_MIN or in_s <= 0:
            return True
        if lane.timer is None:
            lane.timer = loop.call_later(in_s, self._lose_patience, lane)
        return False

    def _lose_patience(self, lane: _Lane) -> None:
        lane.timer = None
        self._start(lane)

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
        # What has failed was not committed.
        done = sum(not isinstance(answer, StoreError) for answer in flush.answers)
        self.flushes += done > 0
        self.commands += done
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
