"""Receipt handles: what a receive gives out and a delete or a visibility change brings back.

A handle says which message, as received for the n-th time and when, and carries a MAC over that
and the queue, keyed by a secret of this installation. So it can be neither made up nor used on
another queue, and checking it needs no storage.
"""

import hmac
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from hashlib import blake2b
from struct import Struct as Packer

from msgspec import Struct

from stanchion.model.sqs import ReceiptHandleIsInvalid
from stanchion.sqs.limits import RECEIPT_HANDLE_CHARS_MAX
from stanchion.store.contract import Lease

_VERSION = 1
_PAYLOAD = Packer(">BQIQ")
_MAC_BYTES = 15
_HANDLE_CHARS = (_PAYLOAD.size + _MAC_BYTES) // 3 * 4
# The URL-safe alphabet: a handle is often pasted into a query string by hand.
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")


class Receipt(Struct, frozen=True, gc=False):
    """What an authentic handle says."""

    lease: Lease
    received_at_ms: int


class Receipts:
    """Issues and checks the handles of one installation."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def issue(self, queue_id: int, receipt: Receipt) -> str:
        lease = receipt.lease
        payload = _PAYLOAD.pack(
            _VERSION, lease.sequence, lease.receive_count, receipt.received_at_ms
        )
        handle = b2a_base64(payload + self._mac(queue_id, payload), newline=False)
        return handle.translate(_TO_URL).decode()

    def read(self, queue_id: int, handle: str) -> Receipt:
        """Raises `ReceiptHandleIsInvalid` unless `issue` made the handle for this queue."""
        if len(handle) != _HANDLE_CHARS or not handle.isascii():
            raise _invalid(handle)
        try:
            raw = a2b_base64(handle.encode().translate(_FROM_URL), strict_mode=True)
        except Base64Error:
            raise _invalid(handle) from None
        payload, mac = raw[: _PAYLOAD.size], raw[_PAYLOAD.size :]
        if not hmac.compare_digest(mac, self._mac(queue_id, payload)):
            raise _invalid(handle)
        version, sequence, receive_count, received_at_ms = _PAYLOAD.unpack(payload)
        if version != _VERSION:
            raise _invalid(handle)
        return Receipt(Lease(sequence, receive_count), received_at_ms)

    def _mac(self, queue_id: int, payload: bytes) -> bytes:
        return blake2b(
            payload + queue_id.to_bytes(8), key=self._secret, digest_size=_MAC_BYTES
        ).digest()


def _invalid(handle: str) -> ReceiptHandleIsInvalid:
    echo = handle[:RECEIPT_HANDLE_CHARS_MAX]
    return ReceiptHandleIsInvalid(
        f'The input receipt handle "{echo}" is not a valid receipt handle.'
    )
