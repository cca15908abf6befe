"""GetCallerIdentity and GetAccessKeyInfo: whose credentials these are."""

from stanchion.access.entities import AccessKey
from stanchion.model.errors import ValidationError
from stanchion.model.sts import (
    GetAccessKeyInfoRequest,
    GetAccessKeyInfoResponse,
    GetCallerIdentityRequest,
    GetCallerIdentityResponse,
)
from stanchion.service import Call
from stanchion.sts.service import Sts, action


@action
async def get_caller_identity(
    sts: Sts, call: Call, request: GetCallerIdentityRequest
) -> GetCallerIdentityResponse:
    caller = call.caller
    return GetCallerIdentityResponse(
        user_id=caller.sender_id, account=caller.account_id, arn=caller.arn
    )


@action
async def get_access_key_info(
    sts: Sts, call: Call, request: GetAccessKeyInfoRequest
) -> GetAccessKeyInfoResponse:
    """Of long-lived keys: what temporary ones stand for is in their tokens only."""
    access_key_id = request.access_key_id or ""
    # Not through the cache, where made-up keys would push out what exists.
    key, _ = await sts.documents.read(AccessKey, "", access_key_id)
    if key is None:
        raise ValidationError(f"The access key ID {access_key_id} does not exist.")
    return GetAccessKeyInfoResponse(account=key.account_id)
