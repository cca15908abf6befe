"""Routes commands to the shards that they concern: the face of a batcher over several of them.

The home answers for the directory of queues and for records. What concerns messages goes to the
parts of the queue, and is routed anew when one of them is not there any more.

Never decides anything about messages itself. Made by the cluster, called by the actions.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    ClaimFifo,
    Command,
    CountMessages,
    CreateQueue,
    Delete,
    DeleteQueue,
    PurgeQueue,
    Send,
    SendFifo,
    StoreBusy,
    UpdateQueue,
    Upkeep,
)
from stanchion.store.moves import CancelMove, ListMoves, StartMove
from stanchion.store.shards import chores, directory, fifo, moves, standard
from stanchion.store.shards.fleet import Fleet, NoPart

Answer = TypeVar("Answer")

_TRIES = 4
"""How often a command is routed anew because its queue was placed anew meanwhile."""


class ShardedStore:
    """As a batcher. Made and used on one event loop."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    @property
    def _batchers(self) -> list[Any]:
        return [link.batcher for link in self._fleet.links.values() if link.batcher is not None]

    @property
    def waiting(self) -> int:
        """How many commands wait for a flush of theirs."""
        return sum(batcher.waiting for batcher in self._batchers)

    @property
    def flushes(self) -> int:
        """How many flushes there were."""
        return sum(batcher.flushes for batcher in self._batchers)

    @property
    def commands(self) -> int:
        """How many commands they had."""
        return sum(batcher.commands for batcher in self._batchers)

    async def run(self, command: Command[Answer]) -> Answer:
        """The command's answer, once it is durable. Raises `StoreError`."""
        kind = type(command)
        if kind in _ON_MESSAGES:
            answer = await self._on_messages(command)
        elif kind in _ROUTES:
            answer = await _ROUTES[kind](self._fleet, command)
        else:
            answer = await self._fleet.home.run_patiently(command)
        return cast(Answer, answer)

    async def _on_messages(self, command: Any) -> Any:
        act = _ON_MESSAGES[type(command)]
        for _ in range(_TRIES):
            placement = await self._fleet.placement_for_work(command.queue_id)
            if placement is None:
                return False if isinstance(command, Send) else None
            try:
                return await act(self._fleet, placement, command)
            except NoPart as missing:
                await self._fleet.repair(placement, missing.part)
        raise StoreBusy("the queue is being placed anew")

    async def close(self) -> None:
        """Finish what is waiting, and take nothing more. The stores stay open."""
        await asyncio.gather(*(link.close() for link in self._fleet.links.values()))


_ON_MESSAGES: dict[type[Command[Any]], Callable[..., Coroutine[Any, Any, Any]]] = {
    Send: standard.send,
    SendFifo: fifo.send,
    Claim: standard.claim,
    ClaimFifo: fifo.claim,
    Delete: standard.delete,
    ChangeVisibility: standard.change_visibility,
    CountMessages: standard.count,
}
_ROUTES: dict[type[Command[Any]], Callable[..., Awaitable[Any]]] = {
    CreateQueue: directory.create,
    UpdateQueue: directory.update,
    PurgeQueue: directory.purge,
    DeleteQueue: directory.delete,
    StartMove: moves.start,
    ListMoves: moves.list_moves,
    CancelMove: moves.cancel,
    Upkeep: chores.upkeep,
}
