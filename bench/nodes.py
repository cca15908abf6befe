"""Two nodes on one PostgreSQL: beside one process with its own store, for long, and with a backlog.

The database is made for the run, syncs every commit, and is on the disk that `--dir` names. Both
nodes, PostgreSQL and the generators share the machine. Each node has a generator of its own.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from statistics import median
from urllib.request import urlopen

from bench.processes import ServerProcess, durable_server
from bench.runs import (
    PRELOAD_MAX_S,
    SPARE_S,
    Bench,
    Sizes,
    durable,
    endpoint_of,
    measured,
    say,
    sqs_client,
)
from bench.table import Line, median_ratio, middle
from msgspec import Struct
from msgspec.structs import replace
from tools.postgres_server import PostgresMissing, PostgresServer

from stanchion.loadgen import procfs
from stanchion.loadgen.coordinator import preloading, run_plan
from stanchion.loadgen.plan import Finished, Plan, Scenario
from stanchion.loadgen.report import Summary, summarize

SETTINGS = ("shared_buffers = 512MB", "max_wal_size = 4GB", "autovacuum_naptime = 5s")
"""Those that are not PostgreSQL's defaults."""
_NODES = 2
_CONNECTIONS = 64
_MINUTES = 10
_STEADY_PER_S = 200
_STEADY_CONNECTIONS = 16
_WAKE_UPS = 300
_COUNTS = 200
_SIZES = """
SELECT sum(pg_table_size(c.oid) + pg_indexes_size(c.oid)) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'stanchion' AND c.relkind = 'r'
"""
_runs = count(0, 2)


class Pair(Struct, frozen=True):
    """The nodes and their database, and how much to do with them."""

    postgres: PostgresServer
    nodes: Sequence[ServerProcess]
    sizes: Sizes

    def queue(self, name: str) -> str:
        url: str = sqs_client(self.nodes[0].url).create_queue(QueueName=name)["QueueUrl"]
        return url

    def cpu_s(self) -> tuple[float, float]:
        """What the nodes and PostgreSQL have used so far."""
        nodes_s = sum(procfs.cpu_s(node.pid) for node in self.nodes)
        processes = self.postgres.processes()
        postgres_s = procfs.ended_children_cpu_s(processes[0])
        for pid in processes:
            # One that ends meanwhile counts next time.
            with suppress(OSError):
                postgres_s += procfs.cpu_s(pid)
        return nodes_s, postgres_s

    def statements(self) -> float:
        return sum(_metric(node, "stanchion_store_statements") for node in self.nodes)


class Measured(Struct, frozen=True):
    summary: Summary
    nodes_us: float
    """CPU for each request, as the next."""
    postgres_us: float
    statements: float
    """For each request."""

    def __str__(self) -> str:
        generator_us = self.summary.generator.cpu_us_per_request
        return (
            f"CPU for each request: nodes {self.nodes_us:.0f} µs, PostgreSQL "
            f"{self.postgres_us:.0f} µs, generators {generator_us:.0f} µs; "
            f"{self.statements:.2f} statements"
        )


def nodes_lines(folder: Path, sizes: Sizes) -> Iterator[Line]:
    with ExitStack() as stack:
        pair = stack.enter_context(_pair(folder, sizes))
        alone = stack.enter_context(durable(folder / "alone", sizes))
        yield from _beside_one_process(pair, alone)
        yield _wake_ups(pair)
        yield from _steady(pair)
        yield from _backlog(pair)


@contextmanager
def _pair(folder: Path, sizes: Sizes) -> Iterator[Pair]:
    try:
        postgres = PostgresServer(fsync=True, lines=SETTINGS, folder=folder.parent)
    except PostgresMissing as missing:
        raise SystemExit(f"nodes: {missing}") from None
    with ExitStack() as stack:
        stack.callback(postgres.stop)
        postgres.start()
        options = ("--store", postgres.url)
        # They share the keys under which messages are encrypted.
        nodes = [
            stack.enter_context(durable_server(folder / "nodes", *options)) for _ in range(_NODES)
        ]
        yield Pair(postgres, nodes, sizes)


def _metric(node: ServerProcess, name: str) -> float:
    with urlopen(f"{node.url}/metrics") as reply:
        lines: list[str] = reply.read().decode().splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.split(" ")[0] in (name, f"{name}_total")
    )


# --- Beside one process ---------------------------------------------------------------------------


def _beside_one_process(pair: Pair, alone: Bench) -> Iterator[Line]:
    """Sends and cycles, taking turns with one process that has a store of its own."""
    queues: dict[Scenario, str] = {"send": pair.queue("sends"), "cycle": pair.queue("cycles")}
    names = {"send": "durable SendMessage", "cycle": "whole cycles of send, receive, delete"}
    bars = {"send": 8000, "cycle": 3000}
    for scenario, queue_url in queues.items():
        plan = _plan(pair, queue_url, scenario)
        _run(pair, replace(plan, duration_s=1.0))
        runs = [(_run(pair, plan), alone.run(scenario)) for _ in range(pair.sizes.repeats)]
        both = [run.summary.messages_per_s for run, _ in runs]
        one = [summary.messages_per_s for _, summary in runs]
        yield Line(
            f"{_NODES} nodes on one PostgreSQL: {names[scenario]}",
            f"{middle(both)}/s; {_last_latency(runs[-1][0].summary)}; {runs[-1][0]}",
            median(both),
            bars[scenario],
            unit="/s",
        )
        yield Line(
            f"the same against one process with its own store: {scenario}",
            f"{middle(one)}/s there; {median_ratio(both, one):.2f} × that",
        )


def _last_latency(summary: Summary) -> str:
    return f"p50 {summary.latency_ms.p50:.1f}, p99 {summary.latency_ms.p99:.1f} ms"


def _plan(pair: Pair, queue_url: str, scenario: Scenario) -> Plan:
    """What both generators together do."""
    plan = Bench(pair.nodes[0], queue_url, pair.sizes).plan(scenario)
    # Without a warm-up, all that was used is for what was counted.
    return replace(plan, connections=_CONNECTIONS, warmup_s=0.0, server_pid=None)


def _run(pair: Pair, plan: Plan, limit_s: float = SPARE_S) -> Measured:
    """Divide a plan among the nodes, run its parts at once, and add up what they find."""
    plans = [
        replace(
            plan,
            endpoint=endpoint_of(node.url),
            connections=plan.connections // _NODES,
            requests=plan.requests and plan.requests // _NODES,
            sends_per_s=plan.sends_per_s / _NODES,
            run=next(_runs),
        )
        for node in pair.nodes
    ]

    async def run_all() -> list[Finished]:
        stop = asyncio.Event()
        async with asyncio.timeout((plan.duration_s or 0) + limit_s):
            found = await asyncio.gather(*(run_plan(p, 1, lambda _: None, stop) for p in plans))
        return [part for parts in found for part in parts]

    nodes_s, postgres_s = pair.cpu_s()
    statements = pair.statements()
    parts = asyncio.run(run_all())
    nodes_after_s, postgres_after_s = pair.cpu_s()
    summary = summarize(plan, parts, 0, False)
    if summary.errors:
        raise SystemExit(f"{plan.scenario}: the nodes answered with errors: {summary.errors}")
    requests = max(1, summary.requests)
    used = Measured(
        summary,
        (nodes_after_s - nodes_s) * 1e6 / requests,
        (postgres_after_s - postgres_s) * 1e6 / requests,
        (pair.statements() - statements) / requests,
    )
    say(f"{plan.scenario:>9} x{plan.batch:<2} {summary.requests_per_s:>9,.0f} requests/s")
    say(f"    {used}")
    return used


# --- Across nodes ---------------------------------------------------------------------------------


def _wake_ups(pair: Pair) -> Line:
    """Polls wait on one node, and messages are sent through the other."""
    plan = replace(
        _plan(pair, pair.queue("wake-ups"), "long-poll"),
        connections=_STEADY_CONNECTIONS,
        duration_s=2.0,
        wait_s=20,
        wake_ups=_WAKE_UPS,
        waking_endpoint=endpoint_of(pair.nodes[1].url),
        run=next(_runs),
    )
    found = measured(plan, SPARE_S).wake_up_ms
    assert found is not None
    return Line(
        "from send on one node to a waiting poll on the other, p99",
        f"p50 {found.p50:.2f} ms, p99 {found.p99:.2f} ms",
        found.p99,
        20,
        "at most",
        " ms",
    )


# --- For long -------------------------------------------------------------------------------------


def _steady(pair: Pair) -> Iterator[Line]:
    """The same rate for ten stretches of a minute: nothing grows, and nothing gets slower."""
    plan = replace(
        _plan(pair, pair.queue("steady"), "cycle"),
        connections=_STEADY_CONNECTIONS,
        sends_per_s=_STEADY_PER_S,
        duration_s=pair.sizes.stretch_s,
    )
    _clean(pair)
    p99_ms, size_bytes = [], []
    for minute in range(1, _MINUTES + 1):
        summary = _run(pair, plan).summary
        p99_ms.append(summary.latency_ms.p99)
        size_bytes.append(int(pair.postgres.query(_SIZES)))
        megabytes = size_bytes[-1] / 1e6
        say(f"    {minute}: p99 {p99_ms[-1]:.2f} ms, tables and indexes {megabytes:.1f} MB")
    of = f"{_STEADY_PER_S} cycles/s for {_MINUTES} × {pair.sizes.stretch_s:.0f} s"
    yield Line(
        f"{of}, p99 of requests, last stretch against second",
        f"{p99_ms[-1]:.2f} and {p99_ms[1]:.2f} ms",
        p99_ms[-1] / p99_ms[1],
        1.5,
        "at most",
        " ×",
    )
    yield Line(
        f"{of}, size of tables and indexes, last stretch against second",
        f"{size_bytes[-1] / 1e6:.1f} and {size_bytes[1] / 1e6:.1f} MB",
        size_bytes[-1] / size_bytes[1],
        1.5,
        "at most",
        " ×",
    )


def _clean(pair: Pair) -> None:
    """Give back what earlier measurements have left: those queues are gone."""
    client = sqs_client(pair.nodes[0].url)
    for name in ("sends", "cycles"):
        client.delete_queue(QueueUrl=client.get_queue_url(QueueName=name)["QueueUrl"])
    deadline_s = time.monotonic() + PRELOAD_MAX_S
    while pair.postgres.query(
        "SELECT 1 FROM stanchion.backlog WHERE queue_id IS NULL AND "
        "EXISTS (SELECT FROM stanchion.message WHERE backlog = id)"
    ):
        if time.monotonic() > deadline_s:
            raise SystemExit("the messages of deleted queues do not go")
        time.sleep(0.5)
    pair.postgres.query("VACUUM FULL")


# --- With a backlog -------------------------------------------------------------------------------


def _backlog(pair: Pair) -> Iterator[Line]:
    """Cycles and counts of a queue in which many messages wait, against one with none."""
    backlog = pair.sizes.node_backlog
    empty, deep = pair.queue("empty"), pair.queue("deep")
    filling = replace(preloading(_plan(pair, deep, "send"), backlog), connections=32)
    filled = _run(pair, filling, PRELOAD_MAX_S).summary
    plans = [_plan(pair, url, "cycle") for url in (empty, deep)]
    runs = [tuple(_run(pair, plan).summary for plan in plans) for _ in range(pair.sizes.repeats)]
    per_s = [[run.requests_per_s for run in each] for each in zip(*runs, strict=True)]
    of = f"empty queue against a backlog of {backlog:,}"
    yield Line(
        f"{_NODES} nodes, throughput of cycles: {of}",
        f"{middle(per_s[0])} and {middle(per_s[1])} requests/s; filled at "
        f"{filled.messages_per_s:,.0f} messages/s",
        median_ratio(per_s[0], per_s[1]),
        1.5,
        "at most",
        " ×",
    )
    p99_ms = [
        [run.operations["ReceiveMessage"].latency_ms.p99 for run in each]
        for each in zip(*runs, strict=True)
    ]
    yield Line(
        f"{_NODES} nodes, p99 of ReceiveMessage with that backlog against none",
        f"{median(p99_ms[1]):.1f} and {median(p99_ms[0]):.1f} ms",
        median_ratio(p99_ms[1], p99_ms[0]),
        1.5,
        "at most",
        " ×",
    )
    none_ms, all_ms = _counts_ms(pair, empty), _counts_ms(pair, deep)
    yield Line(
        "GetQueueAttributes, all counts, with that backlog against none",
        f"median {all_ms:.2f} and {none_ms:.2f} ms, the client's share included",
        all_ms / none_ms,
        1.5,
        "at most",
        " ×",
    )


def _counts_ms(pair: Pair, queue_url: str) -> float:
    client = sqs_client(pair.nodes[0].url)
    taken_ms = []
    for _ in range(_COUNTS):
        started_s = time.perf_counter()
        client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])
        taken_ms.append((time.perf_counter() - started_s) * 1000)
    return median(taken_ms)
