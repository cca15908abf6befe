"""The KMS as SQS uses it: data keys for queues with SSE-KMS, with the caller's own permissions.

Does what GenerateDataKey and Decrypt would do for a caller who came by way of SQS: policies see
`kms:ViaService`, `aws:ViaAWSService` and the encryption context, but not the client's address or
agent, which are not known of a call that a service makes. A key that the queue names without an
ARN is one of the queue's own account, whoever sends. Called by `keys/data_keys.py`.

For a KMS elsewhere, `ByIdentity` is the half that it cannot decide: what the caller's own policies
say, which only Stanchion knows.
"""

from collections.abc import Mapping

from msgspec import structs

from stanchion.access.authoriser import NOTHING, Authoriser, Circumstances, denial
from stanchion.access.identity import root_of
from stanchion.access.policy.context import Values
from stanchion.access.policy.decision import Request
from stanchion.keys.providers import NewDataKey, kms_unwrapped, kms_wrapped
from stanchion.keys.sealing import Unsealable
from stanchion.kms import ciphertexts, condition_keys, managed_keys
from stanchion.kms.authorisation import check, check_named
from stanchion.kms.ciphertexts import Context
from stanchion.kms.data_keys import generated
from stanchion.kms.entities import Key
from stanchion.kms.finding import arn_of, read_name
from stanchion.kms.service import Kms
from stanchion.kms.using import ALGORITHM, for_encryption
from stanchion.model.errors import AccessDenied
from stanchion.model.kms import InvalidCiphertextException
from stanchion.service import Call

_DATA_KEY_BYTES = 32


class BuiltInKms:
    """A `KeyProvider` over the KMS of this process. `on_behalf` is the call to SQS.

    A refusal is raised as KMS would answer it: `AccessDenied`, `DisabledException`,
    `KMSInvalidStateException`, `NotFoundException`, `InvalidKeyUsageException` and the like.
    """

    outage_max_s = 0
    """Its keys are where the messages are."""
    waits = True

    def __init__(self, kms: Kms) -> None:
        self._kms = kms

    @property
    def epoch(self) -> int:
        """Changes with every edit of a key, a policy, a grant, or whatever else is a document."""
        return self._kms.documents.epoch

    async def generate(self, key_id: str, context: Context, on_behalf: Call) -> NewDataKey:
        """AWS: needs `kms:GenerateDataKey` and `kms:Decrypt`. Makes the AWS managed key if need be.

        `key_id` is what the queue has as its KmsMasterKeyId.
        """
        call, kms = _via_sqs(on_behalf), self._kms
        arn = await self._arn_of(key_id, context, call)
        asked = _asked(call) | condition_keys.of_key_id(key_id)
        key = await check_named(
            kms, call, "kms:GenerateDataKey", arn, asked=asked, encryption_context=context
        )
        for_encryption(key, "GenerateDataKey")
        await check(
            kms, call, "kms:Decrypt", key, asked=_to_decrypt(call), encryption_context=context
        )
        key, plaintext, blob = await generated(kms, key, _DATA_KEY_BYTES, context)
        return NewDataKey(plaintext, kms_wrapped(arn_of(key), blob))

    async def _arn_of(self, key_id: str, context: Context, call: Call) -> str:
        """The ARN of the key or alias that is meant."""
        owner_id = context["aws:sqs:arn"].split(":")[4]
        owner = structs.replace(call, caller=root_of(owner_id, ""))
        name = read_name(owner, key_id)
        service = name.alias.removeprefix(managed_keys.PREFIX)
        if name.alias in managed_keys.ALIASES and name.account_id == owner_id:
            await managed_keys.aws_managed_key(self._kms, owner_id, call.region, service)
        return name.arn

    async def unwrap(self, wrapped: bytes, context: Context, on_behalf: Call) -> bytes:
        """AWS: needs `kms:Decrypt`."""
        call = _via_sqs(on_behalf)
        arn, blob = kms_unwrapped(wrapped)
        key = await check_named(
            self._kms,
            call,
            "kms:Decrypt",
            arn,
            aliases=False,
            asked=_to_decrypt(call),
            encryption_context=context,
        )
        return self._opened(for_encryption(key, "Decrypt"), blob, context)

    def _opened(self, key: Key, blob: bytes, context: Context) -> bytes:
        try:
            return ciphertexts.decrypt(self._kms, key, blob, context).plaintext
        except InvalidCiphertextException:
            raise Unsealable("not a data key of this KMS key, or of another queue") from None


def _via_sqs(call: Call) -> Call:
    """The call to KMS that SQS makes for the caller of this one. KMS answers nobody unknown."""
    caller = call.caller
    if caller.kind == "anonymous":
        raise AccessDenied("Anonymous callers cannot use a KMS key.")
    keys = {**caller.keys, "aws:viaawsservice": ("true",)}
    return structs.replace(
        call, caller=structs.replace(caller, keys=keys), peer_ip="", headers=_NO_HEADERS
    )


_NO_HEADERS: Mapping[str, str] = {}


def _asked(call: Call) -> dict[str, Values]:
    return {"kms:viaservice": (f"sqs.{call.region}.amazonaws.com",)}


def _to_decrypt(call: Call) -> dict[str, Values]:
    return {**_asked(call), "kms:encryptionalgorithm": (ALGORITHM,)}


class ByIdentity:
    """Whether the caller's own policies allow something on a key of a KMS elsewhere."""

    def __init__(self, authoriser: Authoriser) -> None:
        self._authoriser = authoriser

    def check(self, on_behalf: Call, permission: str, key_arn: str, context: Context) -> None:
        """Raises `AccessDenied`. `permission` is such as `kms:Decrypt`."""
        call = _via_sqs(on_behalf)
        # The key's account is one of AWS's; for the caller's policies it is the caller's own.
        request = Request(permission, key_arn, call.caller.account_id)
        circumstances = Circumstances(call.region, call.is_secure, call.peer_ip, call.headers)
        asked = {
            **_to_decrypt(call),
            **condition_keys.of_encryption_context(context),
            "kms:calleraccount": (call.caller.account_id,),
        }
        decision = self._authoriser.decide(call.caller, request, circumstances, NOTHING, asked)
        if not decision.allowed:
            raise AccessDenied(denial(call.caller, request, decision))
