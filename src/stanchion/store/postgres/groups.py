"""The groups of FIFO queues: which one is ready, and which one is blocked until when.

A group that has messages has a row, fresh or returned with `ready_at_ms`, which means the same as
in SQLite's store. A claim takes the first messages of a group, at most `MESSAGES_MAX`, and nothing
else of it until all of them are back or gone; so its state follows from its first messages.

The row is the group's lock. Whoever appends messages calls `open_groups` first, whoever changes or
deletes any locks their groups first and calls `refresh` afterwards. A flush waits for groups once,
before it has locked anything else, in the order of backlog and group id; later it only tries, and
leaves alone what others hold. Messages of a group are read after it is locked, by another
statement: one statement sees what was there when it began.
"""

import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from stanchion.store.postgres import low_water
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction

_READY_GROUPS = statement("ready_groups")
_FIRST_MESSAGES = statement("first_messages")
_NEXT_READY_AT = statement("next_ready_at")
_OPEN_GROUPS = statement("open_groups")
_LOCK_GROUPS_OF = statement("lock_groups_of")
_TRY_GROUPS_OF = statement("try_groups_of")
_TRY_GROUPS_NAMED = statement("try_groups_named")
_GROUPS_NAMED = statement("groups_named")
_KEYS_OF_GROUPS = statement("keys_of_groups")
_BLOCK_GROUPS = statement("block_groups")
_GROUP_STATES = statement("group_states")
_SET_GROUP_STATES = statement("set_group_states")
_CLOSE_GROUPS = statement("close_groups")
_DROP_GROUPS = statement("drop_groups")

MESSAGES_MAX = 10
"""So many messages of one group are in flight at most."""


class ReadyGroup(NamedTuple):
    ready_at_ms: int
    key: int
    sequences: list[int]
    """Its first messages, those that a claim may take."""


class Look(NamedTuple):
    """For groups of a queue that are ready."""

    place: Place
    groups_max: int
    messages_max: int


async def ready(
    tx: Transaction, looks: Sequence[Look], without: Collection[int] = ()
) -> list[list[ReadyGroup]]:
    """For each look the groups that are ready, oldest first, with their first messages.

    Locks them; those that somebody else has locked are left out, and those of the keys `without`.
    """
    slow_looks, start_s = tx.resources.slow_looks, time.monotonic()
    wanted: list[tuple[int, bool, int, int, int]] = []
    for place, groups_max, _ in looks:
        for is_returned in (False, True):
            until_ms = tx.now_ms if is_returned else tx.now_ms - place.delay_ms
            since_ms = slow_looks.of(place.backlog, is_returned, start_s)
            wanted.append((place.backlog, is_returned, until_ms, groups_max, since_ms))
    rows = await tx.fetch(_READY_GROUPS, *zip(*wanted, strict=True), list(without))
    if not without:
        _note_look(tx, wanted, rows, start_s)
    found: list[list[ReadyGroup]] = [[] for _ in looks]
    for number, key, ready_at_ms, is_returned in rows:
        which = (number - 1) // 2
        delay_ms = 0 if is_returned else looks[which].place.delay_ms
        found[which].append(ReadyGroup(ready_at_ms + delay_ms, key, []))
    for look, groups in zip(looks, found, strict=True):
        groups.sort()
        # What comes after these is not needed, however few messages each has.
        del groups[look.groups_max :]
    await _add_messages(tx, looks, found)
    return found


def _note_look(
    tx: Transaction,
    wanted: Sequence[tuple[int, bool, int, int, int]],
    rows: Sequence[Row],
    start_s: float,
) -> None:
    end_s = time.monotonic()
    first_ms: dict[int, int] = {}
    for number, _, ready_at_ms, _ in rows:
        first_ms[number] = min(ready_at_ms, first_ms.get(number, ready_at_ms))
    for number, (backlog, is_returned, until_ms, _, since_ms) in enumerate(wanted, 1):
        look = low_water.Look(since_ms, first_ms.get(number, until_ms), start_s, end_s)
        tx.resources.slow_looks.note(backlog, is_returned, look)


async def _add_messages(
    tx: Transaction, looks: Sequence[Look], found: Sequence[Sequence[ReadyGroup]]
) -> None:
    wanted: list[tuple[int, int]] = []
    sequences: dict[int, list[int]] = {}
    sent_until_ms: dict[int, int] = {}
    for (place, _, messages_max), groups in zip(looks, found, strict=True):
        for group in groups:
            wanted.append((group.key, min(messages_max, MESSAGES_MAX)))
            sequences[group.key] = group.sequences
            sent_until_ms[group.key] = tx.now_ms - place.delay_ms
    if not wanted:
        return
    for key, sequence, receive_count, visible_at_ms in await tx.fetch(
        _FIRST_MESSAGES, *zip(*wanted, strict=True)
    ):
        if not receive_count and visible_at_ms > sent_until_ms[key]:
            # Delayed, and what comes after it has to wait too.
            sent_until_ms[key] = -1
        if sent_until_ms[key] >= 0:
            sequences[key].append(sequence)


async def next_ready_at_ms(tx: Transaction, places: Sequence[Place]) -> list[int | None]:
    """When the next group of each queue gets ready, or got ready; None when there is none."""
    backlogs = [place.backlog for place in places]
    slow_looks, now_s = tx.resources.slow_looks, time.monotonic()
    since_ms = ([slow_looks.of(b, returned, now_s) for b in backlogs] for returned in (False, True))
    rows = await tx.fetch(_NEXT_READY_AT, backlogs, *since_ms)
    found = []
    for place, (fresh, returned) in zip(places, rows, strict=True):
        instants = [] if fresh is None else [fresh + place.delay_ms]
        if returned is not None:
            instants.append(returned)
        found.append(min(instants, default=None))
    return found


class FirstMessage(NamedTuple):
    """A message about to be appended: the first of its group, if the group has no other."""

    group_id: str
    is_returned: bool
    """Whether it has been received before."""
    visible_at_ms: int
    """When it is, or was, to be seen again; if it never was received, when it was sent."""


async def open_groups(
    tx: Transaction, given: Sequence[tuple[Place, Collection[FirstMessage]]]
) -> None:
    """Lock groups, make a row for each that has none, and wake somebody for it.

    Names each group once. A group that has a row stays as it is: appending changes nothing about
    when its first messages are ready. Numbers of the messages are drawn after this.
    """
    rows = [(place.backlog, *first) for place, firsts in given for first in firsts]
    if not rows:
        return
    opened = await tx.fetch(_OPEN_GROUPS, *zip(*rows, strict=True))
    for backlog, _, is_returned, ready_at_ms in rows:
        tx.resources.slow_looks.lower(backlog, is_returned, ready_at_ms)
    for place, firsts in given:
        count = sum(backlog == place.backlog for backlog, _ in opened)
        if count:
            delay_ms = 0 if all(first.is_returned for first in firsts) else place.delay_ms
            tx.add_wake(place.queue_id, tx.now_ms + delay_ms, count)


async def lock_of(tx: Transaction, messages: Collection[tuple[int, int]]) -> None:
    """Wait for the groups of messages, pairs of a backlog and a number, and lock them.

    Only for a flush that has not locked anything that others wait for. Whatever was read of the
    messages before may have changed.
    """
    await tx.fetch(_LOCK_GROUPS_OF, *zip(*messages, strict=True))


async def try_of(tx: Transaction, place: Place, sequences: Sequence[int]) -> set[int]:
    """Lock those groups of these messages that nobody else has locked. Answers their keys."""
    return {row[0] for row in await tx.fetch(_TRY_GROUPS_OF, place.backlog, sequences)}


Name = tuple[int, str]
"""Of a group: its backlog and group id."""


async def try_named(tx: Transaction, names: Collection[Name]) -> tuple[dict[Name, int], set[Name]]:
    """Lock those of these groups that nobody else has locked.

    Answers the keys of those, and which others there are.
    """
    rows = await tx.fetch(_TRY_GROUPS_NAMED, *zip(*names, strict=True))
    held = {(row[0], row[1]): row[2] for row in rows}
    missing = [name for name in names if name not in held]
    if not missing:
        return held, set()
    rows = await tx.fetch(_GROUPS_NAMED, *zip(*missing, strict=True))
    return held, {(row[0], row[1]) for row in rows}


async def keys_of(tx: Transaction, place: Place, group_ids: Sequence[str]) -> list[int]:
    return [row[0] for row in await tx.fetch(_KEYS_OF_GROUPS, place.backlog, group_ids)]


async def block(tx: Transaction, blocked: Sequence[tuple[int, int]]) -> None:
    """The first messages of groups are in flight: pairs of a key and until when in ms."""
    await tx.run(_BLOCK_GROUPS, *zip(*blocked, strict=True))


async def refresh(tx: Transaction, changed: Sequence[tuple[Place, Collection[int]]]) -> None:
    """Messages of groups have gone or changed: see when these are ready now.

    For pairs of a queue and the keys of its groups, which are locked.
    """
    wanted = [(number, key) for number, (_, keys) in enumerate(changed) for key in keys]
    if not wanted:
        return
    empty: list[int] = []
    states: list[tuple[int, bool, int]] = []
    for number, key, was_returned, was_ready_at_ms, is_returned, ready_at_ms in await tx.fetch(
        _GROUP_STATES, *zip(*wanted, strict=True), MESSAGES_MAX
    ):
        if ready_at_ms is None:
            empty.append(key)
        elif (is_returned, ready_at_ms) != (was_returned, was_ready_at_ms):
            states.append((key, is_returned, ready_at_ms))
            place = changed[number][0]
            tx.resources.slow_looks.lower(place.backlog, is_returned, ready_at_ms)
            seen_at_ms = ready_at_ms if is_returned else ready_at_ms + place.delay_ms
            tx.add_wake(place.queue_id, max(seen_at_ms, tx.now_ms), 1)
    if empty:
        await tx.run(_CLOSE_GROUPS, empty)
    if states:
        await tx.run(_SET_GROUP_STATES, *zip(*states, strict=True))


async def drop(tx: Transaction, backlog: int, limit: int) -> bool:
    """Delete up to `limit` groups of a backlog without messages. Answers if there may be more."""
    return await tx.run(_DROP_GROUPS, backlog, limit) == limit
