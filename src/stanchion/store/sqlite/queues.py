"""Commands about queues themselves: rows of `queue`, and which backlog belongs to which queue.

Deleting and purging take the same time whatever the backlog: they only cut it off; see `upkeep`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

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
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import EVERYBODY, Transaction

_TAKE_CHANGE = statement("take_change")
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

_encode = msgspec.json.encode
_decode: Callable[[bytes], dict[str, str]] = msgspec.json.Decoder(dict[str, str]).decode


def create_queues(
    tx: Transaction, commands: Sequence[CreateQueue]
) -> Iterator[QueueCreated | QueueExists | QueueDeletedRecently]:
    for command in commands:
        if existing := _by_name(tx, command.name):
            yield QueueExists(existing)
        elif _is_quarantined(tx, command):
            yield QueueDeletedRecently()
        else:
            yield QueueCreated(_create(tx, command))


def _by_name(tx: Transaction, name: QueueName) -> QueueRecord | None:
    row = tx.execute(_QUEUE_BY_NAME, name).fetchone()
    return _record(row) if row else None


def _record(row: tuple[Any, ...]) -> QueueRecord:
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


def _is_quarantined(tx: Transaction, command: CreateQueue) -> bool:
    row = tx.execute(_QUEUE_DELETED_AT, command.name).fetchone()
    return row is not None and tx.now_ms < row[0] + command.quarantine_ms


def _create(tx: Transaction, command: CreateQueue) -> QueueRecord:
    tx.execute(_FORGET_DELETED_QUEUE, command.name)
    attributes, tags = _encode(command.attributes), _encode(command.tags)
    settings = (attributes, tags, *_columns(command.rules))
    parameters = (*command.name, *settings, tx.now_ms, _take_change(tx))
    queue_id = tx.execute(_INSERT_QUEUE, parameters).lastrowid
    assert queue_id is not None
    _give_backlog(tx, queue_id)
    record = _by_id(tx, queue_id)
    assert record is not None
    return record


def _take_change(tx: Transaction) -> int:
    """A number for a change of a queue."""
    (number,) = tx.execute(_TAKE_CHANGE).fetchone()
    return int(number)


def _columns(rules: QueueRules) -> tuple[object, ...]:
    target = rules.dead_letter_queue or (None, None, None)
    return rules.retention_ms, rules.is_fifo, rules.delay_ms, *target, rules.receive_count_max


def _give_backlog(tx: Transaction, queue_id: int) -> None:
    backlog = tx.execute(_INSERT_BACKLOG, (queue_id,)).lastrowid
    tx.execute(_SET_QUEUE_BACKLOG, (queue_id, backlog))


def _by_id(tx: Transaction, queue_id: int) -> QueueRecord | None:
    row = tx.execute(_QUEUE_BY_ID, (queue_id,)).fetchone()
    return _record(row) if row else None


def get_queues(tx: Transaction, commands: Sequence[GetQueue]) -> Iterator[QueueRecord | None]:
    for command in commands:
        yield _by_name(tx, command.name)


def list_queues(tx: Transaction, commands: Sequence[ListQueues]) -> Iterator[Sequence[QueueRecord]]:
    for c in commands:
        parameters = (c.account_id, c.region, c.prefix, c.after, c.limit)
        yield [_record(row) for row in tx.execute(_QUEUES_BY_PREFIX, parameters)]


def list_dead_letter_sources(
    tx: Transaction, commands: Sequence[ListDeadLetterSources]
) -> Iterator[Sequence[QueueRecord]]:
    for c in commands:
        parameters = (*c.target, c.after, c.limit)
        yield [_record(row) for row in tx.execute(_QUEUES_BY_DEAD_LETTER_QUEUE, parameters)]


def list_changes(tx: Transaction, commands: Sequence[ListQueueChanges]) -> Iterator[QueueChanges]:
    for command in commands:
        (latest,) = tx.execute(_READ_META, ("queue_changes",)).fetchone()
        rows = tx.execute(_QUEUE_CHANGES, (command.after, command.limit)).fetchall()
        yield told(command, latest, rows)


def update_queues(tx: Transaction, commands: Sequence[UpdateQueue]) -> Iterator[QueueRecord | None]:
    for c in commands:
        settings = (_encode(c.attributes), _encode(c.tags), *_columns(c.rules))
        parameters = (c.queue_id, c.version, *settings, tx.now_ms, _take_change(tx))
        if tx.execute(_UPDATE_QUEUE, parameters).rowcount:
            # A shorter retention may have ended for messages that were safe a moment ago.
            tx.execute(_CHECK_BACKLOG_NOW, (c.queue_id, tx.now_ms))
            # Or a shorter delay has ended.
            tx.add_wake(c.queue_id, tx.now_ms, EVERYBODY)
            yield _by_id(tx, c.queue_id)
        else:
            yield None


def delete_queues(tx: Transaction, commands: Sequence[DeleteQueue]) -> Iterator[bool]:
    for command in commands:
        tx.execute(_REMEMBER_DELETED_QUEUE, (command.queue_id, tx.now_ms, _take_change(tx)))
        tx.execute(_DOOM_BACKLOG, (command.queue_id,))
        yield tx.execute(_DELETE_QUEUE, (command.queue_id,)).rowcount > 0


def purge_queues(tx: Transaction, commands: Sequence[PurgeQueue]) -> Iterator[PurgeOutcome]:
    for command in commands:
        row = tx.execute(_QUEUE_PURGED_AT, (command.queue_id,)).fetchone()
        if row is None:
            yield "no_queue"
        elif row[0] is not None and tx.now_ms < row[0] + command.interval_ms:
            yield "in_progress"
        else:
            tx.execute(_DOOM_BACKLOG, (command.queue_id,))
            _give_backlog(tx, command.queue_id)
            tx.execute(_SET_QUEUE_PURGED_AT, (command.queue_id, tx.now_ms))
            yield "purged"
