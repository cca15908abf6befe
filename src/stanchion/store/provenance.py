"""Provenance: where the sealed body of a moved message comes from, in a form nobody can make up.

A sealed body opens only with the queue and the id that it was sealed for. A move changes one or
both, so the message carries them along: origin and MAC, as JSON. The MAC is over the origin and the
place where the message is now, under the move key, which is not in the database. So a body that
somebody moves there by hand, with or without its provenance, does not open where it was put.

Never trusts what it reads, and never vouches for an origin that was not vouched for before: what is
forged stays forged however often it is moved. Called by stores: on moves and on claims of what was
moved.
"""

import hmac
from hashlib import blake2b

import msgspec

from stanchion.store.contract import QueueName, SealedAs

_MAC_BYTES = 16
_PURPOSE = b"stanchion moves"

_encode = msgspec.json.encode
_Stamp = tuple[QueueName, str, str]
"""The origin's queue and message id, and the MAC in hexadecimal digits."""
_decode = msgspec.json.Decoder(_Stamp).decode


class Provenances:
    """Stamps and checks provenances under a move key of at most 64 bytes."""

    def __init__(self, key: bytes) -> None:
        self._keyed = blake2b(key=key, digest_size=_MAC_BYTES, person=_PURPOSE)

    def sealed_as(self, provenance: object, here: SealedAs) -> SealedAs | None:
        """What a body found `here` was sealed for; None if that is here, or is not genuine."""
        origin = self._origin(provenance, here)
        return None if origin == here else origin

    def stamped(self, provenance: object, here: SealedAs, there: SealedAs) -> bytes | None:
        """The provenance, in UTF-8, of a sealed body that goes from `here` to `there`.

        None if it has one that is not genuine: that one it keeps.
        """
        origin = here if provenance is None else self._origin(provenance, here)
        if origin is None:
            return None
        return _encode((*origin, self._mac(origin, there)))

    def _origin(self, provenance: object, here: SealedAs) -> SealedAs | None:
        if not isinstance(provenance, bytes):
            return None
        try:
            queue, message_id, mac = _decode(provenance)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        origin = SealedAs(queue, message_id)
        genuine = self._mac(origin, here)
        return origin if hmac.compare_digest(mac.encode(), genuine.encode()) else None

    def _mac(self, origin: SealedAs, place: SealedAs) -> str:
        keyed = self._keyed.copy()
        keyed.update(_encode((origin, place)))
        return keyed.hexdigest()
