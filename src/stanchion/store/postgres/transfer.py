"""Taking stored messages from one backlog to another, each in the transaction that decided it.

On a standard queue a dead letter stays as it is, and only its narrow row changes hands. On a FIFO
queue, and in a move task, messages are appended: they get new sequence numbers; steps are bounded
in bytes. A message is never in both backlogs or in neither. The caller holds the locks of the
messages, and of their groups.

A part of a FIFO queue that is copied to another shard, and the copy until it is complete, stand
*still*: what left the one, or came to the other, would be there twice or not at all. Called by
`dead_letters` and `moves`.
"""

import uuid
from collections.abc import Iterable, Sequence

import msgspec

from stanchion.store.contract import SealedAs
from stanchion.store.postgres import expiry, groups
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction

_BURY_MESSAGES = statement("bury_messages")
_BURY_FIFO_MESSAGES = statement("bury_fifo_messages")
_BURY_FIFO_BODIES = statement("bury_fifo_bodies")
_REDRIVE_MESSAGES = statement("redrive_messages")
_REDRIVE_BODIES = statement("redrive_bodies")
_CHECK_BACKLOG_BY = statement("check_backlog_by")
_STILL_QUEUES = statement("still_queues")

_STEP_BYTES_MAX = 16 * 1024 * 1024

SEQUENCE, RECEIVE_COUNT, VISIBLE_AT, GROUP_KEY, SENT_AT, _BODY_BYTES, GROUP_ID = range(7)
"""Columns of a row: as `expiry.remove` takes them, and then these."""
_MESSAGE_ID, _PROVENANCE, IS_SEALED = range(7, 10)

_encode = msgspec.json.encode


def one_step(rows: Iterable[Row]) -> list[Row]:
    """The first of some rows: as many as one step may transfer, which is at least one."""
    taken: list[Row] = []
    size_bytes = 0
    for row in rows:
        size_bytes += row[_BODY_BYTES]
        if taken and size_bytes > _STEP_BYTES_MAX:
            break
        taken.append(row)
    return taken


async def are_still(tx: Transaction, queue_ids: Iterable[int | None]) -> bool:
    """Whether one of these FIFO queues must not change now; see above."""
    return bool(await tx.fetch(_STILL_QUEUES, [one for one in queue_ids if one is not None]))


async def bury(tx: Transaction, source: Place, target: Place, rows: Sequence[Row]) -> None:
    """Move exhausted messages, which are in view, to their queue's dead-letter queue."""
    name = _encode(await tx.name_of(source)).decode()
    rows = sorted(rows, key=lambda row: row[SEQUENCE])
    stamps = await _stamps(tx, source, target, rows, [row[_MESSAGE_ID] for row in rows])
    numbers = [row[SEQUENCE] for row in rows]
    if source.is_fifo:
        await _open_groups(tx, target, rows, is_returned=True)
        new = await tx.take_sequences(len(rows))
        group_ids = [row[GROUP_ID] for row in rows]
        await tx.run(
            *(_BURY_FIFO_MESSAGES, source.backlog, numbers, new, group_ids, stamps),
            *(target.backlog, tx.now_ms, name),
        )
        await tx.run(_BURY_FIFO_BODIES, numbers, new, tx.now_ms)
        tx.add_sent(target, len(rows))
    else:
        await tx.run(
            *(_BURY_MESSAGES, source.backlog, numbers, stamps),
            *(target.backlog, tx.now_ms, name),
        )
        tx.add_sent(target, len(rows))
        tx.add_wake(target.queue_id, tx.now_ms, len(rows))
        # They were sent long ago, so they may have less time left than what is there already.
        await tx.run(_CHECK_BACKLOG_BY, target.backlog, tx.now_ms)
    await expiry.uncount(tx, source, rows)


async def _stamps(
    tx: Transaction, source: Place, target: Place, rows: Sequence[Row], ids: Sequence[str]
) -> list[bytes | None]:
    """The provenance of each message in the target, where it has this id; None: as it is."""
    stamped = tx.resources.provenances.stamped
    here, there = await tx.name_of(source), await tx.name_of(target)
    return [
        stamped(row[_PROVENANCE], SealedAs(here, row[_MESSAGE_ID]), SealedAs(there, message_id))
        if row[IS_SEALED]
        else None
        for row, message_id in zip(rows, ids, strict=True)
    ]


async def redrive(tx: Transaction, source: Place, target: Place, rows: Sequence[Row]) -> None:
    """Append messages, which are in view, to a queue in this order as if they were sent now."""
    if target.is_fifo:
        await _open_groups(tx, target, rows, is_returned=False)
    new = await tx.take_sequences(len(rows))
    entropy = tx.resources.entropy(16 * len(rows))
    ids = [_uuid(entropy[16 * n : 16 * n + 16]) for n in range(len(rows))]
    stamps = await _stamps(tx, source, target, rows, ids)
    numbers = [row[SEQUENCE] for row in rows]
    group_ids = [row[GROUP_ID] for row in rows]
    await tx.run(
        *(_REDRIVE_MESSAGES, source.backlog, numbers, new, group_ids, stamps),
        *(target.backlog, tx.now_ms),
    )
    await tx.run(_REDRIVE_BODIES, numbers, new, ids, tx.now_ms)
    tx.add_sent(target, len(rows))
    tx.add_invisible(target, False, tx.now_ms, len(rows))
    if not target.is_fifo:
        tx.add_wake(target.queue_id, tx.now_ms, len(rows))
    await expiry.uncount(tx, source, rows)


def _uuid(entropy: bytes) -> str:
    return str(uuid.UUID(bytes=entropy, version=4))


async def _open_groups(
    tx: Transaction, target: Place, rows: Sequence[Row], is_returned: bool
) -> None:
    firsts = {
        row[GROUP_ID]: groups.FirstMessage(row[GROUP_ID], is_returned, tx.now_ms) for row in rows
    }
    await groups.open_groups(tx, [(target, firsts.values())])
