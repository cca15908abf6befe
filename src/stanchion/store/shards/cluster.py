"""Opens a home and its shards, and keeps them open: stores, batchers, listeners, background tasks.

A shard that is not what the home knows it as is refused: its messages are another's. One that
cannot be reached is opened later, so that servers start while a shard is down. Made by `backends`.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from stanchion.store.contract import StoreError, StoreUnusable
from stanchion.store.postgres import PostgresBatcher, PostgresStore, Wakeups
from stanchion.store.shards.chores import Watch
from stanchion.store.shards.commands import (
    HOME,
    HOME_NAME,
    SHARDS_MAX,
    Identify,
    JoinShard,
    ShardIdentity,
)
from stanchion.store.shards.fleet import Fleet
from stanchion.store.shards.links import Link
from stanchion.store.shards.mover import Mover
from stanchion.store.shards.placements import PartSignals
from stanchion.store.shards.registry import why_not
from stanchion.store.shards.router import ShardedStore
from stanchion.store.signals import QueueSignals

_RETRIED_FOR_S = 0.5
"""Soon enough for a claim to go on to the next shard; who has no other waits in the router."""
_REOPENED_EVERY_S = 1.0
_ANSWERED_WITHIN_S = 5.0
_LOOKED_AT_EVERY_S = 1.0

OnRefused = Callable[[StoreUnusable], None]
"""Told of a shard that is something else, and is never used."""
OnChanged = Callable[[str, bool, str], None]
"""Told of a shard's name, whether it can be reached now, and what is known of why not."""


class Cluster:
    """The home and its shards. Made by `open`, on one event loop."""

    def __init__(self, home: PostgresStore, url: str, schema: str, on_refused: OnRefused) -> None:
        self.home = home
        self._on_refused = on_refused
        self.signals = QueueSignals(home.clock)
        self._schema = schema
        self._stores: list[PostgresStore] = [home]
        self._shards: dict[str, PostgresStore | StoreUnusable] = {}
        """By name: its store, or why there is none yet."""
        self._wakeups: list[Wakeups] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._move_key: bytes | None = None
        self._home_link = Link(HOME, HOME_NAME, None)
        self.fleet = Fleet(self._home_link, self.signals)
        self.router = ShardedStore(self.fleet)
        self._connect(self._home_link, home, url)

    @classmethod
    async def open(
        cls,
        url: str,
        schema: str,
        shards: Mapping[str, str],
        on_refused: OnRefused = lambda error: None,
        on_changed: OnChanged = lambda name, is_reachable, reason: None,
    ) -> "Cluster":
        """`on_refused` is told of shards that are opened later. Raises `StoreUnusable`."""
        home = await PostgresStore.open(url, schema=schema, retried_for_s=_RETRIED_FOR_S)
        cluster = cls(home, url, schema, on_refused)
        try:
            for name, shard_url in shards.items():
                await cluster._add(name, shard_url)
            watch = Watch(cluster.fleet)
            await watch.look()
        except StoreError as error:
            await cluster.close()
            raise StoreUnusable(f"the home of the shards cannot be used: {error}") from error
        except BaseException:
            await cluster.close()
            raise
        cluster._start(cluster._tell(on_changed))
        cluster._start(watch.run())
        cluster._start(Mover(cluster.fleet).run())
        return cluster

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    def _connect(self, link: Link, store: PostgresStore, url: str) -> None:
        signals = PartSignals(link.number, self.fleet.placements, self.signals)
        wakeups = Wakeups(url, self._schema, signals, store.clock)
        self._wakeups.append(wakeups)
        link.batcher = PostgresBatcher(store, signals, announce=wakeups.announce)

    async def _add(self, name: str, url: str) -> None:
        joined = await self._home_link.run(JoinShard(name, os.urandom(16).hex()))
        if joined is None:
            raise StoreUnusable(f"there cannot be more than {SHARDS_MAX - 1} shards")
        if joined.number == HOME:
            raise StoreUnusable("the database in store is a shard of another home")
        link = Link(joined.number, name, None)
        self.fleet.add(link)
        if not await self._open(link, url, joined):
            self._start(self._open_later(link, url, joined))

    async def _open(self, link: Link, url: str, identity: ShardIdentity) -> bool:
        """Whether it could be reached. Raises `StoreUnusable` for one that is something else."""
        try:
            store = await PostgresStore.open(url, schema=self._schema, retried_for_s=_RETRIED_FOR_S)
        except StoreUnusable as error:
            if error.__cause__ is None:
                raise StoreUnusable(f"shard {link.name}: {error}") from None
            self._shards[link.name] = error
            return False
        (found,) = (await store.execute([Identify(identity)])).answers
        if isinstance(found, StoreError):
            self._shards[link.name] = StoreUnusable(str(found))
            await store.close()
            return False
        if found != identity:
            await store.close()
            raise StoreUnusable(f"shard {link.name}: {why_not(found)}")
        self._stores.append(store)
        self._shards[link.name] = store
        if self._move_key is not None:
            store.set_move_key(self._move_key)
        self._connect(link, store, url)
        return True

    async def _open_later(self, link: Link, url: str, identity: ShardIdentity) -> None:
        # One that turns out to be something else is never used, as if it could not be reached.
        try:
            is_open = False
            while not is_open:
                await asyncio.sleep(_REOPENED_EVERY_S)
                is_open = await self._open(link, url, identity)
        except StoreUnusable as error:
            self._on_refused(error)

    def shards_reachable(self) -> dict[str, bool]:
        """Whether each shard has answered in the last few seconds, by name; without the home."""
        return {
            name: isinstance(store, PostgresStore) and store.is_reachable()
            for name, store in self._shards.items()
        }

    async def _tell(self, on_changed: OnChanged) -> None:
        """Tell each change once; what cannot be reached at first is one."""
        told = dict.fromkeys(self._shards, True)
        while True:
            for name, is_reachable in self.shards_reachable().items():
                if told[name] != is_reachable:
                    told[name] = is_reachable
                    store = self._shards[name]
                    reason = str(store) if isinstance(store, StoreUnusable) else "it is silent"
                    on_changed(name, is_reachable, reason)
            await asyncio.sleep(_LOOKED_AT_EVERY_S)

    def set_move_key(self, key: bytes) -> None:
        """What moves are vouched for with, on every shard. Before the first command."""
        self._move_key = key
        for store in self._stores:
            store.set_move_key(key)

    def total(self, reading: Callable[[PostgresStore], int]) -> int:
        return sum(reading(store) for store in self._stores)

    def total_wakeups(self, reading: Callable[[Wakeups], int]) -> int:
        return sum(reading(wakeups) for wakeups in self._wakeups)

    async def close(self) -> None:
        """Finish what is waiting, and close everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.router.close()
        for wakeups in self._wakeups:
            await wakeups.close()
        for store in self._stores:
            await store.close()
