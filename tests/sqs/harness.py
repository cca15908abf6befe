"""The service without a network: an `Sqs` over a store in memory, with a clock that tests turn.

Commands run at once, each in a transaction of its own, so that an action that does not wait for
messages ends without an event loop.
"""

import os
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from itertools import combinations, count
from typing import Any, TypeVar

import pytest
from msgspec import Struct

from stanchion.access.authoriser import Authoriser
from stanchion.access.identity import root_of
from stanchion.keys.data_keys import DataKeys
from stanchion.keys.providers import RING, RingProvider
from stanchion.keys.ring import KeyRing
from stanchion.model.errors import ServiceError
from stanchion.model.sqs import CreateQueueRequest
from stanchion.service import Call
from stanchion.sqs.actions import service_of
from stanchion.sqs.catalogue import Catalogue, Queue
from stanchion.sqs.encryption import Bodies
from stanchion.sqs.receipts import Receipts
from stanchion.sqs.service import Limits, Sqs
from stanchion.store.contract import Command, StoreError, Upkeep
from stanchion.store.documents import Documents
from stanchion.store.signals import QueueSignals
from stanchion.store.sqlite import SqliteStore

Answer = TypeVar("Answer")

ACCOUNT = "123456789012"
REGION = "eu-central-1"
ORIGIN = "http://localhost:9324"
START_MS = 1_700_000_000_123


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


class CountedIds:
    def __init__(self) -> None:
        self._numbers = count(1)

    def uuid(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._numbers):012x}"


class InlineStore:
    """A `StoreClient` that runs each command at once. `commands` is what it was asked to do.

    A test may answer commands of some type itself, with a function in `answers`.
    """

    def __init__(self, clock: TurnedClock, signals: QueueSignals) -> None:
        self.engine = SqliteStore.in_memory(entropy=lambda size: b"\x07" * size)
        self.commands: list[Command[Any]] = []
        self.answers: dict[type[Command[Any]], Callable[[Any], Any]] = {}
        self._clock = clock
        self._signals = signals

    async def run(self, command: Command[Answer]) -> Answer:
        self.commands.append(command)
        if answer_with := self.answers.get(type(command)):
            return answer_with(command)  # type: ignore[no-any-return]
        flush = self.engine.execute([command], self._clock.now_ms())
        self._signals.notify(flush.wakes)
        (answer,) = flush.answers
        if isinstance(answer, StoreError):
            raise answer
        return answer  # type: ignore[return-value]

    def __del__(self) -> None:
        # Newer interpreters warn of a database that is dropped while it is open.
        self.engine.close()


def known(catalogue: Catalogue, call: Call, queue_url: str) -> Queue | None:
    """The queue that a QueueUrl names, as far as the cache knows."""
    return catalogue.cached(catalogue.name_of(call, queue_url))


class Service:
    """The service under test, and the call that a client of account `ACCOUNT` makes."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = TurnedClock()
        self.signals = QueueSignals(self.clock)
        self.store = InlineStore(self.clock, self.signals)
        self.catalogue = Catalogue(self.store)
        provider = RingProvider(KeyRing.ephemeral(), os.urandom)
        self.sqs = Sqs(
            store=self.store,
            signals=self.signals,
            catalogue=self.catalogue,
            receipts=Receipts(b"k" * 32),
            clock=self.clock,
            ids=CountedIds(),
            limits=limits or Limits(),
            authoriser=Authoriser(self.clock),
            documents=Documents(self.store),
            bodies=Bodies(DataKeys({RING: provider}, self.clock)),
            page_secret=b"p" * 32,
        )
        self.call = call_of(ACCOUNT)

    def do(self, request: Struct, call: Call | None = None) -> Any:
        """What the action of that request answers. The action must not wait."""
        return finish(self.start(request, call))

    async def start(self, request: Struct, call: Call | None = None) -> Any:
        """As `do`, for actions that may wait."""
        name = type(request).__name__.removesuffix("Request")
        service = service_of(self.sqs)
        await service.authorise(call or self.call, name, request)
        return await service.act(call or self.call, name, request)

    def create(self, name: str = "q", **attributes: str) -> str:
        """A queue with these attributes. Answer: its URL."""
        answer = self.do(CreateQueueRequest(queue_name=name, attributes=attributes))
        return str(answer.queue_url)

    def upkeep(self) -> None:
        """What the store does in the background, until there is nothing to do right now."""
        while finish(self.store.run(Upkeep())) == 0:
            pass

    def refuses(self, request: Struct, call: Call | None = None) -> ServiceError:
        """The error that a request is answered with."""
        with pytest.raises(ServiceError) as refusal:
            self.do(request, call)
        return refusal.value


def call_of(account_id: str, region: str = REGION, path: str = "/") -> Call:
    return Call(root_of(account_id, "AKIATEST"), region, ORIGIN, path)


def finish(awaitable: Awaitable[Answer]) -> Answer:
    """The answer of something that never has to wait."""
    steps: Generator[Any, None, Answer] | Coroutine[Any, None, Answer]
    steps = awaitable if isinstance(awaitable, Coroutine) else awaitable.__await__()
    try:
        steps.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    steps.close()
    raise AssertionError("it waits for something")


Fault = tuple[dict[str, Any], tuple[type[ServiceError], str]]
"""Parameters that are wrong, and the error that they lead to by themselves."""


def pairs_of_faults(faults: Iterable[Fault]) -> list[Any]:
    """For `parametrize`: two faults at once, with the error of the one that is checked first.

    Maps are merged; two faults of one parameter that cannot both be present make no pair.
    """
    found = []
    for (first, error), (second, _) in combinations(faults, 2):
        merged = _merged(first, second)
        if merged is not None:
            found.append(pytest.param(merged, error, id=f"{list(first)}-{list(second)}"))
    return found


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
    both = {**first, **second}
    for name in first.keys() & second.keys():
        one, other = first[name], second[name]
        if not (isinstance(one, dict) and isinstance(other, dict)) or one.keys() & other.keys():
            return None
        both[name] = {**other, **one}
    return both
