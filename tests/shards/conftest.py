"""For the suites of every store: a home, and a shard that has all the messages."""

from collections.abc import Iterator

import pytest

from tests.store.driver import Driver


@pytest.fixture
def driver() -> Iterator[Driver]:
    pytest.importorskip("asyncpg")
    from tests.shards.fleet import BlockingShards

    store = BlockingShards("a")
    yield Driver(store)
    store.close()
