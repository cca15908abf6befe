"""Receive attempts: a receive that is repeated with its attempt id gets the same messages.

What an attempt got is remembered as leases with the instants at which they end. It can be repeated
while every one of them stands exactly so: not deleted, not received again, not changed, not ended.
Claims with the same attempt id wait for each other, whichever flush they are in. Called by claims
of FIFO queues, only if they bring an attempt id.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from stanchion.store.contract import ClaimFifo, Lease
from stanchion.store.postgres import counts, groups, messages
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction

_LOCK_ATTEMPTS = statement("lock_attempts")
_LEASES_OF_ATTEMPTS = statement("leases_of_attempts")
_RECEIVE_ATTEMPT = statement("receive_attempt")
_REMEMBER_ATTEMPT = statement("remember_attempt")
_RENEW_ATTEMPT = statement("renew_attempt")
_MESSAGES_BY_SEQUENCE = statement("messages_by_sequence")

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(tuple[int, list[Lease]]).decode


class Attempt(NamedTuple):
    attempted_at_ms: int
    """When it was made first."""
    leases: list[Lease]


async def lock(tx: Transaction, commands: Sequence[ClaimFifo]) -> None:
    """The first thing in a flush that claims: wait for others with the same attempt ids.

    And for whoever is at work on the messages that they got, because later it is too late to wait.
    """
    named = [(c.queue_id, c.attempt_id) for c in commands if c.attempt_id is not None]
    if not named:
        return
    await tx.fetch(_LOCK_ATTEMPTS, *zip(*named, strict=True))
    leased = []
    for queue_id, leases in await tx.fetch(_LEASES_OF_ATTEMPTS, *zip(*named, strict=True)):
        if place := await tx.place(queue_id):
            leased += [(place.backlog, lease.sequence) for lease in _decode(leases)[1]]
    if leased:
        await groups.lock_of(tx, leased)


async def repeat(tx: Transaction, place: Place, command: ClaimFifo) -> Attempt | None:
    """What the attempt got before, with the leases running anew; None if it cannot be repeated."""
    row = await tx.row(
        _RECEIVE_ATTEMPT, place.queue_id, command.attempt_id, tx.now_ms - command.attempt_ms
    )
    if row is None:
        return None
    visible_at_ms, leases = _decode(row[1])
    sequences = [lease.sequence for lease in leases]
    backlogs = [place.backlog] * len(sequences)
    rows = await tx.fetch(_MESSAGES_BY_SEQUENCE, backlogs, sequences)
    standing = {(one[0], one[1]) for one in rows if one[2] == visible_at_ms}
    if visible_at_ms <= tx.now_ms or not standing.issuperset(leases):
        return None
    await _hide_anew(tx, place, rows, tx.now_ms + command.visibility_ms)
    standing_now = _standing(tx, command, leases)
    await tx.run(_RENEW_ATTEMPT, place.queue_id, command.attempt_id, standing_now)
    return Attempt(row[0], leases)


async def _hide_anew(
    tx: Transaction, place: Place, rows: Sequence[Row], visible_at_ms: int
) -> None:
    tx.add_invisible(place, True, rows[0][2], -len(rows))
    tx.add_invisible(place, True, visible_at_ms, len(rows))
    await messages.show(tx, [(place.backlog, row[0], visible_at_ms) for row in rows])
    counts.note_in_flight(tx, place, len(rows))
    await groups.refresh(tx, [(place, {row[3] for row in rows})])


async def remember(tx: Transaction, place: Place, command: ClaimFifo, leases: list[Lease]) -> None:
    """The attempt has got these leases now."""
    standing = _standing(tx, command, leases)
    await tx.run(_REMEMBER_ATTEMPT, place.queue_id, command.attempt_id, tx.now_ms, standing)


def _standing(tx: Transaction, command: ClaimFifo, leases: list[Lease]) -> str:
    return _encode((tx.now_ms + command.visibility_ms, leases)).decode()
