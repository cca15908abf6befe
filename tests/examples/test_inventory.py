"""The parts of the inventory example, against a queue service that answers as it is told to."""

import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import consumer
import make_csv
import producer
import pytest
import stock

LEVELS = stock.read_csv()[:10]
OLD = stock.StockLevel("SKU-1", "porto", 5, "9.99", "2026-01-02T06:00:00Z")
NEW = stock.StockLevel("SKU-1", "porto", 3, "9.99", "2026-01-02T07:00:00Z")


class Service:
    """Answers each call with the next reply, and remembers the calls."""

    def __init__(self, *replies: dict[str, Any]) -> None:
        self.replies = list(replies)
        self.calls: list[dict[str, Any]] = []

    def answer(self, **parameters: Any) -> dict[str, Any]:
        self.calls.append(parameters)
        return self.replies.pop(0)

    send_message_batch = receive_message = delete_message_batch = answer


def refused(entry_id: str, sender_fault: bool = False) -> dict[str, Any]:
    return {"Id": entry_id, "SenderFault": sender_fault, "Code": "InternalError"}


def as_message(level: stock.StockLevel, handle: str) -> dict[str, Any]:
    entry = stock.to_entry("0", level)
    return {
        "MessageId": handle,
        "ReceiptHandle": handle,
        "Body": entry["MessageBody"],
        "MessageAttributes": entry["MessageAttributes"],
    }


@pytest.fixture
def table(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(stock.open_table(tmp_path / "stock.db")) as table:
        yield table


def test_the_csv_file_is_what_the_script_writes() -> None:
    written = io.StringIO()
    make_csv.write_csv(written)
    assert stock.CSV_FILE.read_text() == written.getvalue()
    assert len(stock.read_csv()) == 3_000


def test_a_producer_sends_only_what_failed_again() -> None:
    service = Service({"Failed": [refused("2"), refused("7")]}, {"Failed": [refused("7")]}, {})
    pauses: list[float] = []
    producer.send(service, "url", LEVELS, pauses.append)
    sent = [[entry["Id"] for entry in call["Entries"]] for call in service.calls]
    assert sent == [[str(index) for index in range(10)], ["2", "7"], ["7"]]
    assert pauses == [0.1, 0.2]


def test_a_producer_gives_up_on_a_message_that_is_refused_for_its_own_fault() -> None:
    service = Service({"Failed": [refused("2", sender_fault=True)]})
    with pytest.raises(RuntimeError, match="refuses"):
        producer.send(service, "url", LEVELS, pytest.fail)


def test_a_producer_gives_up_in_the_end() -> None:
    service = Service(*[{"Failed": [refused("2")]}] * producer.ATTEMPTS)
    with pytest.raises(RuntimeError, match="1 messages could not be sent"):
        producer.send(service, "url", LEVELS, lambda _: None)


def test_a_consumer_deletes_what_it_has_written(table: sqlite3.Connection) -> None:
    messages = [as_message(level, str(index)) for index, level in enumerate(LEVELS)]
    service = Service({"Messages": messages}, {})
    assert consumer.consume_once(service, "url", table, wait_s=0) == 10
    assert stock.rows(table) == sorted(LEVELS)
    deleted = [entry["ReceiptHandle"] for entry in service.calls[1]["Entries"]]
    assert deleted == [message["ReceiptHandle"] for message in messages]


def test_a_consumer_with_nothing_to_do_deletes_nothing(table: sqlite3.Connection) -> None:
    service = Service({})
    assert consumer.consume_once(service, "url", table, 0) == 0
    assert len(service.calls) == 1


def test_a_consumer_refuses_a_schema_that_it_does_not_know() -> None:
    message = as_message(OLD, "handle")
    message["MessageAttributes"]["schema"]["StringValue"] = "2"
    with pytest.raises(ValueError, match="schema 2"):
        stock.from_message(message)


@pytest.mark.parametrize("order", [(OLD, NEW), (NEW, OLD), (NEW, OLD, NEW, OLD)])
def test_the_table_does_not_mind_repeats_and_disorder(
    table: sqlite3.Connection, order: tuple[stock.StockLevel, ...]
) -> None:
    for level in order:
        stock.apply(table, [level])
    assert stock.rows(table) == [NEW]


def test_a_stock_level_survives_the_message() -> None:
    entry = stock.to_entry("0", OLD)
    assert json.loads(entry["MessageBody"])["quantity"] == 5
    assert stock.from_message(as_message(OLD, "handle")) == OLD
