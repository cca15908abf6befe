"""Key providers: who makes data keys, and wraps and unwraps them.

A wrapped data key begins with a byte that says whose it is. The ring's own provider, for queues
with SSE-SQS, is here; those of a KMS, for SSE-KMS, keep to the same protocol and to the layout of
`kms_wrapped`. A provider decides itself whether the caller may; it never caches, which is the
business of `data_keys.py`, its one caller.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from stanchion.keys.ring import KeyRing
from stanchion.keys.root import KEY_BYTES, Entropy
from stanchion.keys.sealing import Unsealable

RING = 1
KMS = 2

Context = Mapping[str, str]
"""The encryption context, which is authenticated: `{"aws:sqs:arn": queue_arn}`."""


class ProviderUnavailable(Exception):
    """The provider cannot be reached, which says nothing about its keys."""

    is_allowed = False
    """Whether the caller may, as far as that is decided here: only then is something used that was
    given out in an earlier epoch."""


class ProviderThrottled(ProviderUnavailable):
    """The provider has had enough calls for now."""


class NewDataKey(NamedTuple):
    key: bytes | bytearray
    """32 bytes."""
    wrapped: bytes
    """Its first byte is `RING` or `KMS`."""


class KeyProvider(Protocol):
    """Makes and unwraps data keys.

    `on_behalf` is who asks, as the provider of that kind wants to know it; the caches pass it on
    and never look at it. Both raise `ProviderUnavailable`, and whatever a refusal is called.
    """

    @property
    def outage_max_s(self) -> int:
        """For how long an expired data key may be used while the provider is unavailable."""
        ...

    @property
    def waits(self) -> bool:
        """Whether anything is awaited here. If not, there is nothing to share between callers."""
        ...

    @property
    def epoch(self) -> int:
        """Another number when the provider may decide otherwise than before: what it gave out under
        an earlier one is not used any more."""
        ...

    async def generate(self, key_id: str, context: Context, on_behalf: Any) -> NewDataKey: ...

    async def unwrap(self, wrapped: bytes, context: Context, on_behalf: Any) -> bytes | bytearray:
        """The data key. Raises `Unsealable` too, also when the context is another."""
        ...


class RingProvider:
    """Data keys under the key ring: `RING`, and what the ring made of them. Never unavailable."""

    outage_max_s = 0
    waits = False
    epoch = 0

    def __init__(self, ring: KeyRing, entropy: Entropy) -> None:
        self._ring = ring
        self._entropy = entropy

    async def generate(self, key_id: str, context: Context, on_behalf: Any) -> NewDataKey:
        """The ring has one key that is active, whatever `key_id` says."""
        key = self._entropy(KEY_BYTES)
        return NewDataKey(key, _RING_BYTE + self._ring.seal(_purpose(context), key))

    async def unwrap(self, wrapped: bytes, context: Context, on_behalf: Any) -> bytes:
        if wrapped[:1] != _RING_BYTE:
            raise Unsealable("not a data key of the ring")
        return self._ring.open(_purpose(context), wrapped[1:])


_RING_BYTE = bytes((RING,))


def _purpose(context: Context) -> str:
    # Lengths keep two contexts from looking like one.
    parts = (f"{len(name)}:{name}={len(value)}:{value}" for name, value in sorted(context.items()))
    return f"data-key:{';'.join(parts)}"


# --- The layout of data keys of a KMS -----------------------------------------------------------


def kms_wrapped(key_arn: str, ciphertext: bytes) -> bytes:
    """`KMS`, the length of the key's ARN (2 bytes), the ARN, and what the KMS made."""
    arn = key_arn.encode()
    return bytes((KMS,)) + len(arn).to_bytes(2) + arn + ciphertext


def kms_unwrapped(wrapped: bytes) -> tuple[str, bytes]:
    """The key's ARN and the KMS's ciphertext. Raises `Unsealable`."""
    end = 3 + int.from_bytes(wrapped[1:3])
    if wrapped[:1] != bytes((KMS,)) or len(wrapped) <= end:
        raise Unsealable("not a data key of a KMS")
    try:
        return wrapped[3:end].decode(), wrapped[end:]
    except UnicodeDecodeError:
        raise Unsealable("the ARN of a KMS key is damaged") from None
