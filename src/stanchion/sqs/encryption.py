"""Bodies between clients and the store: sealed on the way in, opened on the way out.

A queue with SSE-SQS, which is every queue that does not say otherwise, has data keys under the key
ring of the server; one with SSE-KMS has data keys of a KMS, which are made and unwrapped with the
caller's own permissions, over TLS only. What lies in a queue is opened under the key that it was
sealed with, whatever the queue is set to now. A body that does not open is never delivered.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from msgspec import Struct

from stanchion.keys.data_keys import DataKeys, Use
from stanchion.keys.envelope import OpeningKey, SealingKey, aad_of, is_text, wrapped_key_of
from stanchion.keys.providers import (
    KMS,
    RING,
    ProviderThrottled,
    ProviderUnavailable,
    kms_unwrapped,
)
from stanchion.keys.sealing import Unsealable
from stanchion.model import kms, sqs
from stanchion.model.errors import AccessDenied, ServiceError, ServiceUnavailable
from stanchion.observe import logs
from stanchion.service import Call
from stanchion.sqs.attributes import effective, effective_int
from stanchion.sqs.limits import MANAGED_DATA_KEY_S, REFUSED_READERS_MAX
from stanchion.sqs.urls import queue_arn
from stanchion.store.contract import ClaimedMessage


class Encryption(Struct, frozen=True, gc=False):
    """How the bodies of a queue are sealed."""

    provider: int
    """`RING` or `KMS`."""
    key_id: str
    """As the queue's attribute has it; empty for the ring."""
    reuse_period_s: int


_MANAGED = Encryption(RING, "", MANAGED_DATA_KEY_S)


def encryption_of(attributes: Mapping[str, str]) -> Encryption | None:
    """None for a queue whose bodies are stored as they are."""
    key_id = attributes.get("KmsMasterKeyId")
    if key_id:
        reuse_period_s = effective_int(attributes, "KmsDataKeyReusePeriodSeconds")
        return Encryption(KMS, key_id, reuse_period_s)
    return _MANAGED if effective(attributes, "SqsManagedSseEnabled") == "true" else None


Reader = tuple[int, str]
"""A queue, and the credentials of a caller."""


class Bodies:
    """Seals and opens bodies. One per process."""

    def __init__(self, keys: DataKeys, *, kms_needs_tls: bool = True) -> None:
        self._keys = keys
        self._kms_needs_tls = kms_needs_tls
        self._refused: OrderedDict[Reader, tuple[bytes, Use]] = OrderedDict()
        self.unreadable = 0
        """How many bodies did not open."""

    # --- Sealing ----------------------------------------------------------------------------------

    async def sealing_key(
        self, call: Call, queue_id: int, arn: str, encryption: Encryption | None
    ) -> SealingKey | None:
        """What bodies are sealed with; None for a queue that stores them as they are.

        Raises what SQS calls a KMS's refusals, and `ServiceUnavailable`.
        """
        if encryption is None:
            return None
        if encryption.provider == KMS:
            self._check_channel(call)
        # Whose keys they are: the server's, or each caller's own.
        principal = _credentials(call) if encryption.provider == KMS else ""
        key = self._keys.sealing_key(queue_id, encryption.key_id, principal)
        if key is not None:
            return key
        use = Use(principal, call, _context(arn), encryption.reuse_period_s)
        try:
            return await self._keys.new_sealing_key(
                encryption.provider, queue_id, encryption.key_id, use
            )
        except (ServiceError, ProviderUnavailable) as error:
            raise _told(error) from error

    def _check_channel(self, call: Call) -> None:
        if call.caller.kind == "anonymous" or (self._kms_needs_tls and not call.is_secure):
            raise sqs.InvalidSecurity("All requests to this queue must use HTTPS and SigV4.")

    # --- Opening ----------------------------------------------------------------------------------

    async def check(self, call: Call, queue_id: int, encryption: Encryption | None) -> None:
        """Whether the caller may read such a queue, as far as that shows before it is read.

        Who was refused the last time is refused again, unless the KMS says otherwise by now: to
        find out by receiving messages would count as receiving them. Raises like `opened`.
        """
        if encryption is not None and encryption.provider == KMS:
            self._check_channel(call)
        if not self._refused:
            return
        reader = (queue_id, _credentials(call))
        refused = self._refused.get(reader)
        if refused is not None:
            wrapped, use = refused
            try:
                await self._keys.new_opening_key(wrapped, use._replace(on_behalf=call))
            except _UNREADABLE:
                pass
            except _REFUSALS as error:
                if not _is_lost(error, wrapped, encryption):
                    raise _told(error) from error
            # Another receive may have come to another answer meanwhile.
            if self._refused.get(reader) is refused:
                del self._refused[reader]

    async def opened(
        self,
        call: Call,
        queue_id: int,
        arn: str,
        encryption: Encryption | None,
        messages: Sequence[ClaimedMessage],
    ) -> list[tuple[ClaimedMessage, bytes]]:
        """The messages that can be delivered, with their bodies in clear.

        Raises what SQS calls a KMS's refusals: then none can.
        """
        found = []
        for message in messages:
            body = message.body
            if not is_text(body):
                try:
                    body = await self._open(call, queue_id, arn, encryption, message)
                except _UNREADABLE as error:
                    self._note(arn, message, error)
                    continue
                except _REFUSALS as error:
                    raise _told(error) from error
            found.append((message, body))
        return found

    async def _open(
        self,
        call: Call,
        queue_id: int,
        arn: str,
        encryption: Encryption | None,
        message: ClaimedMessage,
    ) -> bytes:
        message_id = message.message_id
        if message.sealed_as is not None:
            # It was moved here: the store vouches for where it was sent.
            arn, message_id = queue_arn(message.sealed_as.queue), message.sealed_as.message_id
        wrapped = wrapped_key_of(message.body)
        is_kms = wrapped[:1] == _KMS_BYTE
        principal = _credentials(call) if is_kms else ""
        key: OpeningKey | None = self._keys.opening_key(wrapped, principal)
        if is_kms:
            self._check_channel(call)
        if key is None:
            use = Use(principal, call, _context(arn), (encryption or _MANAGED).reuse_period_s)
            try:
                key = await self._keys.new_opening_key(wrapped, use)
            except _UNREADABLE:
                raise
            except _REFUSALS as error:
                if _is_lost(error, wrapped, encryption):
                    raise Unsealable("its KMS key is not there any more") from error
                self._refuse((queue_id, _credentials(call)), wrapped, use)
                raise
        return key.open(aad_of(arn, message_id), message.body)

    def _refuse(self, reader: Reader, wrapped: bytes, use: Use) -> None:
        self._refused[reader] = (wrapped, use._replace(on_behalf=None))
        if len(self._refused) > REFUSED_READERS_MAX:
            self._refused.popitem(last=False)

    def _note(self, arn: str, message: ClaimedMessage, error: Exception) -> None:
        self.unreadable += 1
        logs.caused(
            "a body does not open and is not delivered",
            logs.ERROR,
            queue=arn,
            message_id=message.message_id,
            error=error,
        )

    def forget_expired(self) -> None:
        """Let go of keys whose time is over."""
        self._keys.forget_expired()


_KMS_BYTE = bytes((KMS,))

_UNREADABLE = (Unsealable, kms.InvalidCiphertextException, kms.IncorrectKeyException)
_REFUSALS = (ServiceError, ProviderUnavailable)


def _is_lost(error: Exception, wrapped: bytes, encryption: Encryption | None) -> bool:
    """Whether a message's key is gone for ever, and is not the one that its queue asks for.

    One such message is no reason to keep all others from whoever reads the queue.
    """
    if not isinstance(error, kms.NotFoundException):
        return False
    key_arn, _ = kms_unwrapped(wrapped)
    wanted = encryption.key_id if encryption is not None else ""
    return not wanted or wanted.rpartition("/")[2] != key_arn.rpartition("/")[2]


def _credentials(call: Call) -> str:
    """Sessions of one name may have other policies, tags and claims: an ARN is too little."""
    return f"{call.caller.arn} {call.caller.access_key_id}"


def _context(arn: str) -> Mapping[str, str]:
    return {"aws:sqs:arn": arn}


_TOLD: Sequence[tuple[type[ServiceError], type[ServiceError]]] = (
    (AccessDenied, sqs.KmsAccessDenied),
    (kms.DisabledException, sqs.KmsDisabled),
    (kms.KMSInvalidStateException, sqs.KmsInvalidState),
    (kms.NotFoundException, sqs.KmsNotFound),
    (kms.InvalidKeyUsageException, sqs.KmsInvalidKeyUsage),
    (kms.LimitExceededException, sqs.KmsThrottled),
    (kms.KeyUnavailableException, ServiceUnavailable),
    (kms.KMSInternalException, ServiceUnavailable),
    (kms.DependencyTimeoutException, ServiceUnavailable),
)
"""What SQS makes of the errors of a KMS."""


def _told(error: ServiceError | ProviderUnavailable) -> ServiceError:
    if isinstance(error, ProviderThrottled):
        return sqs.KmsThrottled("The key management service has had too many requests.")
    if isinstance(error, ProviderUnavailable):
        return ServiceUnavailable("The key management service cannot be reached. Try again.")
    for known, told in _TOLD:
        if isinstance(error, known):
            return told(error.message)
    return error
