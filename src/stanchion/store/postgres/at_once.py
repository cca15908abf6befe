"""Flushes that are one statement: the ordinary sends, claims and deletes of standard queues.

The statement is its own transaction, so there is one round trip instead of five or six, and locks
are held for no longer than PostgreSQL works. It covers what nearly all messages are: without
groups, neither dead nor exhausted. What it does not cover is decided before, by what is remembered
of queues, or by the statement, which then has changed nothing; either way the answer is None, and
the flush takes the way of `messages`. Both ways leave the same rows: the same tests say so.
Never trusts what is remembered of a queue without a look at its row. Called by the engine.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg

from stanchion.store.contract import (
    Claim,
    Claimed,
    Command,
    Delete,
    DeleteOutcome,
    Send,
)
from stanchion.store.postgres import candidates, dead_letters, fair, messages
from stanchion.store.postgres.clock import DatabaseClock
from stanchion.store.postgres.connections import CommitInDoubt, Session
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction

_SEND_AT_ONCE = statement("send_at_once")
_CLAIM_AT_ONCE = statement("claim_at_once")
_DELETE_AT_ONCE = statement("delete_at_once")

_NUMBER, _VISIBLE_AT, _NOW, _ARE_PLAIN = 12, 13, 14, 15
"""Columns of a claimed row."""
_LANES = (fair.ORDINARY_LANE, dead_letters.EXHAUSTED_LANE)
_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_RECHECK_MS = 1000
"""When to come back, if nobody could say."""


async def run(
    session: Session,
    tx: Transaction,
    clock: DatabaseClock,
    commands: Sequence[Command[Any]],
    now_ms: int | None,
) -> Sequence[object] | None:
    """The answers of a flush that one statement is enough for, durable; else None.

    At `now_ms`, or when the database says. Raises as `Session.commit` does.
    """
    kind = type(commands[0]) if commands else None
    way = _WAYS.get(kind) if kind else None
    if way is None or any(type(command) is not kind for command in commands):
        return None
    tx.now_ms = clock.now_ms() if now_ms is None else now_ms
    return await way(_Flush(session, tx, clock, now_ms), commands)


class _Flush:
    """Where a statement is executed, and what it tells about the time."""

    def __init__(
        self, session: Session, tx: Transaction, clock: DatabaseClock, now_ms: int | None
    ) -> None:
        self.tx = tx
        self.session = session
        self._clock = clock
        self._now_ms = now_ms

    async def execute(self, text: str, *parameters: object, now_column: int) -> list[Row]:
        """Its rows, of which there is at least one; each has the time."""
        self.tx.statements += 1
        floor_ms = self._clock.floor_ms()
        rows = await self.session.transact(text, *parameters, self._now_ms, floor_ms)
        self.tx.now_ms = rows[0][now_column]
        if self._now_ms is None:
            self._clock.observe(self.tx.now_ms)
        return rows


async def _send(flush: _Flush, commands: Sequence[Send]) -> list[bool] | None:
    rows = [
        (c.queue_id, m.delay_ms, m.message_id, m.sender_id, m.trace_header, m.attributes, m.body)
        for c in commands
        for m in c.messages
    ]
    if not rows or any(m.group_id is not None for c in commands for m in c.messages):
        return None
    columns = zip(*rows, strict=True)
    ((now_ms, missing),) = await flush.execute(_SEND_AT_ONCE, *columns, now_column=0)
    for c in commands:
        if c.queue_id not in missing:
            for m in c.messages:
                flush.tx.add_wake(c.queue_id, now_ms + m.delay_ms, 1)
    return [c.queue_id not in missing for c in commands]


async def _claim(flush: _Flush, commands: Sequence[Claim]) -> list[Claimed | None] | None:
    tx = flush.tx
    turns = []
    for queue_id, indexes in messages.by_queue(commands).items():
        claims = [commands[index] for index in indexes]
        place = _plain_place(tx, queue_id)
        if place is None or len({claim.visibility_ms for claim in claims}) > 1:
            return None
        limits = await messages.limits_of(tx, place, claims)
        turns.append(candidates.Turn(place, indexes, claims, limits))
    rows = await flush.execute(_CLAIM_AT_ONCE, *_looks(tx, turns), now_column=_NOW)
    if not rows[0][_ARE_PLAIN]:
        for turn in turns:
            # This may have been the look from the start, and it has not been acted on.
            tx.resources.low_water.forget(turn.place.backlog, _LANES)
        return None
    for row in rows:
        if row[_NUMBER] is not None:
            turns[row[_NUMBER] - 1].rows.append(row)
    try:
        await _hand_out(tx, turns)
    except _LOST as error:
        # The leases are committed, and nobody has been given them.
        raise CommitInDoubt(f"{type(error).__name__}: {error}") from error
    await _tell_when_next(flush, turns)
    return messages.answers_of(turns, len(commands))


async def _hand_out(tx: Transaction, turns: Sequence[candidates.Turn]) -> None:
    low_water = tx.resources.low_water
    leases = messages.Leases()
    for turn in turns:
        turn.is_rest = len(turn.rows) < turn.wanted
        if turn.wanted:
            first_ms = turn.rows[0][_VISIBLE_AT] if turn.rows else tx.now_ms
            low_water.note(turn.place.backlog, fair.ORDINARY_LANE, first_ms)
        # The statement has looked there too, and found nothing.
        low_water.note(turn.place.backlog, dead_letters.EXHAUSTED_LANE, tx.now_ms)
        # Written already: this is for what is known of leases in memory.
        await messages.hand_out(tx, turn, leases)


async def _tell_when_next(flush: _Flush, turns: Sequence[candidates.Turn]) -> None:
    """The same as in a transaction; but here it fails on its own, since all else is committed."""
    tx = flush.tx
    try:
        await messages.tell_when_next(tx, turns)
    except _LOST:
        flush.session.terminate()
        for turn in turns:
            recheck_ms = tx.now_ms + _RECHECK_MS
            turn.answers = messages.with_next_visible(tx, turn.answers, recheck_ms)


def _plain_place(tx: Transaction, queue_id: int) -> Place | None:
    """Where a queue was that has no tenants to be fair to, as far as is remembered."""
    place = tx.resources.places.get(queue_id)
    if place is None or place.is_fifo or place.has_noisy_tenants:
        return None
    return None if place.backlog in tx.resources.fairness else place


def _looks(tx: Transaction, turns: Sequence[candidates.Turn]) -> list[object]:
    low_water = tx.resources.low_water
    rows = [
        (
            turn.place.queue_id,
            turn.place.backlog,
            turn.wanted,
            turn.claims[0].visibility_ms,
            low_water.of(turn.place.backlog, fair.ORDINARY_LANE, tx.now_ms),
            low_water.of(turn.place.backlog, dead_letters.EXHAUSTED_LANE, tx.now_ms),
        )
        for turn in turns
    ]
    columns = zip(*rows, strict=True)
    return [*columns, candidates.CLAIM_BYTES_MAX]


async def _delete(
    flush: _Flush, commands: Sequence[Delete]
) -> list[tuple[DeleteOutcome, ...] | None] | None:
    if any(_plain_place(flush.tx, c.queue_id) is None for c in commands):
        return None
    wanted = [(c.queue_id, *lease) for c in commands for lease in c.leases]
    if not wanted or len({row[:2] for row in wanted}) < len(wanted):
        return None
    rows = await flush.execute(_DELETE_AT_ONCE, *zip(*wanted, strict=True), now_column=0)
    missing = rows[0][1]
    outcomes: list[DeleteOutcome] = ["absent"] * len(wanted)
    for _, _, number, is_current in rows:
        if number is not None:
            outcomes[number - 1] = "deleted" if is_current else "superseded"
    answers: list[tuple[DeleteOutcome, ...] | None] = []
    start = 0
    for c in commands:
        end = start + len(c.leases)
        answers.append(None if c.queue_id in missing else tuple(outcomes[start:end]))
        start = end
    return answers


_WAYS: dict[
    type[Command[Any]], Callable[[_Flush, Sequence[Any]], Awaitable[Sequence[object] | None]]
] = {Send: _send, Claim: _claim, Delete: _delete}
