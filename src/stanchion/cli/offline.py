"""The documents of a data directory, without a server: for rescue, and for a script beside one.

Only records are opened, never queues, and a running server takes note of an edit within a second.
Whatever keeps that from working ends the verb with one line. Called by the verbs about identities
and keys.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from stanchion.cli.settings import Fault
from stanchion.clock import SystemClock
from stanchion.config import Settings
from stanchion.keys.choice import root_of
from stanchion.keys.ring import KeyRing, open_ring, ring_record
from stanchion.keys.root import RootUnusable
from stanchion.store.contract import Command, Store, StoreError, StoreUnusable
from stanchion.store.documents import Documents
from stanchion.store.sqlite import SqliteStore

Answer = TypeVar("Answer")


class Run(Protocol):
    """Runs `work` to its end. Answer: that of `work`."""

    def __call__(self, work: Callable[[Documents], Awaitable[Answer]]) -> Answer: ...


@contextmanager
def documents(data_dir: Path) -> Iterator[Run]:
    """A way to work on the documents of a data directory, for the length of a block.

    Raises `Fault`, also for what the block raises of the store and of the root of trust.
    """
    try:
        store = _opened(data_dir)
        try:
            found = Documents(_Inline(store))
            yield lambda work: asyncio.run(_ended(work(found)))
        finally:
            store.close()
    except (StoreUnusable, StoreError, RootUnusable) as error:
        raise Fault(" ".join(str(error).split())) from None


def _opened(data_dir: Path) -> Store:
    try:
        return SqliteStore.open_records(data_dir)
    except OSError as error:
        raise Fault(f"cannot read {data_dir}: {error.strerror}") from None


async def _ended(work: Awaitable[Answer]) -> Answer:
    return await work


class _Inline:
    """A `StoreClient` whose commands are transactions of their own, in the thread that asks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clock = SystemClock(floor_ms=store.latest_ms())

    async def run(self, command: Command[Answer]) -> Answer:
        (answer,) = self._store.execute([command], self._clock.now_ms()).answers
        if isinstance(answer, StoreError):
            raise answer
        found: Any = answer
        return found  # type: ignore[no-any-return]


async def ring(settings: Settings, found: Documents) -> KeyRing:
    """The key ring, to seal with. Raises `RootUnusable`, also when no server has made one yet."""
    await ring_record(found)
    source = root_of(settings, Path(settings.data_dir), os.environ)
    return await open_ring(found, source, SystemClock())
