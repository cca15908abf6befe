"""Drives one script over one connection at a time, and counts what comes of it.

This is the generator's hot path: one call of `_replied` per request. Lanes of a worker share a
`Run`, which says where to count, how many requests may still be sent, and when all is done.
"""

import asyncio
import ssl
from collections.abc import Coroutine
from time import perf_counter_ns
from typing import Any, Protocol

import msgspec

from stanchion.loadgen.connection import Connection, connect
from stanchion.loadgen.plan import Endpoint
from stanchion.loadgen.scripts import Script
from stanchion.loadgen.tally import Tally

UNLIMITED = 2**62
_RECONNECTS_MAX = 5
_RECONNECT_PAUSE_S = 0.2


class Run:
    """What the lanes of one worker share."""

    def __init__(self, sends_per_s: float = 0.0) -> None:
        self.tally = Tally()
        self.sends_per_s = sends_per_s
        """Of all lanes together; 0: as fast as replies come."""
        self._next_slot_s = 0.0
        self.remaining = UNLIMITED
        """Requests that may still be sent."""
        self.active = 0
        """Lanes that have begun and not ended."""
        self.done = asyncio.Event()
        """Set when no lane is active, or when the run has been told to stop."""
        self._tasks: set[asyncio.Task[None]] = set()

    def counting(self) -> Tally:
        return self.tally

    def slot_s(self, now_s: float) -> float:
        """When the next message may be sent, evenly spaced; what was missed is not made up for."""
        slot_s = max(now_s, self._next_slot_s)
        self._next_slot_s = slot_s + 1 / self.sends_per_s
        return slot_s

    def lane_ended(self) -> None:
        self.active -= 1
        if self.active == 0:
            self.done.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancel what has been spawned, and wait until it has ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class AnyLane(Protocol):
    """What the worker needs of a lane."""

    async def open(self) -> None:
        """Connect. Raises OSError, `BenchError`."""
        ...

    def begin(self) -> None: ...

    def abort(self) -> None: ...


class Lane:
    """One script, one request under way."""

    __slots__ = (
        *("_connection", "_endpoint", "_operation", "_run", "_script", "_sent_at_ns", "_tls"),
        "_waiting",
    )

    def __init__(
        self, run: Run, endpoint: Endpoint, tls: ssl.SSLContext | None, script: Script
    ) -> None:
        self._run = run
        self._endpoint = endpoint
        self._tls = tls
        self._script = script
        self._connection: Connection
        self._operation: str | None = None
        """The operation under way."""
        self._sent_at_ns = 0
        self._waiting: asyncio.TimerHandle | None = None
        """For a slot to send in."""

    async def open(self) -> None:
        """Connect. Raises OSError."""
        self._connection = await connect(self._endpoint, self._tls, self._replied, self._lost)

    def begin(self) -> None:
        self._run.active += 1
        self._next(None)

    def abort(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._connection.abort()

    def _replied(self, status: int, body: bytes) -> None:
        now_ns = perf_counter_ns()
        operation, self._operation = self._operation, None
        if operation is None:
            return
        tally = self._run.tally
        if status == 200:
            tally.success(operation, (now_ns - self._sent_at_ns) // 1000)
            self._next(body)
        else:
            tally.error(error_code(status, body))
            self._next(None)

    def _next(self, reply: bytes | None) -> None:
        """Give the script its reply, and send what it wants next."""
        run = self._run
        try:
            operation, request = self._script.send(reply)
        except StopIteration:
            self._run.lane_ended()
            return
        except msgspec.MsgspecError:
            run.tally.error("UnreadableReply")
            self._run.lane_ended()
            return
        if run.remaining <= 0:
            self._run.lane_ended()
            return
        run.remaining -= 1
        if run.sends_per_s and operation.startswith("SendMessage"):
            loop = asyncio.get_running_loop()
            slot_s = run.slot_s(loop.time())
            self._waiting = loop.call_at(slot_s, self._start, operation, request)
        else:
            self._start(operation, request)

    def _start(self, operation: str, request: bytes) -> None:
        if self._connection.closing:
            self._run.spawn(self._reconnect(operation, request))
        else:
            self._write(operation, request)

    def _write(self, operation: str, request: bytes) -> None:
        self._operation = operation
        self._sent_at_ns = perf_counter_ns()
        self._connection.write(request)

    def _lost(self) -> None:
        """The connection is gone; when a request was under way, its outcome is unknown."""
        self._connection.closing = True
        if self._operation is not None:
            self._operation = None
            self._run.tally.error("ConnectionLost")
            self._next(None)

    async def _reconnect(self, operation: str, request: bytes) -> None:
        self._connection.abort()
        for _ in range(_RECONNECTS_MAX):
            try:
                await self.open()
            except OSError:
                self._run.tally.error("ConnectionFailed")
                await asyncio.sleep(_RECONNECT_PAUSE_S)
            else:
                self._write(operation, request)
                return
        self._run.remaining += 1
        self._run.lane_ended()


def error_code(status: int, body: bytes) -> str:
    """The shape's name from an AWS JSON error, or the HTTP status where there is none."""
    try:
        name = msgspec.json.decode(body)["__type"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        return f"HTTP {status}"
    return str(name).rpartition("#")[2]
