"""The FIFO part of the example: price adjustments that have to be applied in order, each once.

    python run_prices.py

Exits with 1 if the prices are not those of applying the CSV file from top to bottom, or the queue
is not empty.
"""

import sqlite3
import sys
import uuid
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import stock
from prices import (
    Adjustment,
    Prices,
    adjusted,
    applied,
    batches,
    first_prices,
    open_table,
    prices,
    read_csv,
    set_prices,
)
from producer import send
from rich.console import Console
from rich.progress import Progress
from roles import CONSUMER, PRODUCER, check_channel, role_credentials
from run import CONSUMERS, arguments, consumers, describe, messages_left, wait_until
from service import connect

QUEUE_NAME = "prices.fifo"
TWICE = 3
"""Of so many batches, one is sent twice, as if its answer had been lost."""

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    database = arguments("prices.db").database
    first, adjustments = first_prices(stock.read_csv()), read_csv()
    sqs = connect()
    check_channel(sqs)
    attributes = {"FifoQueue": "true", "SqsManagedSseEnabled": "true"}
    queue_url = sqs.create_queue(QueueName=QUEUE_NAME, Attributes=attributes)["QueueUrl"]
    describe(sqs, queue_url)
    actors = role_credentials(sqs, queue_url)
    console.print(f"producer  {len(adjustments)} price adjustments, in one group per warehouse")
    console.print(f"consumers {CONSUMERS} processes; the roles are those of before")
    with closing(open_table(database)) as table:
        set_prices(table, first)
        with consumers("price_consumer.py", queue_url, database, actors[CONSUMER]):
            work(sqs, connect(actors[PRODUCER]), queue_url, table, adjustments)
        expected = applied_in_order(first, adjustments)
        return verdict(table, expected, len(adjustments), messages_left(sqs, queue_url))


def work(
    sqs: Any,
    producer: Any,
    queue_url: str,
    table: sqlite3.Connection,
    adjustments: Sequence[Adjustment],
) -> None:
    """Send everything, some of it twice, while the consumers apply it; return when they have."""
    with Progress(console=console) as progress:
        sending = progress.add_task("sent", total=len(adjustments))
        applying = progress.add_task("applied", total=len(adjustments))

        def done() -> bool:
            progress.update(applying, completed=(count := applied(table)))
            return count >= len(adjustments) and messages_left(sqs, queue_url) == 0

        for number, batch in enumerate(batches(adjustments, run=uuid.uuid4().hex)):
            send(producer, queue_url, batch)
            if number % TWICE == 0:
                send(producer, queue_url, batch)
            progress.advance(sending, len(batch))
            progress.update(applying, completed=applied(table))
        wait_until(done)


def applied_in_order(first: Prices, adjustments: Sequence[Adjustment]) -> Prices:
    """What the prices have to be in the end."""
    result = dict(first)
    for _, warehouse, sku, change in adjustments:
        result[warehouse, sku] = adjusted(result[warehouse, sku], change)
    return result


def verdict(table: sqlite3.Connection, expected: Prices, adjustments: int, left: int) -> int:
    found = prices(table)
    wrong = sum(found.get(key) != price for key, price in expected.items())
    findings = [
        (wrong, "prices are not what they should be"),
        (abs(applied(table) - adjustments), "adjustments too few or too many were applied"),
        (left, "messages are still in the queue"),
    ]
    faults = [f"{count} {what}" for count, what in findings if count]
    for fault in faults:
        console.print(f"[red]✗[/] {fault}")
    if not faults:
        console.print(f"[green]✓[/] {adjustments} adjustments were applied in order, each once")
        console.print("[green]✓[/] the prices are those of applying the file from top to bottom")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
