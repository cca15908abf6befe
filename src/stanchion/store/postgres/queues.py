"""Commands about queues themselves: rows of `queue`, and which backlog belongs to which queue.

Deleting and purging take the same time whatever the backlog: they only cut it off; see `upkeep`.
Creating and deleting happen one flush at a time, so that a name has one queue, and its quarantine
is kept, whichever processes are at it.
"""

from collections.abc import Callable, Sequence

import msgspec

from stanchion.store.changes import ListQueueChanges, QueueChanges, told
from stanchion.store.contract import (
    CreateQueue,
    DeleteQueue,
    GetQueue,
    ListDeadLetterSources,
    ListQueues,
    PurgeOutcome,
    PurgeQueue,
    QueueCreated,
    QueueDeletedRecently,
    QueueExists,
    QueueName,
    QueueRecord,
    QueueRules,
    UpdateQueue,
)
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import EVERYBODY, Row, Transaction

_LOCK_DIRECTORY = statement("lock_directory")
_TAKE_CHANGES = statement("take_changes")
_QUEUE_CHANGES = statement("queue_changes")
_READ_META = statement("read_meta")
_QUEUE_BY_ID = statement("queue_by_id")
_QUEUE_BY_NAME = statement("queue_by_name")
_QUEUES_BY_PREFIX = statement("queues_by_prefix")
_QUEUES_BY_DEAD_LETTER_QUEUE = statement("queues_by_dead_letter_queue")
_QUEUE_DELETED_AT = statement("queue_deleted_at")
_INSERT_QUEUE = statement("insert_queue")
_INSERT_BACKLOG = statement("insert_backlog")
_SET_QUEUE_BACKLOG = statement("set_queue_backlog")
_UPDATE_QUEUE = statement("update_queue")
_CHECK_BACKLOG_NOW = statement("check_backlog_now")
_DOOM_BACKLOG = statement("doom_backlog")
_REMEMBER_DELETED_QUEUE = statement("remember_deleted_queue")
_DELETE_QUEUE = statement("delete_queue")
_FORGET_DELETED_QUEUE = statement("forget_deleted_queue")
_QUEUE_PURGED_AT = statement("queue_purged_at")
_SET_QUEUE_PURGED_AT = statement("set_queue_purged_at")
_PARTS = statement("parts")
_DROP_PARTS = statement("drop_parts")
_DROP_PASSING_PARTS = statement("drop_passing_parts")
_PURGE_PARTS = statement("purge_parts")
_UNTELL_PARTS = statement("untell_parts")
_NEXT_PLACEMENT_CHANGE = statement("next_placement_change")

_encode = msgspec.json.encode
_decode: Callable[[bytes], dict[str, str]] = msgspec.json.Decoder(dict[str, str]).decode


async def create_queues(
    tx: Transaction, commands: Sequence[CreateQueue]
) -> list[QueueCreated | QueueExists | QueueDeletedRecently]:
    await tx.fetch(_LOCK_DIRECTORY)
    tx.forget_places()
    changes = await _take_changes(tx, len(commands))
    return [
        await _create_unless(tx, c, number) for c, number in zip(commands, changes, strict=True)
    ]


async def _take_changes(tx: Transaction, count: int) -> range:
    """Numbers for changes of queues.

    The row that they come from stays locked, so that they commit in their order. Nobody who takes
    them holds a queue's row yet.
    """
    row = await tx.row(_TAKE_CHANGES, count)
    assert row is not None
    return range(row[0] - count + 1, row[0] + 1)


async def _create_unless(
    tx: Transaction, command: CreateQueue, change: int
) -> QueueCreated | QueueExists | QueueDeletedRecently:
    if existing := await _by_name(tx, command.name):
        return QueueExists(existing)
    if await _is_quarantined(tx, command):
        return QueueDeletedRecently()
    return QueueCreated(await _create(tx, command, change))


async def _by_name(tx: Transaction, name: QueueName) -> QueueRecord | None:
    row = await tx.row(_QUEUE_BY_NAME, *name)
    return _record(row) if row else None


def _record(row: Row) -> QueueRecord:
    queue_id, account_id, region, name, version, attributes, tags, created, modified = row
    return QueueRecord(
        id=queue_id,
        name=QueueName(account_id, region, name),
        version=version,
        attributes=_decode(attributes),
        tags=_decode(tags),
        created_at_ms=created,
        modified_at_ms=modified,
    )


async def _is_quarantined(tx: Transaction, command: CreateQueue) -> bool:
    row = await tx.row(_QUEUE_DELETED_AT, *command.name)
    return row is not None and tx.now_ms < row[0] + command.quarantine_ms


async def _create(tx: Transaction, command: CreateQueue, change: int) -> QueueRecord:
    await tx.run(_FORGET_DELETED_QUEUE, *command.name)
    attributes, tags = _encode(command.attributes), _encode(command.tags)
    inserted = await tx.row(
        _INSERT_QUEUE, *command.name, attributes, tags, *columns(command.rules), tx.now_ms, change
    )
    assert inserted is not None
    await give_backlog(tx, inserted[0], command.rules.retention_ms)
    row = await tx.row(_QUEUE_BY_ID, inserted[0])
    return _record(row)


def columns(rules: QueueRules) -> tuple[object, ...]:
    """The rules as columns of a row, in the order of the statements."""
    target = rules.dead_letter_queue or (None, None, None)
    return rules.retention_ms, rules.is_fifo, rules.delay_ms, *target, rules.receive_count_max


async def give_backlog(tx: Transaction, queue_id: int, retention_ms: int) -> None:
    """A fresh, empty one."""
    row = await tx.row(_INSERT_BACKLOG, queue_id, tx.now_ms + retention_ms)
    assert row is not None
    await tx.run(_SET_QUEUE_BACKLOG, queue_id, row[0])


async def get_queues(tx: Transaction, commands: Sequence[GetQueue]) -> list[QueueRecord | None]:
    return [await _by_name(tx, command.name) for command in commands]


async def list_queues(
    tx: Transaction, commands: Sequence[ListQueues]
) -> list[Sequence[QueueRecord]]:
    return [
        [
            _record(row)
            for row in await tx.fetch(
                _QUEUES_BY_PREFIX, c.account_id, c.region, c.prefix, c.after, c.limit
            )
        ]
        for c in commands
    ]


async def list_dead_letter_sources(
    tx: Transaction, commands: Sequence[ListDeadLetterSources]
) -> list[Sequence[QueueRecord]]:
    return [
        [
            _record(row)
            for row in await tx.fetch(_QUEUES_BY_DEAD_LETTER_QUEUE, *c.target, c.after, c.limit)
        ]
        for c in commands
    ]


async def list_changes(tx: Transaction, commands: Sequence[ListQueueChanges]) -> list[QueueChanges]:
    return [await _list_changes(tx, command) for command in commands]


async def _list_changes(tx: Transaction, command: ListQueueChanges) -> QueueChanges:
    latest = await tx.row(_READ_META, "queue_changes")
    assert latest is not None
    # One statement for queues and names: between two, a change could slip through.
    rows = await tx.fetch(_QUEUE_CHANGES, command.after, command.limit)
    return told(command, latest[0], rows)


async def update_queues(
    tx: Transaction, commands: Sequence[UpdateQueue]
) -> list[QueueRecord | None]:
    tx.forget_places()
    changes = await _take_changes(tx, len(commands))
    return [await _update(tx, c, number) for c, number in zip(commands, changes, strict=True)]


async def _update(tx: Transaction, c: UpdateQueue, change: int) -> QueueRecord | None:
    settings = (_encode(c.attributes), _encode(c.tags), *columns(c.rules))
    row = await tx.row(_UPDATE_QUEUE, c.queue_id, c.version, *settings, tx.now_ms, change)
    if row is None:
        return None
    # A shorter retention may have ended for messages that were safe a moment ago.
    await tx.run(_CHECK_BACKLOG_NOW, c.queue_id, tx.now_ms)
    # Or a shorter delay has ended.
    tx.add_wake(c.queue_id, tx.now_ms, EVERYBODY)
    await tx.run(_UNTELL_PARTS, c.queue_id)
    return _record(row)


async def delete_queues(tx: Transaction, commands: Sequence[DeleteQueue]) -> list[bool]:
    await tx.fetch(_LOCK_DIRECTORY)
    tx.forget_places()
    changes = await _take_changes(tx, len(commands))
    return [
        await _delete(tx, c.queue_id, number) for c, number in zip(commands, changes, strict=True)
    ]


async def _delete(tx: Transaction, queue_id: int, change: int) -> bool:
    await tx.run(_REMEMBER_DELETED_QUEUE, queue_id, tx.now_ms, change)
    was_there = await cut_off(tx, queue_id)
    await tx.run(_DROP_PARTS, queue_id)
    return was_there


async def cut_off(tx: Transaction, queue_id: int) -> bool:
    """Delete the row of a queue, and let its messages go in the background."""
    # Locked first, so that a purge does not give it another backlog meanwhile.
    await tx.row(_QUEUE_PURGED_AT, queue_id)
    await tx.run(_DOOM_BACKLOG, queue_id, tx.now_ms)
    return await tx.run(_DELETE_QUEUE, queue_id) > 0


async def purge_queues(tx: Transaction, commands: Sequence[PurgeQueue]) -> list[PurgeOutcome]:
    tx.forget_places()
    return [await _purge(tx, command) for command in commands]


async def _purge(tx: Transaction, command: PurgeQueue) -> PurgeOutcome:
    row = await tx.row(_QUEUE_PURGED_AT, command.queue_id)
    if row is None:
        return "no_queue"
    purged_at_ms, retention_ms = row
    if purged_at_ms is not None and tx.now_ms < purged_at_ms + command.interval_ms:
        return "in_progress"
    await tx.run(_DOOM_BACKLOG, command.queue_id, tx.now_ms)
    await give_backlog(tx, command.queue_id, retention_ms)
    await tx.run(_SET_QUEUE_PURGED_AT, command.queue_id, tx.now_ms)
    if await tx.fetch(_PARTS, command.queue_id):
        # Under a new id a part is empty, whatever the shard still has of the old one.
        await tx.run(_DROP_PASSING_PARTS, command.queue_id)
        placed = await tx.row(_NEXT_PLACEMENT_CHANGE)
        assert placed is not None
        await tx.run(_PURGE_PARTS, command.queue_id, placed[0])
    return "purged"
