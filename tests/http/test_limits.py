"""What happens at each limit of size, number and time, over real sockets."""

import asyncio
import json
from dataclasses import dataclass

import pytest

from stanchion.http.limits import HttpLimits
from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.http.refusals import Refusal
from tests.http.support import connected, echo, post, run, serving, until

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
SMALL = HttpLimits(header_count_max=10, target_bytes_max=100, body_bytes_max=1_000_000)


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"nonsense\r\n\r\n", Refusal.MALFORMED),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal.MALFORMED),
        (HEAD + b"A: b\r\n" * 11 + b"\r\n", Refusal.HEADERS_TOO_LARGE),
        (HEAD + b"A: " + b"x" * 100_000, Refusal.HEADERS_TOO_LARGE),
        (b"GET /" + b"x" * 200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.TARGET_TOO_LONG),
        (HEAD + b"Content-Length: 1000001\r\n\r\n", Refusal.BODY_TOO_LARGE),
        (HEAD + b"Expect: more\r\n\r\n", Refusal.EXPECTATION_FAILED),
        (b"GET / HTTP/2.0\r\n\r\n", Refusal.VERSION_NOT_SUPPORTED),
    ],
)
def test_refusals_are_answered_and_end_the_connection(data: bytes, refusal: Refusal) -> None:
    async def scenario() -> None:
        async with serving(echo, SMALL) as served, connected(served.port) as client:
            client.send(data)
            reply = await client.reply()
            assert reply.status == refusal.status
            assert reply.headers["connection"] == "close"
            assert json.loads(reply.body) == {
                "__type": f"com.amazon.coral.service#{refusal.error}",
                "message": refusal.text,
            }
            assert await client.closed()

    run(scenario)


def test_the_gateway_says_how_refusals_read() -> None:
    def refuse(refusal: Refusal, peer_ip: str) -> HttpResponse:
        return HttpResponse(refusal.status, (("X-Why", f"{refusal.name} from {peer_ip}"),))

    async def scenario() -> None:
        async with serving(echo, refuse=refuse) as served, connected(served.port) as client:
            client.send(b"nonsense\r\n\r\n")
            assert (await client.reply()).headers["x-why"] == "MALFORMED from 127.0.0.1"

    run(scenario)


def test_a_client_that_goes_on_sending_can_still_read_its_refusal() -> None:
    async def scenario() -> None:
        async with serving(echo, SMALL) as served, connected(served.port) as client:
            size_bytes = 4_000_000
            client.send(HEAD + b"Content-Length: %d\r\n\r\n" % size_bytes)
            client.send(b"x" * size_bytes)
            await client.writer.drain()
            assert (await client.reply()).status == 413
            assert await client.closed()

    run(scenario)


def test_but_not_without_end() -> None:
    limits = HttpLimits(body_bytes_max=10, linger_bytes_max=100_000)

    async def scenario() -> None:
        async with serving(echo, limits) as served, connected(served.port) as client:
            client.send(HEAD + b"Content-Length: 11\r\n\r\n" + b"x" * 5_000_000)
            await until(lambda: served.listener.connection_count == 0)
        async with serving(echo, limits) as served, connected(served.port) as client:
            client.send(HEAD + b"Content-Length: 11\r\n\r\n")
            await client.reply()
            served.pass_s(limits.linger_timeout_s + 2)
            await until(lambda: served.listener.connection_count == 0)

    run(scenario)


def test_connections_beyond_the_maximum_are_told_so() -> None:
    limits = HttpLimits(connections_max=2, lingering_max=1)

    async def scenario() -> None:
        async with serving(echo, limits) as served, connected(served.port) as first:
            async with connected(served.port), connected(served.port) as third:
                assert (await third.reply()).status == 503
                async with connected(served.port) as fourth:
                    assert await fourth.closed()
                first.send(post())
                assert (await first.reply()).status == 200
            await until(lambda: served.listener.connection_count == 1)
            async with connected(served.port) as again:
                again.send(post())
                assert (await again.reply()).status == 200

    run(scenario)


def test_bodies_over_all_connections_are_bounded_until_answered() -> None:
    limits = HttpLimits(buffered_bytes_max=150_000)
    release = asyncio.Event()

    async def handler(request: HttpRequest) -> HttpResponse:
        await release.wait()
        return echo(request)

    async def scenario() -> None:
        large = post(b"x" * 100_000)
        async with (
            serving(handler, limits) as served,
            connected(served.port) as first,
            connected(served.port) as second,
        ):
            first.send(large)
            await until(lambda: served.listener.buffered_bytes > 80_000)
            second.send(large)
            assert (await second.reply()).status == 503
            release.set()
            assert (await first.reply()).status == 200
            assert served.listener.buffered_bytes == 0

    run(scenario)


@dataclass
class Wait:
    """Something to send, how long the client may then be silent, and what it is told at last."""

    sends: bytes
    allowed_s: int
    told: int | None
    trickle: bytes = b""


WAITS = {
    "a bare connection": Wait(b"", 20, None),
    "part of a request line": Wait(b"POST /", 20, 408),
    "header bytes that trickle": Wait(HEAD, 20, 408, trickle=b"A: b\r\n"),
    "a body that does not come": Wait(HEAD + b"Content-Length: 9\r\n\r\n", 15, 408),
    "a body that trickles": Wait(HEAD + b"Content-Length: 99\r\n\r\n", 15, 408, trickle=b"x"),
    "chunks that trickle": Wait(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", 15, 408, trickle=b"1\r\nx\r\n"
    ),
    "an idle connection": Wait(post(), 75, None),
    "empty lines that trickle": Wait(post(), 75, None, trickle=b"\r\n"),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
def test_silence_is_bounded(wait: Wait) -> None:
    async def scenario() -> None:
        async with serving(echo) as served, connected(served.port) as client:
            client.send(wait.sends)
            if wait.sends == post():
                await client.reply()
            await served.settle(client)
            # A real second may pass during the test, so there is some room on either side.
            for _ in range(wait.allowed_s - 4):
                served.pass_s(1)
                client.send(wait.trickle)
                await served.settle(client)
            assert served.listener.connection_count == 1
            served.pass_s(6)
            # Not by the ticks that real seconds bring.
            async with asyncio.timeout(2):
                if wait.told is not None:
                    assert (await client.reply()).status == wait.told
                assert await client.closed()

    run(scenario)


def test_each_request_has_its_own_time() -> None:
    async def scenario() -> None:
        async with serving(echo) as served, connected(served.port) as client:
            client.send(post())
            await client.reply()
            served.pass_s(50)
            for split in (10, -2, -2):
                for part in (post()[:split], post()[split:-2], post()[-2:]):
                    client.send(part)
                    await served.settle(client)
                    served.pass_s(10 if part else 0)
                assert (await client.reply()).status == 200

    run(scenario)


def test_a_client_that_leaves_gives_back_what_it_held() -> None:
    async def scenario() -> None:
        async with serving(echo) as served:
            async with connected(served.port) as client:
                client.send(post(b"x" * 200_000)[:-1])
                await until(lambda: served.listener.buffered_bytes > 100_000)
            await until(lambda: served.listener.connection_count == 0)
            assert served.listener.buffered_bytes == 0

    run(scenario)


def test_a_body_that_keeps_coming_has_the_time_it_needs() -> None:
    limits = HttpLimits(transfer_grace_s=4, transfer_bytes_per_s_min=1000)

    async def scenario() -> None:
        async with serving(echo, limits) as served, connected(served.port) as client:
            client.send(HEAD + b"Content-Length: 40000\r\n\r\n")
            for _ in range(20):
                client.send(b"x" * 2000)
                await served.settle(client)
                served.pass_s(1)
            assert (await client.reply()).status == 200

    run(scenario)


def test_a_running_request_has_no_deadline_here() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def handler(request: HttpRequest) -> HttpResponse:
        started.set()
        await release.wait()
        return echo(request)

    async def scenario() -> None:
        async with serving(handler) as served, connected(served.port) as client:
            client.send(post() + post())
            await started.wait()
            served.pass_s(10_000)
            release.set()
            assert (await client.reply()).status == 200
            assert (await client.reply()).status == 200

    run(scenario)


@pytest.mark.parametrize("head", [b"", b"Connection: close"])
def test_a_client_that_does_not_read_is_cut_off(head: bytes) -> None:
    handled: list[HttpRequest] = []

    def handler(request: HttpRequest) -> HttpResponse:
        handled.append(request)
        return HttpResponse(200, (), b"x" * 10_000_000)

    async def scenario() -> None:
        async with serving(handler) as served, connected(served.port) as client:
            client.writer.transport.pause_reading()
            client.send(post(b"", head) if head else post() * 5)
            await until(lambda: bool(handled))
            served.pass_s(14)
            await asyncio.sleep(0)
            assert served.listener.connection_count == 1
            assert len(handled) == 1
            served.pass_s(15 + 10_000_000 // 16_384)
            await until(lambda: served.listener.connection_count == 0)
            assert len(handled) == 1

    run(scenario)


def test_of_clients_that_do_not_read_the_longest_waiting_are_cut_off() -> None:
    limits = HttpLimits(unread_bytes_max=25_000_000)

    def handler(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, (), b"x" * 20_000_000)

    async def scenario() -> None:
        async with (
            serving(handler, limits) as served,
            connected(served.port) as first,
            connected(served.port) as second,
        ):
            for client in (first, second):
                client.writer.transport.pause_reading()
                client.send(post())
                await until(lambda: served.listener.unread_bytes > 10_000_000)
                if client is second:
                    await until(lambda: served.listener.connection_count == 1)
            assert served.listener.unread_bytes <= limits.unread_bytes_max
            second.writer.transport.resume_reading()
            assert len((await second.reply()).body) == 20_000_000

    run(scenario)


def test_a_client_that_reads_slowly_gets_everything() -> None:
    async def scenario() -> None:
        body = b"x" * 3_000_000
        async with serving(echo) as served, connected(served.port) as client:
            client.writer.transport.pause_reading()
            client.send(post(body) * 3)
            await until(lambda: client.writer.transport.get_write_buffer_size() > 0)
            client.writer.transport.resume_reading()
            for _ in range(3):
                assert (await client.reply()).body == b"POST / " + body
            served.pass_s(90)
            assert await client.closed()

    run(scenario)
