"""What a run found, as a value for `--json` and as a table for people.

The names and units of `Summary` are a promise to scripts that read the JSON: fields may be added.
"""

from msgspec import Struct
from rich.box import SIMPLE_HEAD
from rich.table import Table

from stanchion.loadgen.histogram import Histogram, merged
from stanchion.loadgen.plan import Finished, Plan, Scenario
from stanchion.loadgen.tally import Tally


class Latency(Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p99: float
    p99_9: float
    max: float


class OperationSummary(Struct, frozen=True):
    requests: int
    requests_per_s: float
    latency_ms: Latency


class GeneratorSummary(Struct, frozen=True):
    """What measuring cost. A share of 1.0 is one core; a worker above 0.9 was the bottleneck."""

    processes: int
    cpu_us_per_request: float
    busiest_cpu_share: float


class ServerSummary(Struct, frozen=True):
    """What the process given as `--server-pid` used in the measured stretch."""

    cpu_us_per_request: float
    cpu_share: float
    peak_rss_bytes: int


class Summary(Struct, frozen=True):
    """One run. `requests` and latencies count successes; failures are in `errors` by code."""

    scenario: Scenario
    endpoint: str
    region: str
    connections: int
    batch: int
    body_bytes: int
    preloaded_messages: int
    interrupted: bool
    duration_s: float
    requests: int
    requests_per_s: float
    messages: int
    """Accepted by the server in `send`, deleted in every other scenario."""
    messages_per_s: float
    latency_ms: Latency
    operations: dict[str, OperationSummary]
    cycles: OperationSummary | None
    empty_receives: int
    wake_ups: int
    wake_up_ms: Latency | None
    errors: dict[str, int]
    generator: GeneratorSummary
    server: ServerSummary | None


def summarize(
    plan: Plan, parts: list[Finished], preloaded_messages: int, interrupted: bool
) -> Summary:
    """Add up what the workers measured of `plan`."""
    tally = Tally()
    for part in parts:
        tally.add(part.tally)
    duration_s = max((part.elapsed_s for part in parts), default=0.0)
    requests = tally.requests()
    messages = tally.sent_messages if plan.scenario == "send" else tally.deleted_messages
    has_cycles, has_wake_ups = plan.scenario == "cycle", plan.scenario == "long-poll"
    return Summary(
        scenario=plan.scenario,
        endpoint=f"{'https' if plan.endpoint.tls else 'http'}://{plan.endpoint.authority}",
        region=plan.endpoint.region,
        connections=plan.connections,
        batch=plan.batch,
        body_bytes=plan.body_bytes,
        preloaded_messages=preloaded_messages,
        interrupted=interrupted,
        duration_s=duration_s,
        requests=requests,
        requests_per_s=_rate(requests, duration_s),
        messages=messages,
        messages_per_s=_rate(messages, duration_s),
        latency_ms=latency_ms(merged(tally.operations.values())),
        operations={
            name: _operation(latencies, duration_s)
            for name, latencies in sorted(tally.operations.items())
        },
        cycles=_operation(tally.cycles, duration_s) if has_cycles else None,
        empty_receives=tally.empty_receives,
        wake_ups=tally.wake_ups.total(),
        wake_up_ms=latency_ms(tally.wake_ups) if has_wake_ups else None,
        errors=dict(sorted(tally.errors.items())),
        generator=_generator(parts, requests),
        server=_server(parts, requests, duration_s),
    )


def latency_ms(latencies: Histogram) -> Latency:
    return Latency(
        p50=latencies.percentile_us(50) / 1000,
        p99=latencies.percentile_us(99) / 1000,
        p99_9=latencies.percentile_us(99.9) / 1000,
        max=latencies.max_us / 1000,
    )


def _rate(count: int, duration_s: float) -> float:
    return round(count / duration_s, 1) if duration_s else 0.0


def _operation(latencies: Histogram, duration_s: float) -> OperationSummary:
    requests = latencies.total()
    return OperationSummary(requests, _rate(requests, duration_s), latency_ms(latencies))


def _generator(parts: list[Finished], requests: int) -> GeneratorSummary:
    cpu_s = sum(part.cpu_s for part in parts)
    shares = [part.cpu_s / part.elapsed_s for part in parts if part.elapsed_s]
    return GeneratorSummary(
        processes=len(parts),
        cpu_us_per_request=round(cpu_s * 1e6 / max(1, requests), 2),
        busiest_cpu_share=round(max(shares, default=0.0), 3),
    )


def _server(parts: list[Finished], requests: int, duration_s: float) -> ServerSummary | None:
    for part in parts:
        if part.server is not None:
            return ServerSummary(
                cpu_us_per_request=round(part.server.cpu_s * 1e6 / max(1, requests), 2),
                cpu_share=round(part.server.cpu_s / max(duration_s, 1e-9), 4),
                peak_rss_bytes=part.server.peak_rss_bytes,
            )
    return None


def title(summary: Summary) -> str:
    """What was run, in a line."""
    ended = ", interrupted" if summary.interrupted else ""
    return (
        f"{summary.scenario} at {summary.endpoint}: {summary.connections} connections, "
        f"batch {summary.batch}, {summary.body_bytes:,} bytes, {summary.duration_s:.1f} s{ended}"
    )


def latency_table(summary: Summary) -> Table:
    """Throughput and latency by operation."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for column in ("count", "per second", "p50 ms", "p99 ms", "p99.9 ms", "max ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, operation in summary.operations.items():
        table.add_row(name, *_cells(operation))
    everything = OperationSummary(summary.requests, summary.requests_per_s, summary.latency_ms)
    if len(summary.operations) != 1:
        table.add_row("all requests", *_cells(everything))
    if summary.cycles is not None:
        table.add_row("whole cycles", *_cells(summary.cycles))
    if summary.scenario != "raw":
        table.add_row("messages", f"{summary.messages:,}", f"{summary.messages_per_s:,.0f}")
    if summary.wake_up_ms is not None:
        table.add_row("wake-ups", f"{summary.wake_ups:,}", "", *_milliseconds(summary.wake_up_ms))
    return table


def _cells(operation: OperationSummary) -> tuple[str, ...]:
    return (
        f"{operation.requests:,}",
        f"{operation.requests_per_s:,.0f}",
        *_milliseconds(operation.latency_ms),
    )


def _milliseconds(latency: Latency) -> tuple[str, ...]:
    values = (latency.p50, latency.p99, latency.p99_9, latency.max)
    return tuple(f"{ms:,.3f}" if ms < 100 else f"{ms:,.0f}" for ms in values)


def remarks(summary: Summary) -> list[str]:
    """What the table has no columns for, a line each."""
    lines = [f"errors: {count:,} {code}" for code, count in summary.errors.items()]
    if summary.empty_receives:
        lines.append(f"empty receives: {summary.empty_receives:,}")
    if (server := summary.server) is not None:
        lines.append(
            f"server: {server.cpu_us_per_request:.1f} us of CPU a request, {server.cpu_share:.1%} "
            f"of a core, peak memory {server.peak_rss_bytes / 1e6:,.1f} MB"
        )
    generator = summary.generator
    lines.append(
        f"generator: {generator.cpu_us_per_request:.1f} us of CPU a request, busiest of "
        f"{generator.processes} at {generator.busiest_cpu_share:.0%} of a core"
    )
    if generator.busiest_cpu_share > 0.9:
        lines.append("the generator may have been the bottleneck: try more --processes")
    return lines
