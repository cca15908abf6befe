"""GetSessionToken and GetFederationToken: temporary credentials of a user, or of the root user.

Who may ask has been decided in `authorisation.py`.
"""

from stanchion.access.identity import Caller
from stanchion.access.sessions import Session
from stanchion.model.sts import (
    FederatedUser,
    GetFederationTokenRequest,
    GetFederationTokenResponse,
    GetSessionTokenRequest,
    GetSessionTokenResponse,
)
from stanchion.service import Call
from stanchion.sts import issuing, restrictions
from stanchion.sts.authorisation import refuse_mfa
from stanchion.sts.service import Sts, action

DURATION_S = 43_200
"""Unless the request says otherwise."""
ROOT_S_MAX = 3600


@action
async def get_session_token(
    sts: Sts, call: Call, request: GetSessionTokenRequest
) -> GetSessionTokenResponse:
    refuse_mfa(request.serial_number, request.token_code)
    caller = call.caller
    session = Session(
        **issuing.fresh(sts, _duration_s(caller, request.duration_seconds)),
        kind="root" if caller.kind == "root" else "user",
        account_id=caller.account_id,
        name=_user_name(caller),
        entity_id=caller.entity_id,
    )
    return GetSessionTokenResponse(credentials=issuing.issue(sts, session))


def _duration_s(caller: Caller, given_s: int | None) -> int:
    """What the root user asks for in excess is cut off without a word."""
    duration_s = DURATION_S if given_s is None else given_s
    return min(duration_s, ROOT_S_MAX) if caller.kind == "root" else duration_s


def _user_name(caller: Caller) -> str:
    """Empty for root."""
    return "".join(caller.keys.get("aws:username", ()))


@action
async def get_federation_token(
    sts: Sts, call: Call, request: GetFederationTokenRequest
) -> GetFederationTokenResponse:
    caller, name = call.caller, request.name or ""
    policies = restrictions.policies(request.policy, request.policy_arns)
    await restrictions.check_managed(sts, caller.account_id, policies.arns)
    session = Session(
        **issuing.fresh(sts, _duration_s(caller, request.duration_seconds)),
        kind="federated",
        account_id=caller.account_id,
        name=_user_name(caller),
        entity_id=caller.entity_id,
        session_name=name,
        policies=policies.documents,
        policy_arns=policies.arns,
        tags=restrictions.tags(request.tags).all(),
    )
    percent = restrictions.packed_percent(session)
    user = FederatedUser(
        federated_user_id=f"{caller.account_id}:{name}",
        arn=f"arn:aws:sts::{caller.account_id}:federated-user/{name}",
    )
    return GetFederationTokenResponse(
        credentials=issuing.issue(sts, session), federated_user=user, packed_policy_size=percent
    )
