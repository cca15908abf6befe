"""A stock level, as it looks in the CSV file, in a message, and in the table."""

import csv
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA = "1"
CSV_FILE = Path(__file__).with_name("inventory.csv")


class StockLevel(NamedTuple):
    sku: str
    warehouse: str
    quantity: int
    price: str
    updated_at: str


def read_csv(path: Path = CSV_FILE) -> list[StockLevel]:
    with path.open(newline="") as file:
        return [
            StockLevel(
                row["sku"], row["warehouse"], int(row["quantity"]), row["price"], row["updated_at"]
            )
            for row in csv.DictReader(file)
        ]


def to_entry(entry_id: str, level: StockLevel) -> dict[str, Any]:
    """One entry of SendMessageBatch."""
    return {
        "Id": entry_id,
        "MessageBody": json.dumps(level._asdict()),
        "MessageAttributes": {
            "warehouse": {"DataType": "String", "StringValue": level.warehouse},
            "schema": {"DataType": "Number", "StringValue": SCHEMA},
        },
    }


def from_message(message: Any) -> StockLevel:
    """What ReceiveMessage gave us. Raises `ValueError` for a schema that we do not know."""
    schema = message["MessageAttributes"]["schema"]["StringValue"]
    if schema != SCHEMA:
        raise ValueError(f"message {message['MessageId']} has schema {schema}")
    return StockLevel(**json.loads(message["Body"]))


def open_table(path: Path) -> sqlite3.Connection:
    table = sqlite3.connect(path, timeout=30)
    table.execute("PRAGMA journal_mode = WAL")
    table.execute(
        "CREATE TABLE IF NOT EXISTS stock (sku TEXT, warehouse TEXT, quantity INTEGER,"
        " price TEXT, updated_at TEXT, PRIMARY KEY (sku, warehouse))"
    )
    return table


def apply(table: sqlite3.Connection, levels: Iterable[StockLevel]) -> None:
    """Write levels, however often and in whatever order they come: the newest one wins.

    A standard queue delivers at least once and in no promised order; this is all it takes.
    """
    with table:
        table.executemany(
            "INSERT INTO stock VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " quantity = excluded.quantity, price = excluded.price,"
            " updated_at = excluded.updated_at WHERE excluded.updated_at > updated_at",
            levels,
        )


def rows(table: sqlite3.Connection) -> list[StockLevel]:
    query = "SELECT sku, warehouse, quantity, price, updated_at FROM stock ORDER BY sku, warehouse"
    return [StockLevel(*row) for row in table.execute(query)]


def row_count(table: sqlite3.Connection) -> int:
    (count,) = table.execute("SELECT count(*) FROM stock").fetchone()
    return int(count)
