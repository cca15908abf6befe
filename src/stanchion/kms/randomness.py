"""GenerateRandom: bytes from the same entropy that keys are made of."""

from stanchion.kms.service import Kms, action
from stanchion.kms.using import without_recipient
from stanchion.model.errors import ValidationError
from stanchion.model.kms import (
    CustomKeyStoreNotFoundException,
    GenerateRandomRequest,
    GenerateRandomResponse,
)
from stanchion.service import Call


@action
async def generate_random(
    kms: Kms, call: Call, request: GenerateRandomRequest
) -> GenerateRandomResponse:
    """There are no custom key stores to take it from."""
    without_recipient(request.recipient)
    if request.number_of_bytes is None:
        raise ValidationError("NumberOfBytes is required.")
    if request.custom_key_store_id is not None:
        raise CustomKeyStoreNotFoundException(
            f"Custom key store ID {request.custom_key_store_id} not found"
        )
    return GenerateRandomResponse(plaintext=kms.entropy(request.number_of_bytes))
