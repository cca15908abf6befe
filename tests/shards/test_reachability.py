"""A shard that cannot be reached is told of once, and so is its return."""

import asyncio

import pytest

pytest.importorskip("asyncpg")

from stanchion import pages
from stanchion.backends import in_shards
from stanchion.observe.metrics import Metrics
from stanchion.store.contract import Upkeep
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.shards import cluster
from stanchion.store.shards.cluster import Cluster
from tests.postgres import SCHEMA
from tests.shards.fleet import DEADLINE_S, empty, urls

Change = tuple[str, bool, str]


def test_changes_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_LOOKED_AT_EVERY_S", 0.01)
    told: list[Change] = []

    async def scenario() -> None:
        await empty()
        news: asyncio.Queue[Change] = asyncio.Queue()
        places = {"a": urls()["a"], "gone": "postgresql://127.0.0.1:1/x"}
        made = await Cluster.open(
            urls()["home"], SCHEMA, places, on_changed=lambda *change: news.put_nowait(change)
        )
        try:
            told.append(await news.get())
            assert made.shards_reachable() == {"a": True, "gone": False}
            store = made._shards["a"]
            assert isinstance(store, PostgresStore)
            store._committed_s -= 60
            assert made.shards_reachable() == {"a": False, "gone": False}
            told.append(await news.get())
            await asyncio.sleep(0.05)
            await made.router.run(Upkeep())
            told.append(await news.get())
            assert made.shards_reachable() == {"a": True, "gone": False}
            assert news.empty()
        finally:
            await made.close()

    urls()
    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))
    (name, is_reachable, reason), *others = told
    assert (name, is_reachable) == ("gone", False)
    assert "127.0.0.1:1: Connection refused" in reason
    assert [(name, is_reachable) for name, is_reachable, _ in others] == [("a", False), ("a", True)]


def test_the_operator_is_told(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()

    async def scenario() -> None:
        await empty()
        places = {"a": urls()["a"], "gone": "postgresql://127.0.0.1:1/x"}
        opening = in_shards(urls()["home"], SCHEMA, places)
        async with opening(lambda error: None) as backend:
            await asyncio.sleep(0)
            assert backend.database is not None
            pages._watch_database(metrics, backend.database)
            text = metrics.exposition().decode()
        assert 'stanchion_shard_reachable{shard="a"} 1.0' in text
        assert 'stanchion_shard_reachable{shard="gone"} 0.0' in text

    urls()
    with caplog.at_level("INFO", logger="stanchion"):
        asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))
    (record,) = [each for each in caplog.records if "shard" in each.getMessage()]
    assert record.getMessage() == "a shard cannot be reached"
