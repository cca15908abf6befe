"""The documents of a store, without a server: for rescue, and for a script beside one.

Only records are opened, never queues, and a running server takes note of an edit within a second.
The state is never made here, nor brought up to date. Whatever keeps that from working ends the verb
with one line. Called by the verbs about identities and keys.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from stanchion.backends import check_postgres
from stanchion.cli.settings import Fault
from stanchion.clock import SystemClock
from stanchion.config import SQLITE, Settings
from stanchion.keys.choice import root_of
from stanchion.keys.ring import KeyRing, open_ring, ring_record
from stanchion.keys.root import RootUnusable
from stanchion.store.contract import Command, Flush, StoreError, StoreUnusable
from stanchion.store.documents import Documents
from stanchion.store.sqlite import SqliteStore

Answer = TypeVar("Answer")


class Run(Protocol):
    """Runs `work` to its end. Answer: that of `work`."""

    def __call__(self, work: Callable[[Documents], Awaitable[Answer]]) -> Answer: ...


@contextmanager
def documents(settings: Settings) -> Iterator[Run]:
    """A way to work on the documents that are configured, for the length of a block.

    Raises `Fault`, also for what the block raises of the store and of the root of trust.
    """
    if not settings.has_place:
        raise Fault("no data directory: say where the state is with --data-dir DIR or --store URL")
    open_store = _in_database if settings.store != SQLITE else _in_directory
    try:
        with asyncio.Runner() as runner:
            opened = open_store(settings)
            found = Documents(_Direct(runner.run(_ended(opened.__aenter__()))))
            try:
                yield lambda work: runner.run(_ended(work(found)))
            finally:
                runner.run(_ended(opened.__aexit__(None, None, None)))
    except (StoreUnusable, StoreError, RootUnusable) as error:
        raise Fault(" ".join(str(error).split())) from None


Execute = Callable[[Sequence[Command[Any]]], Awaitable[Flush]]


@asynccontextmanager
async def _in_directory(settings: Settings) -> AsyncIterator[Execute]:
    try:
        store = SqliteStore.open_records(Path(settings.data_dir))
    except OSError as error:
        raise Fault(f"cannot read {settings.data_dir}: {error.strerror}") from None
    clock = SystemClock(floor_ms=store.latest_ms())

    async def execute(commands: Sequence[Command[Any]]) -> Flush:
        return store.execute(commands, clock.now_ms())

    try:
        yield execute
    finally:
        store.close()


@asynccontextmanager
async def _in_database(settings: Settings) -> AsyncIterator[Execute]:
    check_postgres()
    from stanchion.store.postgres import PostgresStore

    # A schema is made and brought up to date by servers: this may be another release.
    store = await PostgresStore.open(settings.store, schema=settings.postgres_schema, is_made=False)
    try:
        yield store.execute
    finally:
        await store.close()


async def _ended(work: Awaitable[Answer]) -> Answer:
    return await work


class _Direct:
    """A `StoreClient` whose commands are transactions of their own."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    async def run(self, command: Command[Answer]) -> Answer:
        (answer,) = (await self._execute([command])).answers
        if isinstance(answer, StoreError):
            raise answer
        found: Any = answer
        return found  # type: ignore[no-any-return]


async def ring(settings: Settings, found: Documents) -> KeyRing:
    """The key ring, to seal with. Raises `RootUnusable`, also when no server has made one yet."""
    await ring_record(found)
    return await open_ring(found, root_of(settings, settings.data_path, os.environ), SystemClock())
