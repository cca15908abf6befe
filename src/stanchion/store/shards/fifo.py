"""FIFO queues with several parts: each message group lives in one of them for good.

So the order inside a group, and what blocks it, are that shard's business alone. A batch for groups
of several parts is sent to each in turn; if one fails the outcome is unknown, and the client sends
it again under the same deduplication ids.
"""

import asyncio

from msgspec.structs import replace

from stanchion.store.contract import (
    Claimed,
    ClaimFifo,
    OutcomeUnknown,
    SendFifo,
    SentFifo,
    StoreError,
)
from stanchion.store.shards import standard
from stanchion.store.shards.commands import FindAttempt, Part, Placement
from stanchion.store.shards.fleet import Fleet
from stanchion.store.shards.placements import part_of_group


async def send(fleet: Fleet, placement: Placement, command: SendFifo) -> tuple[SentFifo, ...]:
    if len(placement.parts) == 1:
        whole: tuple[SentFifo, ...] = await fleet.ask(placement.parts[0], command, is_patient=True)
        return whole
    numbers: dict[Part, list[int]] = {}
    for number, message in enumerate(command.messages):
        part = part_of_group(placement.parts, message.group_id or "")
        numbers.setdefault(part, []).append(number)
    sent: dict[int, SentFifo] = {}
    for part, mine in numbers.items():
        messages = tuple(command.messages[number] for number in mine)
        try:
            answer = await fleet.ask(part, replace(command, messages=messages), is_patient=True)
        except StoreError as error:
            if sent:
                raise OutcomeUnknown(f"done on some shards only: {error}") from error
            raise
        sent.update(zip(mine, answer, strict=True))
    return tuple(sent[number] for number in range(len(command.messages)))


async def claim(fleet: Fleet, placement: Placement, command: ClaimFifo) -> Claimed:
    if command.attempt_id is None or len(placement.parts) == 1:
        return await standard.claim(fleet, placement, command)
    return await _attempt(fleet, placement, command)


async def _attempt(fleet: Fleet, placement: Placement, command: ClaimFifo) -> Claimed:
    """One part serves an attempt, so that it can be repeated there; always in the same order."""
    parts = placement.parts
    find = FindAttempt(0, command.attempt_id or "", command.attempt_ms)
    # The answer is a bool, and False is no reason to think that there is no such part.
    used = await asyncio.gather(*(fleet.ask_about(part, find) for part in parts))
    if any(used):
        parts = tuple(part for part, is_used in zip(parts, used, strict=True) if is_used)
    in_flight_max = -(-command.in_flight_max // len(placement.parts))
    asked = replace(command, in_flight_max=in_flight_max)
    empty: list[Claimed] = []
    for part in parts:
        claimed = await fleet.ask(part, asked)
        assert isinstance(claimed, Claimed)
        if claimed.messages:
            return claimed
        empty.append(claimed)
    instants = [c.next_visible_at_ms for c in empty if c.next_visible_at_ms is not None]
    at_capacity = all(c.at_capacity for c in empty)
    return Claimed((), empty[0].received_at_ms, min(instants, default=None), at_capacity)
