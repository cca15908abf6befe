"""Receive attempts: a receive that is repeated with its attempt id gets the same messages.

What an attempt got is remembered as leases with the instants at which they end. It can be repeated
while every one of them stands exactly so: not deleted, not received again, not changed, not ended.
Called by claims of FIFO queues, only if they bring an attempt id.
"""

from typing import Any, NamedTuple

import msgspec

from stanchion.store.contract import ClaimFifo, Lease
from stanchion.store.sqlite import counts, groups
from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.transaction import Place, Transaction

_RECEIVE_ATTEMPT = statement("receive_attempt")
_REMEMBER_ATTEMPT = statement("remember_attempt")
_RENEW_ATTEMPT = statement("renew_attempt")
_MESSAGES_BY_SEQUENCE = statement("messages_by_sequence")
_CHANGE_VISIBILITY = statement("change_visibility")

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(tuple[int, list[Lease]]).decode

Row = tuple[Any, ...]


class Attempt(NamedTuple):
    attempted_at_ms: int
    """When it was made first."""
    leases: list[Lease]


def repeat(tx: Transaction, place: Place, command: ClaimFifo) -> Attempt | None:
    """What the attempt got before, with the leases running anew; None if it cannot be repeated."""
    parameters = (place.queue_id, command.attempt_id, tx.now_ms - command.attempt_ms)
    row = tx.execute(_RECEIVE_ATTEMPT, parameters).fetchone()
    if row is None:
        return None
    visible_at_ms, leases = _decode(row[1])
    sequences = str([lease.sequence for lease in leases])
    rows = tx.execute(_MESSAGES_BY_SEQUENCE, (place.backlog, sequences)).fetchall()
    standing = {(sequence, count) for sequence, count, at_ms, _ in rows if at_ms == visible_at_ms}
    if visible_at_ms <= tx.now_ms or not standing.issuperset(leases):
        return None
    _hide_anew(tx, place, rows, tx.now_ms + command.visibility_ms)
    tx.execute(_RENEW_ATTEMPT, (place.queue_id, command.attempt_id, _standing(tx, command, leases)))
    return Attempt(row[0], leases)


def _hide_anew(tx: Transaction, place: Place, rows: list[Row], visible_at_ms: int) -> None:
    tx.add_invisible(place, True, rows[0][2], -len(rows))
    tx.add_invisible(place, True, visible_at_ms, len(rows))
    sequences = str([row[0] for row in rows])
    tx.execute(_CHANGE_VISIBILITY, (place.backlog, visible_at_ms, sequences))
    counts.note_in_flight(tx, place, len(rows))
    groups.refresh(tx, place, {row[3] for row in rows})


def remember(tx: Transaction, place: Place, command: ClaimFifo, leases: list[Lease]) -> None:
    """The attempt has got these leases now."""
    standing = _standing(tx, command, leases)
    tx.execute(_REMEMBER_ATTEMPT, (place.queue_id, command.attempt_id, tx.now_ms, standing))


def _standing(tx: Transaction, command: ClaimFifo, leases: list[Lease]) -> str:
    return _encode((tx.now_ms + command.visibility_ms, leases)).decode()
