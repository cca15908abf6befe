"""Where state lives, ready for use: an open store with its clock, its batcher and its signals.

One function per kind of store; each opens what it needs and closes it in the right order. Nothing
above this module knows which one it is. Called by the server, once per process.
"""

import importlib.util
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from msgspec import Struct

from stanchion.clock import Clock, SystemClock
from stanchion.observe import logs
from stanchion.store.batcher import Batcher, WriterThread
from stanchion.store.contract import Store, StoreBroken, StoreClient, StoreUnusable
from stanchion.store.signals import QueueSignals


class GroupCommit(StoreClient, Protocol):
    """A batcher as the server sees it."""

    @property
    def waiting(self) -> int:
        """How many commands wait for a flush of theirs."""
        ...

    @property
    def flushes(self) -> int:
        """How many flushes there were."""
        ...

    @property
    def commands(self) -> int:
        """How many commands they had."""
        ...


class DatabaseReadings(Struct, frozen=True):
    """What a database of many processes has for the metrics."""

    statements: Callable[[], int]
    connections_in_use: Callable[[], int]
    wakeups_sent: Callable[[], int]
    wakeups_received: Callable[[], int]
    shards_reachable: Callable[[], Mapping[str, bool]] = dict
    """By name; of none without any."""


class Backend(Struct, frozen=True):
    store: GroupCommit
    signals: QueueSignals
    clock: Clock
    set_move_key: Callable[[bytes], None]
    """Given what moves are vouched for with, before there are any."""
    is_reachable: Callable[[], bool] = lambda: True
    """Whether it has answered in the last few seconds. One of this process always does, or ends."""
    database: DatabaseReadings | None = None


OnBroken = Callable[[StoreBroken], None]
OpenBackend = Callable[[OnBroken], AbstractAsyncContextManager[Backend]]
"""Raises `StoreUnusable`. The argument is told when the store cannot be trusted any more."""


def in_process(open_store: Callable[[], Store]) -> OpenBackend:
    """A store of this process alone, with a writer thread of its own: SQLite."""

    @asynccontextmanager
    async def backend(on_broken: OnBroken) -> AsyncIterator[Backend]:
        store = open_store()
        try:
            clock = SystemClock(floor_ms=store.latest_ms())
            signals = QueueSignals(clock)
            batcher = Batcher(store, clock, signals, writer=WriterThread(), on_broken=on_broken)
            try:
                yield Backend(batcher, signals, clock, store.set_move_key)
            finally:
                await batcher.close()
        finally:
            _close(store)

    return backend


def in_postgres(url: str, schema: str) -> OpenBackend:
    """A schema of a PostgreSQL database, shared with as many processes as there are.

    Raises `StoreUnusable`.
    """
    check_postgres()
    from stanchion.store.postgres import PostgresBatcher, PostgresStore, Wakeups
    from stanchion.store.shards.registry import check_alone

    @asynccontextmanager
    async def backend(on_broken: OnBroken) -> AsyncIterator[Backend]:
        store = await PostgresStore.open(url, schema=schema)
        try:
            await check_alone(store)
            signals = QueueSignals(store.clock)
            wakeups = Wakeups(url, schema, signals, store.clock)
            batcher = PostgresBatcher(store, signals, announce=wakeups.announce)
            try:
                yield Backend(
                    batcher,
                    signals,
                    store.clock,
                    store.set_move_key,
                    store.is_reachable,
                    DatabaseReadings(
                        statements=lambda: store.statements,
                        connections_in_use=lambda: store.connections_in_use,
                        wakeups_sent=lambda: wakeups.sent,
                        wakeups_received=lambda: wakeups.received,
                    ),
                )
            finally:
                await batcher.close()
                await wakeups.close()
        finally:
            await store.close()

    return backend


def in_shards(url: str, schema: str, shards: Mapping[str, str]) -> OpenBackend:
    """A home at `url` and further databases by name, each with a schema of that name.

    Raises `StoreUnusable`.
    """
    check_postgres()
    from stanchion.store.shards.cluster import Cluster

    @asynccontextmanager
    async def backend(on_broken: OnBroken) -> AsyncIterator[Backend]:
        cluster = await Cluster.open(url, schema, shards, _on_refused, _on_changed)
        try:
            yield Backend(
                cluster.router,
                cluster.signals,
                cluster.home.clock,
                cluster.set_move_key,
                cluster.home.is_reachable,
                DatabaseReadings(
                    statements=lambda: cluster.total(lambda store: store.statements),
                    connections_in_use=lambda: cluster.total(lambda s: s.connections_in_use),
                    wakeups_sent=lambda: cluster.total_wakeups(lambda wakeups: wakeups.sent),
                    wakeups_received=lambda: cluster.total_wakeups(lambda w: w.received),
                    shards_reachable=cluster.shards_reachable,
                ),
            )
        finally:
            await cluster.close()

    return backend


def _on_refused(error: StoreUnusable) -> None:
    logs.event("a shard is not what it was and is not used", logs.ERROR, error=error)


def _on_changed(shard: str, is_reachable: bool, reason: str) -> None:
    if is_reachable:
        logs.event("a shard can be reached again", shard=shard)
    else:
        logs.event("a shard cannot be reached", logs.ERROR, shard=shard, reason=reason)


def check_postgres() -> None:
    """Raises `StoreUnusable` without the package that the store for PostgreSQL needs."""
    if importlib.util.find_spec("asyncpg") is None:
        raise StoreUnusable(
            "PostgreSQL needs the package asyncpg: install the extra postgres, see "
            "docs/guides/production.md"
        )


def _close(store: Store) -> None:
    try:
        store.close()
    except Exception as error:
        # What was acknowledged is on the disk already, or the store was broken before.
        logs.event("the store could not be closed", logs.ERROR, error=error)
