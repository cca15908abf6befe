"""Ports: opens them, ticks once a second for all connections, and drains them at the end.

`server.py` owns the one listener of a process. Time passes here by ticks, not by the clock: a
process that was stopped or is overloaded does not blame its clients for the time it lost.
"""

import asyncio

from stanchion.clock import Clock
from stanchion.http.connection import Connection, Handler, Shared
from stanchion.http.limits import HttpLimits
from stanchion.http.refusals import Refuse, refused
from stanchion.http.response import ResponseHead
from stanchion.http.tls import CertificateWatcher

TICK_S = 1.0
_TICKS_BETWEEN_CHECKS = 5
"""Of the certificates' files, which may be on a disk that is far away."""
_BACKLOG = 1024
_CANCELLED_WITHIN_S = 5.0


class Listener:
    """Serves `handler` on any number of ports. Built inside the running event loop."""

    def __init__(
        self,
        handler: Handler,
        clock: Clock,
        limits: HttpLimits | None = None,
        refuse: Refuse = refused,
    ) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        head = ResponseHead(clock.wall_s())
        self._shared = Shared(handler, refuse, limits or HttpLimits(), head)
        self._servers: list[asyncio.AbstractServer] = []
        self._certificates: list[CertificateWatcher] = []
        self._timer = self._loop.call_later(TICK_S, self._tick_on)

    def _tick_on(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick_on)
        self.tick()

    def tick(self) -> None:
        """A second has passed: turn the Date header, end what has waited too long, and now and
        then look whether certificates were replaced.
        """
        shared = self._shared
        shared.tick += 1
        shared.idle_deadline = shared.tick + shared.limits.idle_timeout_s
        shared.head.turn(self._clock.wall_s())
        for connection in [each for each in shared.connections if each.deadline < shared.tick]:
            connection.expire()
        if shared.tick % _TICKS_BETWEEN_CHECKS == 0:
            for certificates in self._certificates:
                certificates.check()

    @property
    def connection_count(self) -> int:
        return len(self._shared.connections)

    @property
    def buffered_bytes(self) -> int:
        """Of requests."""
        return self._shared.buffers.used_bytes

    @property
    def unread_bytes(self) -> int:
        """Of responses."""
        return self._shared.unread.held_bytes

    async def open(
        self,
        host: str,
        port: int,
        tls: CertificateWatcher | None = None,
        *,
        is_shared: bool = False,
    ) -> int:
        """Listen, with TLS when given certificates; the port, which is chosen when it is 0.

        A port that `is_shared` may be listened on by other processes too, if they say so as well.

        Raises OSError when the address cannot be had.
        """
        shared, secure = self._shared, tls is not None
        server = await self._loop.create_server(
            lambda: Connection(shared, secure=secure),
            host,
            port,
            ssl=tls.context if tls else None,
            backlog=_BACKLOG,
            reuse_port=is_shared or None,
            ssl_handshake_timeout=shared.limits.header_timeout_s if secure else None,
        )
        self._servers.append(server)
        if tls:
            self._certificates.append(tls)
        bound_port: int = server.sockets[0].getsockname()[1]
        return bound_port

    async def drain(self, timeout_s: float) -> None:
        """Accept nothing more; let what runs or is arriving finish within `timeout_s`, then cut."""
        self._shared.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self._shared.connections):
            connection.drain()
        if not await self._emptied(timeout_s):
            for connection in list(self._shared.connections):
                connection.abort()
            await self._emptied(_CANCELLED_WITHIN_S)
        self._timer.cancel()

    async def _emptied(self, timeout_s: float) -> bool:
        """Whether the last connection, and the handler that ran for it, ended in time."""
        emptied = asyncio.Event()
        self._shared.on_empty = emptied.set
        if not self._shared.connections:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await emptied.wait()
        except TimeoutError:
            return False
        return True
