"""The whole example: a queue, a producer, two consumers, and what cannot be processed at first.

Whoever starts it sets things up and watches; producer and consumers are roles that may do their
part and nothing else.

    python run.py

Exits with 1 if the table does not hold exactly what the CSV file holds, a queue is not empty, or
somebody got away with what is forbidden.
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dead_letters import RECEIVE_COUNT_MAX, create_queues, look, redrive
from producer import produce
from refusals import trials
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from roles import CONSUMER, PRODUCER, check_channel, protect, role_credentials
from service import Credentials, connect
from stock import (
    StockLevel,
    check,
    from_message,
    open_table,
    quantities_min,
    read_csv,
    row_count,
    rows,
    set_quantity_min,
)

QUEUE_NAME = "inventory"
CONSUMERS = 2
PATIENCE_S = 60
ENCRYPTED = "SqsManagedSseEnabled"
COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    database = arguments("stock.db").database
    levels = read_csv()
    sqs = connect()
    check_channel(sqs)
    queue_url, dead_letter_url = create_queues(sqs, QUEUE_NAME)
    describe(sqs, queue_url)
    protect(sqs, dead_letter_url, {})
    actors = role_credentials(sqs, queue_url)
    console.print(f"producer  {len(levels):,} stock levels, as {PRODUCER}: may only send")
    console.print(f"consumers {CONSUMERS} processes, as {CONSUMER}: may receive, delete, give back")
    faults = show_refusals(actors[PRODUCER], queue_url)
    with closing(open_table(database)) as table:
        started_s = time.monotonic()
        with consumers("consumer.py", queue_url, database, actors[CONSUMER]):
            first_pass(sqs, connect(actors[PRODUCER]), queue_url, table, levels)
            show_dead_letters(sqs, dead_letter_url, table)
            open_the_warehouse(table)
            second_pass(sqs, queue_url, dead_letter_url, table, levels)
        took_s = time.monotonic() - started_s
        faults += verify(sqs, (queue_url, dead_letter_url), table, levels)
    for fault in faults:
        console.print(f"[red]✗[/] {fault}")
    if faults:
        return 1
    console.print(f"[green]✓[/] the table holds all {len(levels):,} rows of the file, and no other")
    console.print(f"[green]✓[/] both queues are empty, after {took_s:.1f} seconds")
    console.print(f"  the table is `stock` in {database}, a SQLite file")
    return 0


def arguments(file_name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The inventory example.")
    parser.add_argument("--database", type=Path, help="the SQLite file to fill")
    parsed = parser.parse_args()
    if parsed.database is None:
        parsed.database = Path(tempfile.mkdtemp(prefix="inventory-")) / file_name
    return parsed


def describe(sqs: Any, queue_url: str) -> None:
    reply = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=[ENCRYPTED])
    is_encrypted = reply["Attributes"].get(ENCRYPTED) == "true"
    console.print(f"queue     {queue_url}")
    console.print(
        f"          bodies {'are' if is_encrypted else 'are not'} encrypted at rest (SSE-SQS)"
    )


def show_refusals(producer: Credentials, queue_url: str) -> list[str]:
    """What the producer got away with, if anything."""
    faults = []
    for what, expected, outcome in trials(producer, queue_url):
        if outcome == expected:
            console.print(f"[green]✓[/] {what}: refused, {outcome}")
        else:
            faults.append(f"{what}: not {expected} but {outcome}")
    return faults


@contextmanager
def consumers(
    script: str, queue_url: str, database: Path, credentials: Credentials
) -> Iterator[None]:
    """Processes that empty a queue, for the length of a block."""
    environment = os.environ | credentials.environment()
    command = [sys.executable, str(Path(__file__).with_name(script)), queue_url, str(database)]
    processes = [subprocess.Popen(command, env=environment) for _ in range(CONSUMERS)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def first_pass(
    sqs: Any,
    producer: Any,
    queue_url: str,
    table: sqlite3.Connection,
    levels: Sequence[StockLevel],
) -> None:
    """Send everything; return when the consumers have stored or given up all of it."""
    known = quantities_min(table)
    storable = sum(problem(level, known) is None for level in levels)
    with Progress(console=console) as progress:
        sending = progress.add_task("sent", total=len(levels))
        storing = progress.add_task("stored", total=len(levels))

        def sent(count: int) -> None:
            progress.advance(sending, count)
            progress.update(storing, completed=row_count(table))

        def done() -> bool:
            progress.update(storing, completed=(stored := row_count(table)))
            return stored >= storable and messages_left(sqs, queue_url) == 0

        produce(producer, queue_url, levels, sent)
        wait_until(done)


def problem(level: StockLevel, known: dict[str, int]) -> str | None:
    try:
        check(level, known)
    except ValueError as error:
        return str(error)
    return None


def wait_until(done: Callable[[], bool]) -> None:
    """Or until patience ends: what is wrong then is found when the table is verified."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not done() and time.monotonic() < deadline_s:
        time.sleep(0.1)


def messages_left(sqs: Any, queue_url: str) -> int:
    reply = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=list(COUNTS))
    return sum(int(reply["Attributes"][name]) for name in COUNTS)


def show_dead_letters(sqs: Any, dead_letter_url: str, table: sqlite3.Connection) -> None:
    """What nobody could process, and why."""
    known = quantities_min(table)
    view = Table(box=None)
    for heading in ("sku", "warehouse", "quantity", "received", "why"):
        view.add_column(heading, no_wrap=True)
    for message in look(sqs, dead_letter_url):
        level = from_message(message)
        received = message["Attributes"]["ApproximateReceiveCount"]
        why = problem(level, known)
        view.add_row(level.sku, level.warehouse, str(level.quantity), received, why)
    console.print(
        f"[yellow]![/] {view.row_count} messages were received {RECEIVE_COUNT_MAX} times in vain,"
        " and are in the dead-letter queue now; looking at them counts as one time more:"
    )
    console.print(view)


def open_the_warehouse(table: sqlite3.Connection) -> None:
    """The fix. The consumers see it with the next message; they need not be started again."""
    set_quantity_min(table, "tallinn", 0)
    set_quantity_min(table, "lyon", -100)
    console.print("[green]✓[/] fixed: there is a warehouse tallinn, and lyon may owe its customers")


def second_pass(
    sqs: Any,
    queue_url: str,
    dead_letter_url: str,
    table: sqlite3.Connection,
    levels: Sequence[StockLevel],
) -> None:
    """Have the dead letters moved back, and wait until they have been processed."""
    with Progress(console=console) as progress:
        total = messages_left(sqs, dead_letter_url)
        moving = progress.add_task("moved back", total=total)
        storing = progress.add_task("stored", total=len(levels))

        def done() -> bool:
            progress.update(storing, completed=(stored := row_count(table)))
            return stored >= len(levels) and messages_left(sqs, queue_url) == 0

        redrive(sqs, dead_letter_url, lambda count: progress.update(moving, completed=count))
        wait_until(done)


def verify(
    sqs: Any,
    queue_urls: Sequence[str],
    table: sqlite3.Connection,
    levels: Sequence[StockLevel],
) -> list[str]:
    """What is wrong, if anything."""
    stored, expected = Counter(rows(table)), Counter(levels)
    left = sum(messages_left(sqs, queue_url) for queue_url in queue_urls)
    findings = [
        ((expected - stored).total(), "rows of the file are not in the table"),
        ((stored - expected).total(), "rows of the table are not in the file"),
        (left, "messages are still in the queues"),
    ]
    return [f"{count:,} {what}" for count, what in findings if count]


if __name__ == "__main__":
    sys.exit(main())
