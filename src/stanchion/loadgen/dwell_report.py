"""What the `fair` scenario found, as a value for `--json` and as a table for people."""

from msgspec import Struct
from rich.box import SIMPLE_HEAD
from rich.table import Table

from stanchion.loadgen.dwell import Dwell, Pace
from stanchion.loadgen.histogram import Histogram
from stanchion.loadgen.plan import Plan


class DwellTimes(Struct, frozen=True):
    """Of the messages of one class of tenants that were received, in milliseconds."""

    messages: int
    p50: float
    p95: float
    p99: float
    max: float


class FairSummary(Struct, frozen=True):
    """One run: first without the flood, then with it. Fields may be added."""

    endpoint: str
    region: str
    consumers: int
    processing_ms: float
    quiet_tenants: int
    quiet_messages_per_s: float
    flood_messages: int
    """The flooding tenant's backlog when the second stretch began."""
    interrupted: bool
    quiet_without_flood_ms: DwellTimes
    quiet_with_flood_ms: DwellTimes
    flood_ms: DwellTimes
    quiet_p95_ratio: float
    """With the flood against without; 0 when one of them has no messages."""
    errors: dict[str, int]


def summarize_fair(
    plan: Plan, pace: Pace, flood_messages: int, without: Dwell, flooded: Dwell, interrupted: bool
) -> FairSummary:
    before, after = dwell_times(without.quiet), dwell_times(flooded.quiet)
    errors = dict(without.errors)
    for code, count in flooded.errors.items():
        errors[code] = errors.get(code, 0) + count
    return FairSummary(
        endpoint=f"{'https' if plan.endpoint.tls else 'http'}://{plan.endpoint.authority}",
        region=plan.endpoint.region,
        consumers=plan.connections,
        processing_ms=pace.processing_s * 1000,
        quiet_tenants=pace.tenants,
        quiet_messages_per_s=pace.rate_per_s,
        flood_messages=flood_messages,
        interrupted=interrupted,
        quiet_without_flood_ms=before,
        quiet_with_flood_ms=after,
        flood_ms=dwell_times(flooded.flood),
        quiet_p95_ratio=round(after.p95 / before.p95, 3) if before.p95 else 0.0,
        errors=dict(sorted(errors.items())),
    )


def dwell_times(found: Histogram) -> DwellTimes:
    p50, p95, p99 = (found.percentile_us(percent) / 1000 for percent in (50, 95, 99))
    return DwellTimes(found.total(), p50, p95, p99, found.max_us / 1000)


def fair_title(summary: FairSummary) -> str:
    ended = ", interrupted" if summary.interrupted else ""
    return (
        f"fair at {summary.endpoint}: {summary.consumers} consumers, "
        f"{summary.processing_ms:g} ms a message; {summary.quiet_tenants} quiet tenants send "
        f"{summary.quiet_messages_per_s:g} messages/s; a flood of {summary.flood_messages:,}{ended}"
    )


def dwell_table(summary: FairSummary) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("tenants", no_wrap=True)
    for column in ("messages", "p50 ms", "p95 ms", "p99 ms", "max ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, times in (
        ("quiet, no flood", summary.quiet_without_flood_ms),
        ("quiet, with flood", summary.quiet_with_flood_ms),
        ("flooding", summary.flood_ms),
    ):
        values = (times.p50, times.p95, times.p99, times.max)
        table.add_row(name, f"{times.messages:,}", *(f"{ms:,.1f}" for ms in values))
    return table


def fair_remarks(summary: FairSummary) -> list[str]:
    lines = [f"errors: {count:,} {code}" for code, count in summary.errors.items()]
    lines.append(f"p95 of quiet tenants with the flood against without: {summary.quiet_p95_ratio}")
    return lines
