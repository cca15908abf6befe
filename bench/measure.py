"""The whole table of `docs/guides/benchmarking.md` in one run: `python bench/run.py [--quick]`.

Figures are ratios between runs that alternate on the same machine, because single figures say as
much about the machine as about the server. Exits 1 when a bar is not cleared. Every process that
it starts is ended by it, and every wait has a limit.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench.groups import fair_lines, fifo_lines
from bench.nodes import nodes_lines
from bench.processes import allow_many_connections, dev_server, null_server
from bench.runs import (
    FULL,
    PRELOAD_MAX_S,
    QUICK,
    SPARE_S,
    Bench,
    Sizes,
    durable,
    measured,
)
from bench.security import security_lines
from bench.table import Line, markdown, median_ratio, middle
from msgspec.structs import replace

from stanchion.loadgen import procfs
from stanchion.loadgen.coordinator import preloading
from stanchion.loadgen.report import Summary

_MEGABYTE = 1_000_000


def main() -> None:
    options = _options()
    sizes = QUICK if options.quick else FULL
    parts = [_PARTS[name] for name in options.only or _PARTS]
    allow_many_connections()
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="stanchion-bench-") as folder:
        lines = [line for part in parts for line in part(Path(folder), sizes)]
    table = markdown(lines, sizes.slack)
    print(table)
    if options.output:
        options.output.write_text(table, encoding="utf-8")
    if not all(line.passes(sizes.slack) for line in lines):
        raise SystemExit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="small sizes and looser bars")
    parser.add_argument(
        "--dir", type=Path, default=Path("/var/tmp"), help="where data goes: a real disk"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=tuple(_PARTS),
        help="a part of the table; may be repeated",
    )
    parser.add_argument("--output", type=Path, help="write the table to this file, too")
    return parser.parse_args()


def _throughput(folder: Path, sizes: Sizes) -> Iterator[Line]:
    with ExitStack() as stack:
        null = stack.enter_context(null_server(folder / "null.log"))
        sends = stack.enter_context(durable(folder / "sends", sizes))
        empty = stack.enter_context(durable(folder / "empty", sizes))
        yield from _against_null(Bench(null, f"{null.url}/000000000000/raw", sizes), sends, empty)
        deep = stack.enter_context(durable(folder / "deep", sizes))
        yield from _backlog(empty, deep)
        yield from _long_polls(empty)


def _against_null(null: Bench, sends: Bench, empty: Bench) -> Iterator[Line]:
    runs: dict[str, list[Summary]] = {"null": [], "send": [], "cycle": [], "batch": []}
    for _ in range(null.sizes.repeats):
        runs["null"].append(null.run("raw"))
        runs["send"].append(sends.run("send"))
        runs["cycle"].append(empty.run("cycle"))
        runs["batch"].append(sends.run("send", batch=10))
    per_s = {name: [run.requests_per_s for run in found] for name, found in runs.items()}
    cpu_us = {name: _server_cpu_us(found) for name, found in runs.items()}
    yield Line(
        "null server: the listener alone",
        f"{middle(per_s['null'])} requests/s, {cpu_us['null']:.1f} µs CPU each",
    )
    yield Line(
        "durable SendMessage against null",
        f"{middle(per_s['send'])} requests/s, {_beside_null(cpu_us, 'send')}",
        median_ratio(per_s["send"], per_s["null"]),
        0.18,
    )
    yield Line(
        "send, receive, delete: requests against null",
        f"{middle(per_s['cycle'])} requests/s, {_beside_null(cpu_us, 'cycle')}",
        median_ratio(per_s["cycle"], per_s["null"]),
        0.17,
    )
    messages_per_s = [run.messages_per_s for run in runs["batch"]]
    yield Line(
        "messages in batches of ten against single ones",
        f"{middle(messages_per_s)} messages/s",
        median_ratio(messages_per_s, [run.messages_per_s for run in runs["send"]]),
        3,
        unit=" ×",
    )


def _server_cpu_us(runs: list[Summary]) -> float:
    return median(run.server.cpu_us_per_request for run in runs if run.server is not None)


def _beside_null(cpu_us: dict[str, float], name: str) -> str:
    """The ratio by CPU, too: it holds still when others use the machine."""
    ratio = cpu_us["null"] / cpu_us[name] if cpu_us[name] else 0.0
    return f"{cpu_us[name]:.1f} µs CPU each ({ratio:.2f} by CPU)"


def _backlog(empty: Bench, deep: Bench) -> Iterator[Line]:
    backlog = deep.sizes.backlog
    filling = replace(preloading(deep.plan("send"), backlog), connections=32)
    preload = measured(filling, PRELOAD_MAX_S)
    runs = [(empty.run("cycle"), deep.run("cycle")) for _ in range(deep.sizes.repeats)]

    def compared(figure: Callable[[Summary], float]) -> tuple[list[float], list[float]]:
        return [figure(zero) for zero, _ in runs], [figure(full) for _, full in runs]

    zero_per_s, full_per_s = compared(lambda run: run.requests_per_s)
    yield Line(
        f"throughput: empty queue against a backlog of {backlog:,}",
        f"{middle(zero_per_s)} and {middle(full_per_s)} requests/s; filled at "
        f"{preload.messages_per_s:,.0f} messages/s",
        median_ratio(zero_per_s, full_per_s),
        1.3,
        "at most",
        " ×",
    )
    zero_p99, full_p99 = compared(lambda run: run.latency_ms.p99)
    yield Line(
        f"p99 with a backlog of {backlog:,} against an empty queue",
        f"{median(full_p99):.1f} and {median(zero_p99):.1f} ms",
        median_ratio(full_p99, zero_p99),
        1.3,
        "at most",
        " ×",
    )
    peak = procfs.peak_rss_bytes(deep.server.pid) / _MEGABYTE
    yield Line(
        f"memory high water with a backlog of {backlog:,}",
        f"{peak:.0f} MB",
        peak,
        250,
        "at most",
        " MB",
    )


def _long_polls(bench: Bench) -> Iterator[Line]:
    sizes = bench.sizes
    plan = replace(
        bench.plan("long-poll"),
        connections=sizes.polls,
        duration_s=sizes.idle_s,
        warmup_s=2.0,
        wait_s=sizes.poll_wait_s,
        wake_ups=200,
    )
    summary = measured(plan, sizes.idle_s + SPARE_S)
    assert summary.server is not None
    assert summary.wake_up_ms is not None
    share = summary.server.cpu_share * 100
    yield Line(
        f"CPU of {sizes.polls:,} idle long polls of {sizes.poll_wait_s} s",
        f"{share:.2f} % of a core, {summary.requests:,} polls answered in {sizes.idle_s:.0f} s",
        share,
        5,
        "at most",
        " %",
    )
    wake_up = summary.wake_up_ms
    yield Line(
        f"from send to a waiting poll, among {sizes.polls:,}",
        f"p50 {wake_up.p50:.2f} ms, p99 {wake_up.p99:.2f} ms",
    )


def _starts(folder: Path, sizes: Sizes) -> Iterator[Line]:
    seconds = []
    for _ in range(sizes.starts):
        with dev_server(folder / "dev.log") as server:
            seconds.append(server.ready_s)
    yield Line(
        "`stanchion dev` from start to ready",
        f"{median(seconds):.2f} s",
        median(seconds),
        1,
        "at most",
        " s",
    )


_PARTS = {
    "standard": _throughput,
    "fifo": fifo_lines,
    "fair": fair_lines,
    "security": security_lines,
    "start": _starts,
    "nodes": nodes_lines,
}

if __name__ == "__main__":
    main()
