"""Commands about records: small documents that are read by key and edited optimistically.

Edits of all processes happen one after the other: each first draws its number, which locks the
row that numbers come from. So edits commit in the order of their numbers.
"""

from collections.abc import Sequence

from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Transaction
from stanchion.store.records import (
    EditRecords,
    GetRecords,
    LatestEdit,
    ListRecords,
    Record,
    RecordKey,
)

_RECORD = statement("record")
_RECORDS_BY_PREFIX = statement("records_by_prefix")
_NEXT_EDIT = statement("next_edit")
_PUT_RECORD = statement("put_record")
_DELETE_RECORD = statement("delete_record")
_READ_META = statement("read_meta")
_WRITE_META = statement("write_meta")


async def edit(tx: Transaction, commands: Sequence[EditRecords]) -> list[bool]:
    return [await _edit(tx, command) for command in commands]


async def _edit(tx: Transaction, command: EditRecords) -> bool:
    row = await tx.row(_NEXT_EDIT)
    assert row is not None
    for key, version in command.expected:
        if await _version(tx, key) != version:
            return False
    await _change(tx, command, row[0])
    return True


async def _version(tx: Transaction, key: RecordKey) -> int:
    row = await tx.row(_RECORD, *key)
    return row[0] if row else 0


async def _change(tx: Transaction, command: EditRecords, number: int) -> None:
    for key, value in command.changes:
        if value is None:
            await tx.run(_DELETE_RECORD, *key)
        else:
            await tx.run(_PUT_RECORD, *key, number, value)
    if not command.is_quiet:
        await tx.run(_WRITE_META, "latest_edit", number)


async def get(tx: Transaction, commands: Sequence[GetRecords]) -> list[tuple[Record | None, ...]]:
    return [tuple([await _record(tx, key) for key in command.keys]) for command in commands]


async def _record(tx: Transaction, key: RecordKey) -> Record | None:
    row = await tx.row(_RECORD, *key)
    return Record(key, *row) if row else None


async def list_records(tx: Transaction, commands: Sequence[ListRecords]) -> list[list[Record]]:
    return [await _list(tx, command) for command in commands]


async def _list(tx: Transaction, c: ListRecords) -> list[Record]:
    rows = await tx.fetch(_RECORDS_BY_PREFIX, c.kind, c.account_id, c.prefix, c.after, c.limit)
    return [Record(RecordKey(c.kind, c.account_id, name), *rest) for name, *rest in rows]


async def latest_edit(tx: Transaction, commands: Sequence[LatestEdit]) -> list[int]:
    row = await tx.row(_READ_META, "latest_edit")
    assert row is not None
    return [row[0]] * len(commands)
