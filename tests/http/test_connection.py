"""Requests and responses over real sockets."""

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.http.limits import HttpLimits
from stanchion.http.message import HttpRequest, HttpResponse
from tests.http.support import (
    DATE,
    Client,
    Reply,
    connected,
    echo,
    echo_later,
    post,
    run,
    serving,
    until,
)

HANDLERS = pytest.mark.parametrize("handler", [echo, echo_later])


@HANDLERS
def test_keep_alive(handler) -> None:
    async def scenario() -> None:
        async with serving(handler) as served, connected(served.port) as client:
            for body in (b"one", b"", b"x" * 300_000):
                client.send(post(body))
                reply = await client.reply()
                assert reply == Reply(
                    200,
                    {
                        "date": DATE,
                        "content-type": "text/plain",
                        "content-length": str(len(body) + 7),
                    },
                    b"POST / " + body,
                )

    run(scenario)


@HANDLERS
def test_a_request_split_anywhere(handler) -> None:
    async def scenario() -> None:
        data = post(b"hello")
        async with serving(handler) as served, connected(served.port) as client:
            for at in range(1, len(data)):
                client.send(data[:at])
                await asyncio.sleep(0)
                client.send(data[at:])
                assert (await client.reply()).body == b"POST / hello"

    run(scenario)


@pytest.mark.parametrize(
    ("head", "connection", "closes"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None, False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "close", True),
        (b"GET / HTTP/1.0\r\n\r\n", "close", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "keep-alive", False),
    ],
)
def test_persistence(head: bytes, connection: str | None, closes: bool) -> None:
    async def scenario() -> None:
        async with serving(echo) as served, connected(served.port) as client:
            client.send(head)
            assert (await client.reply()).headers.get("connection") == connection
            if closes:
                assert await client.closed()
            else:
                client.send(head)
                assert (await client.reply()).status == 200

    run(scenario)


def test_head_has_no_body() -> None:
    async def scenario() -> None:
        async with serving(echo) as served, connected(served.port) as client:
            client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + post(b"next"))
            assert (await client.reply(bodiless=True)).headers["content-length"] == "7"
            assert (await client.reply()).body == b"POST / next"

    run(scenario)


def test_the_peer_is_known() -> None:
    async def scenario() -> None:
        seen: list[HttpRequest] = []

        def handler(request: HttpRequest) -> HttpResponse:
            seen.append(request)
            return echo(request)

        async with serving(handler) as served, connected(served.port) as client:
            client.send(post())
            await client.reply()
        assert [(request.peer_ip, request.secure) for request in seen] == [("127.0.0.1", False)]

    run(scenario)


def test_the_date_turns_with_the_tick() -> None:
    async def scenario() -> None:
        async with serving(echo) as served, connected(served.port) as client:
            served.clock.at_s += 60
            served.pass_s(1)
            client.send(post())
            assert (await client.reply()).headers["date"] == DATE.replace("03:04", "03:05")

    run(scenario)


class Gate:
    """A handler whose answers the test lets go of, in any order."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, asyncio.Event] = {}
        self.cancelled: list[bytes] = []

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        event = self.waiting[request.body] = asyncio.Event()
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.body)
            raise
        finally:
            del self.waiting[request.body]
        return echo(request)

    async def let_go(self, body: bytes) -> None:
        await until(lambda: body in self.waiting)
        self.waiting[body].set()


def test_pipelined_requests_run_one_at_a_time_and_are_answered_in_order() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with serving(gate) as served, connected(served.port) as client:
            client.send(post(b"1") + post(b"2"))
            client.send(post(b"3"))
            for body in (b"1", b"2", b"3"):
                await until(lambda body=body: list(gate.waiting) == [body])
                await gate.let_go(body)
                assert (await client.reply()).body == b"POST / " + body

    run(scenario)


def test_many_pipelined_requests() -> None:
    async def handler(request: HttpRequest) -> HttpResponse:
        for _ in range(int(request.body) % 4):
            await asyncio.sleep(0)
        return echo(request)

    async def scenario() -> None:
        async with serving(handler) as served, connected(served.port) as client:
            client.send(b"".join(post(b"%d" % number) for number in range(2000)))
            for number in range(2000):
                assert (await client.reply()).body == b"POST / %d" % number

    run(scenario)


def test_input_that_waits_for_a_running_request_is_bounded() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with serving(gate) as served, connected(served.port) as client:
            client.send(post(b"first"))
            await until(lambda: bool(gate.waiting))
            total_bytes = 20_000_000
            client.send(post(b"second") + b"\r\n" * (total_bytes // 2))
            # What the server does not read stays with the client, apart from the kernel's share.
            waiting_bytes = client.writer.transport.get_write_buffer_size
            await until(lambda: 0 < waiting_bytes() < total_bytes)
            for _ in range(50):
                await asyncio.sleep(0)
            assert waiting_bytes() > total_bytes // 2
            await gate.let_go(b"first")
            assert (await client.reply()).body == b"POST / first"
            await gate.let_go(b"second")
            assert (await client.reply()).body == b"POST / second"
            await until(lambda: waiting_bytes() == 0)

    run(scenario)


def test_a_bad_request_is_refused_after_the_good_ones_before_it_are_answered() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with serving(gate) as served, connected(served.port) as client:
            client.send(post(b"good") + b"nonsense\r\n\r\n")
            await gate.let_go(b"good")
            assert (await client.reply()).body == b"POST / good"
            reply = await client.reply()
            assert (reply.status, reply.headers["connection"]) == (400, "close")
            assert await client.closed()

    run(scenario)


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_100_continue_comes_before_the_body_and_after_earlier_answers() -> None:
    async def scenario() -> None:
        gate = Gate()
        head = post(b"hello", b"Expect: 100-continue")[:-5]
        async with serving(gate) as served, connected(served.port) as client:
            client.send(post(b"1") + head)
            await gate.let_go(b"1")
            assert (await client.reply()).body == b"POST / 1"
            assert await client.reader.readexactly(len(CONTINUE)) == CONTINUE
            client.send(b"he")
            await asyncio.sleep(0)
            client.send(b"llo")
            await gate.let_go(b"hello")
            assert (await client.reply()).body == b"POST / hello"

    run(scenario)


def test_100_continue_is_not_sent_when_the_body_is_there_or_is_refused() -> None:
    async def scenario() -> None:
        limits = HttpLimits(body_bytes_max=10)
        async with serving(echo, limits) as served, connected(served.port) as client:
            client.send(post(b"hello", b"Expect: 100-continue"))
            assert (await client.reply()).status == 200
            client.send(post(b"next")[:-2])
            await served.settle(client)
            client.send(b"xt")
            assert (await client.reply()).body == b"POST / next"
            client.send(post(b"x" * 11, b"Expect: 100-continue")[:-11])
            assert (await client.reply()).status == 413

    run(scenario)


def test_a_client_that_leaves_cancels_the_handler() -> None:
    async def leave_by_closing(client: Client) -> None:
        client.writer.close()

    async def leave_by_reset(client: Client) -> None:
        client.writer.transport.abort()

    async def leave_by_eof(client: Client) -> None:
        client.writer.write_eof()

    async def scenario() -> None:
        gate = Gate()
        async with serving(gate) as served:
            for leave in (leave_by_closing, leave_by_reset, leave_by_eof):
                async with connected(served.port) as client:
                    client.send(post(b"a") + post(b"b"))
                    await until(lambda: b"a" in gate.waiting)
                    await leave(client)
                    await until(lambda: served.listener.connection_count == 0)
                assert gate.cancelled == [b"a"]
                assert not gate.waiting
                gate.cancelled.clear()

    run(scenario)


def test_a_client_that_leaves_before_the_handler_starts() -> None:
    async def scenario() -> None:
        async with serving(echo_later) as served:
            for _ in range(20):
                async with connected(served.port) as client:
                    client.send(post())
            await until(lambda: served.listener.connection_count == 0)

    run(scenario)


def test_a_handler_that_survives_its_cancellation_answers_nobody() -> None:
    async def scenario() -> None:
        ended = asyncio.Event()

        async def stubborn(request: HttpRequest) -> HttpResponse:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.set()
            return echo(request)

        async with serving(stubborn) as served:
            async with connected(served.port) as client:
                client.send(post())
                await until(lambda: served.listener.connection_count == 1)
            await ended.wait()

    run(scenario)


def _raises(_request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret")


async def _raises_later(_request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret")


async def _cancels_itself(_request: HttpRequest) -> HttpResponse:
    raise asyncio.CancelledError("secret")


def _splits_the_response(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(200, (("A", "b\r\nX-Evil: secret"),))


@pytest.mark.parametrize("handler", [_raises, _raises_later, _cancels_itself, _splits_the_response])
def test_a_handler_that_fails_is_a_bare_500(handler, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(handler) as served, connected(served.port) as client:
            for _ in range(2):
                client.send(post())
                reply = await client.reply()
                assert reply.status == 500
                assert b"secret" not in reply.body
                assert "x-evil" not in reply.headers

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert [record.exc_info for record in caplog.records] == [None, None]


PARTS = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([post(b"x"), post(b"y", b"Expect: 100-continue"), post(b"z")[:-4], b"\r\n"]),
)


@settings(max_examples=25)
@given(st.lists(PARTS, max_size=6), st.booleans(), st.sampled_from([echo, echo_later]))
def test_arbitrary_bytes_leave_nothing_behind(parts: list[bytes], eof: bool, handler) -> None:
    async def scenario() -> None:
        async with serving(handler) as served:
            async with connected(served.port) as client:
                for part in parts:
                    client.send(part)
                    await asyncio.sleep(0)
                if eof:
                    client.writer.write_eof()
                    await client.reader.read()
            await until(lambda: served.listener.connection_count == 0)
            async with connected(served.port) as client:
                client.send(post(b"still here"))
                assert (await client.reply()).body == b"POST / still here"

    run(scenario)
