"""Documents in memory, a clock that tests turn, and entropy that repeats itself."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from stanchion.store.contract import Command, StoreError
from stanchion.store.documents import Documents
from stanchion.store.records import EditRecords
from stanchion.store.sqlite import SqliteStore

START_MS = 1_700_000_000_000


class TurnedClock:
    """Stands still until a test turns it."""

    def __init__(self) -> None:
        self._now_ms = START_MS

    def now_ms(self) -> int:
        return self._now_ms

    def wall_s(self) -> float:
        return self._now_ms / 1000

    def advance(self, seconds: float) -> None:
        self._now_ms += int(seconds * 1000)


class Crash(BaseException):
    """The process ends here."""


class Store:
    """A `StoreClient` that runs each command at once, and can crash around an edit."""

    def __init__(self) -> None:
        self.engine = SqliteStore.in_memory()
        self.crash_before_edit = False
        self.crash_after_edit = False

    async def run(self, command: Command[Any]) -> Any:
        is_edit = isinstance(command, EditRecords)
        if is_edit and self.crash_before_edit:
            raise Crash
        (answer,) = self.engine.execute([command], START_MS).answers
        if isinstance(answer, StoreError):
            raise answer
        if is_edit and self.crash_after_edit:
            raise Crash
        return answer


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.engine.close()


@pytest.fixture
def documents(store: Store) -> Documents:
    return Documents(store)


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


def entropy_of(seed: int) -> Any:
    return Random(seed).randbytes
