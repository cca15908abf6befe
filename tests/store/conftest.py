"""Every store that there is, for the tests that all of them have to pass."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stanchion.store.sqlite import SqliteStore
from tests.store.driver import Driver

RESERVE_BYTES = 64 * 1024


@pytest.fixture(params=["memory", "file"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    if request.param == "memory":
        store = SqliteStore.in_memory()
    else:
        store = SqliteStore.open(tmp_path / "data", reserve_bytes=RESERVE_BYTES)
    yield Driver(store)
    store.close()
