"""Envelopes: message bodies as they are stored.

A sealed body is the byte 1, the length of its wrapped data key (2 bytes), the wrapped data key, a
nonce (12), and AES-256-GCM ciphertext with its tag. It needs nothing else but the means to unwrap
the key. Queue ARN and message id are authenticated: a body moved by hand to another message does
not open. A body that is not encrypted is stored as it is: text of SQS has no byte below 9 in front.

Nonces count up from 0. That is safe because a data key seals in one object of one process only, and
is forgotten with it; keys are made by `data_keys.py`, and used by the actions that send and receive
messages. Nothing here waits or reads the clock.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stanchion.keys.root import NONCE_BYTES, TAG_BYTES
from stanchion.keys.sealing import Unsealable

SEALS_MAX = 2**32
"""Bodies under one data key."""
WRAPPED_BYTES_MAX = 65_535

_VERSION = 1
_VERSION_BYTE = b"\x01"
_TEXT_BEGINS = b"\x09"
_HEAD_BYTES = 3
_COPIED_BYTES_MAX = 16_384


def aad_of(queue_arn: str, message_id: str) -> bytes:
    """What is authenticated with a body: where and as which message it was sent."""
    return f"{queue_arn}\0{message_id}".encode()


def is_sealed(body: bytes) -> bool:
    """Whether a stored body is an envelope."""
    return body[:1] == _VERSION_BYTE


def is_text(body: bytes) -> bool:
    """Whether a stored body can be text; what is neither that nor an envelope is damaged."""
    return body[:1] >= _TEXT_BEGINS


def wrapped_key_of(body: bytes) -> bytes:
    """The wrapped data key of a sealed body. Raises `Unsealable`."""
    end = _HEAD_BYTES + int.from_bytes(body[1:_HEAD_BYTES])
    if len(body) < end + NONCE_BYTES + TAG_BYTES or body[0] != _VERSION:
        raise Unsealable("not a sealed body")
    return body[_HEAD_BYTES:end]


class DataKey:
    """A data key in use: its bytes are overwritten as soon as nobody refers to it.

    That is as much as Python allows. Out of reach are the copies that a provider made before this
    object had the key, pages that were swapped out, and what the cipher keeps, which OpenSSL
    overwrites when it is freed. So the key is gone when memory is reused, not at that instant.
    """

    __slots__ = ("_cipher", "_key")

    def __init__(self, key: bytes | bytearray) -> None:
        self._key = bytearray(key)
        self._cipher = AESGCM(self._key)

    def __del__(self) -> None:
        # Not before: to seal with a key of zeros would be worse than to keep it for a moment.
        self._key[:] = bytes(len(self._key))


class SealingKey(DataKey):
    """Seals bodies. Only for a key that has never sealed before, here or elsewhere."""

    __slots__ = ("_prefix", "seals")

    def __init__(self, key: bytes | bytearray, wrapped: bytes) -> None:
        super().__init__(key)
        if len(wrapped) > WRAPPED_BYTES_MAX:
            raise ValueError(f"a wrapped data key of {len(wrapped)} bytes")
        self._prefix = _VERSION_BYTE + len(wrapped).to_bytes(2) + wrapped
        self.seals = 0
        """How many bodies it has sealed; at `SEALS_MAX` it must be given up."""

    def seal(self, aad: bytes, body: bytes) -> bytes:
        """The body as it is stored. `aad` is that of `aad_of`. For one thread."""
        seals = self.seals
        if seals >= SEALS_MAX:
            raise OverflowError("a data key has sealed all that it may")
        self.seals = seals + 1
        nonce = seals.to_bytes(NONCE_BYTES)
        return self._prefix + nonce + self._cipher.encrypt(nonce, body, aad)


class OpeningKey(DataKey):
    """Opens bodies that were sealed under this data key, by any process."""

    __slots__ = ()

    def open(self, aad: bytes, body: bytes) -> bytes:
        """The text of a sealed body. Raises `Unsealable`."""
        if not is_sealed(body):
            raise Unsealable("not a sealed body")
        start = _HEAD_BYTES + int.from_bytes(body[1:_HEAD_BYTES])
        end = start + NONCE_BYTES
        # A view costs more than a copy of a few KiB, and far less than one of many.
        rest = body[end:] if len(body) < _COPIED_BYTES_MAX else memoryview(body)[end:]
        try:
            return self._cipher.decrypt(body[start:end], rest, aad)
        except (InvalidTag, ValueError):
            raise Unsealable("altered, or the body of another message") from None
