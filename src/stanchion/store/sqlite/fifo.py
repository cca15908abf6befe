"""Sending to FIFO queues and claiming from them; what a group is and when it is ready: `groups`.

A claim takes the oldest ready groups, and of each the first messages. It reads what it hands out
and nothing else: no blocked group, and none of the messages that wait behind the first ones.
Claims of one flush share one look at the ready groups. Called by the engine.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from stanchion.store.contract import (
    Claimed,
    ClaimedMessage,
    ClaimFifo,
    Lease,
    QueueName,
    SendFifo,
    SentFifo,
)
from stanchion.store.sqlite import (
    attempts,
    dead_letters,
    deduplication,
    expiry,
    groups,
    messages,
)
from stanchion.store.sqlite.statements import RowsStatement, statement
from stanchion.store.sqlite.transaction import Place, Transaction

_INSERT_FIFO_MESSAGES = RowsStatement("insert_fifo_messages")
_INSERT_FIFO_BODIES = RowsStatement("insert_fifo_bodies")
_FIFO_MESSAGES = statement("fifo_messages")

_SWEEPS_MAX = 10
_SWEEP_MESSAGES_MAX = 1000
_CLAIM_BYTES_MAX = 16 * 1024 * 1024

_RECEIVE_COUNT, _VISIBLE_AT, _LANE, _SOURCE, _BODY = 1, 2, 3, 5, 14

Row = tuple[Any, ...]
_decode_name = msgspec.json.Decoder(QueueName).decode


def send(tx: Transaction, commands: Sequence[SendFifo]) -> list[tuple[SentFifo, ...] | None]:
    sequence = tx.resources.sequence.take(sum(len(command.messages) for command in commands))
    known = deduplication.find(tx, commands)
    fresh: dict[deduplication.Key, SentFifo] = {}
    rows: list[object] = []
    bodies: list[object] = []
    opened: dict[int, tuple[Place, dict[str, groups.FirstMessage]]] = {}
    answers: list[tuple[SentFifo, ...] | None] = []
    for command in commands:
        place = tx.place(command.queue_id)
        if place is None:
            answers.append(None)
            continue
        since_ms = tx.now_ms - command.deduplication_ms
        _, firsts = opened.setdefault(place.queue_id, (place, {}))
        start = sequence
        answer = []
        for m in command.messages:
            key = deduplication.key_of(command, m)
            accepted = known.get(key)
            if accepted is None or accepted.accepted_at_ms <= since_ms:
                group_id = m.group_id or ""
                accepted = deduplication.Accepted(tx.now_ms, SentFifo(m.message_id, sequence))
                known[key] = accepted
                fresh[key] = accepted.sent
                if group_id not in firsts:
                    firsts[group_id] = groups.FirstMessage(sequence, group_id, False, tx.now_ms)
                rows += (place.backlog, sequence, tx.now_ms, place.backlog, group_id)
                bodies += (
                    *(sequence, tx.now_ms, m.message_id, m.sender_id, group_id),
                    *(m.deduplication_id, m.trace_header, m.attributes, m.body),
                )
                sequence += 1
            answer.append(accepted.sent)
        answers.append(tuple(answer))
        if sequence > start:
            tx.add_sent(place, sequence - start)
            tx.add_invisible(place, False, tx.now_ms, sequence - start)
    for place, firsts in opened.values():
        groups.open_groups(tx, place, firsts.values())
    for text, batch in _INSERT_FIFO_MESSAGES.batches(rows):
        tx.execute(text, batch)
    for text, batch in _INSERT_FIFO_BODIES.batches(bodies):
        tx.execute(text, batch)
    deduplication.remember(tx, fresh.items())
    return answers


def claim(tx: Transaction, commands: Sequence[ClaimFifo]) -> list[Claimed | None]:
    answers: list[Claimed | None] = [None] * len(commands)
    for queue_id, indexes in messages.by_queue(commands).items():
        if place := tx.place(queue_id):
            claims = [commands[index] for index in indexes]
            for index, claimed in zip(indexes, _claim(tx, place, claims), strict=True):
                answers[index] = claimed
    return answers


def _claim(tx: Transaction, place: Place, claims: Sequence[ClaimFifo]) -> list[Claimed]:
    """Claims of one queue: those without an attempt id together, the others one by one."""
    if not _is_rid_of_the_dead(tx, place):
        # So many are dead that it takes a few more claims.
        return [Claimed((), tx.now_ms, tx.now_ms)] * len(claims)
    if place.dead_letter_queue_id is not None:
        dead_letters.settle(tx, place)
    answers = [Claimed((), tx.now_ms, None)] * len(claims)
    plain = [index for index, command in enumerate(claims) if command.attempt_id is None]
    if plain:
        taken = _take(tx, place, [claims[index] for index in plain])
        for index, claimed in zip(plain, taken, strict=True):
            answers[index] = claimed
    for index, command in enumerate(claims):
        if command.attempt_id is not None:
            answers[index] = _attempt(tx, place, command)
    return answers


def _is_rid_of_the_dead(tx: Transaction, place: Place) -> bool:
    """Whether no message is left whose retention is over. They may be what blocks a group."""
    if place.check_at_ms is None or place.check_at_ms > tx.now_ms:
        return True
    return any(expiry.catch_up(tx, place, _SWEEP_MESSAGES_MAX) for _ in range(_SWEEPS_MAX))


def _attempt(tx: Transaction, place: Place, command: ClaimFifo) -> Claimed:
    if attempt := attempts.repeat(tx, place, command):
        rows = _read(tx, place, [lease.sequence for lease in attempt.leases], len(attempt.leases))
        found = [_message(tx, place, rows[lease.sequence], lease) for lease in attempt.leases]
        return Claimed(tuple(found), attempt.attempted_at_ms, None)
    (claimed,) = _take(tx, place, [command])
    if claimed.messages:
        attempts.remember(tx, place, command, [message.lease for message in claimed.messages])
    return claimed


def _take(tx: Transaction, place: Place, claims: Sequence[ClaimFifo]) -> list[Claimed]:
    limits = messages.limits_of(tx, place, claims)
    hands, rows, is_rest = _candidates(tx, place, limits)
    if is_rest:
        tx.drop_wake(place.queue_id)
    answers = []
    leased: dict[int, list[tuple[int, int]]] = {}
    for command, limit, hand in zip(claims, limits, hands, strict=True):
        taken = [rows[sequence] for sequence, _ in hand]
        found = tuple(_message(tx, place, row, Lease(row[0], row[1] + 1)) for row in taken)
        answers.append(Claimed(found, tx.now_ms, None, limit == 0 and not is_rest))
        if hand:
            leased.setdefault(command.visibility_ms, []).extend(hand)
    for visibility_ms, hand in leased.items():
        _lease(tx, place, visibility_ms, hand, rows)
    return messages.with_next_visible(tx, answers, lambda: groups.next_ready_at_ms(tx, place))


Hand = list[tuple[int, int]]
"""What a claim gets: sequence numbers, each with the key of its group."""


def _candidates(
    tx: Transaction, place: Place, limits: Sequence[int]
) -> tuple[list[Hand], dict[int, Row], bool]:
    """What each claim gets, those messages by sequence number, and whether that is all there is.

    None of them is exhausted: when one is, such ones go first, in bounded steps.
    """
    exhausted_at = place.exhausted_at
    for _ in range(_SWEEPS_MAX if sum(limits) else 0):
        hands, rows, is_rest = _look(tx, place, limits)
        exhausted = [
            row[0]
            for row in rows.values()
            if row[_RECEIVE_COUNT] >= exhausted_at and (row[_SOURCE] is None or row[_LANE])
        ]
        if not exhausted:
            return hands, rows, is_rest
        dead_letters.set_these_aside(tx, place, exhausted)
    return [[] for _ in limits], {}, False


def _look(
    tx: Transaction, place: Place, limits: Sequence[int]
) -> tuple[list[Hand], dict[int, Row], bool]:
    hands, is_rest = _hand_out(tx, place, limits)
    # First one message for each claim: what does not fit is left for later.
    listed = [hand[0][0] for hand in hands if hand]
    least = len(listed)
    listed += [sequence for hand in hands for sequence, _ in hand[1:]]
    rows = _read(tx, place, listed, least) if listed else {}
    if len(rows) < len(listed):
        is_rest = False
        hands = [[one for one in hand if one[0] in rows] for hand in hands]
    return hands, rows, is_rest


def _hand_out(tx: Transaction, place: Place, limits: Sequence[int]) -> tuple[list[Hand], bool]:
    """What each claim gets, and whether that is all there is. No group goes to two of them."""
    hands: list[Hand] = [[] for _ in limits]
    ready = groups.ready(tx, place, sum(limits), max(limits))
    for hand, limit in zip(hands, limits, strict=True):
        while len(hand) < limit:
            group = next(ready, None)
            if group is None:
                return hands, True
            hand += [(sequence, group.key) for sequence in group.sequences[: limit - len(hand)]]
    ready.close()
    return hands, False


def _read(tx: Transaction, place: Place, sequences: Sequence[int], rows_min: int) -> dict[int, Row]:
    """Messages by sequence number, fewer if they are large, yet not less than `rows_min`."""
    rows: dict[int, Row] = {}
    bytes_left = _CLAIM_BYTES_MAX
    for row in tx.execute(_FIFO_MESSAGES, (place.backlog, str(sequences))):
        bytes_left -= len(row[_BODY])
        if bytes_left < 0 and len(rows) >= rows_min:
            break
        rows[row[0]] = row
    return rows


def _message(tx: Transaction, place: Place, row: Row, lease: Lease) -> ClaimedMessage:
    _, _, _, _, first_received, source, provenance, sent, message_id, sender, *rest = row
    group_id, deduplication_id, trace, attributes, body = rest
    return ClaimedMessage(
        *(lease, message_id, body, attributes, sender, sent),
        tx.now_ms if first_received is None else first_received,
        *(group_id, trace, deduplication_id),
        None if source is None else _decode_name(source),
        None if provenance is None else tx.sealed_as(place, message_id, provenance),
    )


def _lease(
    tx: Transaction, place: Place, visibility_ms: int, hand: Hand, rows: dict[int, Row]
) -> None:
    for sequence, _ in hand:
        if not rows[sequence][_RECEIVE_COUNT]:
            tx.add_invisible(place, False, rows[sequence][_VISIBLE_AT], -1)
    messages.lease(tx, place, visibility_ms, [sequence for sequence, _ in hand])
    groups.block(tx, place, {key for _, key in hand}, tx.now_ms + visibility_ms)
