"""One client connection: requests in, responses out, in order, one at a time.

Input that arrives while a request runs waits unparsed. A connection always has a deadline, except
while the handler has its request: `Listener` looks at it once per tick, so that no request costs
a timer. It must never write a response for a client that left, nor leave the handler running for
one: a long poll would take messages that nobody gets.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, cast

from stanchion.http.limits import NEVER, HttpLimits
from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.http.reader import BETWEEN, HEAD, Buffers, Received, RequestReader
from stanchion.http.refusals import Refusal, Refuse
from stanchion.http.response import CLOSE, ResponseHead

Handler = Callable[[HttpRequest], HttpResponse | Coroutine[Any, Any, HttpResponse]]
"""Answers at once, or with a coroutine that the connection runs and cancels."""

_log = logging.getLogger(__name__)


class Unread:
    """Responses that clients are slow to read. Beyond a limit, who has waited longest is cut off:
    what such a client was to receive comes back into view, as for any that is lost.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held_bytes = 0
        self._of: dict[Connection, int] = {}

    def add(self, connection: "Connection", count: int) -> None:
        self._of[connection] = count
        self.held_bytes += count
        while self.held_bytes > self.bytes_max:
            longest = next(iter(self._of))
            self.remove(longest)
            longest.abort()

    def remove(self, connection: "Connection") -> None:
        self.held_bytes -= self._of.pop(connection, 0)


class Shared:
    """What all connections of a listener have in common."""

    def __init__(
        self, handler: Handler, refuse: Refuse, limits: HttpLimits, head: ResponseHead
    ) -> None:
        self.handler = handler
        self.refuse = refuse
        self.limits = limits
        self.head = head
        self.buffers = Buffers(limits.buffered_bytes_max)
        self.unread = Unread(limits.unread_bytes_max)
        self.connections: set[Connection] = set()
        self.tick = 0
        self.idle_deadline = limits.idle_timeout_s
        self.draining = False
        self.on_empty: Callable[[], None] | None = None
        self.loop = asyncio.get_running_loop()

    def forget(self, connection: "Connection") -> None:
        self.connections.discard(connection)
        if not self.connections and self.on_empty is not None:
            self.on_empty()


class Connection(asyncio.Protocol):
    """Driven by its transport, and by the listener through `deadline`, `expire` and `drain`."""

    _transport: asyncio.Transport
    _reader: RequestReader

    def __init__(self, shared: Shared, *, secure: bool) -> None:
        self.deadline = NEVER
        """The tick after which `expire` is due."""
        self._shared = shared
        self._secure = secure
        self._peer_ip = ""
        self._current: Received | None = None
        self._task: asyncio.Task[HttpResponse] | None = None
        self._unparsed = bytearray()
        self._phase = BETWEEN
        self._phase_began = 0
        self._reading_paused = False
        self._writing_paused = False
        self._closing = False
        self._lost = False
        self._discarded_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        shared, limits = self._shared, self._shared.limits
        peer = transport.get_extra_info("peername")
        peer_ip = peer[0] if peer else ""
        self._transport = cast(asyncio.Transport, transport)
        self._peer_ip = peer_ip
        self._reader = RequestReader(limits, shared.buffers, secure=self._secure, peer_ip=peer_ip)
        self.deadline = shared.tick + limits.header_timeout_s
        others = len(shared.connections)
        shared.connections.add(self)
        if others >= limits.connections_max + limits.lingering_max:
            self.abort()
        elif others >= limits.connections_max:
            self._turn_away(Refusal.TOO_MANY_CONNECTIONS)
        elif shared.draining:
            self._close()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._discard(len(data))
            return
        blocked = self._task is not None or self._writing_paused
        if blocked or self._unparsed or len(data) > self._reader.feed_bytes_max:
            self._unparsed += data
        else:
            self._reader.feed(data)
        if blocked:
            self._limit_unparsed()
        else:
            self._advance()

    def _discard(self, count: int) -> None:
        self._discarded_bytes += count
        if self._discarded_bytes > self._shared.limits.linger_bytes_max:
            self.abort()

    def _limit_unparsed(self) -> None:
        unparsed_bytes_max = self._shared.limits.unparsed_bytes_max
        if len(self._unparsed) > unparsed_bytes_max and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _advance(self) -> None:
        """Do what can be done now: answer what has been read, then read on."""
        reader = self._reader
        while self._task is None and not self._writing_paused and not self._closing:
            if reader.requests:
                self._run(reader.requests.popleft())
            elif reader.refusal is not None:
                self._turn_away(reader.refusal)
            elif self._unparsed:
                self._feed_unparsed()
            else:
                if reader.phase != BETWEEN:
                    self._await_rest()
                return

    def _run(self, received: Received) -> None:
        try:
            answer = self._shared.handler(received.request)
        except Exception as error:
            answer = self._failed(error)
        if isinstance(answer, HttpResponse):
            self._respond(received, answer)
            return
        self.deadline = NEVER
        self._current = received
        self._task = self._shared.loop.create_task(answer)
        self._task.add_done_callback(self._answered)

    def _failed(self, error: BaseException) -> HttpResponse:
        _log.error("the handler failed: %r", error)
        return self._shared.refuse(Refusal.INTERNAL, self._peer_ip)

    def _answered(self, task: asyncio.Task[HttpResponse]) -> None:
        received = self._current
        assert received is not None
        self._task = self._current = None
        if not self._closing:
            self._respond(received, self._result(task))
            self._advance()
            return
        # The client has left. Whether the handler was cancelled in time is its own business.
        self._give_back(received)
        if not task.cancelled():
            self._result(task)
        if self._lost:
            self._shared.forget(self)

    def _result(self, task: asyncio.Task[HttpResponse]) -> HttpResponse:
        try:
            return task.result()
        except (Exception, asyncio.CancelledError) as error:
            return self._failed(error)

    def _give_back(self, received: Received) -> None:
        if received.held_bytes:
            self._shared.buffers.take(-received.held_bytes)

    def _respond(self, received: Received, response: HttpResponse) -> None:
        shared = self._shared
        connection = CLOSE if shared.draining else received.connection
        bodiless = received.request.method == "HEAD"
        try:
            data = shared.head.render(response, connection, bodiless=bodiless)
        except ValueError as error:
            response = self._failed(error)
            data = shared.head.render(response, connection, bodiless=bodiless)
        self._give_back(received)
        self._phase = BETWEEN
        self.deadline = shared.idle_deadline
        # May pause writing, and then sets a deadline of its own.
        self._transport.write(data)
        if connection == CLOSE:
            self._close()

    def _close(self) -> None:
        """Close once what is written has been sent, or has had its time."""
        self._closing = True
        self.deadline = self._transfer_deadline(self._transport.get_write_buffer_size())
        self._transport.close()

    def _transfer_deadline(self, size_bytes: int) -> int:
        limits, shared = self._shared.limits, self._shared
        transfer_s = limits.transfer_grace_s + size_bytes // limits.transfer_bytes_per_s_min
        return shared.tick + transfer_s

    def _turn_away(self, refusal: Refusal) -> None:
        """Refuse, then read and discard for a while: closing on unread input would reset the
        connection, and the client, still sending, would not see the answer.
        """
        shared = self._shared
        self._closing = True
        self.deadline = shared.tick + shared.limits.linger_timeout_s
        self._unparsed.clear()
        self._reader.release()
        self._resume_reading()
        response = shared.refuse(refusal, self._peer_ip)
        self._transport.write(shared.head.render(response, CLOSE, bodiless=False))
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def _feed_unparsed(self) -> None:
        piece = bytes(self._unparsed[: self._reader.feed_bytes_max])
        del self._unparsed[: len(piece)]
        self._reader.feed(piece)
        if not self._unparsed:
            self._resume_reading()

    def _await_rest(self) -> None:
        """A request has arrived in part: give the rest its time."""
        shared, reader = self._shared, self._reader
        if self._phase != reader.phase:
            self._phase = reader.phase
            self._phase_began = shared.tick
        waited_s = shared.tick - self._phase_began
        if reader.phase == HEAD:
            self.deadline = shared.tick - waited_s + shared.limits.header_timeout_s
            return
        self.deadline = self._transfer_deadline(len(reader.body)) - waited_s
        if reader.expects_continue:
            reader.expects_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pause_writing(self) -> None:
        self._writing_paused = True
        unread_bytes = self._transport.get_write_buffer_size()
        self.deadline = self._transfer_deadline(unread_bytes)
        self._shared.unread.add(self, unread_bytes)

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._shared.unread.remove(self)
        if not self._closing:
            self.deadline = self._shared.idle_deadline
            self._advance()

    def expire(self) -> None:
        """The deadline has passed. A client that is in the middle of a request is told."""
        if self._closing or self._writing_paused:
            self.abort()
        elif self._reader.phase == BETWEEN:
            self._close()
        else:
            self._turn_away(Refusal.TIMEOUT)

    def drain(self) -> None:
        """Close now, or with the response to the request that runs or is arriving."""
        if self._task is None and self._reader.phase == BETWEEN and not self._closing:
            is_quiet = not self._transport.get_write_buffer_size()
            self._close()
            if is_quiet:
                # Pools of clients do not answer TLS's goodbye before they next need a connection.
                self.deadline = self._shared.tick + 1

    def abort(self) -> None:
        """Close without regard for anything; the handler is cancelled."""
        self._closing = True
        self._transport.abort()

    def eof_received(self) -> None:
        """The client is taken to have left: half-closing cannot be told from that."""
        self._close()
        if self._task is not None:
            self._task.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = self._lost = True
        self._shared.unread.remove(self)
        self._unparsed.clear()
        self._reader.release()
        if self._task is not None:
            self._task.cancel()
        else:
            self._shared.forget(self)
