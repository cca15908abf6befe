"""Ciphertexts: what a symmetric key encrypts, as one blob that says which key opens it.

A blob is the byte 1, the account (8 bytes), the key's id (16), the number of its material (4), a
salt (16), a nonce (12), and AES-256-GCM ciphertext with its tag. The blob up to the nonce, the ARN
of the key and the encryption context are authenticated.

A key must be good for any number of messages, and AES-GCM with random nonces is for 2^32. So each
message has a key of its own: KBKDF in counter mode with HMAC-SHA256 (NIST SP 800-108) of the
material and the salt. Two messages share key and nonce only if 224 random bits are the same.

Reading a blob's head proves nothing: who may decrypt is decided on the key that it names, and then
`decrypt` finds out whether the blob is of that key. Called by the actions that encrypt.
"""

from collections.abc import Mapping
from itertools import chain
from struct import Struct as Packer
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from msgspec import Struct

from stanchion.keys.sealing import Unsealable
from stanchion.kms import materials
from stanchion.kms.entities import Key, Material
from stanchion.kms.finding import arn_of
from stanchion.kms.service import Kms
from stanchion.model.kms import InvalidCiphertextException, KeyUnavailableException

Context = Mapping[str, str]
"""An encryption context. The order of its pairs means nothing."""

_VERSION = 1
_HEAD = Packer(">BQ16sI16s")
_NONCE_BYTES = 12
_TAG_BYTES = 16
_BLOB_BYTES_MIN = _HEAD.size + _NONCE_BYTES + _TAG_BYTES
_SALT_BYTES = 16


def encrypt(kms: Kms, key: Key, plaintext: bytes, context: Context) -> bytes:
    """A blob, 73 bytes longer than the plaintext, under the newest material of a symmetric key.

    Raises `KeyUnavailableException`.
    """
    material, salt = key.materials[-1], kms.entropy(_SALT_BYTES)
    head = _HEAD.pack(_VERSION, int(key.account_id), UUID(key.id).bytes, material.number, salt)
    nonce = kms.entropy(_NONCE_BYTES)
    cipher = _cipher(opened(kms, key, material), salt)
    return head + nonce + cipher.encrypt(nonce, plaintext, _aad(head, key, context))


def _cipher(material: bytes, salt: bytes) -> AESGCM:
    derivation = KBKDFHMAC(
        SHA256(),
        Mode.CounterMode,
        length=32,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=b"stanchion-kms-ciphertext-1",
        context=salt,
        fixed=None,
    )
    return AESGCM(derivation.derive(material))


def _aad(head: bytes, key: Key, context: Context) -> bytes:
    """Lengths keep two contexts from looking like one."""
    pairs = sorted((name.encode(), value.encode()) for name, value in context.items())
    parts = (arn_of(key).encode(), *chain.from_iterable(pairs))
    return head + b"".join(len(part).to_bytes(4) + part for part in parts)


def opened(kms: Kms, key: Key, material: Material) -> bytes:
    """Key material, to be used on the spot. Raises `KeyUnavailableException`."""
    try:
        return materials.opened(kms, key, material)
    except Unsealable as error:
        raise KeyUnavailableException(f"{arn_of(key)} is not available.") from error


class Head(Struct, frozen=True):
    """What a blob says of itself."""

    account_id: str
    key_id: str
    material_number: int


def head_of(blob: bytes) -> Head:
    """Raises `InvalidCiphertextException` for what is no blob at all."""
    if len(blob) < _BLOB_BYTES_MIN or blob[0] != _VERSION:
        raise InvalidCiphertextException
    _, account, key_id, number, _ = _HEAD.unpack_from(blob)
    return Head(f"{account:012d}", str(UUID(bytes=key_id)), number)


class Opened(Struct, frozen=True):
    plaintext: bytes
    material: Material
    """Under which it was encrypted."""


def decrypt(kms: Kms, key: Key, blob: bytes, context: Context) -> Opened:
    """What is in a blob of this key.

    Raises `InvalidCiphertextException`, also for another context, and `KeyUnavailableException`.
    """
    number = head_of(blob).material_number
    material = next((found for found in key.materials if found.number == number), None)
    if material is None:
        raise InvalidCiphertextException
    head = blob[: _HEAD.size]
    start = _HEAD.size + _NONCE_BYTES
    cipher = _cipher(opened(kms, key, material), head[-_SALT_BYTES:])
    try:
        plaintext = cipher.decrypt(blob[_HEAD.size : start], blob[start:], _aad(head, key, context))
    except InvalidTag:
        raise InvalidCiphertextException from None
    return Opened(plaintext, material)
