"""The whole example: a queue, a producer, two consumers, and a check of what came out.

    python run.py

Exits with 1 if the table does not hold exactly what the CSV file holds, or the queue is not empty.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
from producer import produce
from rich.console import Console
from rich.progress import Progress, TaskID
from stock import StockLevel, open_table, read_csv, row_count, rows

QUEUE_NAME = "inventory"
CONSUMERS = 2
PATIENCE_S = 60
COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    database = arguments().database
    levels = read_csv()
    sqs = boto3.client("sqs")
    queue_url = sqs.create_queue(QueueName=QUEUE_NAME)["QueueUrl"]
    console.print(f"queue     {queue_url}")
    console.print(f"producer  {len(levels):,} stock levels in batches of ten")
    console.print(f"consumers {CONSUMERS} processes writing to {database}")

    started_s = time.monotonic()
    work(sqs, queue_url, database, levels)
    took_s = time.monotonic() - started_s

    faults = verify(sqs, queue_url, database, levels)
    for fault in faults:
        console.print(f"[red]✗[/] {fault}")
    if faults:
        return 1
    console.print(f"[green]✓[/] the table holds all {len(levels):,} rows of the file, and no other")
    console.print(f"[green]✓[/] the queue is empty, after {took_s:.1f} seconds")
    console.print(f"  the table is `stock` in {database}, a SQLite file")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The inventory example.")
    parser.add_argument("--database", type=Path, help="the SQLite file to fill")
    parsed = parser.parse_args()
    if parsed.database is None:
        parsed.database = Path(tempfile.mkdtemp(prefix="inventory-")) / "stock.db"
    return parsed


def work(sqs: Any, queue_url: str, database: Path, levels: list[StockLevel]) -> None:
    """Send everything, while the consumers empty the queue; return when they have."""
    table = open_table(database)
    command = [
        sys.executable,
        str(Path(__file__).with_name("consumer.py")),
        queue_url,
        str(database),
    ]
    consumers = [subprocess.Popen(command) for _ in range(CONSUMERS)]
    try:
        with Progress(console=console) as progress:
            sending = progress.add_task("sent", total=len(levels))
            storing = progress.add_task("stored", total=len(levels))

            def sent(count: int) -> None:
                progress.advance(sending, count)
                progress.update(storing, completed=row_count(table))

            produce(sqs, queue_url, levels, sent)
            wait_until_stored(progress, storing, table, len(levels))
        wait_until_empty(sqs, queue_url)
    finally:
        for consumer in consumers:
            consumer.terminate()
        for consumer in consumers:
            consumer.wait()
        table.close()


def wait_until_stored(progress: Progress, storing: TaskID, table: Any, expected: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while (stored := row_count(table)) < expected and time.monotonic() < deadline_s:
        progress.update(storing, completed=stored)
        time.sleep(0.1)
    progress.update(storing, completed=stored)


def wait_until_empty(sqs: Any, queue_url: str) -> None:
    """The last deletions follow the last rows; on AWS the counts follow after some seconds more."""
    deadline_s = time.monotonic() + PATIENCE_S
    while messages_left(sqs, queue_url) and time.monotonic() < deadline_s:
        time.sleep(0.2)


def messages_left(sqs: Any, queue_url: str) -> int:
    reply = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=list(COUNTS))
    return sum(int(reply["Attributes"][name]) for name in COUNTS)


def verify(sqs: Any, queue_url: str, database: Path, levels: list[StockLevel]) -> list[str]:
    """What is wrong, if anything."""
    table = open_table(database)
    stored, expected = set(rows(table)), set(levels)
    table.close()
    left = messages_left(sqs, queue_url)
    findings = [
        (len(expected - stored), "rows of the file are not in the table"),
        (len(stored - expected), "rows of the table are not in the file"),
        (left, "messages are still in the queue"),
    ]
    return [f"{count:,} {what}" for count, what in findings if count]


if __name__ == "__main__":
    sys.exit(main())
