"""`stanchion bench`: measure an SQS endpoint with many connections that never pause.

Options become a plan, the plan is run by `stanchion.loadgen`, and what it found is printed: the
result on standard output, progress on standard error. Faults are one line and exit code 2.
"""

import asyncio
import signal
import sys
from typing import Any, Literal
from urllib.parse import urlsplit

import click
import msgspec
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from stanchion.clock import RandomIds
from stanchion.loadgen import dwell, queues
from stanchion.loadgen.calls import SERIAL_DIGITS
from stanchion.loadgen.coordinator import BATCH_BYTES_MAX, OnProgress, preloading, run_plan
from stanchion.loadgen.dwell_report import (
    FairSummary,
    dwell_table,
    fair_remarks,
    fair_title,
    summarize_fair,
)
from stanchion.loadgen.plan import (
    RUNS,
    BenchError,
    Credentials,
    Endpoint,
    Plan,
    Progress,
    Scenario,
)
from stanchion.loadgen.report import Summary, latency_table, remarks, summarize, title

_DEFAULT_DURATION_S = 10.0
_PRELOAD_FOR_RECEIVE_DELETE = 50_000
_PRELOAD_FOR_FAIR = 200_000
_GROUPS_FOR_FIFO = 10
_SCENARIOS = ("send", "receive-delete", "cycle", "long-poll", "raw", "fair")
_UNGROUPED = ("long-poll", "raw")


class _Fault(click.ClickException):
    exit_code = 2


class _Options(Struct, frozen=True):
    """The options as given; None where a default depends on others."""

    endpoint_url: str
    region: str | None
    profile: str | None
    access_key_id: str | None
    secret_access_key: str | None
    session_token: str | None
    ca_bundle: str | None
    queue_name: str | None
    scenario: Literal[Scenario, "fair"]
    fifo: bool
    groups: int | None
    deduplication: Literal["explicit", "content"]
    rate_per_s: float
    processing_ms: float
    connections: int
    processes: int
    batch: int
    body_bytes: int
    duration_s: float | None
    requests: int | None
    warmup_s: float
    preload: int | None
    wait_s: int | None
    wake_ups: int
    server_pid: int | None
    as_json: bool


@click.command()
@click.option("--endpoint", "endpoint_url", required=True, metavar="URL", help="Where SQS is.")
@click.option("--region", help="Default: the environment's or profile's, else us-east-1.")
@click.option("--profile", help="Take credentials from this profile of the AWS configuration.")
@click.option("--access-key-id", help="Instead of the environment's; needs --secret-access-key.")
@click.option("--secret-access-key", help="Visible to other users of this machine while it runs.")
@click.option("--session-token", help="For temporary credentials.")
@click.option("--ca-bundle", envvar="AWS_CA_BUNDLE", help="Certificate authorities to trust.")
@click.option("--queue", "queue_name", help="An existing queue. Default: a new one.")
@click.option("--scenario", type=click.Choice(_SCENARIOS), default="send", show_default=True)
@click.option("--fifo", is_flag=True, help="A FIFO queue.")
@click.option(
    "--groups", type=click.IntRange(1), help="Message groups. FIFO: 10; fair: 10 quiet ones."
)
@click.option(
    "--deduplication",
    type=click.Choice(("explicit", "content")),
    default="explicit",
    show_default=True,
    help="FIFO: by an id with each message, or by its body.",
)
@click.option(
    "--rate",
    "rate_per_s",
    type=click.FloatRange(0.1, 10_000),
    default=100.0,
    show_default=True,
    help="fair: messages/s of the quiet tenants.",
)
@click.option(
    "--processing",
    "processing_ms",
    type=click.FloatRange(0),
    default=100.0,
    show_default=True,
    help="fair: ms from one receive of a consumer to its next.",
)
@click.option("--connections", type=click.IntRange(1, 65_000), default=64, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--batch", type=click.IntRange(1, 10), default=1, show_default=True)
@click.option(
    "--body-bytes", type=click.IntRange(1, BATCH_BYTES_MAX), default=1024, show_default=True
)
@click.option("--duration", "duration_s", type=click.FloatRange(0.1), help="Seconds. Default: 10.")
@click.option("--requests", type=click.IntRange(1), help="Stop after so many, not after a time.")
@click.option(
    "--warmup",
    "warmup_s",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Seconds that are not counted.",
)
@click.option("--preload", type=click.IntRange(0), help="Messages to send before measuring.")
@click.option(
    "--wait", "wait_s", type=click.IntRange(0, 20), help="WaitTimeSeconds. long-poll: 20, else 0."
)
@click.option(
    "--wake-ups",
    type=click.IntRange(0),
    default=200,
    show_default=True,
    help="Messages that long-poll sends to polls that wait.",
)
@click.option("--server-pid", type=click.IntRange(1), help="Measure this process too (Linux).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(**given: Any) -> None:
    """Measure an SQS endpoint: throughput, latency, errors.

    \b
    send            SendMessage (or batches)
    receive-delete  receive and delete a backlog that is sent before measuring
    cycle           send, receive, delete, each its own request
    long-poll       many ReceiveMessage that wait; then how fast a message wakes one
    raw             constant bytes, replies not looked at: for servers that do nothing
    fair            how long quiet tenants wait while another floods the queue
    """
    options = _Options(**given)
    progress = Console(stderr=True)
    try:
        _refuse_contradictions(options)
        summary = _measured(options, progress)
    except BenchError as error:
        raise _Fault(str(error)) from None
    if options.as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(summary)).decode())
    elif isinstance(summary, FairSummary):
        _print(fair_title(summary), dwell_table(summary), fair_remarks(summary))
    else:
        _print(title(summary), latency_table(summary), remarks(summary))
    if not _has_succeeded(summary):
        sys.exit(1)


def _print(heading: str, table: Table, lines: list[str]) -> None:
    output = Console()
    output.print(heading, highlight=False, soft_wrap=True)
    output.print(table)
    for line in lines:
        output.print(line, highlight=False, soft_wrap=True)


def _has_succeeded(summary: Summary | FairSummary) -> bool:
    if isinstance(summary, FairSummary):
        return summary.quiet_with_flood_ms.messages > 0
    return summary.requests > 0 or summary.wake_ups > 0


def _refuse_contradictions(options: _Options) -> None:
    if options.duration_s is not None and options.requests is not None:
        raise BenchError("--duration and --requests exclude each other")
    if (options.access_key_id is None) != (options.secret_access_key is None):
        raise BenchError("--access-key-id and --secret-access-key belong together")
    if options.batch * options.body_bytes > BATCH_BYTES_MAX:
        raise BenchError(
            f"a batch may hold {BATCH_BYTES_MAX:,} bytes: lower --batch or --body-bytes"
        )
    if options.queue_name is not None and options.queue_name.endswith(".fifo") != options.fifo:
        raise BenchError("--fifo and a --queue whose name ends in .fifo belong together")
    if options.fifo and options.scenario in (*_UNGROUPED, "fair"):
        raise BenchError(f"{options.scenario} takes no --fifo")
    if options.groups is not None and options.scenario in _UNGROUPED:
        raise BenchError(f"{options.scenario} takes no --groups")
    if options.deduplication == "content" and options.body_bytes < SERIAL_DIGITS:
        raise BenchError(f"bodies differ in {SERIAL_DIGITS} bytes: raise --body-bytes")
    if options.scenario == "fair" and options.requests is not None:
        raise BenchError("fair needs a --duration")
    if options.scenario == "long-poll" and options.processes > 1:
        raise BenchError("long-poll runs in one process, which is enough for it")
    if options.scenario == "long-poll" and options.requests is not None:
        raise BenchError("long-poll needs a --duration")
    if options.scenario in ("long-poll", "raw") and options.preload:
        raise BenchError(f"{options.scenario} takes no --preload")


def _measured(options: _Options, progress: Console) -> Summary | FairSummary:
    session = queues.session(options.profile, _given_credentials(options), options.region)
    endpoint = _endpoint(options, options.region or session.region_name or "us-east-1")
    if options.scenario == "raw":
        plan = _plan(options, endpoint, Credentials("raw", "raw"), options.endpoint_url)
        return asyncio.run(_run(plan, options, progress))
    credentials = queues.credentials_of(session)
    is_content_based = options.deduplication == "content"
    attributes = queues.fifo_attributes(is_content_based) if options.fifo else {}
    url, name = options.endpoint_url, options.queue_name
    with queues.queue(session, endpoint, url, name, attributes) as queue_url:
        plan = _plan(options, endpoint, credentials, queue_url)
        if options.scenario == "fair":
            return asyncio.run(_run_fair(plan, options, progress))
        return asyncio.run(_run(plan, options, progress))


def _given_credentials(options: _Options) -> Credentials | None:
    if options.access_key_id is None or options.secret_access_key is None:
        return None
    return Credentials(options.access_key_id, options.secret_access_key, options.session_token)


def _endpoint(options: _Options, region: str) -> Endpoint:
    url = options.endpoint_url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BenchError(f"--endpoint {url}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise BenchError(f"--endpoint {url}: expected http://HOST:PORT or https://HOST:PORT")
    tls = parts.scheme == "https"
    return Endpoint(
        host=parts.hostname,
        port=port or (443 if tls else 80),
        tls=tls,
        ca_bundle=options.ca_bundle,
        region=region,
    )


def _plan(options: _Options, endpoint: Endpoint, credentials: Credentials, queue_url: str) -> Plan:
    duration_s = options.duration_s
    if duration_s is None and options.requests is None:
        duration_s = _DEFAULT_DURATION_S
    waits = options.scenario == "long-poll"
    return Plan(
        endpoint=endpoint,
        credentials=credentials,
        queue_url=queue_url,
        scenario="send" if options.scenario == "fair" else options.scenario,
        connections=options.connections,
        batch=options.batch,
        body_bytes=options.body_bytes,
        duration_s=duration_s,
        requests=options.requests,
        warmup_s=options.warmup_s,
        wait_s=options.wait_s if options.wait_s is not None else 20 if waits else 0,
        wake_ups=options.wake_ups,
        server_pid=options.server_pid,
        fifo=options.fifo,
        groups=options.groups or (_GROUPS_FOR_FIFO if options.fifo else 0),
        content_based=options.deduplication == "content",
        run=int(RandomIds().uuid()[:8], 16) % RUNS,
    )


async def _run(plan: Plan, options: _Options, progress: Console) -> Summary:
    """Preload and measure; Ctrl-C ends either, and the result says what there is by then."""
    stop = _stop_on_interrupt()
    preload = options.preload
    if preload is None:
        preload = _PRELOAD_FOR_RECEIVE_DELETE if plan.scenario == "receive-delete" else 0
    preloaded = await _preload(plan, preload, options, progress, stop)
    if stop.is_set():
        raise BenchError("interrupted before anything was measured")
    with _bars(progress) as bars:
        parts = await run_plan(plan, options.processes, _bar(bars, plan, plan.scenario), stop)
    return summarize(plan, parts, preloaded, stop.is_set())


def _stop_on_interrupt() -> asyncio.Event:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    return stop


async def _preload(
    plan: Plan, messages: int, options: _Options, progress: Console, stop: asyncio.Event
) -> int:
    """Fill the queue; answers how many messages it has accepted."""
    if not messages:
        return 0
    filling = preloading(plan, messages)
    with _bars(progress) as bars:
        parts = await run_plan(filling, options.processes, _bar(bars, filling, "preload"), stop)
    return sum(part.tally.sent_messages for part in parts)


async def _run_fair(plan: Plan, options: _Options, progress: Console) -> FairSummary:
    """Measure the quiet tenants alone, then again with one tenant's backlog before them."""
    stop = _stop_on_interrupt()
    quiet_tenants = options.groups or _GROUPS_FOR_FIFO
    pace = dwell.Pace(options.rate_per_s, quiet_tenants, options.processing_ms / 1000)
    seconds = plan.duration_s or _DEFAULT_DURATION_S
    without = await dwell.measure(plan, pace, seconds, stop)
    preload = _PRELOAD_FOR_FAIR if options.preload is None else options.preload
    flooding = replace(plan, groups=1, group_prefix="flood-")
    flood = 0 if stop.is_set() else await _preload(flooding, preload, options, progress, stop)
    flooded = dwell.Dwell()
    if not stop.is_set():
        flooded = await dwell.measure(plan, pace, seconds, stop)
    return summarize_fair(plan, pace, flood, without, flooded, stop.is_set())


def _bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%  {task.fields[rate]:,.0f} requests/s"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _bar(bars: Bars, plan: Plan, label: str) -> OnProgress:
    """A bar that follows the requests where their number is fixed, and the time where it is not."""
    task = bars.add_task(label, total=plan.requests or plan.duration_s, rate=0.0)

    def update(progress: Progress) -> None:
        measuring = progress.phase == "measuring"
        done = progress.elapsed_s if plan.requests is None else progress.requests
        bars.update(
            task,
            description=label if measuring else f"{label} ({progress.phase})",
            completed=done if measuring else 0,
            rate=progress.requests / progress.elapsed_s if progress.elapsed_s else 0.0,
        )

    return update
