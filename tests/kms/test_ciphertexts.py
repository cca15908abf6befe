"""The blob: it opens with its key and its context only, and not at all when a byte is another."""

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from stanchion.keys.ring import KeyRing
from stanchion.kms import ciphertexts, materials
from stanchion.kms.finding import arn_of
from stanchion.model.kms import InvalidCiphertextException, KeyUnavailableException
from tests.kms.harness import ACCOUNT, Service

SERVICE = Service()
KEY = SERVICE.found(SERVICE.key())
OTHER_KEY = SERVICE.found(SERVICE.key())
CONTEXT = {"aws:sqs:arn": "arn:aws:sqs:eu-central-1:123456789012:q", "b": "2"}
BLOB = ciphertexts.encrypt(SERVICE.kms, KEY, b"attack at dawn", CONTEXT)

contexts = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)


@given(plaintext=st.binary(max_size=100), context=contexts)
def test_what_goes_in_comes_out(plaintext: bytes, context: dict[str, str]) -> None:
    blob = ciphertexts.encrypt(SERVICE.kms, KEY, plaintext, context)
    assert len(blob) == len(plaintext) + 73
    in_another_order = dict(reversed(context.items()))
    opened = ciphertexts.decrypt(SERVICE.kms, KEY, blob, in_another_order)
    assert (opened.plaintext, opened.material.number) == (plaintext, 1)


@given(one=contexts, other=contexts)
def test_another_context_opens_nothing(one: dict[str, str], other: dict[str, str]) -> None:
    blob = ciphertexts.encrypt(SERVICE.kms, KEY, b"x", one)
    if one != other:
        with pytest.raises(InvalidCiphertextException):
            ciphertexts.decrypt(SERVICE.kms, KEY, blob, other)


def test_contexts_do_not_run_into_each_other() -> None:
    blob = ciphertexts.encrypt(SERVICE.kms, KEY, b"x", {"ab": "c"})
    for other in ({"a": "bc"}, {"abc": ""}, {"": "abc"}, {"c": "ab"}):
        with pytest.raises(InvalidCiphertextException):
            ciphertexts.decrypt(SERVICE.kms, KEY, blob, other)


@given(place=st.integers(0, len(BLOB) - 1), change=st.integers(1, 255))
def test_any_altered_byte_is_refused(place: int, change: int) -> None:
    altered = bytearray(BLOB)
    altered[place] ^= change
    with pytest.raises(InvalidCiphertextException):
        ciphertexts.decrypt(SERVICE.kms, KEY, bytes(altered), CONTEXT)


@given(length=st.integers(0, len(BLOB) - 1))
def test_a_part_of_a_blob_is_refused(length: int) -> None:
    for part in (BLOB[:length], BLOB + BLOB[: length + 1]):
        with pytest.raises(InvalidCiphertextException):
            ciphertexts.decrypt(SERVICE.kms, KEY, part, CONTEXT)


@given(garbage=st.binary(max_size=120))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(InvalidCiphertextException):
        ciphertexts.decrypt(SERVICE.kms, KEY, garbage, {})


def test_a_blob_says_whose_it_is() -> None:
    head = ciphertexts.head_of(BLOB)
    assert (head.account_id, head.key_id, head.material_number) == (ACCOUNT, KEY.id, 1)


def test_the_layout_of_a_blob_is_the_one_that_is_written_down() -> None:
    """Blobs are kept for years: this opens one by hand."""
    head, nonce, sealed = BLOB[:45], BLOB[45:57], BLOB[57:]
    assert head[:1] == b"\x01"
    assert int.from_bytes(head[1:9]) == int(ACCOUNT)
    assert (head[9:25].hex(), head[25:29]) == (KEY.id.replace("-", ""), b"\0\0\0\x01")
    material = materials.opened(SERVICE.kms, KEY, KEY.materials[0])
    fixed = b"stanchion-kms-ciphertext-1" + b"\0" + head[29:] + (256).to_bytes(4)
    message_key = hmac.digest(material, b"\0\0\0\x01" + fixed, "sha256")
    parts = [arn_of(KEY), *(part for pair in sorted(CONTEXT.items()) for part in pair)]
    aad = head + b"".join(len(part).to_bytes(4) + part.encode() for part in parts)
    assert AESGCM(message_key).decrypt(nonce, sealed, aad) == b"attack at dawn"


def test_another_key_opens_nothing_even_with_the_same_material() -> None:
    for other in (OTHER_KEY, structs.replace(OTHER_KEY, materials=KEY.materials)):
        with pytest.raises((InvalidCiphertextException, KeyUnavailableException)):
            ciphertexts.decrypt(SERVICE.kms, other, BLOB, CONTEXT)


def test_a_blob_of_another_region_opens_nothing() -> None:
    with pytest.raises((InvalidCiphertextException, KeyUnavailableException)):
        ciphertexts.decrypt(SERVICE.kms, structs.replace(KEY, region="us-east-1"), BLOB, CONTEXT)


def test_the_same_again_looks_different() -> None:
    blobs = [ciphertexts.encrypt(SERVICE.kms, KEY, b"same", {}) for _ in range(3)]
    # All but the version, the account, the key and its material.
    assert len({blob[29:45] for blob in blobs}) == 3
    assert len({blob[45:57] for blob in blobs}) == 3
    assert len({blob[57:] for blob in blobs}) == 3


def test_material_that_does_not_open_is_a_fault_of_ours() -> None:
    kms = structs.replace(SERVICE.kms, sealer=KeyRing.ephemeral())
    with pytest.raises(KeyUnavailableException) as error:
        ciphertexts.decrypt(kms, KEY, BLOB, CONTEXT)
    assert error.value.http_status == 500
