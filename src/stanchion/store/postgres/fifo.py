"""Sending to FIFO queues: what a group is and when it is ready: `groups`; claims: `fifo_claims`.

Whatever a flush waits for, it waits for in one order: groups, then deduplication entries. Numbers
are drawn while the groups are locked. Called by the engine.
"""

from collections.abc import Sequence

from stanchion.store.contract import NewMessage, SendFifo, SentFifo
from stanchion.store.postgres import deduplication, groups
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Transaction

_INSERT_FIFO_MESSAGES = statement("insert_fifo_messages")


async def send(tx: Transaction, commands: Sequence[SendFifo]) -> list[tuple[SentFifo, ...] | None]:
    keys = [deduplication.key_of(command, m) for command in commands for m in command.messages]
    known = await deduplication.find(tx, keys)
    fresh = await _fresh(tx, commands, known)
    await _open_groups(tx, fresh)
    numbers = await tx.take_sequences(len(fresh)) if fresh else []
    accepted = [
        deduplication.Fresh(key, new.since_ms, SentFifo(new.message.message_id, sequence))
        for (key, new), sequence in zip(fresh.items(), numbers, strict=True)
    ]
    lost = await deduplication.remember(tx, accepted)
    for key, _, sent in accepted:
        known[key] = deduplication.Accepted(tx.now_ms, sent)
    if lost:
        known |= await deduplication.find(tx, list(lost))
    await _append(tx, [(fresh[key], sent) for key, _, sent in accepted if key not in lost])
    await _close_unused_groups(tx, [fresh[key] for key in lost])
    answers: list[tuple[SentFifo, ...] | None] = []
    for command in commands:
        if await tx.place(command.queue_id) is None:
            answers.append(None)
        else:
            sent_keys = [deduplication.key_of(command, m) for m in command.messages]
            answers.append(tuple([known[key].sent for key in sent_keys]))
    return answers


class _New:
    """A message that was not accepted lately."""

    __slots__ = ("group_id", "message", "place", "since_ms")

    def __init__(self, place: Place, message: NewMessage, since_ms: int) -> None:
        self.place = place
        self.message = message
        self.group_id = message.group_id or ""
        self.since_ms = since_ms


async def _fresh(
    tx: Transaction,
    commands: Sequence[SendFifo],
    known: dict[deduplication.Key, deduplication.Accepted],
) -> dict[deduplication.Key, _New]:
    """The messages to append, in order: those that are not known, each once."""
    fresh: dict[deduplication.Key, _New] = {}
    for command in commands:
        place = await tx.place(command.queue_id)
        if place is None:
            continue
        since_ms = tx.now_ms - command.deduplication_ms
        for m in command.messages:
            key = deduplication.key_of(command, m)
            accepted = known.get(key)
            if key not in fresh and (accepted is None or accepted.accepted_at_ms <= since_ms):
                fresh[key] = _New(place, m, since_ms)
    return fresh


async def _open_groups(tx: Transaction, fresh: dict[deduplication.Key, _New]) -> None:
    opened: dict[int, tuple[Place, dict[str, groups.FirstMessage]]] = {}
    for new in fresh.values():
        _, firsts = opened.setdefault(new.place.queue_id, (new.place, {}))
        if new.group_id not in firsts:
            firsts[new.group_id] = groups.FirstMessage(new.group_id, False, tx.now_ms)
    await groups.open_groups(tx, [(place, firsts.values()) for place, firsts in opened.values()])


async def _append(tx: Transaction, appended: Sequence[tuple[_New, SentFifo]]) -> None:
    rows = []
    for new, sent in appended:
        m = new.message
        rows.append(
            (
                *(new.place.backlog, sent.sequence, m.message_id, m.sender_id, new.group_id),
                *(m.deduplication_id, m.trace_header, m.attributes, m.body),
            )
        )
        tx.add_sent(new.place, 1)
        tx.add_invisible(new.place, False, tx.now_ms, 1)
    if rows:
        await tx.run(_INSERT_FIFO_MESSAGES, *zip(*rows, strict=True), tx.now_ms)


async def _close_unused_groups(tx: Transaction, lost: Sequence[_New]) -> None:
    """Groups that were opened for messages which another flush has accepted elsewhere."""
    by_queue: dict[int, tuple[Place, list[str]]] = {}
    for new in lost:
        by_queue.setdefault(new.place.queue_id, (new.place, []))[1].append(new.group_id)
    for place, group_ids in by_queue.values():
        await groups.refresh(tx, [(place, await groups.keys_of(tx, place, group_ids))])
