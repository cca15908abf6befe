"""Who may call STS: one table says for each operation by what that is decided.

An operation without a row cannot be called. The roles' own policies decide about assuming them,
which the action does, as it has the role at hand. Called for every request, before its action.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from stanchion.access.authoriser import Circumstances, denial
from stanchion.access.identity import Caller
from stanchion.access.policy.context import NO_KEYS, Values
from stanchion.access.policy.decision import Request
from stanchion.model import required
from stanchion.model.errors import AccessDenied, MissingAuthenticationToken
from stanchion.model.sts import (
    AssumeRoleRequest,
    GetAccessKeyInfoRequest,
    GetFederationTokenRequest,
    GetSessionTokenRequest,
)
from stanchion.service import Call
from stanchion.sts import restrictions
from stanchion.sts.service import Sts

UNSIGNED = frozenset({"AssumeRoleWithWebIdentity"})
"""Its token says who is calling."""


async def authorise(sts: Sts, call: Call, operation: str, parameters: Any) -> None:
    """Raises `MissingAuthenticationToken`, `ValidationError` and `AccessDenied`."""
    if call.caller.kind == "anonymous" and operation not in UNSIGNED:
        raise MissingAuthenticationToken("Request is missing Authentication Token")
    required.check(parameters)
    await RULES[operation](sts, call, parameters)


async def _always(sts: Sts, call: Call, parameters: Any) -> None:
    """No policy can forbid it."""


async def _by_token_and_trust(sts: Sts, call: Call, parameters: Any) -> None:
    """The action verifies the token, and decides by the trust policy of the role."""


async def _by_trust(sts: Sts, call: Call, parameters: AssumeRoleRequest) -> None:
    """The action decides by the trust policy of the role; but some may assume none."""
    if call.caller.kind == "root":
        raise AccessDenied("Roles may not be assumed by root accounts.")
    if call.caller.kind not in ("user", "role"):
        raise not_authorised(call.caller, "sts:AssumeRole", parameters.role_arn or "")


async def _by_own_key(sts: Sts, call: Call, parameters: GetSessionTokenRequest) -> None:
    """Whoever has a key of its own may have a session; policies have no say."""
    _refuse_sessions(call.caller, "GetSessionToken")


async def _by_federation(sts: Sts, call: Call, parameters: GetFederationTokenRequest) -> None:
    _refuse_sessions(call.caller, "GetFederationToken")
    arn = f"arn:aws:sts::{call.caller.account_id}:federated-user/{parameters.name}"
    keys = restrictions.tags(parameters.tags).condition_keys()
    _decide(sts, call, "sts:GetFederationToken", arn, keys)
    if parameters.tags:
        _decide(sts, call, "sts:TagSession", arn, keys)


async def _by_own_policies(sts: Sts, call: Call, parameters: GetAccessKeyInfoRequest) -> None:
    if call.caller.kind != "role":
        _refuse_sessions(call.caller, "GetAccessKeyInfo")
    _decide(sts, call, "sts:GetAccessKeyInfo", "*")


Rule = Callable[[Sts, Call, Any], Awaitable[None]]

RULES: dict[str, Rule] = {
    "GetCallerIdentity": _always,
    "AssumeRole": _by_trust,
    "AssumeRoleWithWebIdentity": _by_token_and_trust,
    "GetSessionToken": _by_own_key,
    "GetFederationToken": _by_federation,
    "GetAccessKeyInfo": _by_own_policies,
}


def _refuse_sessions(caller: Caller, operation: str) -> None:
    if caller.kind not in ("user", "root") or "aws:tokenissuetime" in caller.keys:
        raise AccessDenied(f"Cannot call {operation} with session credentials")


def _decide(
    sts: Sts, call: Call, action: str, resource: str, keys: dict[str, Values] | None = None
) -> None:
    request = Request(action, resource, call.caller.account_id)
    decision = sts.authoriser.decide(
        call.caller, request, circumstances(call), asked=keys or NO_KEYS
    )
    if not decision.allowed:
        raise AccessDenied(denial(call.caller, request, decision))


def circumstances(call: Call) -> Circumstances:
    return Circumstances(call.region, call.is_secure, call.peer_ip, call.headers)


def not_authorised(caller: Caller, action: str, resource: str) -> AccessDenied:
    """Without the reason, which would tell whether the resource exists."""
    return AccessDenied(
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource}"
    )


def refuse_mfa(serial_number: str | None, token_code: str | None) -> None:
    """There are no MFA devices here, so no code is a right one."""
    if serial_number is not None or token_code is not None:
        raise AccessDenied("MultiFactorAuthentication failed with invalid MFA one time pass code.")
