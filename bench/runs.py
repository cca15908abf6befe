"""One run of the generator against one server: how much to do, and what came of it."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.processes import CREDENTIALS, ServerProcess, durable_server
from msgspec import Struct

from stanchion.loadgen import queues
from stanchion.loadgen.coordinator import run_plan
from stanchion.loadgen.plan import Endpoint, Plan, Scenario
from stanchion.loadgen.report import Summary, summarize

_REGION = "us-east-1"
SPARE_S = 120.0
PRELOAD_MAX_S = 900.0


class Sizes(Struct, frozen=True):
    """How much to do. `slack` loosens the bars."""

    repeats: int
    seconds: float
    backlog: int
    polls: int
    poll_wait_s: int
    idle_s: float
    starts: int
    groups: int
    """Of a FIFO queue, with a backlog."""
    blocked: int
    """Messages that wait in one FIFO group; and those of one tenant that floods a queue."""
    stretch_s: float
    """Of a steady load on several nodes, each of ten."""
    node_backlog: int
    """Of a queue that several nodes serve."""
    slack: float


FULL = Sizes(3, 5.0, 1_000_000, 5_000, 20, 25.0, 5, 100_000, 200_000, 60.0, 2_000_000, 1.0)
QUICK = Sizes(1, 1.0, 20_000, 500, 2, 4.0, 1, 2_000, 5_000, 4.0, 20_000, 2.0)


class Bench(Struct, frozen=True):
    """One server and queue to measure, and how much."""

    server: ServerProcess
    queue_url: str
    sizes: Sizes
    tls_port: int = 0

    def plan(self, scenario: Scenario, batch: int = 1) -> Plan:
        return Plan(
            endpoint=endpoint_of(self.server.url),
            credentials=CREDENTIALS,
            queue_url=self.queue_url,
            scenario=scenario,
            connections=64,
            batch=batch,
            body_bytes=1024,
            duration_s=self.sizes.seconds,
            requests=None,
            warmup_s=0.5,
            wait_s=0,
            wake_ups=0,
            server_pid=self.server.pid,
        )

    def run(self, scenario: Scenario, batch: int = 1) -> Summary:
        return measured(self.plan(scenario, batch), self.sizes.seconds + SPARE_S)


def endpoint_of(url: str) -> Endpoint:
    parts = urlsplit(url)
    return Endpoint(parts.hostname or "", parts.port or 80, False, None, _REGION)


def measured(plan: Plan, limit_s: float) -> Summary:
    async def measure() -> Summary:
        async with asyncio.timeout(limit_s):
            parts = await run_plan(plan, 1, lambda progress: None, asyncio.Event())
        return summarize(plan, parts, 0, False)

    summary = asyncio.run(measure())
    say(f"{plan.scenario:>9} x{plan.batch:<2} {summary.requests_per_s:>9,.0f} requests/s")
    if summary.errors:
        raise SystemExit(f"{plan.scenario}: the server answered with errors: {summary.errors}")
    return summary


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def durable(data_dir: Path, sizes: Sizes, fifo: bool = False) -> Iterator[Bench]:
    """A server on a data directory of its own, with a queue."""
    with durable_server(data_dir) as server:
        name, attributes = "bench", {}
        if fifo:
            name, attributes = "bench.fifo", queues.fifo_attributes(content_based=False)
        client = sqs_client(server.url)
        created = client.create_queue(QueueName=name, Attributes=attributes)
        yield Bench(server, created["QueueUrl"], sizes)


def sqs_client(url: str) -> Any:
    return queues.session(None, CREDENTIALS, _REGION).client("sqs", endpoint_url=url)
