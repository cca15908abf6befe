"""GenerateMac and VerifyMac: authentication codes under HMAC keys."""

import hmac

from stanchion.kms.ciphertexts import opened
from stanchion.kms.entities import Key
from stanchion.kms.finding import arn_of, find
from stanchion.kms.grant_tokens import check_tokens
from stanchion.kms.service import Kms, action
from stanchion.kms.using import end_dry_run, for_usage, incompatible
from stanchion.model.kms import (
    GenerateMacRequest,
    GenerateMacResponse,
    KMSInvalidMacException,
    VerifyMacRequest,
    VerifyMacResponse,
)
from stanchion.service import Call

ALGORITHMS = {
    "HMAC_224": "HMAC_SHA_224",
    "HMAC_256": "HMAC_SHA_256",
    "HMAC_384": "HMAC_SHA_384",
    "HMAC_512": "HMAC_SHA_512",
}
"""The one MacAlgorithm of each KeySpec."""


@action
async def generate_mac(kms: Kms, call: Call, request: GenerateMacRequest) -> GenerateMacResponse:
    check_tokens(kms, request.grant_tokens)
    key = await _key(kms, call, request, "GenerateMac")
    mac = _mac(kms, key, request.message or b"")
    end_dry_run(request.dry_run)
    return GenerateMacResponse(mac=mac, mac_algorithm=request.mac_algorithm, key_id=arn_of(key))


@action
async def verify_mac(kms: Kms, call: Call, request: VerifyMacRequest) -> VerifyMacResponse:
    check_tokens(kms, request.grant_tokens)
    key = await _key(kms, call, request, "VerifyMac")
    if not hmac.compare_digest(_mac(kms, key, request.message or b""), request.mac or b""):
        raise KMSInvalidMacException
    end_dry_run(request.dry_run)
    return VerifyMacResponse(
        key_id=arn_of(key), mac_valid=True, mac_algorithm=request.mac_algorithm
    )


async def _key(
    kms: Kms, call: Call, request: GenerateMacRequest | VerifyMacRequest, operation: str
) -> Key:
    """Raises `InvalidKeyUsageException`, and what `find` and `usable` raise."""
    key = for_usage(await find(kms, call, request.key_id), "GENERATE_VERIFY_MAC", operation)
    if ALGORITHMS[key.spec] != request.mac_algorithm:
        raise incompatible(key, request.mac_algorithm)
    return key


def _mac(kms: Kms, key: Key, message: bytes) -> bytes:
    """Raises `KeyUnavailableException`."""
    digest = key.spec.replace("HMAC_", "sha")
    return hmac.digest(opened(kms, key, key.materials[-1]), message, digest)
