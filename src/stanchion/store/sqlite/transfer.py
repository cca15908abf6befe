"""Taking stored messages from one backlog to another, each in the transaction that decided it.

On a standard queue a dead letter stays as it is, and only its narrow row changes hands. On a FIFO
queue, and in a move task, messages are appended: they get new sequence numbers, so their bodies are
filed anew; hence steps are bounded in bytes. A message is never in both backlogs or in neither.
With a sealed body goes where it comes from, vouched for anew at each move: `store/provenance.py`.
Called by `dead_letters` and `moves`.
"""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from stanchion.store.contract import SealedAs
from stanchion.store.sqlite import expiry, groups
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Place, Transaction

_BURY_MESSAGES = statement("bury_messages")
_BURY_FIFO_MESSAGE = statement("bury_fifo_message")
_BURY_FIFO_BODY = statement("bury_fifo_body")
_REDRIVE_MESSAGE = statement("redrive_message")
_REDRIVE_BODY = statement("redrive_body")
_SET_CHECK_AT = statement("set_check_at")

_STEP_BYTES_MAX = 16 * 1024 * 1024

Row = tuple[Any, ...]
"""Of a message: as `expiry.remove` takes them, and then these."""
SEQUENCE, RECEIVE_COUNT, VISIBLE_AT, GROUP_KEY, SENT_AT, _BODY_BYTES, GROUP_ID = range(7)
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


def bury(tx: Transaction, source: Place, rows: Sequence[Row]) -> None:
    """Move exhausted messages, which are in view, to their queue's dead-letter queue."""
    assert source.dead_letter_queue_id is not None
    target = tx.place(source.dead_letter_queue_id)
    assert target is not None
    name = _encode(tx.name_of(source)).decode()
    rows = sorted(rows)
    stamps = _stamps(tx, source, target, rows, [row[_MESSAGE_ID] for row in rows])
    if source.is_fifo:
        _bury_in_order(tx, source, target, name, rows, stamps)
        tx.add_sent(target, len(rows))
    else:
        moved = [
            (source.backlog, row[SEQUENCE], None if stamp is None else stamp.decode())
            for row, stamp in zip(rows, stamps, strict=True)
        ]
        parameters = (_encode(moved).decode(), target.backlog, tx.now_ms, name)
        tx.execute(_BURY_MESSAGES, parameters)
        tx.add_sent(target, len(rows))
        tx.add_wake(target.queue_id, tx.now_ms, len(rows))
        # They were sent long ago, so they may have less time left than what is there already.
        tx.execute(_SET_CHECK_AT, (target.backlog, tx.now_ms))
    expiry.uncount(tx, source, rows)


def _stamps(
    tx: Transaction, source: Place, target: Place, rows: Sequence[Row], ids: Sequence[str]
) -> list[bytes | None]:
    """The provenance of each message in the target, where it has this id; None: as it is."""
    stamped = tx.resources.provenances.stamped
    here, there = tx.name_of(source), tx.name_of(target)
    return [
        stamped(row[_PROVENANCE], SealedAs(here, row[_MESSAGE_ID]), SealedAs(there, message_id))
        if row[IS_SEALED]
        else None
        for row, message_id in zip(rows, ids, strict=True)
    ]


def _bury_in_order(
    tx: Transaction,
    source: Place,
    target: Place,
    name: str,
    rows: Sequence[Row],
    stamps: Sequence[bytes | None],
) -> None:
    first = tx.resources.sequence.take(len(rows))
    _open_groups(tx, target, rows, first, is_returned=True)
    tx.connection.executemany(
        _BURY_FIFO_MESSAGE,
        [
            (
                *(source.backlog, row[SEQUENCE], target.backlog, first + n, tx.now_ms, name),
                *(row[GROUP_ID], stamps[n]),
            )
            for n, row in enumerate(rows)
        ],
    )
    tx.connection.executemany(
        _BURY_FIFO_BODY,
        [(row[SEQUENCE], new, tx.now_ms) for new, row in enumerate(rows, first)],
    )


def redrive(tx: Transaction, source: Place, target: Place, rows: Sequence[Row]) -> None:
    """Append messages, which are in view, to a queue in this order as if they were sent now."""
    first = tx.resources.sequence.take(len(rows))
    if target.is_fifo:
        _open_groups(tx, target, rows, first, is_returned=False)
    entropy = tx.resources.entropy(16 * len(rows))
    ids = [_uuid(entropy[16 * n : 16 * n + 16]) for n in range(len(rows))]
    stamps = _stamps(tx, source, target, rows, ids)
    tx.connection.executemany(
        _REDRIVE_MESSAGE,
        [
            (
                *(source.backlog, row[SEQUENCE], target.backlog, first + n, tx.now_ms),
                *(row[GROUP_ID], stamps[n]),
            )
            for n, row in enumerate(rows)
        ],
    )
    tx.connection.executemany(
        _REDRIVE_BODY,
        [(row[SEQUENCE], first + n, tx.now_ms, ids[n]) for n, row in enumerate(rows)],
    )
    tx.add_sent(target, len(rows))
    tx.add_invisible(target, False, tx.now_ms, len(rows))
    if not target.is_fifo:
        tx.add_wake(target.queue_id, tx.now_ms, len(rows))
    expiry.uncount(tx, source, rows)


def _uuid(entropy: bytes) -> str:
    return str(uuid.UUID(bytes=entropy, version=4))


def _open_groups(
    tx: Transaction, target: Place, rows: Sequence[Row], first: int, is_returned: bool
) -> None:
    firsts: dict[str, groups.FirstMessage] = {}
    for new, row in enumerate(rows, first):
        group_id = row[GROUP_ID]
        if group_id not in firsts:
            firsts[group_id] = groups.FirstMessage(new, group_id, is_returned, tx.now_ms)
    groups.open_groups(tx, target, firsts.values())
