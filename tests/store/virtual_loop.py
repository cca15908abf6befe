"""An event loop whose time passes only when there is nothing else to do; it has no sockets."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.store.driver import START_MS

Result = TypeVar("Result")


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._selector = self

    def time(self) -> float:
        return self.now_s

    def select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again: a wake-up was lost")
        self.now_s += timeout
        return []

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class LoopClock:
    """Queue time that follows a loop, and can jump ahead of it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return START_MS + self.ahead_ms + round(self._loop.now_s * 1000)

    def wall_s(self) -> float:
        return self.now_ms() / 1000


def run(loop: VirtualLoop, coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine, and sees to it that nothing is left behind."""
    try:
        result = loop.run_until_complete(coroutine)
        assert asyncio.all_tasks(loop) == set()
        return result
    finally:
        loop.close()
