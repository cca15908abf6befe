"""The parts of the inventory example, against a queue service that answers as it is told to."""

import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import consumer
import dead_letters
import make_csv
import producer
import pytest
import run
import stock

LEVELS = stock.read_csv()[:10]
ENTRIES = [stock.to_entry(str(index), level) for index, level in enumerate(LEVELS)]
OLD = stock.StockLevel("SKU-1", "porto", 5, "9.99", "2026-01-02T06:00:00Z")
NEW = stock.StockLevel("SKU-1", "porto", 3, "9.99", "2026-01-02T07:00:00Z")
UNHEARD_OF = stock.StockLevel("SKU-2", "tallinn", 5, "9.99", "2026-01-02T06:00:00Z")
OWED = stock.StockLevel("SKU-3", "lyon", -2, "9.99", "2026-01-02T06:00:00Z")


class Service:
    """Answers each call with the next reply, and remembers the calls."""

    def __init__(self, *replies: dict[str, Any]) -> None:
        self.replies = list(replies)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, action: str) -> Callable[..., dict[str, Any]]:
        def answer(**parameters: Any) -> dict[str, Any]:
            self.calls.append((action, parameters))
            return self.replies.pop(0)

        return answer

    def asked(self, action: str) -> list[dict[str, Any]]:
        return [parameters for name, parameters in self.calls if name == action]


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


@pytest.mark.parametrize("name", make_csv.FILES)
def test_the_csv_files_are_what_the_script_writes(name: str) -> None:
    written = io.StringIO()
    make_csv.FILES[name](written)
    assert stock.CSV_FILE.with_name(name).read_text() == written.getvalue()


def test_eight_levels_of_the_file_are_refused_at_first(table: sqlite3.Connection) -> None:
    levels = stock.read_csv()
    assert len(levels) == 3_000
    bad = [level for level in levels if level.warehouse == "tallinn" or level.quantity < 0]
    messages = [as_message(level, str(index)) for index, level in enumerate(levels)]
    _, done, refused = consumer.read(table, messages)
    assert [stock.from_message(message) for message in refused] == bad
    assert (len(refused), len(done)) == (8, 2_992)


def test_a_producer_sends_only_what_failed_again() -> None:
    service = Service({"Failed": [refused("2"), refused("7")]}, {"Failed": [refused("7")]}, {})
    pauses: list[float] = []
    producer.send(service, "url", ENTRIES, pauses.append)
    batches = service.asked("send_message_batch")
    sent = [[entry["Id"] for entry in batch["Entries"]] for batch in batches]
    assert sent == [[str(index) for index in range(10)], ["2", "7"], ["7"]]
    assert pauses == [0.1, 0.2]


def test_a_producer_gives_up_on_a_message_that_is_refused_for_its_own_fault() -> None:
    service = Service({"Failed": [refused("2", sender_fault=True)]})
    with pytest.raises(RuntimeError, match="refuses"):
        producer.send(service, "url", ENTRIES, pytest.fail)


def test_a_producer_gives_up_in_the_end() -> None:
    service = Service(*[{"Failed": [refused("2")]}] * producer.ATTEMPTS)
    with pytest.raises(RuntimeError, match="1 messages could not be sent"):
        producer.send(service, "url", ENTRIES, lambda _: None)


def test_a_consumer_deletes_what_it_has_written(table: sqlite3.Connection) -> None:
    messages = [as_message(level, str(index)) for index, level in enumerate(LEVELS)]
    service = Service({"Messages": messages}, {})
    assert consumer.consume_once(service, "url", table, wait_s=0) == 10
    assert stock.rows(table) == sorted(LEVELS)
    (deletion,) = service.asked("delete_message_batch")
    deleted = [entry["ReceiptHandle"] for entry in deletion["Entries"]]
    assert deleted == [message["ReceiptHandle"] for message in messages]


def test_a_consumer_gives_back_what_it_cannot_write(table: sqlite3.Connection) -> None:
    messages = [as_message(UNHEARD_OF, "a"), as_message(NEW, "b"), as_message(OWED, "c")]
    service = Service({"Messages": messages}, {}, {})
    assert consumer.consume_once(service, "url", table, wait_s=0) == 3
    assert stock.rows(table) == [NEW]
    (deletion,) = service.asked("delete_message_batch")
    assert [entry["ReceiptHandle"] for entry in deletion["Entries"]] == ["b"]
    (change,) = service.asked("change_message_visibility_batch")
    assert change["Entries"] == [
        {"Id": "0", "ReceiptHandle": "a", "VisibilityTimeout": consumer.RETRY_S},
        {"Id": "1", "ReceiptHandle": "c", "VisibilityTimeout": consumer.RETRY_S},
    ]


def test_what_was_refused_is_written_after_the_fix(table: sqlite3.Connection) -> None:
    stock.set_quantity_min(table, "tallinn", 0)
    stock.set_quantity_min(table, "lyon", -2)
    messages = [as_message(UNHEARD_OF, "a"), as_message(OWED, "b")]
    levels, _, refused = consumer.read(table, messages)
    assert (levels, refused) == ([UNHEARD_OF, OWED], [])


def test_the_fix_outlives_a_restart_of_the_consumer(tmp_path: Path) -> None:
    for expected in (0, -2):
        with closing(stock.open_table(tmp_path / "stock.db")) as table:
            assert stock.quantities_min(table)["lyon"] == expected
            stock.set_quantity_min(table, "lyon", -2)


def test_a_consumer_with_nothing_to_do_deletes_nothing(table: sqlite3.Connection) -> None:
    service = Service({})
    assert consumer.consume_once(service, "url", table, 0) == 0
    assert len(service.calls) == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"MessageAttributes": {"schema": {"StringValue": "2"}}}, "schema 2"),
        ({"MessageAttributes": {}}, "no stock level"),
        ({"Body": "{"}, "Expecting"),
        ({"Body": "[1]"}, "no stock level"),
        ({"Body": '{"sku": "x"}'}, "no stock level"),
        ({"Body": json.dumps(OLD._asdict() | {"quantity": "5"})}, "no number"),
    ],
)
def test_a_consumer_refuses_what_it_does_not_know(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        stock.from_message(as_message(OLD, "handle") | change)


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


def test_looking_at_dead_letters_gives_them_back() -> None:
    messages = [as_message(OLD, str(index)) for index in range(12)]
    service = Service({"Messages": messages[:9]}, {"Messages": messages[9:]}, {}, {}, {})
    assert dead_letters.look(service, "url") == messages
    changes = [call["Entries"] for call in service.asked("change_message_visibility_batch")]
    assert [entry["ReceiptHandle"] for batch in changes for entry in batch] == [
        str(index) for index in range(12)
    ]
    assert [len(batch) for batch in changes] == [10, 2]
    assert {entry["VisibilityTimeout"] for batch in changes for entry in batch} == {0}


ARN = {"Attributes": {"QueueArn": "arn"}}


def task(status: str, count: int) -> dict[str, Any]:
    return {"Results": [{"Status": status, "ApproximateNumberOfMessagesMoved": count}]}


def test_a_redrive_waits_for_its_task() -> None:
    service = Service(ARN, {}, task("RUNNING", 0), task("RUNNING", 3), task("COMPLETED", 8))
    counts: list[int] = []
    assert dead_letters.redrive(service, "url", counts.append, lambda _: None) == 8
    assert counts == [0, 3, 8]
    assert service.asked("start_message_move_task") == [{"SourceArn": "arn"}]


@pytest.mark.parametrize("status", ["FAILED", "CANCELLING", "CANCELLED"])
def test_a_redrive_that_fails_says_so(status: str) -> None:
    service = Service(ARN, {}, task(status, 3))
    with pytest.raises(RuntimeError, match=f"{status} after 3"):
        dead_letters.redrive(service, "url", pause=pytest.fail)


@pytest.mark.parametrize(
    ("stored", "left", "faults"),
    [
        ([OLD, UNHEARD_OF], "0", []),
        ([OLD], "0", ["1 rows of the file are not in the table"]),
        ([OLD, UNHEARD_OF, OWED], "0", ["1 rows of the table are not in the file"]),
        (
            [NEW, UNHEARD_OF],
            "0",
            [
                "1 rows of the file are not in the table",
                "1 rows of the table are not in the file",
            ],
        ),
        ([OLD, UNHEARD_OF], "2", ["12 messages are still in the queues"]),
    ],
)
def test_the_outcome_is_verified(
    table: sqlite3.Connection, stored: list[stock.StockLevel], left: str, faults: list[str]
) -> None:
    stock.apply(table, stored)
    counts = {"Attributes": dict.fromkeys(run.COUNTS, left)}
    service = Service(counts, counts)
    assert run.verify(service, ("queue", "dead letters"), table, [OLD, UNHEARD_OF]) == faults
