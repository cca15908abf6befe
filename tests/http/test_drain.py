"""The end of a listener, and its ports."""

import asyncio
import socket
from pathlib import Path

import pytest

from stanchion.http.message import HttpRequest, HttpResponse
from tests.http.certificates import Authority, watching
from tests.http.support import connected, echo, post, run, serving, until


class Held:
    """A handler that answers when the test says so."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = False

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return echo(request)


def test_running_and_arriving_requests_finish_and_idle_connections_close() -> None:
    async def scenario() -> None:
        held = Held()
        async with (
            serving(held) as served,
            connected(served.port) as running,
            connected(served.port) as arriving,
            connected(served.port) as idle,
        ):
            running.send(post(b"running"))
            arriving.send(post(b"arriving")[:-3])
            await held.started.wait()
            await until(lambda: served.listener.connection_count == 3)
            drain = asyncio.create_task(served.listener.drain(10))
            assert await idle.closed()
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", served.port)
            arriving.send(b"ing")
            held.release.set()
            for client in (running, arriving):
                reply = await client.reply()
                assert (reply.status, reply.headers["connection"]) == (200, "close")
                assert await client.closed()
            await drain

    run(scenario)


def test_an_idle_client_that_does_not_answer_the_goodbye_is_not_waited_for(tmp_path: Path) -> None:
    """As pools of clients do: TLS wants an answer, and nobody reads."""
    authority = Authority(tmp_path, "authority")

    async def scenario() -> None:
        async with serving(Held(), tls=watching(authority.issue("server"))) as served:
            plain = socket.create_connection(("127.0.0.1", served.port))
            trusting = authority.trusting()
            idle = await asyncio.to_thread(
                lambda: trusting.wrap_socket(plain, server_hostname="127.0.0.1")
            )
            with idle:
                drain = asyncio.create_task(served.listener.drain(60))
                await asyncio.sleep(0)
                for _ in range(2):
                    served.listener.tick()
                async with asyncio.timeout(5):
                    await drain

    run(scenario)


def test_what_takes_too_long_is_cancelled() -> None:
    async def scenario() -> None:
        held = Held()
        async with serving(held) as served, connected(served.port) as client:
            client.send(post())
            await held.started.wait()
            await served.listener.drain(0)
            assert held.cancelled
            assert served.listener.connection_count == 0
            assert await client.closed()

    run(scenario)


def test_a_port_that_is_taken_is_an_os_error() -> None:
    async def scenario() -> None:
        async with serving(echo) as served:
            with pytest.raises(OSError, match="in use"):
                await served.listener.open("127.0.0.1", served.port)

    run(scenario)
