"""A price adjustment, as it looks in the CSV file, in a message of a FIFO queue, and in the table.

Ten per cent and then one euro is another price than one euro and then ten per cent, so the
adjustments of a warehouse have to be applied in their order, each once. The warehouse is the
message group: groups go side by side, and inside a group the queue keeps the order.
"""

import csv
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import stock

CSV_FILE = Path(__file__).with_name("prices.csv")
BATCH = 10
CENT = Decimal("0.01")

Prices = dict[tuple[str, str], Decimal]
"""By warehouse and SKU."""


class Adjustment(NamedTuple):
    number: int
    warehouse: str
    sku: str
    change: str
    """`+5%`, or `-0.30`."""


def read_csv(path: Path = CSV_FILE) -> list[Adjustment]:
    with path.open(newline="") as file:
        return [
            Adjustment(int(row["number"]), row["warehouse"], row["sku"], row["change"])
            for row in csv.DictReader(file)
        ]


def adjusted(price: Decimal, change: str) -> Decimal:
    """A price after a change, in whole cents, and never less than one."""
    if change.endswith("%"):
        price = price * (100 + Decimal(change[:-1])) / 100
    else:
        price = price + Decimal(change)
    return max(price.quantize(CENT), CENT)


def to_entry(adjustment: Adjustment, run: str) -> dict[str, Any]:
    """One entry of SendMessageBatch.

    The number of the adjustment, in this run, is its deduplication id: a producer that does not
    know whether it has been heard says it again, and the queue takes it once.
    """
    return {
        "Id": str(adjustment.number),
        "MessageBody": json.dumps(adjustment._asdict()),
        "MessageGroupId": adjustment.warehouse,
        "MessageDeduplicationId": f"{run}-{adjustment.number}",
    }


def batches(adjustments: Iterable[Adjustment], run: str) -> Iterator[list[dict[str, Any]]]:
    """Batches of SendMessageBatch with at most one adjustment of each warehouse, in order.

    A batch may fail in part, and what failed is sent again. Were there a later adjustment of the
    same warehouse in it, that would have gone before.
    """
    batch: dict[str, dict[str, Any]] = {}
    for adjustment in adjustments:
        if adjustment.warehouse in batch or len(batch) == BATCH:
            yield list(batch.values())
            batch = {}
        batch[adjustment.warehouse] = to_entry(adjustment, run)
    if batch:
        yield list(batch.values())


def from_message(message: Any) -> tuple[Adjustment, int]:
    """What ReceiveMessage gave us: an adjustment, and its sequence number."""
    sequence = int(message["Attributes"]["SequenceNumber"])
    return Adjustment(**json.loads(message["Body"])), sequence


def open_table(path: Path) -> sqlite3.Connection:
    table = sqlite3.connect(path, timeout=30)
    table.execute("PRAGMA journal_mode = WAL")
    with table:
        table.execute(
            "CREATE TABLE IF NOT EXISTS price (warehouse TEXT, sku TEXT, price TEXT,"
            " PRIMARY KEY (warehouse, sku))"
        )
        # The last adjustment of each warehouse. Sequence numbers have 20 digits: too many for an
        # INTEGER.
        table.execute(
            "CREATE TABLE IF NOT EXISTS progress (warehouse TEXT PRIMARY KEY, sequence TEXT,"
            " adjustments INTEGER)"
        )
    return table


def first_prices(levels: Iterable[stock.StockLevel]) -> Prices:
    return {(level.warehouse, level.sku): Decimal(level.price) for level in levels}


def set_prices(table: sqlite3.Connection, prices: Mapping[tuple[str, str], Decimal]) -> None:
    """Start anew from these prices."""
    with table:
        table.execute("DELETE FROM progress")
        table.execute("DELETE FROM price")
        table.executemany(
            "INSERT INTO price VALUES (?, ?, ?)",
            [(warehouse, sku, str(price)) for (warehouse, sku), price in prices.items()],
        )


def apply(table: sqlite3.Connection, adjustments: Sequence[tuple[Adjustment, int]]) -> None:
    """Apply adjustments in their order, all or none.

    A message that was applied and could not be deleted comes again. Sequence numbers rise inside a
    group, so what is not beyond the last one of its warehouse has been applied already.
    """
    with table:
        table.execute("BEGIN IMMEDIATE")
        for adjustment, sequence in adjustments:
            if sequence > last_sequence(table, adjustment.warehouse):
                apply_one(table, adjustment, sequence)


def last_sequence(table: sqlite3.Connection, warehouse: str) -> int:
    query = "SELECT sequence FROM progress WHERE warehouse = ?"
    row = table.execute(query, (warehouse,)).fetchone()
    return int(row[0]) if row else 0


def apply_one(table: sqlite3.Connection, adjustment: Adjustment, sequence: int) -> None:
    key = (adjustment.warehouse, adjustment.sku)
    query = "SELECT price FROM price WHERE warehouse = ? AND sku = ?"
    (price,) = table.execute(query, key).fetchone()
    table.execute(
        "UPDATE price SET price = ? WHERE warehouse = ? AND sku = ?",
        (str(adjusted(Decimal(price), adjustment.change)), *key),
    )
    table.execute(
        "INSERT INTO progress VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET"
        " sequence = excluded.sequence, adjustments = adjustments + 1",
        (adjustment.warehouse, str(sequence)),
    )


def applied(table: sqlite3.Connection) -> int:
    """How many adjustments have been applied."""
    (count,) = table.execute("SELECT coalesce(sum(adjustments), 0) FROM progress").fetchone()
    return int(count)


def prices(table: sqlite3.Connection) -> Prices:
    query = "SELECT warehouse, sku, price FROM price"
    return {(warehouse, sku): Decimal(price) for warehouse, sku, price in table.execute(query)}
