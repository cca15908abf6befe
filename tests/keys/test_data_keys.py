"""The caches of data keys: bounds, expiry, outages, refusals, shared calls."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from stanchion.keys.data_keys import OUTAGE_RETRY_S, DataKeys, Use
from stanchion.keys.envelope import SEALS_MAX, SealingKey
from stanchion.keys.providers import (
    KMS,
    RING,
    NewDataKey,
    ProviderUnavailable,
    RingProvider,
    kms_unwrapped,
    kms_wrapped,
)
from stanchion.keys.ring import KeyRing
from stanchion.keys.sealing import Unsealable
from tests.keys.conftest import TurnedClock, entropy_of

PERIOD_S = 300
OUTAGE_MAX_S = 3600


class Refused(Exception):
    pass


class Provider:
    """A KMS that counts its calls, and fails as it is told to."""

    outage_max_s = OUTAGE_MAX_S
    waits = True

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.epoch = 0
        self.fault: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def _called(self, *call: Any) -> int:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return len(self.calls)

    async def generate(self, key_id: str, context: Any, on_behalf: Any) -> NewDataKey:
        number = await self._called("generate", key_id, dict(context), on_behalf)
        return NewDataKey(bytes((number,)) * 32, kms_wrapped(key_id, bytes((number,))))

    async def unwrap(self, wrapped: bytes, context: Any, on_behalf: Any) -> bytes:
        await self._called("unwrap", wrapped, dict(context), on_behalf)
        return kms_unwrapped(wrapped)[1] * 32


class Rig:
    def __init__(self, keys_max: int = 10) -> None:
        self.clock = TurnedClock()
        self.provider = Provider()
        self.keys = DataKeys({KMS: self.provider}, self.clock, keys_max)

    async def sealing(self, queue_id: int = 1, principal: str = "alice") -> SealingKey:
        """As a send does it."""
        use = Use(principal, principal.upper(), {"aws:sqs:arn": "arn"}, PERIOD_S)
        return self.keys.sealing_key(queue_id, "k", principal) or (
            await self.keys.new_sealing_key(KMS, queue_id, "k", use)
        )

    async def opening(self, wrapped: bytes, principal: str = "alice") -> object:
        use = Use(principal, principal.upper(), {"aws:sqs:arn": "arn"}, PERIOD_S)
        return self.keys.opening_key(wrapped, principal) or (
            await self.keys.new_opening_key(wrapped, use)
        )


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_a_key_is_reused_for_its_period() -> None:
    async def story() -> None:
        rig = Rig()
        first = await rig.sealing()
        rig.clock.advance(PERIOD_S - 0.001)
        assert await rig.sealing() is first
        rig.clock.advance(0.001)
        assert await rig.sealing() is not first
        assert rig.provider.calls == [("generate", "k", {"aws:sqs:arn": "arn"}, "ALICE")] * 2

    run(story())


def test_queues_keys_and_principals_have_keys_of_their_own() -> None:
    async def story() -> None:
        rig = Rig()
        keys = [
            await rig.sealing(queue_id, principal)
            for queue_id, principal in ((1, "alice"), (1, "bob"), (2, "alice"))
        ]
        assert len(set(map(id, keys))) == 3
        assert rig.keys.sealing_key(1, "another", "alice") is None
        wrapped = kms_wrapped("k", b"\x01")
        assert await rig.opening(wrapped) is await rig.opening(wrapped)
        assert await rig.opening(wrapped, "bob") is not await rig.opening(wrapped)
        assert [call[3] for call in rig.provider.calls[3:]] == ["ALICE", "BOB"]

    run(story())


def test_the_least_recently_used_goes_first_and_is_wiped() -> None:
    async def story() -> None:
        rig = Rig(keys_max=2)
        used = await rig.sealing(1)
        held = (await rig.sealing(2))._key
        assert held == b"\x02" * 32
        await rig.sealing(1)
        await rig.sealing(3)
        assert len(rig.keys) == 2
        assert held == bytes(32)
        assert await rig.sealing(1) is used

    run(story())


def test_what_has_expired_is_wiped_when_no_outage_could_need_it() -> None:
    async def story() -> None:
        rig = Rig()
        held = (await rig.sealing())._key
        await asyncio.sleep(0)  # The call that made it ends a turn of the loop later.
        rig.clock.advance(PERIOD_S + OUTAGE_MAX_S - 1)
        rig.keys.forget_expired()
        assert held == b"\x01" * 32
        rig.clock.advance(1)
        rig.keys.forget_expired()
        assert held == bytes(32)
        assert len(rig.keys) == 0

    run(story())


def test_clearing_wipes_everything() -> None:
    async def story() -> None:
        rig = Rig()
        held = (await rig.sealing())._key
        await asyncio.sleep(0)
        rig.keys.clear()
        assert held == bytes(32)

    run(story())


def test_callers_that_miss_the_same_key_share_a_call() -> None:
    async def story() -> None:
        rig = Rig()
        rig.provider.gate = asyncio.Event()
        callers = [asyncio.create_task(rig.sealing()) for _ in range(5)]
        await asyncio.sleep(0)
        # The one who began it goes away; the others do not notice.
        callers.pop(0).cancel()
        await asyncio.sleep(0)
        rig.provider.gate.set()
        keys = await asyncio.gather(*callers)
        assert len(set(map(id, keys))) == 1
        assert len(rig.provider.calls) == 1

    run(story())


def test_a_fault_reaches_all_of_them_and_is_not_remembered() -> None:
    async def story() -> None:
        rig = Rig()
        rig.provider.fault = Refused()
        answers = await asyncio.gather(rig.sealing(), rig.sealing(), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Refused, Refused]
        assert len(rig.provider.calls) == 1
        rig.provider.fault = None
        await rig.sealing()

    run(story())


def test_an_expired_key_outlives_an_outage_up_to_a_bound() -> None:
    async def story() -> None:
        rig = Rig()
        key = await rig.sealing()
        rig.provider.fault = ProviderUnavailable()
        rig.clock.advance(PERIOD_S)
        assert await rig.sealing() is key
        rig.clock.advance(OUTAGE_RETRY_S - 1)
        assert await rig.sealing() is key
        assert len(rig.provider.calls) == 2, "asked in vain once"
        rig.clock.advance(1)
        assert await rig.sealing() is key
        assert len(rig.provider.calls) == 3, "and again after a while"
        rig.clock.advance(OUTAGE_MAX_S - OUTAGE_RETRY_S)
        with pytest.raises(ProviderUnavailable):
            await rig.sealing()
        with pytest.raises(ProviderUnavailable):
            await rig.sealing(2)

    run(story())


def test_the_last_use_in_an_outage_is_inside_the_bound() -> None:
    async def story() -> None:
        rig = Rig()
        await rig.sealing()
        rig.provider.fault = ProviderUnavailable()
        rig.clock.advance(PERIOD_S + OUTAGE_MAX_S - 1)
        await rig.sealing()
        rig.clock.advance(1)
        assert rig.keys.sealing_key(1, "k", "alice") is None

    run(story())


def test_the_end_of_an_outage_brings_a_new_key() -> None:
    async def story() -> None:
        rig = Rig()
        key = await rig.sealing()
        rig.provider.fault = ProviderUnavailable()
        rig.clock.advance(PERIOD_S)
        await rig.sealing()
        rig.provider.fault = None
        rig.clock.advance(OUTAGE_RETRY_S)
        assert await rig.sealing() is not key

    run(story())


def test_a_refusal_ends_the_use_of_a_key() -> None:
    async def story() -> None:
        rig = Rig()
        await rig.sealing()
        rig.clock.advance(PERIOD_S)
        rig.provider.fault = Refused()
        with pytest.raises(Refused):
            await rig.sealing()
        rig.provider.fault = ProviderUnavailable()
        with pytest.raises(ProviderUnavailable):
            await rig.sealing()

    run(story())


def test_a_key_of_an_earlier_epoch_is_asked_for_again() -> None:
    async def story() -> None:
        rig = Rig()
        sealing, opening = await rig.sealing(), await rig.opening(kms_wrapped("k", b"\x01"))
        rig.provider.epoch += 1
        assert await rig.sealing() is not sealing
        assert await rig.opening(kms_wrapped("k", b"\x01")) is not opening
        rig.provider.epoch += 1
        rig.provider.fault = ProviderUnavailable()
        with pytest.raises(ProviderUnavailable):
            await rig.sealing()

    run(story())


def test_a_key_of_an_earlier_epoch_goes_on_in_an_outage_for_who_still_may() -> None:
    async def story() -> None:
        rig = Rig()
        key = await rig.sealing()
        rig.provider.epoch += 1
        rig.keys.forget_expired()
        rig.provider.fault = unavailable = ProviderUnavailable()
        unavailable.is_allowed = True
        assert await rig.sealing() is key
        assert await rig.sealing() is key
        assert len(rig.provider.calls) == 2, "and is as good as before"
        rig.clock.advance(PERIOD_S)
        assert await rig.sealing() is key
        rig.provider.epoch += 1
        rig.provider.fault = Refused()
        with pytest.raises(Refused):
            await rig.sealing()
        rig.provider.fault = unavailable
        with pytest.raises(ProviderUnavailable):
            await rig.sealing()

    run(story())


def test_a_key_of_an_earlier_epoch_is_wiped_where_no_outage_could_need_it() -> None:
    async def story() -> None:
        rig = Rig()
        rig.provider.outage_max_s = 0
        held = (await rig.sealing())._key
        await asyncio.sleep(0)
        rig.provider.epoch += 1
        rig.keys.forget_expired()
        assert held == bytes(32)

    run(story())


def test_a_call_of_an_earlier_epoch_is_not_shared_nor_its_answer_kept() -> None:
    async def story() -> None:
        rig = Rig()
        rig.provider.gate = asyncio.Event()
        early = asyncio.create_task(rig.sealing())
        await asyncio.sleep(0)
        rig.provider.epoch += 1
        late = asyncio.create_task(rig.sealing())
        await asyncio.sleep(0)
        rig.provider.gate.set()
        assert await early is not await late
        assert len(rig.provider.calls) == 2

    run(story())


def test_an_edit_during_the_call_makes_its_answer_stale() -> None:
    async def story() -> None:
        rig = Rig()
        rig.provider.gate = asyncio.Event()
        call = asyncio.create_task(rig.sealing())
        await asyncio.sleep(0)
        rig.provider.epoch += 1
        rig.provider.gate.set()
        await call
        assert rig.keys.sealing_key(1, "k", "alice") is None

    run(story())


def test_a_key_that_has_sealed_enough_is_replaced() -> None:
    async def story() -> None:
        rig = Rig()
        key = await rig.sealing()
        key.seals = SEALS_MAX
        assert await rig.sealing() is not key

    run(story())


@pytest.mark.parametrize("wrapped", [b"", b"\x07abc"])
def test_a_data_key_of_nobody_is_refused(wrapped: bytes) -> None:
    with pytest.raises(Unsealable):
        run(Rig().opening(wrapped))


# --- The ring's provider, and the layout of a KMS's keys ----------------------------------------


def test_the_ring_binds_a_data_key_to_its_context() -> None:
    async def story() -> None:
        provider = RingProvider(KeyRing.ephemeral(entropy_of(1)), entropy_of(2))
        key, wrapped = await provider.generate("", {"a": "1", "b": "2"}, None)
        assert wrapped[0] == RING
        assert len(wrapped) == 66
        assert await provider.unwrap(wrapped, {"b": "2", "a": "1"}, None) == key
        others: list[dict[str, str]] = [{}, {"a": "1"}, {"a": "1", "b": "3"}, {"a": "1;1:b=1:2"}]
        for other in others:
            with pytest.raises(Unsealable):
                await provider.unwrap(wrapped, other, None)
        with pytest.raises(Unsealable):
            await provider.unwrap(bytes((KMS,)) + wrapped[1:], {"a": "1", "b": "2"}, None)

    run(story())


def test_the_layout_of_a_kms_key() -> None:
    wrapped = kms_wrapped("arn:key", b"blob")
    assert wrapped == b"\x02\x00\x07arn:keyblob"
    assert kms_unwrapped(wrapped) == ("arn:key", b"blob")
    for damaged in (b"", wrapped[:8], wrapped[:10], b"\x01" + wrapped[1:], b"\x02\x00\x01\xffx"):
        with pytest.raises(Unsealable):
            kms_unwrapped(damaged)
