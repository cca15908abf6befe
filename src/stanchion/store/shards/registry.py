"""What a database is among shards, and why it is not what somebody takes it for.

Called when servers start, and by `stanchion shard`.
"""

from collections.abc import Sequence

from stanchion.store.contract import StoreError, StoreUnusable
from stanchion.store.postgres import PostgresStore
from stanchion.store.shards.commands import HOME, Identify, ListShards, Shard, ShardIdentity


async def check_alone(store: PostgresStore) -> None:
    """For a server without shards: that this is no shard, and has none that it would have to know.

    Raises `StoreUnusable`.
    """
    found = (await store.execute([Identify(None), ListShards()])).answers
    identity, shards = found
    if isinstance(identity, StoreError) or isinstance(shards, StoreError):
        raise StoreUnusable(f"the PostgreSQL database cannot be used: {identity}")
    if isinstance(identity, ShardIdentity) and identity.number != HOME:
        raise StoreUnusable(f"the database is shard {identity.number} of a home: name that instead")
    missing = _in_use(shards if isinstance(shards, list) else [])
    if missing:
        raise StoreUnusable(
            f"this store has queues on other shards: name {', '.join(missing)} in shards"
        )


def _in_use(shards: Sequence[Shard]) -> list[str]:
    return [
        shard.name
        for shard in shards
        if shard.number != HOME and (shard.queues or shard.state in ("open", "draining"))
    ]


def why_not(found: object) -> str:
    """Why a database is not the shard that it was to be: what it is."""
    if isinstance(found, ShardIdentity):
        return (
            f"the database is shard {found.number} of another home, or has another name there, or"
            " had one until it was removed"
        )
    return "the database has queues of its own; a shard begins empty"
