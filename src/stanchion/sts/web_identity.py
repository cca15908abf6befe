"""AssumeRoleWithWebIdentity: from the token of an OIDC issuer to the credentials of a role.

The request is not signed; the token is. Its issuer must be one that the role's account knows, it
must be for an audience that is registered there, and the role's trust policy must allow the rest.
"""

from collections.abc import Mapping
from typing import Any

from stanchion.access.entities import OidcProvider
from stanchion.access.identity import Caller
from stanchion.access.policy.context import Values
from stanchion.model import required
from stanchion.model.errors import AccessDenied, ServiceError
from stanchion.model.sts import (
    AssumeRoleRequest,
    AssumeRoleWithWebIdentityRequest,
    AssumeRoleWithWebIdentityResponse,
    IDPCommunicationErrorException,
    IDPRejectedClaimException,
    InvalidIdentityTokenException,
    Tag,
)
from stanchion.service import Call
from stanchion.sts import restrictions, roles, web_tokens
from stanchion.sts.https import FetchFailed
from stanchion.sts.restrictions import SessionTags
from stanchion.sts.roles import Asking, RoleArn, RoleSession
from stanchion.sts.service import Sts, action
from stanchion.sts.web_tokens import Identified, WebToken

_ACTION = "sts:AssumeRoleWithWebIdentity"
_TAGS_CLAIM = "https://aws.amazon.com/tags"
_SOURCE_IDENTITY_CLAIM = "https://aws.amazon.com/source_identity"
_AMR_MAX = 10


@action
async def assume_role_with_web_identity(
    sts: Sts, call: Call, request: AssumeRoleWithWebIdentityRequest
) -> AssumeRoleWithWebIdentityResponse:
    arn = roles.role_arn(request.role_arn or "", "Request ARN is invalid")
    policies = restrictions.policies(request.policy, request.policy_arns)
    token = web_tokens.read(request.web_identity_token or "")
    provider = await _provider(sts, arn, token)
    await _verify(sts, token)
    web_tokens.check_times(token.claims, sts.clock.wall_s())
    who = web_tokens.identified(token.claims, provider.client_ids)
    provider_arn = f"arn:aws:iam::{arn.account_id}:oidc-provider/{provider.url}"
    claims = _condition_keys(provider.url, token.claims, who)
    wished = _wished(request, token.claims)
    tags, source_identity = _tags(wished), wished.source_identity or ""
    asking = Asking(
        _caller(arn, provider_arn, who, claims),
        arn,
        roles.actions(_ACTION, tags, source_identity),
        _keys(request, tags, source_identity),
    )
    role = await roles.find(sts, arn)
    denied = roles.denied_action(sts, call, asking, role)
    if role is None or denied is not None:
        raise AccessDenied(f"Not authorized to perform {denied or _ACTION}")
    duration_s = request.duration_seconds or roles.DURATION_S
    asked = RoleSession(
        request.role_session_name or "",
        duration_s,
        policies,
        tags,
        source_identity,
        claims,
        provider_arn,
    )
    issued = await roles.issue(sts, arn.account_id, role, asked)
    return AssumeRoleWithWebIdentityResponse(
        credentials=issued.credentials,
        subject_from_web_identity_token=who.subject,
        assumed_role_user=issued.user,
        packed_policy_size=issued.packed_percent,
        provider=provider_arn,
        audience=who.audiences[0],
        source_identity=source_identity or None,
    )


async def _provider(sts: Sts, arn: RoleArn, token: WebToken) -> OidcProvider:
    """The issuer as the role's account knows it: nobody else is asked for keys."""
    url = token.issuer.removeprefix("https://")
    provider = await sts.documents.get(OidcProvider, arn.account_id, url)
    if provider is None:
        raise InvalidIdentityTokenException(
            f"No OpenIDConnect provider found in your account for {token.issuer}"
        )
    return provider


async def _verify(sts: Sts, token: WebToken) -> None:
    try:
        keys = await sts.issuers.keys(token.issuer, token.key_id)
    except FetchFailed as error:
        raise IDPCommunicationErrorException(
            "The identity provider that was asked to verify the incoming identity token could "
            "not be reached; the request may be retried."
        ) from error
    web_tokens.verify(token, keys)


def _caller(
    arn: RoleArn, provider_arn: str, who: Identified, claims: Mapping[str, Values]
) -> Caller:
    keys = {"aws:federatedprovider": (provider_arn,), **claims}
    return Caller("web", arn.account_id, provider_arn, who.subject, keys=keys)


def _condition_keys(url: str, claims: dict[str, Any], who: Identified) -> dict[str, Values]:
    """What trust policies may ask about, now and for as long as the session lasts."""
    keys: dict[str, Values] = {f"{url}:sub": (who.subject,), f"{url}:aud": who.audiences}
    methods = claims.get("amr")
    if isinstance(methods, list) and len(methods) <= _AMR_MAX:
        keys[f"{url}:amr"] = tuple(method for method in methods if isinstance(method, str))
    return {key.lower(): values for key, values in keys.items()}


def _keys(
    request: AssumeRoleWithWebIdentityRequest, tags: SessionTags, source_identity: str
) -> dict[str, Values]:
    keys = tags.condition_keys()
    keys["sts:rolesessionname"] = (request.role_session_name or "",)
    if source_identity:
        keys["sts:sourceidentity"] = (source_identity,)
    return keys


def _wished(request: AssumeRoleWithWebIdentityRequest, claims: dict[str, Any]) -> AssumeRoleRequest:
    """The tags and the source identity of a token, held to what AssumeRole asks of its own."""
    tags = claims.get(_TAGS_CLAIM, {})
    try:
        wished = AssumeRoleRequest(
            role_arn=request.role_arn,
            role_session_name=request.role_session_name,
            tags=[_tag(key, values) for key, values in tags.get("principal_tags", {}).items()],
            transitive_tag_keys=[_text(key) for key in tags.get("transitive_tag_keys", [])],
            source_identity=_optional_text(claims.get(_SOURCE_IDENTITY_CLAIM)),
        )
        required.check(wished)
    except ServiceError as error:
        raise IDPRejectedClaimException(error.message) from None
    except (AttributeError, TypeError, ValueError):
        raise IDPRejectedClaimException(
            "The claims of the ID Token for tags or for the source identity are malformed"
        ) from None
    return wished


def _tag(key: str, values: Any) -> Tag:
    """The value is given by itself, or as a list of one."""
    if isinstance(values, list):
        (values,) = values
    return Tag(key=key, value=_text(values))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _tags(wished: AssumeRoleRequest) -> SessionTags:
    try:
        return restrictions.tags(wished.tags, wished.transitive_tag_keys)
    except ServiceError as error:
        raise IDPRejectedClaimException(error.message) from None
