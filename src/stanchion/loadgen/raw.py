"""The `raw` scenario: the same bytes for ever, and replies that are counted, not read.

It exists to saturate a server that does nothing, as the yardstick for one that does. It takes the
first reply of a connection as whole, and every later one as long as the first, so it is good only
for a server whose replies are all alike and short.
"""

import asyncio
from time import perf_counter_ns

from stanchion.loadgen.connection import tls_context
from stanchion.loadgen.lane import Run
from stanchion.loadgen.plan import Endpoint


class RawLane(asyncio.Protocol):
    """A lane of its own kind, with the connection and the script in one."""

    __slots__ = (
        "_endpoint",
        "_reply_bytes",
        "_request",
        "_run",
        "_sent_at_ns",
        "_transport",
        "_unread_bytes",
    )

    def __init__(self, run: Run, endpoint: Endpoint, request: bytes) -> None:
        self._run = run
        self._endpoint = endpoint
        self._request = request
        self._transport: asyncio.Transport
        self._reply_bytes = 0
        self._unread_bytes = 0
        self._sent_at_ns = 0

    async def open(self) -> None:
        """Connect. Raises OSError, `BenchError`."""
        self._transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: self, self._endpoint.host, self._endpoint.port, ssl=tls_context(self._endpoint)
        )

    def begin(self) -> None:
        self._run.active += 1
        self._write()

    def abort(self) -> None:
        self._run.remaining = 0
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._reply_bytes:
            self._reply_bytes = self._unread_bytes = len(data)
        self._unread_bytes -= len(data)
        if self._unread_bytes <= 0:
            self._run.tally.success("raw", (perf_counter_ns() - self._sent_at_ns) // 1000)
            self._write()

    def _write(self) -> None:
        if self._run.remaining <= 0:
            self._run.lane_ended()
            return
        self._run.remaining -= 1
        self._unread_bytes = self._reply_bytes
        self._sent_at_ns = perf_counter_ns()
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._run.remaining > 0:
            self._run.tally.error("ConnectionLost")
            self._run.lane_ended()
