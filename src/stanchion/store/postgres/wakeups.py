"""Long polls of one process, and messages that come into view through another.

A process that has changed something tells the others in notifications: one every few milliseconds
at most, on a connection of their own, because commits with notifications wait for each other. They
may be lost, with the connection or the process; so whoever waits also looks once a second, in one
statement for all queues that are waited for. A process that is alone says nothing.
Never part of a transaction that changes anything. Made by the server, fed by the batcher.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import asyncpg

from stanchion.clock import Clock
from stanchion.store.contract import Wake
from stanchion.store.postgres import database
from stanchion.store.postgres.statements import statement
from stanchion.store.signals import Notified

_NOTIFY = statement("notify")
_LISTENERS = statement("listeners")
_QUEUES_IN_VIEW = statement("queues_in_view")

_GATHERED_FOR_S = 0.005
_POLL_S = 1.0
_TURN_MAX_S = 5.0
"""A connection that takes longer is lost: until there is another, nobody looks."""
_QUEUES_PER_PAYLOAD = 150
"""A payload has less than 8000 bytes, and a queue takes 50 at most."""
_QUEUES_MAX = 10_000
"""With more to tell than that, the others find out by looking."""

_LOST = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class Wakeups:
    """Feeds `QueueSignals` with what other processes do, and tells them what this one does."""

    def __init__(self, url: str, schema: str, signals: Notified, clock: Clock) -> None:
        self._url = url
        self._schema = schema
        self._signals = signals
        self._clock = clock
        self._name = f"stanchion wakes {schema}"[:63]
        self._me = os.urandom(6).hex()
        self._gathered: dict[int, _News] = {}
        self._is_scheduled = False
        self._not_before_s = 0.0
        self._has_others = False
        self.sent = 0
        """Notifications to other processes."""
        self.received = 0
        """Notifications of others."""
        self._connection: database.Connection | None = None
        self._turn = asyncio.Lock()
        """A connection does one thing at a time."""
        self._telling: asyncio.Task[None] | None = None
        self._polling = asyncio.get_running_loop().create_task(self._poll())

    def announce(self, wakes: Sequence[Wake]) -> None:
        """Tell the other processes: at once, or a few milliseconds after the last time."""
        if not self._has_others:
            return
        now_ms = self._clock.now_ms()
        for queue_id, visible_at_ms, messages in wakes:
            news = self._gathered.get(queue_id)
            if news is None:
                if len(self._gathered) >= _QUEUES_MAX:
                    return
                news = self._gathered[queue_id] = _News()
            news.add(visible_at_ms, messages, now_ms)
        self._schedule()

    def _schedule(self) -> None:
        """What gathers while something is being told still goes next."""
        if self._gathered and not self._is_scheduled and self._telling is None:
            self._is_scheduled = True
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time(), self._not_before_s), self._tell)

    def _tell(self) -> None:
        self._is_scheduled = False
        if self._gathered:
            gathered, self._gathered = self._gathered, {}
            loop = asyncio.get_running_loop()
            self._not_before_s = loop.time() + _GATHERED_FOR_S
            self._telling = loop.create_task(self._send(gathered))

    async def _send(self, gathered: "dict[int, _News]") -> None:
        payloads = list(_payloads(self._me, gathered))
        try:
            async with self._turn:
                if self._connection is not None:
                    await self._connection.execute(
                        _NOTIFY, self._name, payloads, timeout=_TURN_MAX_S
                    )
                    self.sent += len(payloads)
        except _LOST:
            await self._disconnect()
        finally:
            self._telling = None
            self._schedule()

    def _on_notified(self, *notification: object) -> None:
        sender, _, text = str(notification[-1]).partition(" ")
        if sender != self._me:
            self.received += 1
            self._signals.notify(_parsed(text, self._clock.now_ms()))

    async def _poll(self) -> None:
        while True:
            try:
                if self._connection is None or self._connection.is_closed():
                    await self._connect()
                await self._look()
            except database.CONNECT_ERRORS:
                await self._disconnect()
            await asyncio.sleep(_POLL_S)

    async def _connect(self) -> None:
        connection = await database.connect(
            # Notifications need not survive anything.
            *(self._url, self._schema),
            application_name=self._name,
            synchronous_commit="off",
        )
        try:
            await connection.add_listener(self._name, self._on_notified)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    async def _look(self) -> None:
        """Whether there are other processes, and whether they had something for those that wait."""
        async with self._turn:
            if self._connection is None:
                return
            fetch = partial(self._connection.fetch, timeout=_TURN_MAX_S)
            ((listeners,),) = await fetch(_LISTENERS, self._name)
            self._has_others = listeners > 1
            if watched := self._signals.watched():
                now_ms = self._clock.now_ms()
                rows = await fetch(_QUEUES_IN_VIEW, watched, now_ms)
                self._signals.notify(Wake(queue_id, now_ms, 1) for (queue_id,) in rows)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        self._polling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._polling
        self._gathered.clear()
        if self._telling is not None:
            await self._telling
        await self._disconnect()


class _News:
    """What has happened to one queue: messages that are in view, and when the next ones come."""

    __slots__ = ("in_view", "next_ms")

    def __init__(self) -> None:
        self.in_view = 0
        self.next_ms = 0

    def add(self, visible_at_ms: int, messages: int, now_ms: int) -> None:
        if visible_at_ms <= now_ms:
            self.in_view += messages
        elif not self.next_ms or visible_at_ms < self.next_ms:
            self.next_ms = visible_at_ms


def _payloads(sender: str, gathered: dict[int, _News]) -> Iterator[str]:
    items = iter(gathered.items())
    while part := list(itertools.islice(items, _QUEUES_PER_PAYLOAD)):
        yield f"{sender} " + ",".join(f"{q}:{news.in_view}:{news.next_ms}" for q, news in part)


def _parsed(text: str, now_ms: int) -> Iterable[Wake]:
    for item in text.split(","):
        queue_id, in_view, next_ms = map(int, item.split(":"))
        if in_view:
            yield Wake(queue_id, now_ms, in_view)
        if next_ms:
            yield Wake(queue_id, next_ms, 1)
