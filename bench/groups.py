"""What message groups cost: FIFO queues with many of them, and tenants of a standard queue."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from statistics import median

from bench.runs import PRELOAD_MAX_S, SPARE_S, Bench, Sizes, durable, measured, say, sqs_client
from bench.table import Line, median_ratio, middle
from msgspec.structs import replace

from stanchion.loadgen import dwell
from stanchion.loadgen.coordinator import preloading
from stanchion.loadgen.dwell_report import DwellTimes, dwell_times
from stanchion.loadgen.plan import Plan
from stanchion.loadgen.report import Summary

_FEW_GROUPS = 10
_FIFO_CONNECTIONS = 8
"""Fewer than the few groups: more would only wait for each other."""
_OPERATIONS = ("SendMessage", "ReceiveMessage", "DeleteMessage")
_BLOCKED_FOR_S = 43_200
_PACE = dwell.Pace(rate_per_s=100.0, tenants=10, processing_s=0.1)
_DWELL_STRETCH_MIN_S = 3.0
_DWELL_WARMUP_S = 4.0
"""For passing a flood that was there before anybody received: a few seconds, once."""
_runs = count(0, 2)
"""Two numbers of runs for each measurement: filling a queue takes the second."""


def fifo_lines(folder: Path, sizes: Sizes) -> Iterator[Line]:
    """Few groups against many with a backlog, and against one that is blocked."""
    with ExitStack() as stack:
        few, many, blocked = (
            stack.enter_context(durable(folder / name, sizes, fifo=True))
            for name in ("few", "many", "blocked")
        )
        _fill(many, _fifo(many, sizes.groups), sizes.backlog)
        _block(blocked)
        runs = [
            (_cycles(few, _FEW_GROUPS), _cycles(many, sizes.groups), _cycles(blocked, _FEW_GROUPS))
            for _ in range(sizes.repeats)
        ]
    deep = f"{sizes.groups:,} groups and {sizes.backlog:,} messages"
    yield from _compared(deep, [(first, second) for first, second, _ in runs])
    waiting = f"one blocked group with {sizes.blocked:,} waiting"
    yield from _compared(waiting, [(first, third) for first, _, third in runs])


def _fifo(bench: Bench, groups: int) -> Plan:
    return replace(
        bench.plan("cycle"),
        connections=_FIFO_CONNECTIONS,
        fifo=True,
        groups=groups,
        run=next(_runs),
    )


def _fill(bench: Bench, plan: Plan, messages: int) -> None:
    measured(replace(preloading(plan, messages), connections=32), PRELOAD_MAX_S)


def _block(bench: Bench) -> None:
    """A group with many messages, the first of which is in flight."""
    plan = replace(_fifo(bench, 1), group_prefix="blocked-")
    _fill(bench, plan, bench.sizes.blocked)
    sqs_client(bench.server.url).receive_message(
        QueueUrl=bench.queue_url, VisibilityTimeout=_BLOCKED_FOR_S
    )


def _cycles(bench: Bench, groups: int) -> Summary:
    plan = _fifo(bench, groups)
    if groups == _FEW_GROUPS:
        # A run that ends leaves messages in flight, and few groups are soon all blocked by those.
        plan = replace(plan, group_prefix=f"{plan.group_prefix}{plan.run}-")
    return measured(plan, bench.sizes.seconds + SPARE_S)


def _compared(what: str, runs: list[tuple[Summary, Summary]]) -> Iterator[Line]:
    # Messages, not requests: with few groups there are receives that find all of them in use.
    few_per_s = [few.messages_per_s for few, _ in runs]
    other_per_s = [other.messages_per_s for _, other in runs]
    yield Line(
        f"FIFO throughput: {_FEW_GROUPS} groups, no backlog, against {what}",
        f"{middle(few_per_s)} and {middle(other_per_s)} messages/s",
        median_ratio(few_per_s, other_per_s),
        1.5,
        "at most",
        " ×",
    )
    for name in _OPERATIONS:
        few_p99 = [few.operations[name].latency_ms.p99 for few, _ in runs]
        other_p99 = [other.operations[name].latency_ms.p99 for _, other in runs]
        yield Line(
            f"p99 of {name} with {what} against that",
            f"{median(other_p99):.1f} and {median(few_p99):.1f} ms",
            median_ratio(other_p99, few_p99),
            1.5,
            "at most",
            " ×",
        )


def fair_lines(folder: Path, sizes: Sizes) -> Iterator[Line]:
    """How long quiet tenants wait while one floods the queue, against without the flood."""
    with durable(folder / "fair", sizes) as bench:
        before = _quiet_dwell(bench)
        plan = replace(bench.plan("send"), groups=1, group_prefix="flood-", run=next(_runs))
        _fill(bench, plan, sizes.blocked)
        after = _quiet_dwell(bench)
    yield Line(
        f"p95 of quiet tenants' time in the queue, behind a flood of {sizes.blocked:,} or not",
        f"{after.p95:.1f} and {before.p95:.1f} ms",
        after.p95 / before.p95 if before.p95 else 0.0,
        2,
        "at most",
        " ×",
    )


def _quiet_dwell(bench: Bench) -> DwellTimes:
    seconds = max(_DWELL_STRETCH_MIN_S, bench.sizes.seconds * 2)
    plan = replace(bench.plan("send"), warmup_s=_DWELL_WARMUP_S)

    async def measure() -> dwell.Dwell:
        async with asyncio.timeout(seconds + SPARE_S):
            return await dwell.measure(plan, _PACE, seconds, asyncio.Event())

    found = asyncio.run(measure())
    if found.errors:
        raise SystemExit(f"fair: the server answered with errors: {found.errors}")
    times = dwell_times(found.quiet)
    say(f"    quiet p50 {times.p50:.1f}, p95 {times.p95:.1f}, p99 {times.p99:.1f} ms")
    return times
