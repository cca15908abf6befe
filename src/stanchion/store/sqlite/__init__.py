"""Queue state as rows in SQLite, inside the process: the store of a single node."""

from stanchion.store.sqlite.engine import SqliteStore

__all__ = ["SqliteStore"]
