"""Messages of queues with several parts: which part is asked for what, and one answer of many.

A send goes to one part, a claim to as many as it takes. Deletes and changes of visibility go to the
part where the message was sent to, which its number tells, and if it is not there to the others:
it may have been moved. Nothing here is atomic over parts. When only some of them have answered, the
outcome is unknown and the client asks again; each of these commands may be done twice.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    Claimed,
    ClaimedMessage,
    ClaimFifo,
    CountMessages,
    Delete,
    DeleteOutcome,
    MessageCounts,
    OutcomeUnknown,
    Send,
    StoreError,
    StoreFull,
    StoreUnreachable,
)
from stanchion.store.shards.commands import SHARDS_MAX, Part, Placement
from stanchion.store.shards.fleet import Fleet, NoPart

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_RECHECK_MS = 1000
"""A part that could not be reached is looked at again after so long."""


async def send(fleet: Fleet, placement: Placement, command: Send) -> bool:
    parts = [part for part in placement.parts if part.state == "open"]
    if len(parts) == 1:
        await fleet.ask(parts[0], command, is_patient=True)
        return True
    failure: StoreError = StoreUnreachable("no shard of this queue can be reached")
    for part in fleet.placements.in_turn(parts):
        try:
            await fleet.ask(part, command)
            return True
        except (StoreUnreachable, StoreFull) as error:
            failure = error
    raise failure


async def claim(fleet: Fleet, placement: Placement, command: Claim | ClaimFifo) -> Claimed:
    """Of each part what it has, until there is enough. Of a part that is down: nothing."""
    parts = placement.parts
    if len(parts) == 1:
        return _claimed(await fleet.ask(parts[0], command, is_patient=True))
    gathered = _Gathered(command.limit)
    in_flight_max = -(-command.in_flight_max // len(parts))
    for part in fleet.placements.for_claim(parts):
        asked = replace(command, limit=gathered.room, in_flight_max=in_flight_max)
        try:
            claimed = _claimed(await fleet.ask(part, asked))
        except NoPart:
            if gathered.messages:
                break
            raise
        except StoreError as error:
            gathered.failure = error
            continue
        if len(claimed.messages) < gathered.room:
            fleet.placements.note_empty(part)
        gathered.add(claimed)
        if not gathered.room:
            break
    return gathered.answer()


def _claimed(answer: Any) -> Claimed:
    assert isinstance(answer, Claimed)
    return answer


class _Gathered:
    """What parts have answered to a claim."""

    def __init__(self, limit: int) -> None:
        self.messages: list[ClaimedMessage] = []
        self.failure: StoreError | None = None
        self._limit = limit
        self._answers: list[Claimed] = []

    @property
    def room(self) -> int:
        return self._limit - len(self.messages)

    def add(self, claimed: Claimed) -> None:
        self._answers.append(claimed)
        self.messages += claimed.messages

    def answer(self) -> Claimed:
        if not self._answers:
            raise self.failure or StoreError("the queue has no part")
        received_at_ms = self._answers[0].received_at_ms
        if self.messages:
            return Claimed(tuple(self.messages), received_at_ms, None)
        instants = [a.next_visible_at_ms for a in self._answers if a.next_visible_at_ms is not None]
        if self.failure is not None:
            instants.append(received_at_ms + _RECHECK_MS)
        at_capacity = self.failure is None and all(a.at_capacity for a in self._answers)
        return Claimed((), received_at_ms, min(instants, default=None), at_capacity)


# --- What is done to leased messages ------------------------------------------------------------

_WEIGHTS: Mapping[DeleteOutcome, int] = {"absent": 0, "superseded": 1, "expired": 2, "deleted": 3}
"""The original of a message that has just moved has been received less often than its copy."""


async def delete(fleet: Fleet, placement: Placement, command: Delete) -> tuple[DeleteOutcome, ...]:
    return await _on_leases(
        *(fleet, placement, command.leases, [lease.sequence for lease in command.leases]),
        lambda leases: replace(command, leases=leases),
        "absent",
        lambda one, other: max(one, other, key=_WEIGHTS.__getitem__),
    )


async def change_visibility(
    fleet: Fleet, placement: Placement, command: ChangeVisibility
) -> tuple[bool, ...]:
    return await _on_leases(
        *(fleet, placement, command.changes, [lease.sequence for lease, _ in command.changes]),
        lambda changes: replace(command, changes=changes),
        False,
        lambda one, other: one or other,
    )


async def _on_leases(
    fleet: Fleet,
    placement: Placement,
    items: Sequence[Item],
    sequences: Sequence[int],
    command: Callable[[tuple[Item, ...]], Any],
    absent: Outcome,
    merged: Callable[[Outcome, Outcome], Outcome],
) -> tuple[Outcome, ...]:
    """An outcome for each item; those that are absent in one part are looked for in the others."""
    parts = placement.parts
    if len(parts) == 1:
        whole: tuple[Outcome, ...] = await fleet.ask(
            parts[0], command(tuple(items)), is_patient=True
        )
        return whole
    outcomes = [absent] * len(items)
    is_begun = False
    for wanted in _rounds(parts, sequences, lambda n: outcomes[n] == absent):
        asked = [(part, numbers) for part, numbers in wanted.items() if numbers]
        answers = await asyncio.gather(
            *(fleet.ask(part, command(tuple(items[n] for n in ns))) for part, ns in asked),
            return_exceptions=True,
        )
        _check(answers, is_begun)
        is_begun = True
        for (_, numbers), answer in zip(asked, answers, strict=True):
            assert isinstance(answer, tuple)
            for number, outcome in zip(numbers, answer, strict=True):
                outcomes[number] = merged(outcomes[number], outcome)
    return tuple(outcomes)


def _rounds(
    parts: Sequence[Part], sequences: Sequence[int], is_absent: Callable[[int], bool]
) -> Any:
    """Which items each part is asked for, one round after the other.

    What leaves a part may be on its way, with a copy elsewhere: so first the original is seen to,
    and then all that may be copies of it.
    """
    everything = range(len(sequences))
    leaving = [part for part in parts if part.state == "leaving"]
    if leaving:
        yield dict.fromkeys(leaving, everything)
        yield dict.fromkeys([part for part in parts if part.state != "leaving"], everything)
        return
    by_shard = {part.shard: part for part in parts}
    origins = [by_shard.get(sequence % SHARDS_MAX, parts[0]) for sequence in sequences]
    yield {part: [n for n in everything if origins[n] == part] for part in parts}
    missing = [n for n in everything if is_absent(n)]
    yield {part: [n for n in missing if origins[n] != part] for part in parts}


def _check(answers: Sequence[Any], is_begun: bool) -> None:
    """Raises what went wrong; as an unknown outcome when something has been done already."""
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    if not failures:
        return
    for failure in failures:
        if isinstance(failure, NoPart) or not isinstance(failure, StoreError):
            raise failure
    if is_begun or len(failures) < len(answers):
        raise OutcomeUnknown(f"done on some shards only: {failures[0]}")
    raise failures[0]


async def count(fleet: Fleet, placement: Placement, command: CountMessages) -> MessageCounts:
    counts = await asyncio.gather(*(fleet.ask(part, command) for part in placement.parts))
    return MessageCounts(
        sum(one.visible for one in counts),
        sum(one.in_flight for one in counts),
        sum(one.delayed for one in counts),
    )
