"""Data keys in use: made or unwrapped by a provider, kept for a while, then wiped.

Sealing keys are kept by queue, key and principal; opening keys by wrapped key and principal: what
one caller was allowed does nothing for another. Each is used for the reuse period that the queue
asks for, unless its provider begins another epoch: then it is asked again. While a provider is
unavailable an expired key goes on working, for as long as that provider says and no longer; a
refusal ends its use at once. Callers that miss the same key share one call. `sealing_key` and
`opening_key` answer at once, with None when a provider has to be asked; the caller then awaits
`new_sealing_key` or `new_opening_key`. A key is used on the spot and not kept: what the caches let
go of is overwritten when nobody holds it any more.

Called by the actions that send and receive messages, on one event loop.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Struct

from stanchion.clock import Clock
from stanchion.keys.envelope import SEALS_MAX, OpeningKey, SealingKey
from stanchion.keys.providers import Context, KeyProvider, ProviderUnavailable
from stanchion.keys.sealing import Unsealable

KEYS_MAX = 10_000
"""Of each sort. Beyond, the least recently used one goes, and is asked for again."""
OUTAGE_RETRY_S = 10
"""How long an expired key is used before an unavailable provider is asked again."""


class Use(NamedTuple):
    """On whose behalf a provider is asked, and for how long the answer is good."""

    principal: str
    """What callers with the same permissions have in common."""
    on_behalf: Any
    """For the provider."""
    context: Context
    reuse_period_s: int


class DataKeys:
    """The two caches."""

    def __init__(
        self, providers: Mapping[int, KeyProvider], clock: Clock, keys_max: int = KEYS_MAX
    ) -> None:
        """`providers` are known by the first byte of what they wrap: `RING`, `KMS`."""
        self._providers = providers
        self._clock = clock
        self._sealing: _Cache[SealingKey] = _Cache(keys_max)
        self._opening: _Cache[OpeningKey] = _Cache(keys_max)

    def sealing_key(self, queue_id: int, key_id: str, principal: str) -> SealingKey | None:
        """The key at hand, or None."""
        key = self._sealing.get((queue_id, key_id, principal), self._clock.now_ms())
        return key if key is None or key.seals < SEALS_MAX else None

    async def new_sealing_key(
        self, provider_kind: int, queue_id: int, key_id: str, use: Use
    ) -> SealingKey:
        """A key from the provider. Raises what it raises."""
        provider = self._providers[provider_kind]

        async def make() -> SealingKey:
            key, wrapped = await provider.generate(key_id, use.context, use.on_behalf)
            return SealingKey(key, wrapped)

        about = (queue_id, key_id, use.principal)
        return await self._sealing.renew(about, make, provider, use.reuse_period_s, self._clock)

    def opening_key(self, wrapped: bytes, principal: str) -> OpeningKey | None:
        """The key at hand, or None. `wrapped` is that of `envelope.wrapped_key_of`."""
        return self._opening.get((wrapped, principal), self._clock.now_ms())

    async def new_opening_key(self, wrapped: bytes, use: Use) -> OpeningKey:
        """A key from the provider that wrapped it. Raises what that raises, and `Unsealable`."""
        provider = self._providers.get(wrapped[0]) if wrapped else None
        if provider is None:
            raise Unsealable("a data key of an unknown provider")

        async def unwrap() -> OpeningKey:
            return OpeningKey(await provider.unwrap(wrapped, use.context, use.on_behalf))

        about = (wrapped, use.principal)
        return await self._opening.renew(about, unwrap, provider, use.reuse_period_s, self._clock)

    def forget_expired(self) -> None:
        """Wipe what is not used any more. To be called every few seconds: it looks at all keys."""
        now_ms = self._clock.now_ms()
        self._sealing.forget_expired(now_ms)
        self._opening.forget_expired(now_ms)

    def clear(self) -> None:
        """Wipe everything, at the end of the process."""
        self._sealing.clear()
        self._opening.clear()

    def __len__(self) -> int:
        return len(self._sealing) + len(self._opening)


# --- One cache ----------------------------------------------------------------------------------

Key = TypeVar("Key")


class _Entry(Struct, Generic[Key]):
    key: Key
    provider: KeyProvider
    epoch: int
    """Of the provider, before it was asked."""
    expires_at_ms: int
    kept_until_ms: int
    """Later than `expires_at_ms` where the provider may be unavailable."""

    @property
    def is_stale(self) -> bool:
        """Whether the provider may have decided otherwise meanwhile."""
        return self.epoch != self.provider.epoch


class _Cache(Generic[Key]):
    """Keys, each for a time of its own, and the calls under way for those that are missing."""

    def __init__(self, keys_max: int) -> None:
        self._keys_max = keys_max
        self._entries: OrderedDict[Hashable, _Entry[Key]] = OrderedDict()
        self._calls: dict[tuple[Hashable, int], asyncio.Task[Key]] = {}

    def get(self, about: Hashable, now_ms: int) -> Key | None:
        entry = self._entries.get(about)
        if entry is None or entry.expires_at_ms <= now_ms or entry.is_stale:
            return None
        self._entries.move_to_end(about)
        return entry.key

    async def renew(
        self,
        about: Hashable,
        make: Callable[[], Awaitable[Key]],
        provider: KeyProvider,
        period_s: int,
        clock: Clock,
    ) -> Key:
        """A key from the provider, by a call that is shared and outlives whoever began it."""
        # What was decided in an earlier epoch is not for those who ask in this one.
        asked = (about, provider.epoch)
        if not provider.waits:
            return await self._made(asked, make, provider, period_s, clock)
        call = self._calls.get(asked)
        if call is None:
            work = self._made(asked, make, provider, period_s, clock)
            call = self._calls[asked] = asyncio.create_task(work)
            call.add_done_callback(lambda done: self._end(asked, done))
        return await asyncio.shield(call)

    def _end(self, asked: tuple[Hashable, int], call: asyncio.Task[Key]) -> None:
        del self._calls[asked]
        if not call.cancelled():
            # Whoever waited has been told; nobody may have waited.
            call.exception()

    async def _made(
        self,
        asked: tuple[Hashable, int],
        make: Callable[[], Awaitable[Key]],
        provider: KeyProvider,
        period_s: int,
        clock: Clock,
    ) -> Key:
        about, epoch = asked
        try:
            key = await make()
        except ProviderUnavailable as error:
            kept = self._kept(asked, clock.now_ms(), is_allowed=error.is_allowed)
            if kept is None:
                raise
            return kept
        except Exception:
            # It said no: what it allowed before is over.
            self._entries.pop(about, None)
            raise
        expires_at_ms = clock.now_ms() + period_s * 1000
        kept_until_ms = expires_at_ms + provider.outage_max_s * 1000
        self._entries[about] = _Entry(key, provider, epoch, expires_at_ms, kept_until_ms)
        self._entries.move_to_end(about)
        if len(self._entries) > self._keys_max:
            self._entries.popitem(last=False)
        return key

    def _kept(self, asked: tuple[Hashable, int], now_ms: int, *, is_allowed: bool) -> Key | None:
        """An expired key for the time of an outage, so that not every request asks in vain.

        One of an earlier epoch goes on too if the caller still `is_allowed` it.
        """
        about, epoch = asked
        entry = self._entries.get(about)
        if entry is None or entry.kept_until_ms <= now_ms or (entry.is_stale and not is_allowed):
            return None
        retried_at_ms = min(now_ms + OUTAGE_RETRY_S * 1000, entry.kept_until_ms)
        entry.expires_at_ms = max(entry.expires_at_ms, retried_at_ms)
        entry.epoch = epoch
        return entry.key

    def forget_expired(self, now_ms: int) -> None:
        expired = [
            about
            for about, entry in self._entries.items()
            # In an outage one of an earlier epoch may be allowed again.
            if entry.kept_until_ms <= now_ms or (entry.is_stale and not entry.provider.outage_max_s)
        ]
        for about in expired:
            del self._entries[about]

    def clear(self) -> None:
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
