"""The queue rows of a shard: parts that the home has told it of. What the home knows: `parts`.

Parts come and go one flush at a time. Of each queue a shard has one part, the newest that it was
told of: an older one goes with all it has, and one that was dropped never comes back, nor one that
is older. A part that is copied to another shard, or is the copy, stands *still*: see `transfer`.
Called by the engine and by `parts`.
"""

from collections.abc import Sequence

from stanchion.store.postgres import queues
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import EVERYBODY, Transaction
from stanchion.store.shards.commands import (
    AdoptPart,
    DropPart,
    FindAttempt,
    Identify,
    LeavePart,
    PartState,
    RenamePart,
    ShardIdentity,
)

_LOCK_DIRECTORY = statement("lock_directory")
_SHARD_IDENTITY = statement("shard_identity")
_SET_SHARD_IDENTITY = statement("set_shard_identity")
_START_MESSAGE_SEQUENCE = statement("start_message_sequence")
_ANY_QUEUE = statement("any_queue")
_LOCK_QUEUE = statement("lock_queue")
_ID_OF_NAME = statement("id_of_name")
_IDS_OF_HOME_QUEUE = statement("ids_of_home_queue")
_INSERT_ADOPTED_QUEUE = statement("insert_adopted_queue")
_UPDATE_ADOPTED_QUEUE = statement("update_adopted_queue")
_RELEASE_PART = statement("release_part")
_CHECK_BACKLOG_NOW = statement("check_backlog_now")
_IS_PAST_PART = statement("is_past_part")
_INSERT_PAST_PART = statement("insert_past_part")
_ANY_MESSAGE_OF = statement("any_message_of")
_TAKE_NAME = statement("take_name")
_FREEZE_PART = statement("freeze_part")
_RENAME_QUEUE = statement("rename_queue")
_RENAME_DEDUPLICATION = statement("rename_deduplication")
_RENAME_ATTEMPTS = statement("rename_attempts")
_RECEIVE_ATTEMPT = statement("receive_attempt")

_NUMBERS_EACH = 1 << 50
"""So many numbers of messages are kept for each shard that ever joins, for its messages alone.

Far more than one gives out. The first generation begins above what another kind of store may have
given out before its messages came to the home.
"""
GENERATIONS_MAX = (1 << 63) // _NUMBERS_EACH - 2
_LOCK_QUEUES = "LOCK TABLE queue IN ACCESS EXCLUSIVE MODE"
"""Every flush reads this table first: so this waits until all that have are over."""
_STILL: tuple[PartState, ...] = ("frozen", "arriving")


# --- What a database is -------------------------------------------------------------------------


async def identity_of(tx: Transaction) -> ShardIdentity | None:
    row = await tx.row(_SHARD_IDENTITY)
    return ShardIdentity(*row) if row else None


async def set_identity(tx: Transaction, identity: ShardIdentity) -> None:
    await tx.run(_SET_SHARD_IDENTITY, *identity)


async def identify(tx: Transaction, commands: Sequence[Identify]) -> list[ShardIdentity | None]:
    await tx.fetch(_LOCK_DIRECTORY)
    answers = []
    for command in commands:
        identity, wanted = await identity_of(tx), command.identity
        if wanted and _may_become(identity, wanted) and not await tx.row(_ANY_QUEUE):
            identity = wanted
            await set_identity(tx, identity)
            first = identity.generation * _NUMBERS_EACH + identity.number
            await tx.fetch(_START_MESSAGE_SEQUENCE, first)
        answers.append(identity)
    return answers


def _may_become(identity: ShardIdentity | None, wanted: ShardIdentity) -> bool:
    """Whether it is nothing yet, or was a shard of that home that has been removed since."""
    return identity is None or (
        identity.home_id == wanted.home_id and 0 < identity.generation < wanted.generation
    )


# --- Parts --------------------------------------------------------------------------------------


async def adopt(tx: Transaction, commands: Sequence[AdoptPart]) -> list[bool]:
    await tx.fetch(_LOCK_DIRECTORY)
    tx.forget_places()
    return [await _adopt(tx, command) for command in commands]


async def _adopt(tx: Transaction, c: AdoptPart) -> bool:
    if await tx.row(_IS_PAST_PART, c.home_queue_id, c.part_id):
        return False
    found = [row[0] for row in await tx.fetch(_IDS_OF_HOME_QUEUE, c.home_queue_id)]
    named = await tx.row(_ID_OF_NAME, *c.name)
    if any(part_id > c.part_id for part_id in (*found, *(named or ())[:1])):
        return False
    if c.part_id in found:
        await _update(tx, c)
        return True
    if found and c.state == "open":
        # The same queue, purged: that has no effect on deduplication.
        await tx.run(_RENAME_DEDUPLICATION, found[-1], c.part_id)
    for part_id in found:
        await _drop(tx, part_id, c.home_queue_id)
    if named is not None and named[0] not in found:
        await _drop(tx, *named)
    settings = (c.version, *queues.columns(c.rules), tx.now_ms, c.home_queue_id)
    await tx.run(_INSERT_ADOPTED_QUEUE, c.part_id, *c.name, *settings, c.state in _STILL)
    await queues.give_backlog(tx, c.part_id, c.rules.retention_ms)
    return True


async def _update(tx: Transaction, c: AdoptPart) -> None:
    if c.state == "open":
        await tx.run(_RELEASE_PART, c.part_id)
    columns = queues.columns(c.rules)
    if await tx.run(_UPDATE_ADOPTED_QUEUE, c.part_id, c.version, *columns, tx.now_ms):
        await tx.run(_CHECK_BACKLOG_NOW, c.part_id, tx.now_ms)
        tx.add_wake(c.part_id, tx.now_ms, EVERYBODY)


async def _drop(tx: Transaction, part_id: int, home_queue_id: int) -> bool:
    await tx.run(_INSERT_PAST_PART, home_queue_id, part_id, tx.now_ms)
    return await queues.cut_off(tx, part_id)


async def drop(tx: Transaction, commands: Sequence[DropPart]) -> list[bool]:
    await tx.fetch(_LOCK_DIRECTORY)
    tx.forget_places()
    return [await _drop_up_to(tx, command) for command in commands]


async def _drop_up_to(tx: Transaction, command: DropPart) -> bool:
    """The part may be here under an older id: nobody told this shard of the newer one."""
    await tx.run(_INSERT_PAST_PART, command.home_queue_id, command.part_id, tx.now_ms)
    found = await tx.fetch(_IDS_OF_HOME_QUEUE, command.home_queue_id)
    dropped = [row[0] for row in found if row[0] <= command.part_id]
    for part_id in dropped:
        await queues.cut_off(tx, part_id)
    return bool(dropped)


async def rename(tx: Transaction, commands: Sequence[RenamePart]) -> list[bool]:
    await tx.fetch(_LOCK_QUEUES)
    tx.forget_places()
    answers = []
    for command in commands:
        row = await tx.row(_ID_OF_NAME, *command.name)
        answers.append(row is not None and row[0] <= command.new_id)
        if row is not None and row[0] < command.new_id:
            await tx.run(_RENAME_QUEUE, row[0], command.new_id)
            await tx.run(_RENAME_DEDUPLICATION, row[0], command.new_id)
            await tx.run(_RENAME_ATTEMPTS, row[0], command.new_id)
            await tx.run(_INSERT_PAST_PART, row[1], row[0], tx.now_ms)
        if answers[-1] and command.is_frozen:
            await tx.run(_FREEZE_PART, command.new_id)
    return answers


async def leave(tx: Transaction, commands: Sequence[LeavePart]) -> list[bool | None]:
    await tx.fetch(_LOCK_QUEUES)
    tx.forget_places()
    answers: list[bool | None] = []
    for command in commands:
        if await tx.row(_LOCK_QUEUE, command.part_id) is None:
            answers.append(None)
        elif await tx.row(_ANY_MESSAGE_OF, command.part_id):
            answers.append(False)
        else:
            answers.append(await tx.run(_TAKE_NAME, command.part_id) > 0)
    return answers


async def find_attempts(tx: Transaction, commands: Sequence[FindAttempt]) -> list[bool]:
    return [
        await tx.row(_RECEIVE_ATTEMPT, c.queue_id, c.attempt_id, tx.now_ms - c.attempt_ms)
        is not None
        for c in commands
    ]


KINDS = (
    (RenamePart, rename),
    (LeavePart, leave),
    (Identify, identify),
    (DropPart, drop),
    (AdoptPart, adopt),
    (FindAttempt, find_attempts),
)
"""What the engine executes here."""
