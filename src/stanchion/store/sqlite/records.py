"""Commands about records: small documents that are read by key and edited optimistically."""

from collections.abc import Iterator, Sequence

from stanchion.store.records import (
    EditRecords,
    GetRecords,
    LatestEdit,
    ListRecords,
    Record,
    RecordKey,
)
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Transaction

_RECORD = statement("record")
_RECORDS_BY_PREFIX = statement("records_by_prefix")
_NEXT_EDIT = statement("next_edit")
_PUT_RECORD = statement("put_record")
_DELETE_RECORD = statement("delete_record")
_READ_META = statement("read_meta")
_WRITE_META = statement("write_meta")


def edit(tx: Transaction, commands: Sequence[EditRecords]) -> Iterator[bool]:
    for command in commands:
        are_as_read = all(_version(tx, key) == version for key, version in command.expected)
        if are_as_read:
            _change(tx, command)
        yield are_as_read


def _version(tx: Transaction, key: RecordKey) -> int:
    row = tx.execute(_RECORD, key).fetchone()
    return row[0] if row else 0


def _change(tx: Transaction, command: EditRecords) -> None:
    (number,) = tx.execute(_NEXT_EDIT).fetchone()
    for key, value in command.changes:
        if value is None:
            tx.execute(_DELETE_RECORD, key)
        else:
            tx.execute(_PUT_RECORD, (*key, number, value))
    if not command.is_quiet:
        tx.execute(_WRITE_META, ("latest_edit", number))


def get(tx: Transaction, commands: Sequence[GetRecords]) -> Iterator[tuple[Record | None, ...]]:
    for command in commands:
        yield tuple(_record(tx, key) for key in command.keys)


def _record(tx: Transaction, key: RecordKey) -> Record | None:
    row = tx.execute(_RECORD, key).fetchone()
    return Record(key, *row) if row else None


def list_records(tx: Transaction, commands: Sequence[ListRecords]) -> Iterator[list[Record]]:
    for command in commands:
        kind, account_id = command.kind, command.account_id
        rows = tx.execute(
            _RECORDS_BY_PREFIX, (kind, account_id, command.prefix, command.after, command.limit)
        )
        yield [Record(RecordKey(kind, account_id, name), *rest) for name, *rest in rows]


def latest_edit(tx: Transaction, commands: Sequence[LatestEdit]) -> Iterator[int]:
    for _ in commands:
        (number,) = tx.execute(_READ_META, ("latest_edit",)).fetchone()
        yield number
