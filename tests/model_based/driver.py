"""The service without its front door: actions over a real store, an injected clock, one thread.

Everything below the gateway is the real thing; only time stands still until it is told to move.
"""

import asyncio
import os
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from stanchion.access.authoriser import Authoriser
from stanchion.access.identity import root_of
from stanchion.keys.data_keys import DataKeys
from stanchion.keys.providers import RING, RingProvider
from stanchion.keys.ring import KeyRing
from stanchion.model import sqs as model
from stanchion.service import Call
from stanchion.sqs.actions import service_of
from stanchion.sqs.catalogue import Catalogue
from stanchion.sqs.encryption import Bodies
from stanchion.sqs.receipts import Receipts
from stanchion.sqs.service import Limits, Sqs
from stanchion.store.batcher import Batcher, InlineWriter
from stanchion.store.contract import Store, StoreBroken, Upkeep
from stanchion.store.documents import Documents
from stanchion.store.signals import QueueSignals
from stanchion.store.sqlite.engine import SqliteStore

IN_FLIGHT_MAX = 12
COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
_SETTLED_AFTER_STEPS_MAX = 2_000


class ManualClock:
    """Time that moves when it is told to."""

    def __init__(self, now_ms: int = 1_767_225_600_000) -> None:
        self._now_ms = now_ms

    def advance(self, milliseconds: int) -> None:
        self._now_ms += milliseconds

    def now_ms(self) -> int:
        return self._now_ms

    def wall_s(self) -> float:
        return self._now_ms / 1000


class CountingIds:
    """Ids that come in order, so that a failing run reads well and repeats exactly."""

    def __init__(self) -> None:
        self._count = 0

    def uuid(self) -> str:
        self._count += 1
        return f"00000000-0000-4000-8000-{self._count:012x}"


Files = Path | Callable[[], Store] | None
"""Where the store is: in a directory, in memory, or wherever this opens it."""


def in_postgres() -> Callable[[], Store]:
    """An empty store in PostgreSQL, then that store again. Skips the test if there is none."""
    pytest.importorskip("asyncpg")
    from tests.postgres import BlockingPostgresStore

    opening = chain([BlockingPostgresStore.open_empty], repeat(BlockingPostgresStore))
    return lambda: next(opening)()


def _opened(files: Files) -> Store:
    if files is None:
        return SqliteStore.in_memory()
    if isinstance(files, Path):
        return SqliteStore.open(files, reserve_bytes=4096)
    return files()


class Driver:
    """Calls actions by name, one at a time or several at once; can restart on the same files."""

    def __init__(
        self,
        files: Files,
        in_flight_max: int = IN_FLIGHT_MAX,
        sabotage: Callable[[Store], Store] = lambda store: store,
    ) -> None:
        """`sabotage` puts something between the store and those who use it."""
        self.clock = ManualClock()
        self._files = files
        self._sabotage = sabotage
        self._in_flight_max = in_flight_max
        self._ids = CountingIds()
        self._ring = KeyRing.ephemeral()
        self._runner = asyncio.Runner()
        self._call = Call(root_of("000000000000", "key"), "us-east-1", "http://localhost")
        self._start()

    def _start(self) -> None:
        self._store = self._sabotage(_opened(self._files))
        signals = QueueSignals(self.clock)
        batcher = Batcher(self._store, self.clock, signals, writer=InlineWriter(), on_broken=_never)
        self._batcher = batcher
        provider = RingProvider(self._ring, os.urandom)
        sqs = Sqs(
            store=batcher,
            signals=signals,
            catalogue=Catalogue(batcher),
            receipts=Receipts(b"r" * 32),
            clock=self.clock,
            ids=self._ids,
            limits=Limits(in_flight_max=self._in_flight_max),
            authoriser=Authoriser(self.clock),
            documents=Documents(batcher),
            bodies=Bodies(DataKeys({RING: provider}, self.clock)),
            page_secret=b"p" * 32,
        )
        self._service = service_of(sqs)

    def call(self, action: str, request: Any) -> Any:
        return self._runner.run(self._act(action, request))

    def call_together(self, *calls: tuple[str, Any]) -> list[Any]:
        """Several calls at once, whose commands share a flush: their replies or errors."""
        return self._runner.run(self._act_together(calls))

    async def _act_together(self, calls: tuple[tuple[str, Any], ...]) -> list[Any]:
        acts = (self._act(action, request) for action, request in calls)
        return await asyncio.gather(*acts, return_exceptions=True)

    async def _act(self, action: str, request: Any) -> Any:
        await self._service.authorise(self._call, action, request)
        return await self._service.act(self._call, action, request)

    def counts(self, queue_url: str) -> tuple[int, int, int]:
        """Visible, in flight, delayed, as the queue's attributes say."""
        request = model.GetQueueAttributesRequest(queue_url=queue_url, attribute_names=list(COUNTS))
        attributes = self.call("GetQueueAttributes", request).attributes
        visible, in_flight, delayed = (int(attributes[name]) for name in COUNTS)
        return visible, in_flight, delayed

    def upkeep(self, limit: int = 3) -> int:
        """One small step of background work; in how many ms there is more to do."""
        return self._runner.run(self._run_upkeep(limit))

    async def _run_upkeep(self, limit: int) -> int:
        return await self._batcher.run(Upkeep(limit))

    def settle(self) -> int:
        """All the background work there is to do now; in how many ms there is more."""
        for _ in range(_SETTLED_AFTER_STEPS_MAX):
            if pause_ms := self.upkeep():
                return pause_ms
        raise AssertionError("background work does not end")

    def restart(self) -> None:
        if self._files:
            self._store.close()
            self._start()

    def close(self) -> None:
        self._store.close()
        self._runner.close()


def _never(broken: StoreBroken) -> None:
    raise AssertionError(broken)
