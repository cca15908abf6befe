"""The service without its front door: actions over a real store, an injected clock, one thread.

Everything below the gateway is the real thing; only time stands still until it is told to move.
"""

import asyncio
from pathlib import Path
from typing import Any

from stanchion.access.identity import root_of
from stanchion.sqs.actions import ACTIONS
from stanchion.sqs.call import Call
from stanchion.sqs.catalogue import Catalogue
from stanchion.sqs.receipts import Receipts
from stanchion.sqs.service import Limits, Sqs
from stanchion.store.batcher import Batcher, InlineWriter
from stanchion.store.contract import StoreBroken, Upkeep
from stanchion.store.signals import QueueSignals
from stanchion.store.sqlite.engine import SqliteStore

IN_FLIGHT_MAX = 12


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


class Driver:
    """Calls actions by name, one at a time or several at once; can restart on the same files."""

    def __init__(self, directory: Path | None) -> None:
        self.clock = ManualClock()
        self._directory = directory
        self._ids = CountingIds()
        self._runner = asyncio.Runner()
        self._call = Call(root_of("000000000000", "key"), "us-east-1", "http://localhost")
        self._start()

    def _start(self) -> None:
        self._store = (
            SqliteStore.open(self._directory, reserve_bytes=4096)
            if self._directory
            else SqliteStore.in_memory()
        )
        signals = QueueSignals(self.clock)
        batcher = Batcher(self._store, self.clock, signals, writer=InlineWriter(), on_broken=_never)
        self._batcher = batcher
        self._sqs = Sqs(
            store=batcher,
            signals=signals,
            catalogue=Catalogue(batcher),
            receipts=Receipts(b"r" * 32),
            clock=self.clock,
            ids=self._ids,
            limits=Limits(in_flight_max=IN_FLIGHT_MAX),
        )

    def call(self, action: str, request: Any) -> Any:
        return self._runner.run(self._act(action, request))

    def call_together(self, *calls: tuple[str, Any]) -> list[Any]:
        """Several calls at once, whose commands share a flush: their replies or errors."""
        return self._runner.run(self._act_together(calls))

    async def _act_together(self, calls: tuple[tuple[str, Any], ...]) -> list[Any]:
        acts = (self._act(action, request) for action, request in calls)
        return await asyncio.gather(*acts, return_exceptions=True)

    async def _act(self, action: str, request: Any) -> Any:
        return await ACTIONS[action](self._sqs, self._call, request)

    def upkeep(self) -> None:
        self._runner.run(self._run_upkeep())

    async def _run_upkeep(self) -> None:
        await self._batcher.run(Upkeep(limit=3))

    def restart(self) -> None:
        if self._directory:
            self._store.close()
            self._start()

    def close(self) -> None:
        self._store.close()
        self._runner.close()


def _never(broken: StoreBroken) -> None:
    raise AssertionError(broken)
