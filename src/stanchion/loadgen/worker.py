"""One process of the generator: opens its connections, runs its lanes, reports what it measured.

`python -m stanchion.loadgen.worker` reads a plan from its standard input, answers with events (see
`plan`), waits for a line before it begins, and stops early when its input ends. That is also how it
learns that the coordinator is gone, so that it never outlives it. Only the coordinator starts it.
"""

import asyncio
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from ssl import SSLContext
from time import perf_counter, process_time
from typing import Literal

import msgspec
import uvloop
from msgspec.structs import replace

from stanchion.clock import SystemClock
from stanchion.loadgen import procfs, scripts
from stanchion.loadgen.calls import Calls
from stanchion.loadgen.connection import tls_context
from stanchion.loadgen.lane import UNLIMITED, AnyLane, Lane, Run
from stanchion.loadgen.plan import (
    BenchError,
    Failed,
    Finished,
    Plan,
    Progress,
    Ready,
    WorkerEvent,
)
from stanchion.loadgen.raw import RawLane
from stanchion.loadgen.tally import Tally
from stanchion.loadgen.wakeups import WakeUps

Report = Callable[[WorkerEvent], None]
Phase = Literal["warm-up", "measuring", "waking"]

_CONNECTS_AT_ONCE = 128
_SPARE_FILES = 64
_PROGRESS_EVERY_S = 0.2


async def work(plan: Plan, report: Report, orders: asyncio.StreamReader) -> None:
    """Do the plan, telling `report` how it goes; the end of `orders` stops it early."""
    run = Run(plan.sends_per_s)
    try:
        calls = Calls(plan, SystemClock())
        waking = replace(plan, endpoint=plan.waking_endpoint or plan.endpoint)
        wake_ups = WakeUps(run, waking.endpoint, Calls(waking, SystemClock()))
        lanes = await _open_lanes(plan, run, calls, wake_ups)
    except (BenchError, OSError) as error:
        report(Failed(f"cannot connect to {plan.endpoint.authority}: {_reason(error)}"))
        return
    report(Ready())
    if await orders.readline():
        run.spawn(_stop_at_end_of(orders, run))
        report(await _measure(plan, run, lanes, report, wake_ups))
    for lane in lanes:
        lane.abort()
    await run.end()


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


async def _open_lanes(plan: Plan, run: Run, calls: Calls, wake_ups: WakeUps) -> list[AnyLane]:
    _allow_files(plan.connections)
    tls = tls_context(plan.endpoint)
    lanes = [_lane(plan, run, calls, wake_ups, tls) for _ in range(plan.connections)]
    for start in range(0, len(lanes), _CONNECTS_AT_ONCE):
        await asyncio.gather(*(lane.open() for lane in lanes[start : start + _CONNECTS_AT_ONCE]))
    return lanes


def _allow_files(connections: int) -> None:
    needed = connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise BenchError(f"{connections} connections need more open files than {hard} (ulimit -Hn)")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _lane(plan: Plan, run: Run, calls: Calls, wake_ups: WakeUps, tls: SSLContext | None) -> AnyLane:
    match plan.scenario:
        case "raw":
            return RawLane(run, plan.endpoint, calls.send())
        case "send":
            script = scripts.send(calls, run.counting)
        case "receive-delete":
            script = scripts.receive_delete(calls, run.counting, plan.fifo)
        case "cycle":
            script = scripts.cycle(calls, run.counting)
        case "long-poll":
            script = scripts.long_poll(calls, run.counting, wake_ups.arrived)
    return Lane(run, plan.endpoint, tls, script)


async def _stop_at_end_of(orders: asyncio.StreamReader, run: Run) -> None:
    await orders.read()
    run.done.set()


async def _measure(
    plan: Plan, run: Run, lanes: list[AnyLane], report: Report, wake_ups: WakeUps
) -> Finished:
    if plan.warmup_s:
        for lane in lanes:
            lane.begin()
        await _watch(run, report, "warm-up", plan.warmup_s)
        run.tally = Tally()
    if plan.requests is not None:
        # What is under way counts: it will be answered in the measured stretch.
        run.remaining = plan.requests - run.active
    server_cpu_s = procfs.cpu_s(plan.server_pid) if plan.server_pid else 0.0
    cpu_s, started_s = process_time(), perf_counter()
    if not plan.warmup_s:
        for lane in lanes:
            lane.begin()
    await _watch(run, report, "measuring", plan.duration_s)
    elapsed_s, cpu_s = perf_counter() - started_s, process_time() - cpu_s
    server = procfs.use_since(plan.server_pid, server_cpu_s) if plan.server_pid else None
    tally, run.tally = run.tally, Tally()
    if plan.scenario == "long-poll":
        report(Progress("waking", 0, 0.0))
        await wake_ups.measure(plan.wake_ups)
        tally.wake_ups = run.tally.wake_ups
        for code, count in run.tally.errors.items():
            tally.error(code, count)
    run.remaining = 0
    return Finished(tally, elapsed_s, cpu_s, server)


async def _watch(run: Run, report: Report, phase: Phase, seconds: float | None) -> None:
    """Report progress until the time is over or the run is done."""
    started_s = perf_counter()
    elapsed_s = 0.0
    limit_s = UNLIMITED if seconds is None else seconds
    while elapsed_s < limit_s and not run.done.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(run.done.wait(), min(_PROGRESS_EVERY_S, limit_s - elapsed_s))
        elapsed_s = perf_counter() - started_s
        report(Progress(phase, run.tally.requests(), elapsed_s))


def main() -> None:
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_serve_coordinator())


async def _serve_coordinator() -> None:
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    plan = msgspec.json.decode(await orders.readline(), type=Plan)

    def report(event: WorkerEvent) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
        sys.stdout.buffer.flush()

    try:
        await work(plan, report, orders)
    except OSError as error:
        report(Failed(f"cannot read process {plan.server_pid}: {_reason(error)}"))


if __name__ == "__main__":
    main()
