"""A stock level, as it looks in the CSV file, in a message, and in the table.

Beside the stock, the database says which warehouses there are, and the lowest quantity that each
may report: what does not fit is refused, until somebody changes that.
"""

import csv
import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA = "1"
CSV_FILE = Path(__file__).with_name("inventory.csv")
FIRST_WAREHOUSES = ("amsterdam", "gdansk", "lyon", "porto")


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
    """What ReceiveMessage gave us. Raises `ValueError` if it is not a stock level as we know it."""
    try:
        schema = message["MessageAttributes"]["schema"]["StringValue"]
        level = StockLevel(**json.loads(message["Body"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"message {message['MessageId']} is no stock level: {error}") from None
    if schema != SCHEMA:
        raise ValueError(f"message {message['MessageId']} has schema {schema}")
    if not isinstance(level.quantity, int):
        raise ValueError(f"message {message['MessageId']} has no number for a quantity")
    return level


def check(level: StockLevel, quantities_min: Mapping[str, int]) -> None:
    """Raises `ValueError` for a level that cannot be right, as far as we know."""
    quantity_min = quantities_min.get(level.warehouse)
    if quantity_min is None:
        raise ValueError(f"there is no warehouse {level.warehouse}")
    if level.quantity < quantity_min:
        raise ValueError(f"{level.warehouse} cannot have {level.quantity} of anything")


def open_table(path: Path) -> sqlite3.Connection:
    table = sqlite3.connect(path, timeout=30)
    table.execute("PRAGMA journal_mode = WAL")
    with table:
        table.execute(
            "CREATE TABLE IF NOT EXISTS stock (sku TEXT, warehouse TEXT, quantity INTEGER,"
            " price TEXT, updated_at TEXT, PRIMARY KEY (sku, warehouse))"
        )
        table.execute(
            "CREATE TABLE IF NOT EXISTS warehouse (name TEXT PRIMARY KEY, quantity_min INTEGER)"
        )
        table.executemany(
            "INSERT OR IGNORE INTO warehouse VALUES (?, 0)", [(name,) for name in FIRST_WAREHOUSES]
        )
    return table


def quantities_min(table: sqlite3.Connection) -> dict[str, int]:
    """The warehouses there are, with the lowest quantity that each may report."""
    return dict(table.execute("SELECT name, quantity_min FROM warehouse"))


def set_quantity_min(table: sqlite3.Connection, warehouse: str, quantity: int) -> None:
    with table:
        table.execute("INSERT OR REPLACE INTO warehouse VALUES (?, ?)", (warehouse, quantity))


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
