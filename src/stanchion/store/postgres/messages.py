"""Sending, claiming, deleting messages and changing their visibility: the hot path.

Commands of one flush are merged into one statement of each sort, whatever queues they are for, and
the rows handed out afterwards. Claims lock what they take and skip what others hold; deletes and
changes of visibility wait for it, in the order of the keys. Called by the engine.
"""

from collections.abc import Iterable, Sequence

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
from stanchion.store.postgres import candidates, counts, dead_letters, expiry, fair, groups
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction

_INSERT_MESSAGES = statement("insert_messages")
_LEASE_MESSAGES = statement("lease_messages")
_NEXT_VISIBLE_AT = statement("next_visible_at")
_MESSAGES_BY_SEQUENCE = statement("messages_by_sequence")
_CHANGE_VISIBILITY = statement("change_visibility")

_SERVED_LANES = (fair.ORDINARY_LANE, dead_letters.EXHAUSTED_LANE)
_AT_CAPACITY_RECHECK_MS = 1000
"""A full queue gets room by deletes, which wake nobody: so look again after this long."""
_LOCKED_RECHECK_MS = 5
"""What is in view but not to be had is locked by another flush: it takes about this long."""

_GROUP = 6
"""A column of a candidate."""

_decode_name = msgspec.json.Decoder(QueueName).decode


async def send(tx: Transaction, commands: Sequence[Send]) -> list[bool]:
    places = [place for c in commands if (place := await tx.place(c.queue_id))]
    lanes = fair.Lanes(await fair.views(tx, places, is_sending=True))
    rows: list[tuple[object, ...]] = []
    instants: dict[tuple[int, int], int] = {}
    answers = []
    for command in commands:
        place = await tx.place(command.queue_id)
        answers.append(place is not None)
        if place is None:
            continue
        tx.add_sent(place, len(command.messages))
        for m in command.messages:
            visible_at_ms = tx.now_ms + m.delay_ms
            lane = fair.ORDINARY_LANE
            if m.group_id is not None:
                lane = lanes.lane_for(place, m.group_id, tx.now_ms)
            rows.append(
                (
                    *(place.backlog, visible_at_ms, lane, m.message_id, m.sender_id),
                    *(m.group_id, m.trace_header, m.attributes, m.body),
                )
            )
            instant = (command.queue_id, visible_at_ms)
            instants[instant] = instants.get(instant, 0) + 1
    for (queue_id, visible_at_ms), count in instants.items():
        if place := await tx.place(queue_id):
            tx.add_invisible(place, False, visible_at_ms, count)
            tx.add_wake(queue_id, visible_at_ms, count)
    if rows:
        await tx.run(_INSERT_MESSAGES, *zip(*rows, strict=True), tx.now_ms)
    await lanes.write(tx)
    return answers


def by_queue(
    commands: Sequence[Claim | ClaimFifo | Delete | ChangeVisibility],
) -> dict[int, list[int]]:
    """The indexes of commands by queue id, in the order in which they came."""
    indexes: dict[int, list[int]] = {}
    for index, command in enumerate(commands):
        indexes.setdefault(command.queue_id, []).append(index)
    return indexes


async def claim(tx: Transaction, commands: Sequence[Claim]) -> list[Claimed | None]:
    turns = []
    for queue_id, indexes in sorted(by_queue(commands).items()):
        if place := await tx.place(queue_id):
            claims = [commands[index] for index in indexes]
            turns.append(
                candidates.Turn(place, indexes, claims, await limits_of(tx, place, claims))
            )
    fairness = await fair.views(tx, [turn.place for turn in turns])
    for turn in turns:
        turn.fairness = fairness.get(turn.place.backlog)
    await candidates.find(tx, turns)
    leases = Leases()
    for turn in turns:
        await hand_out(tx, turn, leases)
    await leases.write(tx)
    await tell_when_next(tx, turns)
    return answers_of(turns, len(commands))


def answers_of(turns: Sequence[candidates.Turn], count: int) -> list[Claimed | None]:
    """The answers of `count` claims, in order; None for those without a turn."""
    answers: list[Claimed | None] = [None] * count
    for turn in turns:
        for index, claimed in zip(turn.indexes, turn.answers, strict=True):
            answers[index] = claimed
    return answers


async def limits_of(
    tx: Transaction, place: Place, claims: Sequence[Claim | ClaimFifo]
) -> list[int]:
    """How many messages each claim may take, with regard to what may be in flight."""
    wanted = sum(claim.limit for claim in claims)
    rooms = {
        in_flight_max: await counts.in_flight_room(tx, place, in_flight_max, wanted)
        for in_flight_max in {claim.in_flight_max for claim in claims}
    }
    limits = []
    taken = 0
    for command in claims:
        room = rooms[command.in_flight_max] - taken
        limits.append(max(0, min(command.limit, room)))
        taken += limits[-1]
    return limits


class Leases:
    """Leases of this flush, to be written together."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int]] = []

    def add(
        self, tx: Transaction, place: Place, visibility_ms: int, sequences: Sequence[int]
    ) -> None:
        visible_at_ms = tx.now_ms + visibility_ms
        exhausted_at = place.exhausted_at
        self._rows += [(place.backlog, one, visible_at_ms, exhausted_at) for one in sequences]
        tx.add_invisible(place, True, visible_at_ms, len(sequences))
        tx.add_wake(place.queue_id, visible_at_ms, len(sequences))
        counts.note_in_flight(tx, place, len(sequences))

    async def write(self, tx: Transaction) -> None:
        if self._rows:
            await tx.run(_LEASE_MESSAGES, *zip(*self._rows, strict=True), tx.now_ms)


async def hand_out(tx: Transaction, turn: candidates.Turn, leases: Leases) -> None:
    """Divide a turn's rows among its claims."""
    rows, claims, wanted = turn.rows, turn.claims, turn.wanted
    # Short of candidates although there are more: they are large, and every claim gets a share.
    is_scarce = not turn.is_rest and len(rows) < wanted
    share = max(1, len(rows) // len(claims)) if is_scarce else wanted
    taken_by: dict[int, list[Row]] = {}
    start = 0
    for command, limit in zip(claims, turn.limits, strict=True):
        taken = rows[start : start + min(limit, share)]
        start += len(taken)
        if taken:
            taken_by.setdefault(command.visibility_ms, []).extend(taken)
        # Room that earlier claims of this flush asked for is used up only if they found messages.
        at_capacity = limit == 0 and len(rows) == wanted
        turn.answers.append(await _claimed(tx, turn.place, taken, at_capacity))
    for visibility_ms, taken in taken_by.items():
        leases.add(tx, turn.place, visibility_ms, [row[0] for row in taken])
    if any(row[_GROUP] is not None for row in rows) or turn.fairness is not None:
        await fair.note_leases(tx, turn.place, turn.fairness, taken_by.items())


async def _claimed(
    tx: Transaction, place: Place, rows: Iterable[Row], at_capacity: bool
) -> Claimed:
    messages = []
    for row in rows:
        sequence, received, first, sent, message_id, sender = row[:6]
        group, trace, attributes, body, source, provenance = row[6:12]
        lease = Lease(sequence, received + 1)
        first_ms = tx.now_ms if first is None else first
        sealed_as = None
        if provenance is not None:
            sealed_as = await tx.sealed_as(place, message_id, provenance)
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
                None if source is None else _decode_name(source),
                sealed_as,
            )
        )
    return Claimed(tuple(messages), tx.now_ms, None, at_capacity)


async def tell_when_next(tx: Transaction, turns: Sequence[candidates.Turn]) -> None:
    """Tell the claims that came up empty when to come back, now that all leases are written."""
    in_vain = [turn for turn in turns if not all(claimed.messages for claimed in turn.answers)]
    if not in_vain:
        return
    backlogs = [turn.place.backlog for turn in in_vain]
    low_water = tx.resources.low_water
    since_ms = ([low_water.peek(b, lane) for b in backlogs] for lane in _SERVED_LANES)
    found = await tx.fetch(_NEXT_VISIBLE_AT, backlogs, *since_ms)
    next_ms = {row[0]: row[1] for row in found}
    for turn in in_vain:
        next_of_turn = next_ms.get(turn.place.backlog)
        if turn.is_rest:
            next_of_turn = unlocked_at(tx, turn.claims, next_of_turn)
        turn.answers = with_next_visible(tx, turn.answers, next_of_turn)


def unlocked_at(
    tx: Transaction, claims: Sequence[Claim | ClaimFifo], next_ms: int | None
) -> int | None:
    """When to look again for what comes into view at `next_ms`, after all to be had was taken."""
    if next_ms is None or next_ms > tx.now_ms or any(not c.visibility_ms for c in claims):
        return next_ms
    return tx.now_ms + _LOCKED_RECHECK_MS


def with_next_visible(
    tx: Transaction, answers: Sequence[Claimed], next_ms: int | None
) -> list[Claimed]:
    """The answers, those without messages with the instant at which it is worth to look again."""
    recheck_ms = tx.now_ms + _AT_CAPACITY_RECHECK_MS
    return [
        claimed
        if claimed.messages
        else Claimed(
            (), tx.now_ms, recheck_ms if claimed.at_capacity else next_ms, claimed.at_capacity
        )
        for claimed in answers
    ]


async def delete(
    tx: Transaction, commands: Sequence[Delete]
) -> list[tuple[DeleteOutcome, ...] | None]:
    answers: list[tuple[DeleteOutcome, ...] | None] = [None] * len(commands)
    leases = [(c.queue_id, lease) for c in commands for lease in c.leases]
    found = await _find(tx, leases)
    gone: dict[int, tuple[Place, dict[int, Row]]] = {}
    for index, command in enumerate(commands):
        place = await tx.place(command.queue_id)
        if place is None:
            continue
        _, rows = gone.setdefault(place.queue_id, (place, {}))
        outcomes = []
        for lease in command.leases:
            row = found.get((place.backlog, lease[0]))
            outcomes.append(_outcome(tx, place, lease, row))
            if row is not None and outcomes[-1] == "deleted":
                rows[lease[0]] = row
        answers[index] = tuple(outcomes)
    await _remove(tx, [(place, list(rows.values())) for place, rows in gone.values() if rows])
    return answers


async def _find(tx: Transaction, leases: Sequence[tuple[int, Lease]]) -> dict[tuple[int, int], Row]:
    """By backlog and sequence number: rows of number, receive count, visible_at_ms and group key.

    For pairs of a queue id and a lease. They are locked, and on FIFO queues their groups first.
    """
    wanted: list[tuple[int, int]] = []
    in_groups: list[tuple[int, int]] = []
    for queue_id, lease in leases:
        if place := await tx.place(queue_id):
            (in_groups if place.is_fifo else wanted).append((place.backlog, lease[0]))
    if in_groups:
        await groups.lock_of(tx, in_groups)
        wanted += in_groups
    if not wanted:
        return {}
    rows = await tx.fetch(_MESSAGES_BY_SEQUENCE, *zip(*wanted, strict=True))
    return {(row[4], row[0]): row for row in rows}


def _outcome(tx: Transaction, place: Place, lease: Lease, row: Row | None) -> DeleteOutcome:
    if row is None:
        return "absent"
    if row[1] != lease[1]:
        return "superseded"
    if place.is_fifo and row[2] <= tx.now_ms:
        return "expired"
    return "deleted"


async def _remove(tx: Transaction, gone: Sequence[tuple[Place, list[Row]]]) -> None:
    if not gone:
        return
    for place, rows in gone:
        await fair.note_leases_ended(tx, place, [(row[0], row[2], None) for row in rows])
    backlogs = [place.backlog for place, rows in gone for _ in rows]
    await expiry.erase(tx, backlogs, [row[0] for _, rows in gone for row in rows])
    for place, rows in gone:
        expiry.take_off(tx, place, rows)
    await groups.refresh(tx, [(p, {row[3] for row in rows}) for p, rows in gone if p.is_fifo])


async def change_visibility(
    tx: Transaction, commands: Sequence[ChangeVisibility]
) -> list[tuple[bool, ...] | None]:
    answers: list[tuple[bool, ...] | None] = [None] * len(commands)
    leases = [(c.queue_id, lease) for c in commands for lease, _ in c.changes]
    found = await _find(tx, leases)
    shown: dict[int, tuple[Place, dict[int, int]]] = {}
    for index, command in enumerate(commands):
        place = await tx.place(command.queue_id)
        if place is None:
            continue
        _, visible_at_ms = shown.setdefault(place.queue_id, (place, {}))
        current = []
        for lease, visibility_ms in command.changes:
            row = found.get((place.backlog, lease[0]))
            current.append(_outcome(tx, place, lease, row) == "deleted")
            if current[-1]:
                visible_at_ms[lease[0]] = tx.now_ms + visibility_ms
        answers[index] = tuple(current)
    await _show_at(tx, [item for item in shown.values() if item[1]], found)
    return answers


async def _show_at(
    tx: Transaction,
    shown: Sequence[tuple[Place, dict[int, int]]],
    found: dict[tuple[int, int], Row],
) -> None:
    changes = [
        (place.backlog, sequence, instant_ms)
        for place, visible_at_ms in shown
        for sequence, instant_ms in visible_at_ms.items()
    ]
    await show(tx, changes)
    changed: list[tuple[Place, set[int]]] = []
    for place, visible_at_ms in shown:
        rows = {sequence: found[place.backlog, sequence] for sequence in visible_at_ms}
        ended = [(sequence, rows[sequence][2], at) for sequence, at in visible_at_ms.items()]
        await fair.note_leases_ended(tx, place, ended)
        for sequence, instant_ms in visible_at_ms.items():
            tx.add_invisible(place, True, rows[sequence][2], -1)
            tx.add_invisible(place, True, instant_ms, 1)
            if not place.is_fifo:
                tx.add_wake(place.queue_id, instant_ms, 1)
        counts.note_in_flight(tx, place, len(visible_at_ms))
        if place.is_fifo:
            changed.append((place, {row[3] for row in rows.values()}))
    await groups.refresh(tx, changed)


async def show(tx: Transaction, changes: Sequence[tuple[int, int, int]]) -> None:
    """Let messages come into view: triples of backlog, number and instant. Locks are held."""
    if changes:
        await tx.run(_CHANGE_VISIBILITY, *zip(*changes, strict=True))
