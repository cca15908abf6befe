"""Writes `inventory.csv` and `prices.csv`, the same every time.

    python make_csv.py

`inventory.csv` has 3,000 stock levels, 750 articles in each of four warehouses. Eight of them are
not what a consumer expects: five come from a warehouse that it has not heard of, and three say that
less than nothing is left. `prices.csv` has 400 price adjustments, a hundred in each warehouse, of
ten articles, so that each price changes about ten times.
"""

import csv
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

WAREHOUSES = ("amsterdam", "gdansk", "lyon", "porto")
NEW_WAREHOUSE = "tallinn"
ARTICLES = 750
MOVED = (71, 202, 333, 464, 595)
"""Articles that Porto has passed on to Tallinn."""
OWED = (120, 360, 600)
"""Articles of which Lyon has sold more than it has."""
ADJUSTMENTS = 400
ADJUSTED_ARTICLES = 10


def write_inventory(file: TextIO) -> None:
    chance = random.Random(20_260_102)
    at = datetime(2026, 1, 2, 6, 0, tzinfo=UTC)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("sku", "warehouse", "quantity", "price", "updated_at"))
    for article in range(ARTICLES):
        price = f"{chance.randrange(95, 49_999) / 100:.2f}"
        for warehouse in WAREHOUSES:
            at += timedelta(seconds=chance.randrange(1, 20))
            quantity = chance.randrange(0, 400)
            where = warehouse
            if article in OWED and warehouse == "lyon":
                quantity = -1 - quantity % 9
            if article in MOVED and warehouse == "porto":
                where = NEW_WAREHOUSE
            updated_at = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            writer.writerow((f"SKU-{article:05}", where, quantity, price, updated_at))


def write_prices(file: TextIO) -> None:
    """Amounts and percentages by turns: in another order they would lead to other prices."""
    chance = random.Random(20_260_103)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("number", "warehouse", "sku", "change"))
    warehouses = list(WAREHOUSES) * (ADJUSTMENTS // len(WAREHOUSES))
    chance.shuffle(warehouses)
    for number, warehouse in enumerate(warehouses, 1):
        sku = f"SKU-{chance.randrange(ADJUSTED_ARTICLES):05}"
        percentage = f"{chance.randrange(-12, 15):+}%"
        amount = f"{chance.randrange(-300, 400) / 100:+.2f}"
        writer.writerow((number, warehouse, sku, chance.choice((percentage, amount))))


FILES: dict[str, Callable[[TextIO], None]] = {
    "inventory.csv": write_inventory,
    "prices.csv": write_prices,
}


if __name__ == "__main__":
    for name, write in FILES.items():
        with Path(__file__).with_name(name).open("w", newline="") as output:
            write(output)
