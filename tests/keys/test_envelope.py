"""Sealed bodies: they open as the message they were sealed as, and as nothing else."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.keys import envelope
from stanchion.keys.data_keys import DataKeys, Use
from stanchion.keys.envelope import DataKey, OpeningKey, SealingKey, aad_of
from stanchion.keys.providers import RING, RingProvider
from stanchion.keys.ring import KeyRing
from stanchion.keys.sealing import Unsealable
from tests.keys.conftest import TurnedClock, entropy_of

ARN = "arn:aws:sqs:eu-central-1:123456789012:orders"
ID = "00000000-0000-4000-8000-000000000001"
KEY = bytes(range(32))
USE = Use("", None, {"aws:sqs:arn": ARN}, 300)

RING_OF_TESTS = KeyRing.ephemeral(entropy_of(1))


def data_keys() -> DataKeys:
    return DataKeys({RING: RingProvider(RING_OF_TESTS, entropy_of(2))}, TurnedClock())


def sealed_body(text: bytes = b"a body") -> bytes:
    key = asyncio.run(data_keys().new_sealing_key(RING, 1, "", USE))
    return key.seal(aad_of(ARN, ID), text)


def opened(body: bytes, arn: str = ARN, message_id: str = ID) -> bytes:
    """By a process that has only the ring, as after a restart."""
    wrapped = envelope.wrapped_key_of(body)
    use = USE._replace(context={"aws:sqs:arn": arn})
    key = asyncio.run(data_keys().new_opening_key(wrapped, use))
    return key.open(aad_of(arn, message_id), body)


SEALED = sealed_body()


@given(st.text(min_size=1, max_size=300))
def test_a_body_comes_back(text: str) -> None:
    sealed = sealed_body(text.encode())
    assert envelope.is_sealed(sealed)
    assert opened(sealed).decode() == text


@pytest.mark.parametrize("size_bytes", [0, 1, 16_300, 16_384, 1_048_576])
def test_of_any_size(size_bytes: int) -> None:
    text = b"x" * size_bytes
    sealed = sealed_body(text)
    assert text[:100] not in sealed or not text
    assert opened(sealed) == text


@given(position=st.integers(0, len(SEALED) - 1), mask=st.integers(1, 255))
def test_any_altered_byte_is_noticed(position: int, mask: int) -> None:
    altered = bytearray(SEALED)
    altered[position] ^= mask
    with pytest.raises(Unsealable):
        opened(bytes(altered))


@given(st.integers(0, len(SEALED) - 1))
def test_what_is_cut_off_is_noticed(end: int) -> None:
    with pytest.raises(Unsealable):
        opened(SEALED[:end])


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_no_trouble(body: bytes) -> None:
    with pytest.raises(Unsealable):
        envelope.wrapped_key_of(b"\x02" + body)
    with pytest.raises(Unsealable):
        OpeningKey(KEY).open(b"", b"\x01" + body)


NAMES = st.text("abc:-0", min_size=1, max_size=20)


@given(arn=NAMES, message_id=NAMES)
def test_a_body_of_another_queue_or_message_does_not_open(arn: str, message_id: str) -> None:
    for other in ((arn, ID), (ARN, message_id), (ARN + ID[0], ID[1:])):
        with pytest.raises(Unsealable):
            opened(SEALED, *other)


def test_even_with_the_key_at_hand() -> None:
    body = SealingKey(KEY, b"wrapped").seal(aad_of(ARN, ID), b"1")
    key = OpeningKey(KEY)
    assert key.open(aad_of(ARN, ID), body) == b"1"
    for aad in (aad_of(ARN, ID[:-1] + "2"), aad_of(ARN + "x", ID), b""):
        with pytest.raises(Unsealable):
            key.open(aad, body)
    with pytest.raises(Unsealable):
        OpeningKey(bytes(32)).open(aad_of(ARN, ID), body)


def test_text_is_not_taken_for_an_envelope() -> None:
    """The characters that SQS allows begin at tab."""
    assert not any(envelope.is_sealed(bytes((byte,))) for byte in range(9, 256))
    assert not envelope.is_sealed(b"")
    with pytest.raises(Unsealable):
        OpeningKey(KEY).open(b"", b"text")


def test_no_nonce_is_used_twice_and_keys_wear_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "SEALS_MAX", 3)
    key = SealingKey(KEY, b"w")
    nonces = {key.seal(b"", b"same")[4:16] for _ in range(3)}
    assert nonces == {number.to_bytes(12) for number in range(3)}
    with pytest.raises(OverflowError):
        key.seal(b"", b"same")


def test_the_layout() -> None:
    body = SealingKey(KEY, b"wrapped").seal(b"", b"12345")
    assert body[:10] == b"\x01\x00\x07wrapped"
    assert len(body) == 10 + 12 + 5 + 16
    assert envelope.wrapped_key_of(body) == b"wrapped"
    with pytest.raises(ValueError, match="65536 bytes"):
        SealingKey(KEY, bytes(65_536))


@pytest.mark.parametrize("make", [OpeningKey, lambda key: SealingKey(key, b"w")])
def test_a_key_is_wiped_when_it_is_let_go(make: type[DataKey]) -> None:
    key = make(KEY)
    held = key._key
    assert held == KEY
    del key
    assert held == bytes(32)


def test_a_key_is_not_wiped_while_it_is_used() -> None:
    keys = data_keys()
    key = asyncio.run(keys.new_sealing_key(RING, 1, "", USE))
    keys.clear()
    body = key.seal(aad_of(ARN, ID), b"1")
    assert opened(body) == b"1"
