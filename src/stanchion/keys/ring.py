"""The key ring: random keys, wrapped by the root, under which everything else is sealed.

Kept as one document with the name of its root and a check, so that another root is told from
damage. A rotation adds a key and wraps them all under another root; what was sealed before stays as
it is, because no key ever leaves the ring. A new key seals once every process has had the time to
learn of it, so that each opens what the others seal. Something sealed is the byte 1, the number of
the ring key (4 bytes), a nonce (12), and AES-256-GCM ciphertext with its tag; the purpose is
authenticated. Opened once by the server, and refreshed when documents were edited by somebody else.
"""

import os
from collections.abc import Mapping
from struct import Struct as Packer
from typing import ClassVar, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from stanchion.clock import Clock
from stanchion.keys.root import (
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    Entropy,
    Root,
    RootSource,
    RootUnusable,
    WrongRoot,
)
from stanchion.keys.sealing import Unsealable
from stanchion.store.documents import Document, Documents, Draft

# --- What is stored -----------------------------------------------------------------------------

NAME = "ring"

D = TypeVar("D", bound=Document)


class WrappedKey(Struct, frozen=True):
    number: int
    created_at_ms: int
    wrapped: bytes
    seals_from_ms: int = 0
    """By then every process has the key; until then the one before it seals."""


class RingRecord(Document, frozen=True, kw_only=True):
    """The ring, with no secret that is not wrapped."""

    kind: ClassVar[str] = "KeyRing"
    root_kind: str
    root_parameters: dict[str, str]
    check: bytes
    """Which keys there are and which is active, wrapped as well: none can be slipped in."""
    active: int
    keys: tuple[WrappedKey, ...]


class SealedSecret(Document, frozen=True, kw_only=True):
    """A random key for a purpose of its own, such as receipts."""

    kind: ClassVar[str] = "SealedSecret"
    sealed: bytes


def record_of(
    root: Root,
    keys: Mapping[int, bytes],
    created_at_ms: Mapping[int, int],
    seals_from_ms: Mapping[int, int],
) -> RingRecord:
    """The ring as it is stored under a root. The key of the highest number is active."""
    active = max(keys)
    return RingRecord(
        root_kind=root.kind,
        root_parameters=dict(root.parameters),
        check=root.wrap(_check(active, keys), _CHECK_AAD),
        active=active,
        keys=tuple(
            WrappedKey(
                number,
                created_at_ms[number],
                root.wrap(key, _key_aad(number)),
                seals_from_ms[number],
            )
            for number, key in keys.items()
        ),
    )


_CHECK_AAD = b"stanchion key ring"


def _check(active: int, numbers: Mapping[int, bytes]) -> bytes:
    return msgspec.json.encode((active, sorted(numbers)))


def _key_aad(number: int) -> bytes:
    return f"stanchion ring key {number}".encode()


def keys_of(record: RingRecord, source: RootSource) -> dict[int, bytes]:
    """The keys of a stored ring by their numbers. Raises `RootUnusable`."""
    if record.root_kind != source.kind:
        given, wanted = (_WORDS.get(kind, kind) for kind in (source.kind, record.root_kind))
        raise RootUnusable(
            f"the data is sealed under {wanted}, and {given} was configured: configure what it is "
            "sealed under, and change that with `stanchion keys rotate`"
        )
    root = source.found(record.root_parameters)
    try:
        check = root.unwrap(record.check, _CHECK_AAD)
    except WrongRoot:
        raise RootUnusable(
            f"the {root.description} does not open the data: it is not the one that the data was "
            "sealed under; nothing has been changed"
        ) from None
    try:
        keys = {key.number: root.unwrap(key.wrapped, _key_aad(key.number)) for key in record.keys}
    except WrongRoot:
        raise RootUnusable("the key ring in the database is damaged: restore a backup") from None
    if check != _check(record.active, keys):
        raise RootUnusable("the key ring in the database was altered: restore a backup")
    source.settle(root)
    return keys


_WORDS = {"file": "a key file", "passphrase": "a passphrase", "pkcs11": "a PKCS#11 key"}


# --- Opening ------------------------------------------------------------------------------------


async def open_ring(
    documents: Documents, source: RootSource, clock: Clock, entropy: Entropy = os.urandom
) -> "KeyRing":
    """The ring of this installation, made at its first start. Raises `RootUnusable`.

    Takes a moment with a passphrase, and blocks: it belongs before the server listens. `notice` of
    the answer is what to tell the operator of a new installation.
    """
    record, _ = await documents.read(RingRecord, "", NAME)
    notice = ""
    if record is None:
        root = source.first()
        # The root is durable from here on, so that no crash leaves a ring without one.
        made = record_of(root, {1: entropy(KEY_BYTES)}, {1: clock.now_ms()}, {1: 0})
        record = await _put_first(documents, made, NAME)
        if record is made:
            notice = f"Everything is sealed under the {root.description}. {root.loss}"
    active = sealing_number(record, clock.now_ms())
    return KeyRing(keys_of(record, source), active, entropy, source, notice)


async def _put_first(documents: Documents, made: D, name: str) -> D:
    """Store a document unless somebody was faster. Answer: the one that is there."""

    async def work(draft: Draft) -> D:
        found = await draft.get(type(made), "", name)
        if found is None:
            draft.put(made, "", name)
        return found or made

    return await documents.change(work)


async def ring_record(documents: Documents) -> RingRecord:
    """What can be known of the ring without its root. Raises `RootUnusable` if there is none."""
    record, _ = await documents.read(RingRecord, "", NAME)
    if record is None:
        raise RootUnusable("there is no key ring yet: it is made when the server first starts")
    return record


def sealing_number(record: RingRecord, now_ms: int) -> int:
    """The key to seal with: the newest one that everybody has."""
    known = [key.number for key in record.keys if key.seals_from_ms <= now_ms]
    return max(known, default=record.active)


# --- Using --------------------------------------------------------------------------------------

RETRIED_AFTER_MS = 60_000
"""When a root that could not be had is looked for again: an operator may have put it there."""

_VERSION = 1
_HEAD = Packer(">BI")
_SEALED_BYTES_MIN = _HEAD.size + NONCE_BYTES + TAG_BYTES


class KeyRing:
    """A `Sealer` over the keys of the ring."""

    def __init__(
        self,
        keys: Mapping[int, bytes],
        active: int,
        entropy: Entropy,
        source: RootSource | None = None,
        notice: str = "",
    ) -> None:
        """Without a `source` the ring is what it is for ever."""
        self._source = source
        self._out_of_reach: RingRecord | None = None
        self._tried_at_ms = 0
        self.notice = notice
        """One paragraph for the operator, when the ring was just made."""
        self._entropy = entropy
        self._ciphers = {number: AESGCM(key) for number, key in keys.items()}
        self._seal_with(active)

    @classmethod
    def ephemeral(cls, entropy: Entropy = os.urandom) -> "KeyRing":
        """A ring that is forgotten with this object, for a server that forgets everything."""
        return cls({1: entropy(KEY_BYTES)}, 1, entropy)

    def _seal_with(self, active: int) -> None:
        self._head = _HEAD.pack(_VERSION, active)
        self._active = self._ciphers[active]

    def seal(self, purpose: str, plaintext: bytes) -> bytes:
        """33 bytes longer than the plaintext."""
        nonce = self._entropy(NONCE_BYTES)
        return self._head + nonce + self._active.encrypt(nonce, plaintext, purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> bytes:
        if len(sealed) < _SEALED_BYTES_MIN or sealed[0] != _VERSION:
            raise Unsealable("not something sealed")
        _, number = _HEAD.unpack_from(sealed)
        cipher = self._ciphers.get(number)
        if cipher is None:
            raise Unsealable(f"sealed under ring key {number}, which is not in the ring")
        start = _HEAD.size + NONCE_BYTES
        try:
            return cipher.decrypt(sealed[_HEAD.size : start], sealed[start:], purpose.encode())
        except InvalidTag:
            raise Unsealable("altered, or sealed for another purpose") from None

    async def secret(self, documents: Documents, name: str) -> bytes:
        """32 random bytes of that name, the same for ever. Raises `Unsealable`, `StoreError`."""
        purpose = f"secret:{name}"
        found = await documents.get(SealedSecret, "", name)
        if found is None:
            made = SealedSecret(sealed=self.seal(purpose, self._entropy(KEY_BYTES)))
            found = await _put_first(documents, made, name)
        return self.open(purpose, found.sealed)

    async def refresh(self, documents: Documents, now_ms: int) -> None:
        """Take up the keys of a rotation by another process: at once to open, then to seal.

        Cheap unless there was one: to be called all the time. Raises `RootUnusable` when the new
        root cannot be had here; the keys so far stay in use.
        """
        record = await documents.get(RingRecord, "", NAME)
        if record is None or self._source is None:
            return
        if self._ciphers.keys() != {key.number for key in record.keys}:
            if record == self._out_of_reach and now_ms < self._tried_at_ms + RETRIED_AFTER_MS:
                return  # To find that out takes a moment, and it has been said.
            self._out_of_reach, self._tried_at_ms = record, now_ms
            keys = keys_of(record, self._source)
            self._ciphers = {number: AESGCM(key) for number, key in keys.items()}
        self._seal_with(sealing_number(record, now_ms))
