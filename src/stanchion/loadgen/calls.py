"""The requests of one worker, as bytes ready to be written, and what their replies say.

Every message's body is different: it ends in a serial number that no other message of the run has,
and which says which group the message is of. Where a request's body begins with bytes that never
change, their digest is computed once.
"""

from hashlib import sha256

import msgspec
from msgspec import Struct

from stanchion.clock import Clock
from stanchion.loadgen.plan import Plan
from stanchion.loadgen.signing import SignedOperation

SERIAL_DIGITS = 16
_SERIALS_PER_WORKER = 10**10
_SERIALS_PER_RUN = 10**12


class ReceivedMessage(Struct, rename="pascal", gc=False):
    receipt_handle: str


class _Received(Struct, rename="pascal", gc=False):
    messages: list[ReceivedMessage] = []


class _Failure(Struct, rename="pascal"):
    code: str = "Unknown"


class _BatchReply(Struct, rename="pascal"):
    failed: list[_Failure] = []


class _Delete(Struct, rename="pascal", gc=False):
    queue_url: str
    receipt_handle: str


class _Entry(Struct, rename="pascal", gc=False):
    id: str
    receipt_handle: str


class _DeleteBatch(Struct, rename="pascal", gc=False):
    queue_url: str
    entries: list[_Entry]


class Calls:
    """Builds the requests that a plan needs; one for all connections of a worker."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        def signed(operation: str) -> SignedOperation:
            return SignedOperation(plan.endpoint, plan.credentials, operation, clock)

        suffix = "Batch" if plan.batch > 1 else ""
        self.send_operation = f"SendMessage{suffix}"
        self.delete_operation = f"DeleteMessage{suffix}"
        self.batch = plan.batch
        self._queue_url = plan.queue_url
        self._send = signed(self.send_operation)
        self._receive = signed("ReceiveMessage")
        self._delete = signed(self.delete_operation)
        self._serial = plan.run * _SERIALS_PER_RUN + plan.worker * _SERIALS_PER_WORKER
        self._serial_digits = min(SERIAL_DIGITS, plan.body_bytes)
        self._groups = plan.groups
        self._group_start = b'","MessageGroupId":"' + plan.group_prefix.encode()
        self._has_deduplication_ids = plan.fifo and not plan.content_based
        pieces, self._send_end = _send_pieces(plan)
        self._send_prefix, self._send_later_pieces = pieces[0], pieces[1:]
        self._send_prefix_hash = sha256(self._send_prefix)
        self._receive_body = _receive_body(plan)
        self._receive_digest = sha256(self._receive_body).digest()

    def send(self) -> bytes:
        """A SendMessage, or a SendMessageBatch when the batch is larger than one."""
        tail = self._next_serial()
        for piece in self._send_later_pieces:
            tail += piece + self._next_serial()
        tail += self._send_end
        digest = self._send_prefix_hash.copy()
        digest.update(tail)
        return self._send.request(self._send_prefix + tail, digest.digest())

    def _next_serial(self) -> bytes:
        """The end of a message's body and, where there are any, its group and its id."""
        self._serial += 1
        serial = b"%016d" % self._serial
        end = serial[-self._serial_digits :]
        if self._groups:
            end += self._group_start + b"%d" % (self._serial % self._groups)
        if self._has_deduplication_ids:
            end += b'","MessageDeduplicationId":"' + serial
        return end

    def receive(self) -> bytes:
        return self._receive.request(self._receive_body, self._receive_digest)

    def delete(self, messages: list[ReceivedMessage]) -> bytes:
        """Deletes all of them, which may be more than one only when the batch is."""
        if self.batch > 1:
            entries = [_Entry(str(n), message.receipt_handle) for n, message in enumerate(messages)]
            return self._delete.request(msgspec.json.encode(_DeleteBatch(self._queue_url, entries)))
        request = _Delete(self._queue_url, messages[0].receipt_handle)
        return self._delete.request(msgspec.json.encode(request))


def _send_pieces(plan: Plan) -> tuple[list[bytes], bytes]:
    """The body of a send: what comes before each message's serial number, and after the last."""
    start = b'{"QueueUrl":' + msgspec.json.encode(plan.queue_url)
    filler = b"x" * max(0, plan.body_bytes - SERIAL_DIGITS)
    if plan.batch == 1:
        return [start + b',"MessageBody":"' + filler], b'"}'
    entries = [b'{"Id":"%d","MessageBody":"%b' % (n, filler) for n in range(plan.batch)]
    return [start + b',"Entries":[' + entries[0], *(b'"},' + e for e in entries[1:])], b'"}]}'


def _receive_body(plan: Plan) -> bytes:
    return msgspec.json.encode(
        {
            "QueueUrl": plan.queue_url,
            "MaxNumberOfMessages": plan.batch,
            "WaitTimeSeconds": plan.wait_s,
        }
    )


_decode_received = msgspec.json.Decoder(_Received).decode


def received(reply: bytes) -> list[ReceivedMessage]:
    """The messages of a ReceiveMessage's reply."""
    return _decode_received(reply).messages


def failed_entries(reply: bytes) -> list[str]:
    """The error codes of the entries that failed, of a batch's reply; empty for other replies."""
    if b'"Failed"' not in reply:
        return []
    return [failure.code for failure in msgspec.json.decode(reply, type=_BatchReply).failed]
