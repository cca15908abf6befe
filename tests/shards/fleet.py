"""A home and two shards, as databases of the one server of a test run, emptied for each test."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from stanchion.store.contract import Command, Flush, StoreError, Wake
from stanchion.store.postgres import database
from stanchion.store.postgres.connections import Connections
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.shards.choice import Choice
from stanchion.store.shards.chores import Watch
from stanchion.store.shards.cluster import Cluster
from stanchion.store.shards.commands import (
    Identify,
    JoinShard,
    SetShardState,
)
from stanchion.store.shards.fleet import Fleet
from stanchion.store.shards.links import Link
from stanchion.store.shards.mover import Mover
from stanchion.store.shards.placements import PartSignals
from stanchion.store.shards.router import ShardedStore
from stanchion.store.signals import QueueSignals
from tests.postgres import SCHEMA, Loop, server

Answer = TypeVar("Answer")

NAMES = ("home", "a", "b")
DEADLINE_S = 60


@functools.cache
def _loop() -> Loop:
    return Loop()


@functools.cache
def urls() -> dict[str, str]:
    """The databases by name; made once."""
    found = server().url
    return _loop().run(_make(found))


async def _make(url: str) -> dict[str, str]:
    connection = await database.connect(url, SCHEMA)
    made = {}
    for name in NAMES:
        await connection.execute(f"CREATE DATABASE shards_{name}")
        made[name] = url.replace("/postgres?", f"/shards_{name}?")
        assert made[name] != url
        there = await database.connect(made[name], SCHEMA)
        await database.migrate(there, SCHEMA)
        await there.close()
    await connection.close()
    return made


async def empty() -> None:
    """Forget everything in all of them."""
    for url in urls().values():
        connection = await asyncpg.connect(url)
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname=$1", SCHEMA)
        names = {row[0] for row in rows} - {"meta", "schema_version"}
        await connection.execute(f"SET search_path = {SCHEMA}")
        await connection.execute(";".join(f"DELETE FROM {name}" for name in sorted(names)))
        await connection.execute("UPDATE meta SET value = 0")
        await connection.close()


@asynccontextmanager
async def cluster(*shards: str, opened: bool = True) -> AsyncIterator[Cluster]:
    """What a process has: the home and these shards, open for queues."""
    found = urls()
    made = await Cluster.open(found["home"], SCHEMA, {name: found[name] for name in shards})
    try:
        if opened:
            await open_all(made, *shards)
        yield made
    finally:
        await made.close()


async def open_all(made: Cluster, *shards: str) -> None:
    for name in shards:
        await made.router.run(SetShardState(name, "open", ("joining", "open")))
    await Watch(made.fleet).look()


def over(*shards: str) -> Callable[[Callable[[Cluster], Awaitable[None]]], Callable[[], None]]:
    """A test over an empty home and empty shards."""

    def decorate(work: Callable[[Cluster], Awaitable[None]]) -> Callable[[], None]:
        async def all_of_it() -> None:
            await empty()
            async with cluster(*shards) as made:
                await work(made)

        def test() -> None:
            urls()
            asyncio.run(asyncio.wait_for(all_of_it(), DEADLINE_S))

        return test

    return decorate


class _At:
    """A batcher whose commands are flushes of their own, at an instant that a test has set."""

    waiting = flushes = commands = 0

    def __init__(self, store: PostgresStore, tell: Callable[[Sequence[Wake]], None]) -> None:
        self._store = store
        self._tell = tell
        self.now_ms = 0

    async def run(self, command: Command[Answer]) -> Answer:
        flush = await self._store.execute([command], self.now_ms)
        self._tell(flush.wakes)
        answer: Any = flush.answers[0]
        if isinstance(answer, StoreError):
            raise answer
        return answer  # type: ignore[no-any-return]

    async def close(self) -> None:
        pass


class _Heard(QueueSignals):
    """Keeps what is told of messages."""

    def notify(self, wakes: Any) -> None:
        self.wakes = [*getattr(self, "wakes", []), *wakes]


class _OnShards(Choice):
    """New queues go to a further shard for as long as one is open, and not to the home."""

    def open_shards(self, known: Collection[int]) -> list[int]:
        return sorted(super().open_shards(known), key=lambda number: number == 0)


class BlockingShards:
    """A `Store` over a home and shards, as the tests of every store drive it."""

    def __init__(self, *shards: str) -> None:
        self.loop = _loop()
        urls()
        self.loop.run(self._open(shards))

    async def _open(self, shards: Sequence[str]) -> None:
        await empty()
        self.connections = {name: Connections(urls()[name], SCHEMA, 4) for name in NAMES}
        self.stores = {
            name: PostgresStore(connections, lambda n: b"\7" * n, 0)
            for name, connections in self.connections.items()
        }
        self.signals = _Heard(self.stores["home"].clock)
        home = Link(0, "home", None)
        self.fleet = Fleet(home, self.signals)
        self.router = ShardedStore(self.fleet)
        self.fleet.choice = _OnShards()
        self.batchers = [self._link(home, "home")]
        for name in shards:
            identity = await self.router.run(JoinShard(name, "home-id"))
            assert identity is not None
            link = Link(identity.number, name, None)
            self.batchers.append(self._link(link, name))
            self.fleet.add(link)
            assert await link.run(Identify(identity))
            await self.router.run(SetShardState(name, "open", ("joining",)))
        self.watch = Watch(self.fleet)
        self.mover = Mover(self.fleet)
        await self.watch.look()

    def _link(self, link: Link, name: str) -> _At:
        heard = PartSignals(link.number, self.fleet.placements, self.signals)
        batcher = _At(self.stores[name], heard.notify)
        link.batcher = batcher
        return batcher

    @property
    def database(self) -> "BlockingShards":
        """Where a `Driver` looks at rows."""
        return self

    def query(self, text: str, *parameters: object) -> list[Any]:
        """Rows of the one further shard, or of all databases if there are more."""
        links = list(self.fleet.links.values())
        return [
            row
            for link in (links[1:] if len(links) == 2 else links)
            for row in self.loop.run(self._query(link.name, text, parameters))
        ]

    async def _query(self, name: str, text: str, parameters: Sequence[object]) -> list[Any]:
        session = await self.connections[name].take()
        try:
            return await session.connection.fetch(text, *parameters)
        finally:
            self.connections[name].give_back(session)

    def execute(self, commands: Sequence[Command[Any]], now_ms: int) -> Flush:
        for batcher in self.batchers:
            batcher.now_ms = now_ms
        self.signals.wakes = []
        answers = [self.loop.run(self._answer(command)) for command in commands]
        return Flush(answers, self.signals.wakes)

    def drain(self, name: str, steps: int) -> None:
        """Drain a shard and open all others, and do some steps of what moves queues."""
        self.loop.run(self._drain(name, steps))

    async def _drain(self, name: str, steps: int) -> None:
        for link in self.fleet.links.values():
            if link.number:
                state = "draining" if link.name == name else "open"
                states = ("open", "draining", "drained")
                await self.router.run(SetShardState(link.name, state, states))
        for _ in range(steps):
            await self.watch.look()
            await self.mover.step()

    async def _answer(self, command: Command[Any]) -> Any:
        try:
            return await self.router.run(command)
        except StoreError as error:
            return error

    def set_move_key(self, key: bytes) -> None:
        for store in self.stores.values():
            store.set_move_key(key)

    def maintain(self) -> None:
        pass

    def latest_ms(self) -> int:
        return 0

    def close(self) -> None:
        for connections in self.connections.values():
            self.loop.run(connections.close())
