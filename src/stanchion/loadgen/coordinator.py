"""Runs a plan on several worker processes that begin together, and adds up what they measured.

Workers are children of this process that read orders from a pipe: closing it ends them, and so does
this process's death. They are in sessions of their own, so that Ctrl-C reaches only us, and we can
ask them for what they have measured so far.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from math import ceil

import msgspec
from msgspec.structs import replace

from stanchion.loadgen.plan import (
    RUNS,
    BenchError,
    Failed,
    Finished,
    Plan,
    Progress,
    Ready,
    WorkerEvent,
)

OnProgress = Callable[[Progress], None]
"""Told what all workers together have done."""

BATCH_BYTES_MAX = 1_048_576
"""The most that SQS takes in one SendMessageBatch."""
_EVENT_BYTES_MAX = 1 << 24
_EXIT_MAX_S = 10.0

_decode_event = msgspec.json.Decoder(WorkerEvent).decode


async def run_plan(
    plan: Plan, processes: int, on_progress: OnProgress, stop: asyncio.Event
) -> list[Finished]:
    """What each worker measured, until `stop` is set. Raises `BenchError` when one cannot."""
    plans = split(plan, processes)
    workers = await asyncio.gather(*(_start(part) for part in plans))
    stopping = asyncio.create_task(_close_on(stop, workers))
    latest: dict[int, Progress] = {}

    async def follow(index: int, worker: Process) -> Finished:
        while isinstance(event := await _event(worker), Progress):
            latest[index] = event
            on_progress(_together(list(latest.values())))
        if not isinstance(event, Finished):
            raise BenchError("a worker process ended before it had measured anything")
        return event

    try:
        await asyncio.gather(*(_expect_ready(worker) for worker in workers))
        for worker in workers:
            _give_order(worker, b"go\n")
        return await asyncio.gather(*(follow(n, worker) for n, worker in enumerate(workers)))
    finally:
        stopping.cancel()
        for worker in workers:
            await _end(worker)


def split(plan: Plan, processes: int) -> list[Plan]:
    """The same plan in parts of nearly equal size; fewer parts when there is not enough to do."""
    parts = min(processes, plan.connections, plan.requests or plan.connections)

    def share(whole: int, part: int) -> int:
        return whole // parts + (part < whole % parts)

    return [
        replace(
            plan,
            worker=part,
            connections=share(plan.connections, part),
            requests=None if plan.requests is None else share(plan.requests, part),
            server_pid=plan.server_pid if part == 0 else None,
        )
        for part in range(parts)
    ]


def preloading(plan: Plan, messages: int) -> Plan:
    """A plan that fills the queue of `plan` with at least that many messages, in full batches."""
    batch = max(1, min(10, messages, BATCH_BYTES_MAX // plan.body_bytes))
    return replace(
        plan,
        scenario="send",
        batch=batch,
        requests=ceil(messages / batch),
        duration_s=None,
        warmup_s=0.0,
        server_pid=None,
        run=(plan.run + 1) % RUNS,
    )


async def _start(plan: Plan) -> Process:
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "stanchion.loadgen.worker",
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,
        limit=_EVENT_BYTES_MAX,
    )
    _give_order(worker, msgspec.json.encode(plan) + b"\n")
    return worker


def _give_order(worker: Process, order: bytes) -> None:
    assert worker.stdin is not None
    if not worker.stdin.is_closing():
        worker.stdin.write(order)


async def _close_on(stop: asyncio.Event, workers: list[Process]) -> None:
    await stop.wait()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()


async def _expect_ready(worker: Process) -> None:
    event = await _event(worker)
    if not isinstance(event, Ready):
        raise BenchError("a worker process ended before it was ready")


async def _event(worker: Process) -> WorkerEvent | None:
    """The worker's next event; None when it has ended. Raises `BenchError` when it has failed."""
    assert worker.stdout is not None
    line = await worker.stdout.readline()
    event = _decode_event(line) if line else None
    if isinstance(event, Failed):
        raise BenchError(event.message)
    return event


def _together(latest: list[Progress]) -> Progress:
    return Progress(
        latest[-1].phase,
        sum(progress.requests for progress in latest),
        max(progress.elapsed_s for progress in latest),
    )


async def _end(worker: Process) -> None:
    assert worker.stdin is not None
    worker.stdin.close()
    try:
        async with asyncio.timeout(_EXIT_MAX_S):
            await worker.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()
