"""The FIFO part of the inventory example: that order matters, and what keeps it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import price_consumer
import prices
import pytest
import run_prices
import stock

from tests.examples.test_inventory import Service

KEY = ("porto", "SKU-1")
FIRST = {KEY: Decimal("10.00"), ("lyon", "SKU-1"): Decimal("10.00")}
UP = prices.Adjustment(1, *KEY, "+10%")
DOWN = prices.Adjustment(2, *KEY, "-1.00")


@pytest.fixture
def table(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(prices.open_table(tmp_path / "prices.db")) as table:
        prices.set_prices(table, FIRST)
        yield table


@pytest.mark.parametrize(
    ("change", "price"),
    [("+10%", "11.00"), ("-1.50", "8.50"), ("+0.1%", "10.01"), ("-11", "0.01"), ("-0%", "10.00")],
)
def test_a_change(change: str, price: str) -> None:
    assert prices.adjusted(Decimal("10.00"), change) == Decimal(price)


def test_the_order_of_the_file_matters() -> None:
    first, adjustments = prices.first_prices(stock.read_csv()), prices.read_csv()
    assert len(adjustments) == 400
    in_order = run_prices.applied_in_order(first, adjustments)
    assert in_order != run_prices.applied_in_order(first, adjustments[::-1])


def test_batches_hold_one_adjustment_of_a_warehouse_and_keep_the_order() -> None:
    adjustments = prices.read_csv()
    batches = list(prices.batches(adjustments, "run"))
    numbers = [int(entry["Id"]) for batch in batches for entry in batch]
    assert numbers == [adjustment.number for adjustment in adjustments]
    for batch in batches:
        groups = [entry["MessageGroupId"] for entry in batch]
        assert len(set(groups)) == len(groups)


def test_batches_are_of_ten_at_most() -> None:
    adjustments = [prices.Adjustment(n, f"warehouse-{n}", "x", "+1") for n in range(25)]
    assert [len(batch) for batch in prices.batches(adjustments, "run")] == [10, 10, 5]


def test_an_adjustment_has_one_deduplication_id_in_a_run() -> None:
    ids = [prices.to_entry(UP, run)["MessageDeduplicationId"] for run in ("a", "a", "b")]
    assert [len(list(same)) for _, same in groupby(ids)] == [2, 1]
    assert prices.to_entry(DOWN, "a")["MessageDeduplicationId"] not in ids


def test_adjustments_are_applied_in_order(table: sqlite3.Connection) -> None:
    prices.apply(table, [(UP, 5), (DOWN, 7)])
    assert prices.prices(table) == FIRST | {KEY: Decimal("10.00")}
    assert prices.applied(table) == 2


def test_an_adjustment_that_comes_again_is_not_applied_again(table: sqlite3.Connection) -> None:
    # Sequence numbers of 20 digits, of which the first ones of another warehouse are higher.
    prices.apply(table, [(prices.Adjustment(9, "lyon", "SKU-1", "+1"), 30_000_000_000_000_000_000)])
    for _ in range(2):
        prices.apply(table, [(UP, 18_881_790_870_905_840_128)])
    assert prices.prices(table)[KEY] == Decimal("11.00")
    prices.apply(table, [(UP, 18_881_790_870_905_840_128), (DOWN, 18_881_790_870_905_840_384)])
    assert prices.prices(table)[KEY] == Decimal("10.00")


def test_adjustments_are_applied_all_or_none(table: sqlite3.Connection) -> None:
    unknown = prices.Adjustment(2, "porto", "SKU-of-nobody", "+1")
    with pytest.raises(TypeError):
        prices.apply(table, [(UP, 1), (unknown, 2)])
    assert prices.prices(table) == FIRST
    assert prices.applied(table) == 0


def test_a_consumer_deletes_what_it_has_applied(table: sqlite3.Connection) -> None:
    service = Service({"Messages": [as_message(UP, 1), as_message(DOWN, 2)]}, {})
    assert price_consumer.consume_once(service, "url", table, 0) == 2
    assert prices.prices(table)[KEY] == Decimal("10.00")
    (deletion,) = service.asked("delete_message_batch")
    assert [entry["ReceiptHandle"] for entry in deletion["Entries"]] == ["handle-1", "handle-2"]


def test_each_receive_is_an_attempt_of_its_own(table: sqlite3.Connection) -> None:
    service = Service({}, {})
    for _ in range(2):
        price_consumer.consume_once(service, "url", table, 0)
    ids = {call["ReceiveRequestAttemptId"] for call in service.asked("receive_message")}
    assert len(ids) == 2


def as_message(adjustment: prices.Adjustment, sequence: int) -> dict[str, Any]:
    return {
        "Body": prices.to_entry(adjustment, "run")["MessageBody"],
        "ReceiptHandle": f"handle-{adjustment.number}",
        "Attributes": {"SequenceNumber": str(sequence).zfill(20)},
    }


@pytest.mark.parametrize(
    ("price", "applied", "left", "status"),
    [("10.00", 2, 0, 0), ("10.01", 2, 0, 1), ("10.00", 3, 0, 1), ("10.00", 2, 1, 1)],
)
def test_the_outcome_is_verified(
    table: sqlite3.Connection, price: str, applied: int, left: int, status: int
) -> None:
    prices.apply(table, [(UP, 5), (DOWN, 7)])
    expected = FIRST | {KEY: Decimal(price)}
    assert run_prices.verdict(table, expected, applied, left) == status
