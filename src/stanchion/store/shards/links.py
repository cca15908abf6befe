"""The way to one shard: its batcher, and whether it is worth asking.

A shard that could not be reached is not asked for a second, so that nobody who has another to go to
waits for it. A shard that was down when the process started is opened as soon as it can be.
Used by the fleet.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol, TypeVar

from stanchion.store.contract import Command, OutcomeUnknown, StoreBusy, StoreUnreachable

Answer = TypeVar("Answer")

_AVOIDED_FOR_S = 1.0
_PATIENCE_S = 10.0
_PAUSE_S = 0.1


class Batcher(Protocol):
    """What runs commands on one shard."""

    def run(self, command: Command[Answer]) -> Awaitable[Answer]: ...

    @property
    def waiting(self) -> int: ...

    @property
    def flushes(self) -> int: ...

    @property
    def commands(self) -> int: ...

    async def close(self) -> None: ...


class Link:
    """A shard by its number; without a batcher for as long as it cannot be opened."""

    def __init__(self, number: int, name: str, batcher: Batcher | None) -> None:
        self.number = number
        self.name = name
        self.batcher = batcher
        self.upkeep: asyncio.Task[int] | None = None
        """A step of upkeep that is under way, or that nobody has looked at since it ended."""
        self._avoided_until_s = 0.0

    @property
    def is_avoided(self) -> bool:
        return self.batcher is None or asyncio.get_running_loop().time() < self._avoided_until_s

    async def run(self, command: Command[Any]) -> Any:
        """The answer. Raises `StoreError`, and `StoreUnreachable` at once for a shard that is down.

        Of a command that is undone by now: whoever has another shard to go to may ask that.
        """
        if self.batcher is None or self.is_avoided:
            raise StoreUnreachable(f"the shard {self.name} cannot be reached")
        try:
            return await self.batcher.run(command)
        except (StoreUnreachable, OutcomeUnknown):
            self._avoided_until_s = asyncio.get_running_loop().time() + _AVOIDED_FOR_S
            raise

    async def run_patiently(self, command: Command[Any]) -> Any:
        """The same for whoever has no other shard to go to: waits a while for it to come back."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + _PATIENCE_S
        while True:
            try:
                return await self.run(command)
            except StoreUnreachable:
                if loop.time() + _PAUSE_S > give_up_s:
                    raise
            await asyncio.sleep(_PAUSE_S)

    async def close(self) -> None:
        """Finish what is waiting, and take nothing more."""
        if self.upkeep is not None:
            self.upkeep.cancel()
            await asyncio.gather(self.upkeep, return_exceptions=True)
        if self.batcher is not None:
            await self.batcher.close()


def unknown_shard(number: int) -> StoreBusy:
    """What is answered for a queue on a shard that this process was not told of."""
    return StoreBusy(f"the queue is on shard {number}, which this server does not know")
