"""Long polls asleep, and what wakes them: no storage reads while nothing happens.

Theory of operation. A waiter registers first and claims then, so nothing that happens afterwards is
missed. k messages coming into view wake k waiters, those that sleep longest first. Messages that
come into view later arm one timer per queue, at the earliest such instant. When it fires, one
waiter gets the *baton*: it claims, and if that may have left more it hands the baton on by leaving;
if it found nothing it tells when to look again and goes back to sleep.

A wake that meets a waiter in the middle of a claim stays with it as a flag: it claims again instead
of sleeping. Whoever leaves with a wake that it has not used passes it on. So no wake is ever lost,
at the price of a claim in vain now and then. Queues without waiters have no state here.

Called on the event loop's thread only: by ReceiveMessage, and by the batcher after each flush.
"""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol

from stanchion.clock import Clock
from stanchion.store.contract import Wake

_PULSE_S = 1.0
_CLOCK_JUMP_MS = 500
_OVERDUE_PAUSE_MAX_MS = 50


class Notified(Protocol):
    """What a store tells of messages that come into view: `QueueSignals`, or who passes it on."""

    def notify(self, wakes: Iterable[Wake]) -> None: ...

    def watched(self) -> list[int]: ...


class QueueSignals:
    """The sleepers of every queue."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queues: dict[int, _Sleepers] = {}
        self._pulse: asyncio.TimerHandle | None = None
        self._clock_ahead_ms = 0.0
        self.waiting = 0
        """How many waiters there are."""
        self.is_draining = False

    def waiter(self, queue_id: int) -> "Waiter":
        """A context manager: a waiter for the queue's messages. Enter it before the first claim.

        with signals.waiter(queue_id) as waiter:
            while True:
                claimed = await store.run(Claim(...))
                if claimed is None or claimed.messages or clock.now_ms() >= deadline_ms:
                    break
                if not await waiter.sleep(deadline_ms, claimed.next_visible_at_ms):
                    break
        """
        return Waiter(self, queue_id)

    def notify(self, wakes: Iterable[Wake]) -> None:
        """Tell of messages that come into view, now or later."""
        if not self._queues:
            return
        now_ms = self._clock.now_ms()
        for queue_id, visible_at_ms, messages in wakes:
            if sleepers := self._queues.get(queue_id):
                if visible_at_ms <= now_ms:
                    sleepers.wake(messages)
                else:
                    sleepers.wake_at(visible_at_ms)

    def watched(self) -> list[int]:
        """The queues that somebody waits for."""
        return list(self._queues)

    def close_queue(self, queue_id: int) -> None:
        """The queue is gone: all its waiters look again, and find out."""
        if sleepers := self._queues.get(queue_id):
            sleepers.wake(len(sleepers.waiters))

    def wake_all(self) -> None:
        """The server stops: every waiter gives up, now and from now on."""
        self.is_draining = True
        for sleepers in self._queues.values():
            sleepers.wake(len(sleepers.waiters))

    def _enter(self, waiter: "Waiter") -> "_Sleepers":
        sleepers = self._queues.get(waiter.queue_id)
        if sleepers is None:
            sleepers = self._queues[waiter.queue_id] = _Sleepers(self._clock)
        sleepers.enter(waiter)
        self.waiting += 1
        if self._pulse is None:
            self._clock_ahead_ms = self._ahead_ms()
            self._set_pulse()
        return sleepers

    def _leave(self, waiter: "Waiter", sleepers: "_Sleepers") -> None:
        self.waiting -= 1
        if not sleepers.waiters:
            sleepers.disarm()
            del self._queues[waiter.queue_id]
        if not self._queues and self._pulse is not None:
            self._pulse.cancel()
            self._pulse = None

    def _set_pulse(self) -> None:
        self._pulse = asyncio.get_running_loop().call_later(_PULSE_S, self._on_pulse)

    def _on_pulse(self) -> None:
        """When queue time has jumped ahead of the loop's timers, set them anew."""
        self._set_pulse()
        ahead_ms = self._ahead_ms()
        if abs(ahead_ms - self._clock_ahead_ms) > _CLOCK_JUMP_MS:
            self._clock_ahead_ms = ahead_ms
            for sleepers in self._queues.values():
                sleepers.rearm()

    def _ahead_ms(self) -> float:
        return self._clock.now_ms() - asyncio.get_running_loop().time() * 1000


class _Sleepers:
    """The waiters of one queue, and the instant at which it is next worth looking."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.waiters: dict[Waiter, None] = {}
        self._asleep: dict[Waiter, asyncio.Future[None]] = {}
        self._awake: dict[Waiter, None] = {}
        """Those in the middle of a claim that have not been told to claim again."""
        self._due_ms: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def wake(self, count: int) -> None:
        """Wake so many waiters: sleeping ones first, then those in the middle of a claim."""
        for _ in range(min(count, len(self._asleep) + len(self._awake))):
            self._flag(next(iter(self._asleep or self._awake)))

    def _flag(self, waiter: "Waiter") -> None:
        waiter.is_flagged = True
        self.rouse(waiter)
        self._awake.pop(waiter, None)

    def rouse(self, waiter: "Waiter") -> None:
        """End a waiter's sleep, if it is asleep."""
        future = self._asleep.pop(waiter, None)
        if future is not None:
            self._awake[waiter] = None
            if not future.done():
                future.set_result(None)

    def put_to_sleep(self, waiter: "Waiter") -> "asyncio.Future[None]":
        del self._awake[waiter]
        future = self._asleep[waiter] = asyncio.get_running_loop().create_future()
        return future

    def enter(self, waiter: "Waiter") -> None:
        self.waiters[waiter] = None
        self._awake[waiter] = None

    def take_flag(self, waiter: "Waiter") -> bool:
        """Whether the waiter was woken; the claim that it is about to make uses the wake up."""
        was_flagged, waiter.is_flagged = waiter.is_flagged, False
        self._awake[waiter] = None
        return was_flagged

    def leave(self, waiter: "Waiter") -> None:
        del self.waiters[waiter]
        self._awake.pop(waiter, None)

    def wake_at(self, instant_ms: int) -> None:
        """See to it that somebody looks at this instant, or earlier."""
        if self._due_ms is None or instant_ms < self._due_ms:
            self._due_ms = instant_ms
            self.rearm()

    def rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due_ms is not None:
            delay_ms = max(0, self._due_ms - self.clock.now_ms())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay_ms / 1000, self._on_due)

    def _on_due(self) -> None:
        self._timer = None
        if self._due_ms is None:
            return
        if self.clock.now_ms() < self._due_ms:
            self.rearm()
            return
        self._due_ms = None
        self.pass_baton()

    def pass_baton(self) -> None:
        """Let one waiter look, and the next one after it until one finds nothing."""
        waiter = next(iter(self._asleep), None) or next(iter(self.waiters), None)
        if waiter is not None:
            waiter.has_baton = True
            self._flag(waiter)

    def disarm(self) -> None:
        self._due_ms = None
        self.rearm()


class Waiter:
    """One long poll."""

    def __init__(self, signals: QueueSignals, queue_id: int) -> None:
        self.queue_id = queue_id
        self.is_flagged = False
        """It was woken, and has not begun a claim since."""
        self.has_baton = False
        """It was woken to look for whatever there is, and whoever comes next depends on it."""
        self._signals = signals
        self._is_acting_on_wake = False

    def __enter__(self) -> "Waiter":
        self._sleepers = self._signals._enter(self)
        return self

    async def sleep(self, deadline_ms: int, next_visible_at_ms: int | None) -> bool:
        """After a claim in vain: sleep until another is worth while, or the deadline.

        `next_visible_at_ms` is what the claim answered. Answers False when the server is stopping
        and the waiter had better give up. May return early: the claim decides.
        """
        if self._signals.is_draining:
            return False
        now_ms = self._sleepers.clock.now_ms()
        if next_visible_at_ms is not None:
            overdue_ms = now_ms - next_visible_at_ms
            if overdue_ms >= 0 and not self.is_flagged:
                pause_ms = min(max(1, overdue_ms), _OVERDUE_PAUSE_MAX_MS)
                return await self._doze(min(pause_ms, deadline_ms - now_ms))
            self._sleepers.wake_at(max(next_visible_at_ms, now_ms + 1))
        if not self.is_flagged:
            self.has_baton = False
            self._is_acting_on_wake = False
            await self._sleep((deadline_ms - now_ms) / 1000)
        self._is_acting_on_wake = self._sleepers.take_flag(self)
        return not self._signals.is_draining

    async def _doze(self, pause_ms: int) -> bool:
        """Look again soon for what ought to be in view already.

        Mostly its instant has come since the claim. But the queue may be on a shard whose clock is
        behind: so the longer it is overdue, the longer the pause.
        """
        await self._sleep(pause_ms / 1000)
        if self.is_flagged:
            self._is_acting_on_wake = self._sleepers.take_flag(self)
        return not self._signals.is_draining

    async def _sleep(self, seconds: float) -> None:
        future = self._sleepers.put_to_sleep(self)
        deadline = asyncio.get_running_loop().call_later(
            max(0.0, seconds), self._sleepers.rouse, self
        )
        try:
            await future
        finally:
            deadline.cancel()
            self._sleepers.rouse(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sleepers.leave(self)
        if self.has_baton:
            self._sleepers.pass_baton()
        elif self.is_flagged or (self._is_acting_on_wake and error is not None):
            self._sleepers.wake(1)
        self._signals._leave(self, self._sleepers)
