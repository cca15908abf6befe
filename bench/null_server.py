"""The bar for the whole server: the same listener, answering every request with one constant.

Run as `python bench/null_server.py --port N [--handler at-once|task]`. With `task`, the handler
is a coroutine that waits for the event loop once, as one that waits for a commit does; the
difference is what a task per request costs.
"""

import argparse
import asyncio
from collections.abc import Coroutine
from typing import Any

import uvloop

from stanchion.clock import SystemClock
from stanchion.http.listener import Listener
from stanchion.http.message import HttpRequest, HttpResponse

_REPLY = HttpResponse(
    200,
    (
        ("x-amzn-RequestId", "5d3e4f0a-9a1b-4c2d-8e3f-0123456789ab"),
        ("Content-Type", "application/x-amz-json-1.0"),
    ),
    b'{"MD5OfMessageBody":"5d41402abc4b2a76b9719d911017c592",'
    b'"MessageId":"219f8380-5770-4cc2-8c3e-5c715e145f5e"}',
)


def at_once(_request: HttpRequest) -> HttpResponse:
    return _REPLY


def in_a_task(_request: HttpRequest) -> Coroutine[Any, Any, HttpResponse]:
    return _after_the_loop()


async def _after_the_loop() -> HttpResponse:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[HttpResponse] = loop.create_future()
    loop.call_soon(future.set_result, _REPLY)
    return await future


async def serve(port: int, handler: str) -> None:
    listener = Listener(at_once if handler == "at-once" else in_a_task, SystemClock())
    bound_port = await listener.open("127.0.0.1", port)
    print(f"ready on http://127.0.0.1:{bound_port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=9390)
    parser.add_argument("--handler", choices=("at-once", "task"), default="at-once")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.handler))
