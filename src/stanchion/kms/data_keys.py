"""Data keys: fresh random bytes, in plain and encrypted under a key, for somebody else to use."""

from stanchion.kms import ciphertexts
from stanchion.kms.ciphertexts import Context
from stanchion.kms.entities import Key
from stanchion.kms.finding import arn_of, find
from stanchion.kms.grant_tokens import check_tokens
from stanchion.kms.materials import material_id
from stanchion.kms.rotation import up_to_date
from stanchion.kms.service import Kms, action
from stanchion.kms.using import end_dry_run, for_encryption, without_recipient
from stanchion.model.errors import ValidationError
from stanchion.model.kms import (
    GenerateDataKeyRequest,
    GenerateDataKeyResponse,
    GenerateDataKeyWithoutPlaintextRequest,
    GenerateDataKeyWithoutPlaintextResponse,
)
from stanchion.service import Call

_SPECS = {"AES_128": 16, "AES_256": 32}
"""Bytes, by KeySpec."""


@action
async def generate_data_key(
    kms: Kms, call: Call, request: GenerateDataKeyRequest
) -> GenerateDataKeyResponse:
    without_recipient(request.recipient)
    key, plaintext, blob = await _generated(kms, call, request, "GenerateDataKey")
    return GenerateDataKeyResponse(
        ciphertext_blob=blob,
        plaintext=plaintext,
        key_id=arn_of(key),
        key_material_id=material_id(key, key.materials[-1]),
    )


@action
async def generate_data_key_without_plaintext(
    kms: Kms, call: Call, request: GenerateDataKeyWithoutPlaintextRequest
) -> GenerateDataKeyWithoutPlaintextResponse:
    key, _, blob = await _generated(kms, call, request, "GenerateDataKeyWithoutPlaintext")
    return GenerateDataKeyWithoutPlaintextResponse(
        ciphertext_blob=blob,
        key_id=arn_of(key),
        key_material_id=material_id(key, key.materials[-1]),
    )


async def _generated(
    kms: Kms,
    call: Call,
    request: GenerateDataKeyRequest | GenerateDataKeyWithoutPlaintextRequest,
    operation: str,
) -> tuple[Key, bytes, bytes]:
    """The key as it is now, the data key, and its ciphertext."""
    size = _size(request.number_of_bytes, request.key_spec)
    check_tokens(kms, request.grant_tokens)
    key = for_encryption(await find(kms, call, request.key_id), operation)
    end_dry_run(request.dry_run)
    return await generated(kms, key, size, request.encryption_context or {})


def _size(number_of_bytes: int | None, spec: str | None) -> int:
    """In bytes. Raises `ValidationError`."""
    if (number_of_bytes is None) == (spec is None):
        raise ValidationError("Please specify either number of bytes or key spec.")
    return number_of_bytes or _SPECS[spec or ""]


async def generated(kms: Kms, key: Key, size: int, context: Context) -> tuple[Key, bytes, bytes]:
    """A data key of that many bytes, under a key that may be used for it, rotated if that is due.

    Answer: the key as it is then, the data key, and its ciphertext.
    """
    key = await up_to_date(kms, key)
    plaintext = kms.entropy(size)
    return key, plaintext, ciphertexts.encrypt(kms, key, plaintext, context)
