"""Claims of FIFO queues: the oldest ready groups that nobody else has locked, the first of each.

Claims of one flush share each look, whatever queues they are for; those with an attempt id come one
by one after the others. What a claim waits for, it waits for in one order: attempts and the groups
of their messages, then queues with dead messages by their numbers. Called by the engine.
"""

from collections import deque
from collections.abc import Sequence
from itertools import chain

import msgspec

from stanchion.store.contract import Claimed, ClaimedMessage, ClaimFifo, Lease, QueueName
from stanchion.store.postgres import attempts, dead_letters, expiry, groups, messages
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction

_FIFO_MESSAGES = statement("fifo_messages")

_SWEEPS_MAX = 10
_SWEEP_MESSAGES_MAX = 1000
_CLAIM_BYTES_MAX = 16 * 1024 * 1024

_RECEIVE_COUNT, _VISIBLE_AT, _LANE, _SOURCE, _SENT_AT, _BODY, _BACKLOG = 1, 2, 3, 5, 7, 14, 15

_decode_name = msgspec.json.Decoder(QueueName).decode


class _Turn:
    """Claims of one queue that are served together."""

    def __init__(self, place: Place, claims: Sequence[ClaimFifo], limits: list[int]) -> None:
        self.place = place
        self.claims = claims
        self.limits = limits
        self.passed_over: set[int] = set()
        """Groups whose exhausted messages cannot be moved now."""
        self.begin()

    def begin(self) -> None:
        self.hands: list[Hand] = [[] for _ in self.limits]
        self.rows: dict[int, Row] = {}
        self.seen = set(self.passed_over)
        self.is_rest = False
        """Whether what the claims get is all there is."""
        # First one group is looked for each claim: what is locked cannot be had by other flushes.
        self.groups_max = len(self.limits)
        self._missing = sum(self.limits)
        self._turn = 0

    def wants(self) -> bool:
        return self._missing > 0 and not self.is_rest

    def look(self) -> groups.Look:
        return groups.Look(self.place, self.groups_max, max(self.limits))

    def deal(self, ready: Sequence[groups.ReadyGroup]) -> None:
        """Hand groups out. No group goes to two claims."""
        is_last = len(ready) < self.groups_max
        self.seen.update(group.key for group in ready)
        waiting = deque(ready)
        while self._turn < len(self.limits):
            hand = self.hands[self._turn]
            left = self.limits[self._turn] - len(hand)
            if left <= 0:
                self._turn += 1
                continue
            if not waiting:
                break
            group = waiting.popleft()
            taken = group.sequences[:left]
            hand += [(sequence, group.key) for sequence in taken]
            self._missing -= len(taken)
        self.is_rest = is_last and self._turn < len(self.limits)
        if self._turn == len(self.limits):
            self._missing = 0
        self.groups_max = self._missing

    def listed(self) -> list[tuple[int, int, bool]]:
        """What to read: backlogs, numbers, and whether it has to come however large it is."""
        firsts = [(self.place.backlog, hand[0][0], True) for hand in self.hands if hand]
        return firsts + [
            (self.place.backlog, sequence, False) for hand in self.hands for sequence, _ in hand[1:]
        ]

    def keep(self, rows: dict[int, Row]) -> None:
        """These of the messages fit; what does not is left for later."""
        self.rows = rows
        if any(sequence not in rows for hand in self.hands for sequence, _ in hand):
            self.is_rest = False
            self.hands = [[one for one in hand if one[0] in rows] for hand in self.hands]


Hand = list[tuple[int, int]]
"""What a claim gets: sequence numbers, each with the key of its group."""


async def claim(tx: Transaction, commands: Sequence[ClaimFifo]) -> list[Claimed | None]:
    answers: list[Claimed | None] = [None] * len(commands)
    await attempts.lock(tx, commands)
    plain: list[tuple[Place, list[int]]] = []
    later: list[tuple[Place, int]] = []
    for queue_id, indexes in sorted(messages.by_queue(commands).items()):
        place = await tx.place(queue_id)
        if place is None:
            continue
        if not await _is_rid_of_the_dead(tx, place):
            # So many are dead that it takes a few more claims.
            for index in indexes:
                answers[index] = Claimed((), tx.now_ms, tx.now_ms)
            continue
        if together := [index for index in indexes if commands[index].attempt_id is None]:
            plain.append((place, together))
        later += [(place, index) for index in indexes if commands[index].attempt_id is not None]
    await dead_letters.settle_all(tx, [place for place, _ in (*plain, *later)])
    taken = await _take(tx, [(place, [commands[n] for n in indexes]) for place, indexes in plain])
    for (_, indexes), found in zip(plain, taken, strict=True):
        for index, claimed in zip(indexes, found, strict=True):
            answers[index] = claimed
    for place, index in later:
        answers[index] = await _attempt(tx, place, commands[index])
    return answers


async def _is_rid_of_the_dead(tx: Transaction, place: Place) -> bool:
    """Whether no message is left whose retention is over. They may be what blocks a group."""
    if place.check_at_ms is None or place.check_at_ms > tx.now_ms:
        return True
    for _ in range(_SWEEPS_MAX):
        if await expiry.catch_up(tx, place, _SWEEP_MESSAGES_MAX):
            return True
    return False


async def _attempt(tx: Transaction, place: Place, command: ClaimFifo) -> Claimed:
    if attempt := await attempts.repeat(tx, place, command):
        wanted = [(place.backlog, lease.sequence, True) for lease in attempt.leases]
        rows = (await _read(tx, wanted))[place.backlog]
        found = [await _message(tx, place, rows[lease.sequence], lease) for lease in attempt.leases]
        return Claimed(tuple(found), attempt.attempted_at_ms, None)
    ((claimed,),) = await _take(tx, [(place, [command])])
    if claimed.messages:
        leases = [message.lease for message in claimed.messages]
        await attempts.remember(tx, place, command, leases)
    return claimed


async def _take(
    tx: Transaction, wanted: Sequence[tuple[Place, Sequence[ClaimFifo]]]
) -> list[list[Claimed]]:
    turns = [
        _Turn(place, claims, await messages.limits_of(tx, place, claims))
        for place, claims in wanted
    ]
    await _find(tx, [turn for turn in turns if any(turn.limits)])
    await _lease(tx, turns)
    answers = [await _answers(tx, turn) for turn in turns]
    in_vain = [
        (turn, number)
        for number, turn in enumerate(turns)
        if not all(claimed.messages for claimed in answers[number])
    ]
    if not in_vain:
        return answers
    next_ms = await groups.next_ready_at_ms(tx, [turn.place for turn, _ in in_vain])
    for (turn, number), instant_ms in zip(in_vain, next_ms, strict=True):
        if turn.is_rest:
            instant_ms = messages.unlocked_at(tx, turn.claims, instant_ms)
        answers[number] = messages.with_next_visible(tx, answers[number], instant_ms)
    return answers


async def _find(tx: Transaction, turns: Sequence[_Turn]) -> None:
    """Messages for each turn, none dead or exhausted: such ones go first, in bounded steps."""
    for _ in range(_SWEEPS_MAX):
        if not turns:
            return
        await _look(tx, turns)
        turns = [turn for turn in turns if await _has_dealt_with_unfit(tx, turn)]
    for turn in turns:
        turn.begin()


async def _look(tx: Transaction, turns: Sequence[_Turn]) -> None:
    for turn in turns:
        turn.begin()
    while wanting := [turn for turn in turns if turn.wants()]:
        without = set().union(*(turn.seen for turn in wanting))
        found = await groups.ready(tx, [turn.look() for turn in wanting], without)
        for turn, ready in zip(wanting, found, strict=True):
            turn.deal(ready)
    listed = [one for turn in turns for one in turn.listed()]
    rows = await _read(tx, listed) if listed else {}
    for turn in turns:
        turn.keep(rows.get(turn.place.backlog, {}))
        if turn.is_rest:
            tx.drop_wake(turn.place.queue_id)


async def _has_dealt_with_unfit(tx: Transaction, turn: _Turn) -> bool:
    """Take dead or exhausted messages out of the way. Answers whether there were any."""
    place, rows = turn.place, turn.rows
    dead_ms = tx.now_ms - place.retention_ms
    exhausted_at = place.exhausted_at
    dead = []
    exhausted: dict[int, int] = {}
    for sequence, key in chain.from_iterable(turn.hands):
        row = rows[sequence]
        if row[_SENT_AT] <= dead_ms:
            dead.append((sequence, row[_RECEIVE_COUNT], row[_VISIBLE_AT], key))
        elif row[_RECEIVE_COUNT] >= exhausted_at and (row[_SOURCE] is None or row[_LANE]):
            exhausted[sequence] = key
    if dead:
        await expiry.remove(tx, place, dead)
    elif exhausted and not await dead_letters.set_these_aside(tx, place, list(exhausted)):
        turn.passed_over.update(exhausted.values())
    return bool(dead or exhausted)


async def _read(
    tx: Transaction, listed: Sequence[tuple[int, int, bool]]
) -> dict[int, dict[int, Row]]:
    """By backlog: messages by sequence number, of those listed as many as are not too large."""
    found: dict[int, dict[int, Row]] = {}
    full: set[int] = set()
    for row in await tx.fetch(_FIFO_MESSAGES, *zip(*listed, strict=True), _CLAIM_BYTES_MAX):
        backlog = row[_BACKLOG]
        if row[_BODY] is None:
            full.add(backlog)
        if backlog not in full:
            found.setdefault(backlog, {})[row[0]] = row
    return found


async def _answers(tx: Transaction, turn: _Turn) -> list[Claimed]:
    answers = []
    for limit, hand in zip(turn.limits, turn.hands, strict=True):
        found = []
        for sequence, _ in hand:
            row = turn.rows[sequence]
            lease = Lease(sequence, row[_RECEIVE_COUNT] + 1)
            found.append(await _message(tx, turn.place, row, lease))
        at_capacity = limit == 0 and not turn.is_rest
        answers.append(Claimed(tuple(found), tx.now_ms, None, at_capacity))
    return answers


async def _message(tx: Transaction, place: Place, row: Row, lease: Lease) -> ClaimedMessage:
    _, _, _, _, first_received, source, provenance, sent, message_id, sender, *rest = row
    group_id, deduplication_id, trace, attributes, body, _ = rest
    sealed_as = None
    if provenance is not None:
        sealed_as = await tx.sealed_as(place, message_id, provenance)
    return ClaimedMessage(
        *(lease, message_id, body, attributes, sender, sent),
        tx.now_ms if first_received is None else first_received,
        *(group_id, trace, deduplication_id),
        None if source is None else _decode_name(source),
        sealed_as,
    )


async def _lease(tx: Transaction, turns: Sequence[_Turn]) -> None:
    """Hide what was handed out, and block its groups."""
    leases = messages.Leases()
    blocked: dict[int, int] = {}
    for turn in turns:
        hidden: dict[int, Hand] = {}
        for command, hand in zip(turn.claims, turn.hands, strict=True):
            if hand:
                hidden.setdefault(command.visibility_ms, []).extend(hand)
        for visibility_ms, hand in hidden.items():
            for sequence, _ in hand:
                row = turn.rows[sequence]
                if not row[_RECEIVE_COUNT]:
                    tx.add_invisible(turn.place, False, row[_VISIBLE_AT], -1)
            leases.add(tx, turn.place, visibility_ms, [sequence for sequence, _ in hand])
            until_ms = tx.now_ms + visibility_ms
            keys = {key for _, key in hand}
            blocked |= dict.fromkeys(keys, until_ms)
            tx.add_wake(turn.place.queue_id, until_ms, len(keys))
    await leases.write(tx)
    if blocked:
        await groups.block(tx, list(blocked.items()))
