"""Sending, claiming, deleting messages and changing their visibility: the hot path.

Commands of one flush that touch the same queue are merged into one statement of each sort, and the
rows handed out afterwards. No statement here reads more rows than the commands ask for.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    Claimed,
    ClaimedMessage,
    ClaimFifo,
    Delete,
    DeleteOutcome,
    Lease,
    QueueName,
    Send,
)
from stanchion.store.sqlite import counts, dead_letters, expiry, fair, groups
from stanchion.store.sqlite.statements import RowsStatement, statement
from stanchion.store.sqlite.transaction import Place, Transaction

_INSERT_MESSAGES = RowsStatement("insert_messages")
_INSERT_BODIES = RowsStatement("insert_bodies")
_CLAIM_CANDIDATES = statement("claim_candidates")
_LEASE_MESSAGES = statement("lease_messages")
_NEXT_VISIBLE_AT = statement("next_visible_at")
_MESSAGES_BY_SEQUENCE = statement("messages_by_sequence")
_CHANGE_VISIBILITY = statement("change_visibility")

_ORDINARY = fair.ORDINARY_LANE
_SWEEPS_MAX = 10
_SWEEP_MESSAGES_MAX = 1000
_CLAIM_BYTES_MAX = 16 * 1024 * 1024
_AT_CAPACITY_RECHECK_MS = 1000
"""A full queue gets room by deletes, which wake nobody: so look again after this long."""

_RECEIVE_COUNT, _SENT_AT, _GROUP, _BODY, _SOURCE = 1, 3, 6, 9, 10

Row = tuple[Any, ...]
_decode_name = msgspec.json.Decoder(QueueName).decode


def send(tx: Transaction, commands: Sequence[Send]) -> list[bool]:
    sequence = tx.resources.sequence.take(sum(len(command.messages) for command in commands))
    messages: list[object] = []
    bodies: list[object] = []
    instants: dict[tuple[int, int], int] = {}
    answers = []
    for command in commands:
        place = tx.place(command.queue_id)
        answers.append(place is not None)
        if place is None:
            continue
        tx.add_sent(place, len(command.messages))
        for m in command.messages:
            visible_at_ms = tx.now_ms + m.delay_ms
            lane = _ORDINARY if m.group_id is None else fair.lane_for(tx, place, m.group_id)
            messages += (place.backlog, sequence, visible_at_ms, lane)
            bodies += (
                *(sequence, tx.now_ms, m.message_id, m.sender_id),
                *(m.group_id, m.trace_header, m.attributes, m.body),
            )
            instant = (command.queue_id, visible_at_ms)
            instants[instant] = instants.get(instant, 0) + 1
            sequence += 1
    for (queue_id, visible_at_ms), count in instants.items():
        if place := tx.place(queue_id):
            tx.add_invisible(place, False, visible_at_ms, count)
            tx.add_wake(queue_id, visible_at_ms, count)
    for text, batch in _INSERT_MESSAGES.batches(messages):
        tx.execute(text, batch)
    for text, batch in _INSERT_BODIES.batches(bodies):
        tx.execute(text, batch)
    return answers


def claim(tx: Transaction, commands: Sequence[Claim]) -> list[Claimed | None]:
    answers: list[Claimed | None] = [None] * len(commands)
    for queue_id, indexes in by_queue(commands).items():
        if place := tx.place(queue_id):
            claims = [commands[index] for index in indexes]
            for index, claimed in zip(indexes, _claim(tx, place, claims), strict=True):
                answers[index] = claimed
    return answers


def by_queue(
    commands: Sequence[Claim | ClaimFifo | Delete | ChangeVisibility],
) -> dict[int, list[int]]:
    """The indexes of commands by queue id, in the order in which they came."""
    indexes: dict[int, list[int]] = {}
    for index, command in enumerate(commands):
        indexes.setdefault(command.queue_id, []).append(index)
    return indexes


def _claim(tx: Transaction, place: Place, claims: Sequence[Claim]) -> list[Claimed]:
    """Claims of one queue: one look for candidates, and one lease for each visibility."""
    if place.dead_letter_queue_id is not None:
        dead_letters.settle(tx, place)
    limits = limits_of(tx, place, claims)
    wanted = sum(limits)
    rows, is_rest = _candidates(tx, place, wanted, len(claims)) if wanted else ([], False)
    # Short of candidates although there are more: they are large, and every claim gets a share.
    share = wanted if is_rest or len(rows) == wanted else max(1, len(rows) // len(claims))
    if is_rest:
        tx.drop_wake(claims[0].queue_id)
    answers = []
    leases: dict[int, list[Row]] = {}
    start = 0
    for command, limit in zip(claims, limits, strict=True):
        taken = rows[start : start + min(limit, share)]
        start += len(taken)
        if taken:
            leases.setdefault(command.visibility_ms, []).extend(taken)
        # Room that earlier claims of this flush asked for is used up only if they found messages.
        answers.append(_claimed(tx, place, taken, at_capacity=limit == 0 and len(rows) == wanted))
    for visibility_ms, leased in leases.items():
        lease(tx, place, visibility_ms, [row[0] for row in leased])
    if any(row[_GROUP] is not None for row in rows) or fair.of(tx, place):
        fair.note_leases(tx, place, leases.items())
    return with_next_visible(tx, answers, lambda: _next_visible_at_ms(tx, place))


def _next_visible_at_ms(tx: Transaction, place: Place) -> int | None:
    row = tx.execute(_NEXT_VISIBLE_AT, (place.backlog,)).fetchone()
    return row[0] if row else None


def limits_of(tx: Transaction, place: Place, claims: Sequence[Claim | ClaimFifo]) -> list[int]:
    """How many messages each claim may take, with regard to what may be in flight."""
    wanted = sum(claim.limit for claim in claims)
    rooms = {
        in_flight_max: counts.in_flight_room(tx, place, in_flight_max, wanted)
        for in_flight_max in {claim.in_flight_max for claim in claims}
    }
    limits = []
    taken = 0
    for command in claims:
        room = rooms[command.in_flight_max] - taken
        limits.append(max(0, min(command.limit, room)))
        taken += limits[-1]
    return limits


def _candidates(
    tx: Transaction, place: Place, wanted: int, rows_min: int
) -> tuple[list[Row], bool]:
    """Visible messages, at most `wanted`, the first to serve first; and whether that is all."""
    rows, is_rest = _from_lanes(tx, place, wanted, rows_min)
    if is_rest and place.dead_letter_queue_id is None and dead_letters.settle(tx, place):
        # There was a dead-letter queue when these were last received, and there is none now.
        return _from_lanes(tx, place, wanted, rows_min)
    return rows, is_rest


def _from_lanes(
    tx: Transaction, place: Place, wanted: int, rows_min: int
) -> tuple[list[Row], bool]:
    fairness = fair.of(tx, place)
    if fairness is None:
        return _from_lane(tx, place, _ORDINARY, wanted, rows_min)

    def fetch(lane: int, limit: int) -> tuple[list[Row], bool]:
        return _from_lane(tx, place, lane, limit, rows_min)

    return fair.candidates(tx, fairness, wanted, fetch)


def _from_lane(
    tx: Transaction, place: Place, lane: int, wanted: int, rows_min: int
) -> tuple[list[Row], bool]:
    """The oldest visible messages, at most `wanted`, none of them dead; and whether that is all.

    Fewer when they are large, yet not less than `rows_min` for that. When one is dead or exhausted,
    such ones go first, in bounded steps.
    """
    dead_ms = tx.now_ms - place.retention_ms
    exhausted_at = place.exhausted_at
    parameters = (place.backlog, lane, tx.now_ms, wanted)
    for _ in range(_SWEEPS_MAX):
        rows: list[Row] = []
        bytes_left = _CLAIM_BYTES_MAX
        for row in tx.execute(_CLAIM_CANDIDATES, parameters):
            is_dead = row[_SENT_AT] <= dead_ms
            if is_dead or (row[_RECEIVE_COUNT] >= exhausted_at and row[_SOURCE] is None):
                break
            rows.append(row)
            bytes_left -= len(row[_BODY])
            if bytes_left < 0 and len(rows) >= rows_min:
                return rows, False
        else:
            return rows, len(rows) < wanted
        if is_dead:
            expiry.sweep(tx, place, _SWEEP_MESSAGES_MAX)
        else:
            dead_letters.set_aside(tx, place, lane)
    return [], False


def _claimed(tx: Transaction, place: Place, rows: Iterable[Row], at_capacity: bool) -> Claimed:
    messages = []
    for row in rows:
        sequence, received, first, sent, message_id, sender = row[:6]
        group, trace, attributes, body, source, provenance = row[6:]
        lease = Lease(sequence, received + 1)
        first_ms = tx.now_ms if first is None else first
        dead_letter_source = None if source is None else _decode_name(source)
        sealed_as = None if provenance is None else tx.sealed_as(place, message_id, provenance)
        messages.append(
            ClaimedMessage(
                lease,
                message_id,
                body,
                attributes,
                sender,
                sent,
                first_ms,
                group,
                trace,
                None,
                dead_letter_source,
                sealed_as,
            )
        )
    return Claimed(tuple(messages), tx.now_ms, None, at_capacity)


def lease(tx: Transaction, place: Place, visibility_ms: int, sequences: list[int]) -> None:
    visible_at_ms = tx.now_ms + visibility_ms
    parameters = (place.backlog, visible_at_ms, tx.now_ms, str(sequences), place.exhausted_at)
    tx.execute(_LEASE_MESSAGES, parameters)
    tx.add_invisible(place, True, visible_at_ms, len(sequences))
    tx.add_wake(place.queue_id, visible_at_ms, len(sequences))
    counts.note_in_flight(tx, place, len(sequences))


def with_next_visible(
    tx: Transaction, answers: list[Claimed], next_visible_at_ms: Callable[[], int | None]
) -> list[Claimed]:
    """Tell the claims that came up empty when to come back, now that all leases are written."""
    if all(claimed.messages for claimed in answers):
        return answers
    next_ms = next_visible_at_ms()
    recheck_ms = tx.now_ms + _AT_CAPACITY_RECHECK_MS
    return [
        claimed
        if claimed.messages
        else Claimed(
            (), tx.now_ms, recheck_ms if claimed.at_capacity else next_ms, claimed.at_capacity
        )
        for claimed in answers
    ]


def delete(tx: Transaction, commands: Sequence[Delete]) -> list[tuple[DeleteOutcome, ...] | None]:
    answers: list[tuple[DeleteOutcome, ...] | None] = [None] * len(commands)
    for queue_id, indexes in by_queue(commands).items():
        place = tx.place(queue_id)
        if place is None:
            continue
        found = _find(tx, place, [lease for index in indexes for lease in commands[index].leases])
        gone: dict[int, Row] = {}
        for index in indexes:
            outcomes = []
            for lease in commands[index].leases:
                row = found.get(lease[0])
                outcome = _outcome(tx, place, lease, row)
                outcomes.append(outcome)
                if row is not None and outcome == "deleted":
                    gone[lease[0]] = row
            answers[index] = tuple(outcomes)
        if gone:
            fair.note_leases_ended(tx, place, ((row[0], row[2], None) for row in gone.values()))
            expiry.remove(tx, place, gone.values())
    return answers


def _outcome(tx: Transaction, place: Place, lease: Lease, row: Row | None) -> DeleteOutcome:
    if row is None:
        return "absent"
    if row[1] != lease[1]:
        return "superseded"
    if place.is_fifo and row[2] <= tx.now_ms:
        return "expired"
    return "deleted"


def _find(tx: Transaction, place: Place, leases: Sequence[Lease]) -> dict[int, Row]:
    """By sequence number: rows of that, receive count, visible_at_ms and group key."""
    parameters = (place.backlog, str([lease[0] for lease in leases]))
    return {row[0]: row for row in tx.execute(_MESSAGES_BY_SEQUENCE, parameters)}


def change_visibility(
    tx: Transaction, commands: Sequence[ChangeVisibility]
) -> list[tuple[bool, ...] | None]:
    answers: list[tuple[bool, ...] | None] = [None] * len(commands)
    for queue_id, indexes in by_queue(commands).items():
        place = tx.place(queue_id)
        if place is None:
            continue
        changes = [commands[index].changes for index in indexes]
        found = _find(tx, place, [lease for group in changes for lease, _ in group])
        visible_at_ms: dict[int, int] = {}
        for index, group in zip(indexes, changes, strict=True):
            current = []
            for lease, visibility_ms in group:
                current.append(_outcome(tx, place, lease, found.get(lease[0])) == "deleted")
                if current[-1]:
                    visible_at_ms[lease[0]] = tx.now_ms + visibility_ms
            answers[index] = tuple(current)
        _show_at(tx, place, queue_id, found, visible_at_ms)
    return answers


def _show_at(
    tx: Transaction,
    place: Place,
    queue_id: int,
    found: dict[int, Row],
    visible_at_ms: dict[int, int],
) -> None:
    instants: dict[int, list[int]] = {}
    fair.note_leases_ended(
        tx, place, ((n, found[n][2], instant) for n, instant in visible_at_ms.items())
    )
    for sequence, instant in visible_at_ms.items():
        instants.setdefault(instant, []).append(sequence)
        tx.add_invisible(place, True, found[sequence][2], -1)
    for instant, sequences in instants.items():
        tx.execute(_CHANGE_VISIBILITY, (place.backlog, instant, str(sequences)))
        tx.add_invisible(place, True, instant, len(sequences))
        if not place.is_fifo:
            tx.add_wake(queue_id, instant, len(sequences))
        counts.note_in_flight(tx, place, len(sequences))
    if place.is_fifo and visible_at_ms:
        groups.refresh(tx, place, {found[sequence][3] for sequence in visible_at_ms})
