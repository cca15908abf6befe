"""The groups of FIFO queues: which one is ready, and which one is blocked until when.

A group that has messages has a row. It is *fresh* while its first message was never received: then
`ready_at_ms` is when that message was sent, and the group is ready when the queue's delay has
passed since; so a change of the delay touches no rows. It is *returned* when its first message has
been received before: then `ready_at_ms` is when the last of its messages in flight comes back, or
came back. So ready groups are found by index, oldest first, and blocked ones are never looked at.

The messages of a group that are in flight are among its first `MESSAGES_MAX`, because a claim takes
the first ones, at most so many, and nothing else of the group until all of them are back or gone.
So the state of a group follows from its first messages, however many there are.

Whoever changes messages of a FIFO queue other than by claiming them calls `refresh`; whoever
appends any calls `open_groups` first.
"""

import heapq
from collections.abc import Collection, Generator, Iterator
from typing import NamedTuple

import msgspec

from stanchion.store.sqlite.statements import RowsStatement, statement
from stanchion.store.sqlite.transaction import Place, Transaction

_READY_GROUPS = statement("ready_groups")
_NEXT_READY_AT = statement("next_ready_at")
_OPEN_GROUPS = RowsStatement("open_groups")
_BLOCK_GROUPS = statement("block_groups")
_GROUP_STATES = statement("group_states")
_SET_GROUP_STATES = statement("set_group_states")
_CLOSE_GROUPS = statement("close_groups")
_DROP_GROUPS = statement("drop_groups")

MESSAGES_MAX = 10
"""So many messages of one group are in flight at most."""

_decode_first = msgspec.json.Decoder(tuple[int | None, list[int]]).decode


class ReadyGroup(NamedTuple):
    ready_at_ms: int
    key: int
    sequences: list[int]
    """Its first messages, those that a claim may take."""


def ready(
    tx: Transaction, place: Place, groups_max: int, messages_max: int
) -> Generator[ReadyGroup, None, None]:
    """Groups that are ready, oldest first, with up to `messages_max` of their messages each.

    Read as they are asked for; close it before groups or messages are changed.
    """
    fresh = _ready(tx, place, False, groups_max, messages_max)
    returned = _ready(tx, place, True, groups_max, messages_max)
    yield from heapq.merge(fresh, returned)


def _ready(
    tx: Transaction, place: Place, is_returned: bool, groups_max: int, messages_max: int
) -> Iterator[ReadyGroup]:
    delay_ms = 0 if is_returned else place.delay_ms
    sent_until_ms = tx.now_ms - place.delay_ms
    parameters = (
        *(place.backlog, is_returned, tx.now_ms - delay_ms, groups_max),
        *(sent_until_ms, min(messages_max, MESSAGES_MAX)),
    )
    for key, ready_at_ms, first in tx.execute(_READY_GROUPS, parameters):
        delayed, sequences = _decode_first(first)
        sequences.sort()
        if delayed is not None:
            del sequences[sequences.index(delayed) :]
        yield ReadyGroup(ready_at_ms + delay_ms, key, sequences)


def next_ready_at_ms(tx: Transaction, place: Place) -> int | None:
    """When the next group gets ready, or got ready; None when there is none."""
    fresh = tx.execute(_NEXT_READY_AT, (place.backlog, False)).fetchone()
    returned = tx.execute(_NEXT_READY_AT, (place.backlog, True)).fetchone()
    instants = [fresh[0] + place.delay_ms] if fresh else []
    if returned:
        instants.append(returned[0])
    return min(instants, default=None)


class FirstMessage(NamedTuple):
    """A message about to be appended: the first of its group, if the group has no other."""

    sequence: int
    group_id: str
    is_returned: bool
    """Whether it has been received before."""
    visible_at_ms: int
    """When it is, or was, to be seen again; if it never was received, when it was sent."""


def open_groups(tx: Transaction, place: Place, firsts: Collection[FirstMessage]) -> None:
    """Make a row for each group that has none, and wake somebody for it.

    Names each group once. A group that has a row stays as it is: appending changes nothing about
    when its first messages are ready. The key of a group is the number of its first message.
    """
    values: list[object] = []
    for sequence, group_id, is_returned, visible_at_ms in firsts:
        values += (sequence, place.backlog, group_id, is_returned, visible_at_ms)
    opened = sum(tx.execute(text, batch).rowcount for text, batch in _OPEN_GROUPS.batches(values))
    if opened:
        delay_ms = 0 if all(first.is_returned for first in firsts) else place.delay_ms
        tx.add_wake(place.queue_id, tx.now_ms + delay_ms, opened)


def block(tx: Transaction, place: Place, keys: Collection[int], visible_at_ms: int) -> None:
    """The first messages of these groups are in flight until an instant."""
    tx.execute(_BLOCK_GROUPS, (visible_at_ms, str(list(keys))))
    tx.add_wake(place.queue_id, visible_at_ms, len(keys))


def refresh(tx: Transaction, place: Place, keys: Collection[int]) -> None:
    """Messages of these groups have gone or changed: see when the groups are ready now."""
    rows = tx.execute(_GROUP_STATES, (place.backlog, str(list(keys)), MESSAGES_MAX)).fetchall()
    empty: list[int] = []
    changed: list[list[int]] = []
    for key, was_returned, was_ready_at_ms, is_returned, ready_at_ms in rows:
        if ready_at_ms is None:
            empty.append(key)
        elif (is_returned, ready_at_ms) != (was_returned, was_ready_at_ms):
            changed.append([key, is_returned, ready_at_ms])
            seen_at_ms = ready_at_ms if is_returned else ready_at_ms + place.delay_ms
            tx.add_wake(place.queue_id, max(seen_at_ms, tx.now_ms), 1)
    if empty:
        tx.execute(_CLOSE_GROUPS, (str(empty),))
    if changed:
        tx.execute(_SET_GROUP_STATES, (str(changed),))


def drop(tx: Transaction, backlog: int, limit: int) -> bool:
    """Delete up to `limit` groups of a backlog without messages. Answers if there may be more."""
    return tx.execute(_DROP_GROUPS, (backlog, limit)).rowcount == limit
