"""Encrypt, Decrypt and ReEncrypt.

For a ciphertext the key is the one that it names, so only here is it known whose permission is
needed. Nothing is said of a ciphertext's key to somebody who may not use it: a key that is not
there and a key of others look the same.
"""

from collections.abc import Awaitable, Mapping

from msgspec import Struct

from stanchion.access.policy.context import Values
from stanchion.kms import ciphertexts, condition_keys
from stanchion.kms.authorisation import check_named
from stanchion.kms.ciphertexts import Context
from stanchion.kms.entities import Key, key_arn
from stanchion.kms.finding import arn_of, find
from stanchion.kms.grant_tokens import check_tokens
from stanchion.kms.materials import material_id
from stanchion.kms.rotation import up_to_date
from stanchion.kms.service import Kms, action
from stanchion.kms.using import (
    ALGORITHM,
    check_algorithm,
    end_dry_run,
    for_encryption,
    without_recipient,
)
from stanchion.model.errors import AccessDenied, ValidationError
from stanchion.model.kms import (
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
    IncorrectKeyException,
    NotFoundException,
    ReEncryptRequest,
    ReEncryptResponse,
)
from stanchion.service import Call


@action
async def encrypt(kms: Kms, call: Call, request: EncryptRequest) -> EncryptResponse:
    check_tokens(kms, request.grant_tokens)
    key = for_encryption(await find(kms, call, request.key_id), "Encrypt")
    check_algorithm(key, request.encryption_algorithm)
    end_dry_run(request.dry_run)
    key = await up_to_date(kms, key)
    context = request.encryption_context or {}
    return EncryptResponse(
        ciphertext_blob=ciphertexts.encrypt(kms, key, request.plaintext or b"", context),
        key_id=arn_of(key),
        encryption_algorithm=ALGORITHM,
    )


# --- Decrypting -----------------------------------------------------------------------------------


@action
async def decrypt(kms: Kms, call: Call, request: DecryptRequest) -> DecryptResponse:
    without_recipient(request.recipient)
    source = _Source(
        "kms:Decrypt",
        _blob_of(request, request.key_id),
        request.key_id,
        request.encryption_context or {},
        condition_keys.of_parameters(request),
    )
    key = await _key_of(kms, call, source)
    check_tokens(kms, request.grant_tokens)
    opened = _opened(kms, key, source, "Decrypt", request.encryption_algorithm)
    end_dry_run(request.dry_run)
    return DecryptResponse(
        key_id=arn_of(key),
        plaintext=opened.plaintext,
        encryption_algorithm=ALGORITHM,
        key_material_id=material_id(key, opened.material),
    )


def _blob_of(request: DecryptRequest | ReEncryptRequest, key_id: str | None) -> bytes | None:
    """The ciphertext; None when a dry run is to leave it aside. Raises `ValidationError`."""
    if request.dry_run_modifiers:
        if not request.dry_run or not key_id:
            raise ValidationError("DryRunModifiers need DryRun and the id of the key to be used")
        return None
    if request.ciphertext_blob is None:
        raise ValidationError(
            "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy"
            " constraint: Member must not be null"
        )
    return request.ciphertext_blob


class _Source(Struct, frozen=True):
    """A ciphertext, and what it is to be decrypted with."""

    permission: str
    blob: bytes | None
    key_id: str | None
    context: Context
    asked: Mapping[str, Values]


async def _key_of(kms: Kms, call: Call, source: _Source) -> Key:
    """The key of a ciphertext, which the caller may use, in any state.

    Raises `AccessDenied`, `InvalidCiphertextException`, `IncorrectKeyException`, and for a KeyId
    what `find` raises.
    """
    if source.key_id is not None:
        key = await _checked(kms, call, source, source.key_id)
        if source.blob is not None and not _is_of(source.blob, key):
            raise IncorrectKeyException(
                "The key ID in the request does not identify a CMK that can perform this operation."
            )
        return key
    head = ciphertexts.head_of(source.blob or b"")
    arn = key_arn(call.region, head.account_id, head.key_id)
    try:
        return await _checked(kms, call, source, arn)
    except NotFoundException:
        raise AccessDenied(
            "The ciphertext refers to a customer master key that does not exist, does not exist in"
            " this region, or you are not allowed to access."
        ) from None


def _checked(kms: Kms, call: Call, source: _Source, key_id: str) -> Awaitable[Key]:
    return check_named(
        kms,
        call,
        source.permission,
        key_id,
        asked=source.asked,
        encryption_context=source.context,
    )


def _is_of(blob: bytes, key: Key) -> bool:
    """Whether a blob says that it is of that key. Raises `InvalidCiphertextException`."""
    head = ciphertexts.head_of(blob)
    return (head.account_id, head.key_id) == (key.account_id, key.id)


def _opened(
    kms: Kms, key: Key, source: _Source, operation: str, algorithm: str | None
) -> ciphertexts.Opened:
    """What is in the ciphertext, or nothing if it is left aside.

    Raises what `for_encryption` raises, `InvalidCiphertextException` and `KeyUnavailableException`.
    """
    for_encryption(key, operation)
    check_algorithm(key, algorithm)
    if source.blob is None:
        return ciphertexts.Opened(b"", key.materials[-1])
    return ciphertexts.decrypt(kms, key, source.blob, source.context)


# --- Both -----------------------------------------------------------------------------------------


@action
async def re_encrypt(kms: Kms, call: Call, request: ReEncryptRequest) -> ReEncryptResponse:
    """AWS: the caller needs `kms:ReEncryptFrom` on one key and `kms:ReEncryptTo` on the other."""
    blob = _blob_of(request, request.source_key_id)
    is_same = await _is_same(kms, call, request, blob)
    source = _Source(
        "kms:ReEncryptFrom",
        blob,
        request.source_key_id,
        request.source_encryption_context or {},
        _asked(request.source_key_id, request.source_encryption_algorithm, is_same),
    )
    old = await _key_of(kms, call, source)
    context = request.destination_encryption_context or {}
    algorithm = request.destination_encryption_algorithm
    new = await check_named(
        kms,
        call,
        "kms:ReEncryptTo",
        request.destination_key_id,
        asked=_asked(request.destination_key_id, algorithm, is_same),
        encryption_context=context,
    )
    check_tokens(kms, request.grant_tokens)
    opened = _opened(kms, old, source, "ReEncrypt", request.source_encryption_algorithm)
    check_algorithm(for_encryption(new, "ReEncrypt"), algorithm)
    end_dry_run(request.dry_run)
    new = await up_to_date(kms, new)
    return ReEncryptResponse(
        ciphertext_blob=ciphertexts.encrypt(kms, new, opened.plaintext, context),
        source_key_id=arn_of(old),
        key_id=arn_of(new),
        source_encryption_algorithm=ALGORITHM,
        destination_encryption_algorithm=ALGORITHM,
        source_key_material_id=material_id(old, opened.material),
        destination_key_material_id=material_id(new, new.materials[-1]),
    )


async def _is_same(kms: Kms, call: Call, request: ReEncryptRequest, blob: bytes | None) -> bool:
    """Whether it is the same key before and after, as far as both can be found."""
    try:
        new = await find(kms, call, request.destination_key_id)
        if blob is not None:
            return _is_of(blob, new)
        return (await find(kms, call, request.source_key_id)).id == new.id
    except NotFoundException:
        return False


def _asked(key_id: str | None, algorithm: str | None, is_same: bool) -> dict[str, Values]:
    return {
        **condition_keys.of_key_id(key_id),
        "kms:encryptionalgorithm": (algorithm or ALGORITHM,),
        "kms:reencryptonsamekey": condition_keys.values_of(is_same),
    }
