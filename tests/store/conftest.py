"""Every store that there is, for the tests that all of them have to pass."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stanchion.store.contract import Store
from stanchion.store.sqlite import SqliteStore
from tests.store.driver import Driver

RESERVE_BYTES = 64 * 1024


@pytest.fixture(params=("memory", "file", "postgres"))
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    store = open_store(request.param, tmp_path)
    yield Driver(store)
    store.close()


@pytest.fixture(params=("memory", "file"))
def sqlite_driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    """For what only SQLite's store promises, or shows."""
    store = open_store(request.param, tmp_path)
    yield Driver(store)
    store.close()


def open_store(kind: str, directory: Path) -> Store:
    """An empty store. Skips the test when it needs a server that cannot be had."""
    if kind == "memory":
        return SqliteStore.in_memory()
    if kind == "file":
        return SqliteStore.open(directory / "data", reserve_bytes=RESERVE_BYTES)
    return open_postgres()


def open_postgres() -> Store:
    """An empty store in PostgreSQL. Skips the test when there is none to be had."""
    pytest.importorskip("asyncpg")
    from tests.postgres import BlockingPostgresStore

    return BlockingPostgresStore.open_empty()
