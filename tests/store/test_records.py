"""Records: read by key, listed in order, edited all or nothing, and noticed by others."""

from pathlib import Path

import pytest

from stanchion.store.contract import StoreUnusable
from stanchion.store.records import (
    Change,
    EditRecords,
    Expected,
    GetRecords,
    LatestEdit,
    ListRecords,
    Record,
    RecordKey,
)
from stanchion.store.sqlite import SqliteStore
from tests.store.conftest import RESERVE_BYTES
from tests.store.driver import Driver

ALICE = RecordKey("user", "111111111111", "alice")
BOB = RecordKey("user", "111111111111", "bob")


def put(driver: Driver, key: RecordKey, value: bytes | None) -> Record | None:
    assert driver.run(EditRecords((), (Change(key, value),)))
    return read(driver, key)


def read(driver: Driver, key: RecordKey) -> Record | None:
    (record,) = driver.run(GetRecords((key,)))
    return record


def test_a_record_is_read_by_its_whole_key(driver: Driver) -> None:
    put(driver, ALICE, b"1")
    others = (ALICE._replace(kind="role"), ALICE._replace(account_id="2"), BOB)
    first, *rest = driver.run(GetRecords((ALICE, *others)))
    assert first is not None
    assert (first.key, first.value) == (ALICE, b"1")
    assert rest == [None, None, None]


def test_versions_grow_and_never_come_back(driver: Driver) -> None:
    records = [put(driver, ALICE, value) for value in (b"1", b"2", None, b"3")]
    versions = [record.version for record in records if record]
    assert len(versions) == 3
    assert versions == sorted(set(versions))
    assert versions[0] > 0


def test_an_edit_happens_only_on_what_was_read(driver: Driver) -> None:
    absent = Expected(ALICE, 0)
    edit = EditRecords((absent,), (Change(ALICE, b"1"), Change(BOB, b"1")))
    assert driver.run(edit)
    assert not driver.run(edit)
    record = read(driver, ALICE)
    assert record is not None
    stale = EditRecords((Expected(ALICE, record.version), Expected(BOB, 0)), (Change(ALICE, None),))
    assert not driver.run(stale)
    assert read(driver, ALICE) == record
    fresh = EditRecords((Expected(ALICE, record.version),), (Change(ALICE, None),))
    assert driver.run(fresh)
    assert read(driver, ALICE) is None


def test_of_two_edits_in_one_flush_that_read_the_same_one_wins(driver: Driver) -> None:
    edits = [EditRecords((Expected(ALICE, 0),), (Change(ALICE, b"%d" % n),)) for n in range(2)]
    assert driver.flush(*edits).answers == [True, False]


def test_records_are_listed_by_prefix_in_order_and_in_pages(driver: Driver) -> None:
    for name in ("b", "a/2", "a/1", "c_%"):
        put(driver, ALICE._replace(name=name), b"{}")
    put(driver, RecordKey("user", "2", "a/3"), b"{}")

    def listed(prefix: str = "", after: str = "", limit: int = 10) -> list[str]:
        command = ListRecords("user", ALICE.account_id, prefix, after, limit)
        return [record.key.name for record in driver.run(command)]

    assert listed() == ["a/1", "a/2", "b", "c_%"]
    assert listed("a/") == ["a/1", "a/2"]
    assert listed(after="a/1", limit=2) == ["a/2", "b"]
    assert listed("c_", "c_%") == []


def test_quiet_edits_are_not_noticed(driver: Driver) -> None:
    before = driver.run(LatestEdit())
    put(driver, ALICE, b"1")
    loud = driver.run(LatestEdit())
    assert loud > before
    driver.run(EditRecords((), (Change(BOB, b"1"),), is_quiet=True))
    assert driver.run(LatestEdit()) == loud
    put(driver, BOB, b"2")
    assert driver.run(LatestEdit()) > loud


def test_records_can_be_edited_beside_a_server(tmp_path: Path) -> None:
    server = Driver(SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES))
    beside = Driver(SqliteStore.open_records(tmp_path))
    before = server.run(LatestEdit())
    put(beside, ALICE, b"1")
    assert server.run(LatestEdit()) > before
    record = put(server, ALICE, b"2")
    assert read(beside, ALICE) == record
    beside.store.close()
    server.create()
    server.store.close()


def test_there_is_nothing_to_edit_before_the_first_start(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="start a server on it first"):
        SqliteStore.open_records(tmp_path)
