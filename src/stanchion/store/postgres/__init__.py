"""Queue state as rows in PostgreSQL, for as many processes as one database can serve."""

from stanchion.store.postgres.batcher import PostgresBatcher
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.postgres.wakeups import Wakeups

__all__ = ["PostgresBatcher", "PostgresStore", "Wakeups"]
