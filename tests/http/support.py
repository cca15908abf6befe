"""A listener on a real port for the length of a test, and a client that speaks raw bytes."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from msgspec import Struct

from stanchion.http.connection import Handler
from stanchion.http.limits import HttpLimits
from stanchion.http.listener import Listener
from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.http.refusals import Refuse, refused
from stanchion.http.tls import CertificateWatcher

WALL_S = 1_767_323_045.0
DATE = "Fri, 02 Jan 2026 03:04:05 GMT"


class SetClock:
    """Wall time is what a test last said."""

    def __init__(self) -> None:
        self.at_s = WALL_S

    def now_ms(self) -> int:
        return int(self.at_s * 1000)

    def wall_s(self) -> float:
        return self.at_s


class Served(Struct):
    """A listener, its port, and its clock."""

    listener: Listener
    port: int
    clock: SetClock

    def pass_s(self, seconds: int) -> None:
        for _ in range(seconds):
            self.listener.tick()

    async def settle(self, client: "Client") -> None:
        """Everything that `client`, the only one, sent has been seen: another was served since."""
        await client.writer.drain()
        async with connected(self.port) as witness:
            witness.send(post())
            await witness.reply()
        await until(lambda: self.listener.connection_count == 1)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_within_30_s(scenario))


async def _within_30_s(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.timeout(30):
        await scenario()


@asynccontextmanager
async def serving(
    handler: Handler,
    limits: HttpLimits | None = None,
    refuse: Refuse = refused,
    tls: CertificateWatcher | None = None,
) -> AsyncIterator[Served]:
    """Serve, and see afterwards that nothing was left behind."""
    clock = SetClock()
    listener = Listener(handler, clock, limits, refuse)
    port = await listener.open("127.0.0.1", 0, tls)
    try:
        yield Served(listener, port, clock)
    finally:
        await listener.drain(0.5)
    assert listener.connection_count == 0
    assert listener.buffered_bytes == 0
    assert listener.unread_bytes == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Reply(Struct):
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, *, bodiless: bool = False) -> Reply:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        size = 0 if bodiless else int(headers.get("content-length", 0))
        return Reply(int(status_line.split()[1]), headers, await self.reader.readexactly(size))

    async def closed(self) -> bool:
        """True once the server has closed; false when it says something instead."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def connected(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds."""
    async with asyncio.timeout(5):
        while not condition():
            await _turn()


async def _turn() -> None:
    await asyncio.sleep(0)


def post(body: bytes = b"hello", *headers: bytes, target: bytes = b"/") -> bytes:
    lines = [b"POST %b HTTP/1.1" % target, b"Host: a", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def echo(request: HttpRequest) -> HttpResponse:
    """Method, path and body."""
    text = f"{request.method} {request.path} ".encode("latin-1") + request.body
    return HttpResponse(200, (("Content-Type", "text/plain"),), text)


async def echo_later(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return echo(request)
