"""Writes `inventory.csv`: 3,000 stock levels, 750 articles in each of four warehouses.

The same file every time, so that it can be compared with what a consumer wrote elsewhere.
"""

import csv
import random
import sys
from datetime import UTC, datetime, timedelta
from typing import TextIO

WAREHOUSES = ("amsterdam", "gdansk", "lyon", "porto")
ARTICLES = 750
COLUMNS = ("sku", "warehouse", "quantity", "price", "updated_at")


def write_csv(file: TextIO) -> None:
    chance = random.Random(20_260_102)
    at = datetime(2026, 1, 2, 6, 0, tzinfo=UTC)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for article in range(ARTICLES):
        price = f"{chance.randrange(95, 49_999) / 100:.2f}"
        for warehouse in WAREHOUSES:
            at += timedelta(seconds=chance.randrange(1, 20))
            quantity = chance.randrange(0, 400)
            updated_at = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            writer.writerow((f"SKU-{article:05}", warehouse, quantity, price, updated_at))


if __name__ == "__main__":
    write_csv(sys.stdout)
