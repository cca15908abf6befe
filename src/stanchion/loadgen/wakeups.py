"""How long a message takes to wake one of the polls that wait for it.

Messages are sent one at a time over a connection of their own; the next leaves when the one before
has arrived. The lanes of the `long-poll` scenario tell when a message has arrived.
"""

import asyncio
from time import perf_counter_ns

from stanchion.loadgen.calls import Calls
from stanchion.loadgen.connection import Connection, connect, tls_context
from stanchion.loadgen.lane import Run, error_code
from stanchion.loadgen.plan import Endpoint

_ARRIVAL_MAX_S = 5.0


class WakeUps:
    """The sender, and the measurement of what it sends; idle in every other scenario."""

    def __init__(self, run: Run, endpoint: Endpoint, calls: Calls) -> None:
        self._run = run
        self._endpoint = endpoint
        self._calls = calls
        self._connection: Connection | None = None
        self._sent_at_ns = 0
        self._replied = asyncio.Event()
        self._arrived = asyncio.Event()

    async def measure(self, count: int) -> None:
        """Send `count` messages, counting latencies and failures in the run's tally.

        The connection is opened only now: servers close one that has been idle for long.
        """
        try:
            self._connection = await connect(
                self._endpoint, tls_context(self._endpoint), self._on_reply, self._on_lost
            )
        except OSError:
            self._run.tally.error("ConnectionFailed")
        for _ in range(count):
            if self._run.done.is_set() or self._connection is None:
                break
            await self._send_and_wait(self._connection)
        if self._connection is not None:
            self._connection.abort()

    async def _send_and_wait(self, connection: Connection) -> None:
        self._replied.clear()
        self._arrived.clear()
        self._sent_at_ns = perf_counter_ns()
        connection.write(self._calls.send())
        try:
            async with asyncio.timeout(_ARRIVAL_MAX_S):
                await self._replied.wait()
                await self._arrived.wait()
        except TimeoutError:
            self._run.tally.error("NeverArrived")

    def arrived(self) -> None:
        """A waiting poll has been given a message."""
        if self._sent_at_ns:
            latency_us = (perf_counter_ns() - self._sent_at_ns) // 1000
            self._sent_at_ns = 0
            self._run.tally.wake_ups.record(latency_us)
            self._arrived.set()

    def _on_reply(self, status: int, body: bytes) -> None:
        if status != 200:
            self._run.tally.error(error_code(status, body))
        self._replied.set()

    def _on_lost(self) -> None:
        self._run.tally.error("ConnectionLost")
        self._connection = None
        self._replied.set()
