"""Shards and parts of queues as rows at the home: the register, and where each queue is.

Whoever changes a placement holds the queue's row, and numbers the change while nobody else can: so
nodes that ask for what has changed miss nothing. What a shard has of it: `adopted`. Called by the
engine.
"""

from collections.abc import Sequence
from typing import Any

from stanchion.store.contract import QueueCreated, QueueName, QueueRules
from stanchion.store.postgres import adopted, queues
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Transaction
from stanchion.store.shards.commands import (
    HOME,
    HOME_NAME,
    SHARDS_MAX,
    AddPart,
    ChangedPlacements,
    CountNodes,
    CountShard,
    CreatePlaced,
    GetOwed,
    GetPlacement,
    JoinShard,
    LeaseMover,
    ListShards,
    NoteDropped,
    NoteTold,
    Owed,
    Part,
    PartsToMove,
    Placement,
    RemoveShard,
    ReplacePart,
    RetirePart,
    SetShardState,
    Shard,
    ShardIdentity,
)

_LOCK_DIRECTORY = statement("lock_directory")
_SHARD_NUMBERS = statement("shard_numbers")
_NEXT_SHARD_GENERATION = statement("next_shard_generation")
_SHARDS = statement("shards")
_NODES = statement("nodes")
_SHARD_MESSAGES = statement("shard_messages")
_INSERT_SHARD = statement("insert_shard")
_SET_SHARD_STATE = statement("set_shard_state")
_REMOVE_SHARD = statement("remove_shard")
_QUEUE_RULES = statement("queue_rules")
_LOCK_QUEUE = statement("lock_queue")
_PARTS = statement("parts")
_READ_META = statement("read_meta")
_NEXT_PLACEMENT_CHANGE = statement("next_placement_change")
_INSERT_PART = statement("insert_part")
_NOTE_TOLD = statement("note_told")
_UNTOLD_QUEUES = statement("untold_queues")
_DROPPED_PARTS = statement("dropped_parts")
_FORGET_DROPPED_PART = statement("forget_dropped_part")
_CHANGED_PLACEMENTS = statement("changed_placements")
_PARTS_OF_SHARD = statement("parts_of_shard")
_RETIRE_PART = statement("retire_part")
_DROP_PART_OF_QUEUE = statement("drop_part_of_queue")
_LOCK_PART = statement("lock_part")
_RENEW_ARRIVING_PART = statement("renew_arriving_part")
_LEASE_MOVER = statement("lease_mover")
_INHERIT_SLOTS = statement("inherit_slots")
_MOVER_LEASE_MS = 30_000


# --- The register -------------------------------------------------------------------------------


async def list_shards(tx: Transaction, commands: Sequence[ListShards]) -> list[Sequence[Shard]]:
    return [[Shard(*row) for row in await tx.fetch(_SHARDS)] for _ in commands]


async def join(tx: Transaction, commands: Sequence[JoinShard]) -> list[ShardIdentity | None]:
    await tx.fetch(_LOCK_DIRECTORY)
    return [await _join(tx, command) for command in commands]


async def _join(tx: Transaction, command: JoinShard) -> ShardIdentity | None:
    home = await adopted.identity_of(tx)
    if home is None:
        home = ShardIdentity(command.home_id, HOME, 0)
        await adopted.set_identity(tx, home)
        await tx.run(_INSERT_SHARD, HOME, HOME_NAME, "open", 0)
    if home.number != HOME:
        return ShardIdentity(home.home_id, HOME, 0)
    known = {name: numbers for name, *numbers in await tx.fetch(_SHARD_NUMBERS)}
    if command.name in known:
        return ShardIdentity(home.home_id, *known[command.name])
    free = sorted(set(range(SHARDS_MAX)) - {number for number, _ in known.values()})
    if not free:
        return None
    generation = await _next_generation(tx)
    if generation > adopted.GENERATIONS_MAX:
        return None
    # In turn: a number that was another's is given again as late as can be.
    wanted = (generation - 1) % (SHARDS_MAX - 1) + 1
    number = next((each for each in free if each >= wanted), free[0])
    await tx.run(_INSERT_SHARD, number, command.name, "joining", generation)
    return ShardIdentity(home.home_id, number, generation)


async def _next_generation(tx: Transaction) -> int:
    row = await tx.row(_NEXT_SHARD_GENERATION)
    assert row is not None
    generation: int = row[0]
    return generation


async def set_state(tx: Transaction, commands: Sequence[SetShardState]) -> list[bool]:
    return [await tx.run(_SET_SHARD_STATE, c.name, c.state, list(c.after)) > 0 for c in commands]


async def remove(tx: Transaction, commands: Sequence[RemoveShard]) -> list[bool]:
    await tx.fetch(_LOCK_DIRECTORY)
    return [await tx.run(_REMOVE_SHARD, command.name) > 0 for command in commands]


async def count_nodes(tx: Transaction, commands: Sequence[CountNodes]) -> list[int]:
    row = await tx.row(_NODES)
    assert row is not None
    return [row[0]] * len(commands)


async def count_shard(tx: Transaction, commands: Sequence[CountShard]) -> list[int]:
    row = await tx.row(_SHARD_MESSAGES)
    assert row is not None
    return [row[0]] * len(commands)


# --- Placements ---------------------------------------------------------------------------------


async def create(tx: Transaction, commands: Sequence[CreatePlaced]) -> list[Any]:
    created = await queues.create_queues(tx, [command.creation for command in commands])
    for command, outcome in zip(commands, created, strict=True):
        if isinstance(outcome, QueueCreated) and command.shards != (HOME,):
            change = await _next_change(tx)
            for slot, shard in enumerate(command.shards):
                slots = [slot] if command.creation.rules.is_fifo else []
                await tx.run(_INSERT_PART, outcome.record.id, shard, "open", slots, change)
    return list(created)


async def _next_change(tx: Transaction) -> int:
    row = await tx.row(_NEXT_PLACEMENT_CHANGE)
    assert row is not None
    change: int = row[0]
    return change


async def get(tx: Transaction, commands: Sequence[GetPlacement]) -> list[Placement | None]:
    return [await _placement(tx, command.queue_id) for command in commands]


async def _placement(tx: Transaction, queue_id: int) -> Placement | None:
    row = await tx.row(_QUEUE_RULES, queue_id)
    if row is None:
        return None
    account_id, region, name, version, retention_ms, is_fifo, delay_ms, *target, most = row
    dead_letter_queue = QueueName(*target) if target[2] is not None else None
    parts = [
        Part(part_id, shard, state, tuple(slots), heir)
        for part_id, shard, state, slots, heir in await tx.fetch(_PARTS, queue_id)
    ]
    return Placement(
        queue_id,
        QueueName(account_id, region, name),
        version,
        QueueRules(retention_ms, is_fifo, delay_ms, dead_letter_queue, most),
        tuple(parts) or (Part(queue_id, HOME, "open", (0,)),),
    )


async def changed(
    tx: Transaction, commands: Sequence[ChangedPlacements]
) -> list[tuple[int, tuple[int, ...]]]:
    answers = []
    for command in commands:
        # Read first: what is changed in between is told twice rather than never.
        latest = await tx.row(_READ_META, "placements")
        assert latest is not None
        rows = await tx.fetch(_CHANGED_PLACEMENTS, command.after, command.limit)
        reached = rows[-1][1] if len(rows) == command.limit else latest[0]
        answers.append((reached, tuple({row[0] for row in rows})))
    return answers


async def add_part(tx: Transaction, commands: Sequence[AddPart]) -> list[Placement | None]:
    answers = []
    for command in commands:
        if await tx.row(_LOCK_QUEUE, command.queue_id):
            await _add_part(tx, command.queue_id, command.shard, "open")
        answers.append(await _placement(tx, command.queue_id))
    return answers


async def _add_part(tx: Transaction, queue_id: int, shard: int, state: str) -> None:
    parts = await tx.fetch(_PARTS, queue_id)
    if any(part[1] == shard for part in parts) or (not parts and shard == HOME):
        return
    change = await _next_change(tx)
    if not parts:
        await tx.run(_INSERT_PART, queue_id, HOME, "open", [0], change)
    await tx.run(_INSERT_PART, queue_id, shard, state, [], change)


async def note_told(tx: Transaction, commands: Sequence[NoteTold]) -> list[bool]:
    return [await tx.run(_NOTE_TOLD, c.part_id, c.version, c.state) > 0 for c in commands]


async def note_dropped(tx: Transaction, commands: Sequence[NoteDropped]) -> list[bool]:
    return [await tx.run(_FORGET_DROPPED_PART, c.part_id) > 0 for c in commands]


async def get_owed(tx: Transaction, commands: Sequence[GetOwed]) -> list[Owed]:
    return [
        Owed(
            tuple(row[0] for row in await tx.fetch(_UNTOLD_QUEUES, c.shard, c.limit)),
            tuple(tuple(row) for row in await tx.fetch(_DROPPED_PARTS, c.shard, c.limit)),
        )
        for c in commands
    ]


async def to_move(tx: Transaction, commands: Sequence[PartsToMove]) -> list[Sequence[int]]:
    return [
        [row[0] for row in await tx.fetch(_PARTS_OF_SHARD, c.shard, list(c.states), c.limit)]
        for c in commands
    ]


async def lease_mover(tx: Transaction, commands: Sequence[LeaseMover]) -> list[int | None]:
    answers = []
    for command in commands:
        until_ms = tx.now_ms + _MOVER_LEASE_MS
        row = await tx.row(_LEASE_MOVER, until_ms, tx.now_ms, command.leased_until_ms)
        answers.append(row[0] if row else None)
    return answers


async def retire(tx: Transaction, commands: Sequence[RetirePart]) -> list[Placement | None]:
    answers = []
    for command in commands:
        await tx.row(_LOCK_QUEUE, command.queue_id)
        placement = await _placement(tx, command.queue_id)
        answers.append(await _retire(tx, command, placement) if placement else None)
    return answers


async def _retire(tx: Transaction, command: RetirePart, placement: Placement) -> Placement | None:
    part = next((p for p in placement.parts if p.shard == command.shard), None)
    if part is None:
        return None
    if part.state == "open" and any(p.heir == command.shard for p in placement.parts):
        # What comes here has to have arrived before it can go on.
        return placement
    is_there = any(p.shard == command.heir_shard for p in placement.parts)
    if part.state == "open" and placement.rules.is_fifo and is_there:
        # Its messages would be mixed with those of another part.
        return placement
    change = await _next_change(tx)
    if part.state != "open":
        await tx.run(_RENEW_ARRIVING_PART, command.queue_id, change)
        return await _placement(tx, command.queue_id)
    is_fifo = placement.rules.is_fifo
    state, heir_state = ("frozen", "arriving") if is_fifo else ("leaving", "open")
    retired = (command.queue_id, command.shard, state, change, command.heir_shard)
    if await tx.run(_RETIRE_PART, *retired):
        await _add_part(tx, command.queue_id, command.heir_shard, heir_state)
    return await _placement(tx, command.queue_id)


async def replace(tx: Transaction, commands: Sequence[ReplacePart]) -> list[bool]:
    answers = []
    for command in commands:
        heir = await tx.row(_LOCK_PART, command.heir_id)
        row = await tx.row(_DROP_PART_OF_QUEUE, command.part_id) if heir is not None else None
        answers.append(row is not None)
        if row is not None:
            await tx.run(_INHERIT_SLOTS, command.heir_id, row[0], await _next_change(tx))
    return answers


KINDS = (
    (CreatePlaced, create),
    (JoinShard, join),
    (SetShardState, set_state),
    (RemoveShard, remove),
    (AddPart, add_part),
    (LeaseMover, lease_mover),
    (RetirePart, retire),
    (ReplacePart, replace),
    (NoteTold, note_told),
    (NoteDropped, note_dropped),
    (GetPlacement, get),
    (ChangedPlacements, changed),
    (GetOwed, get_owed),
    (PartsToMove, to_move),
    (ListShards, list_shards),
    (CountNodes, count_nodes),
    (CountShard, count_shard),
)
"""What the engine executes here."""
