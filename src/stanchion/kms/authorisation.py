"""Who may call which action of KMS on what: the one rule that stands before all of them.

Each operation has a row in `RULES`. Whose key is in a ciphertext or a grant token is known to the
action alone, which then calls `check` itself before anything comes of it. A key's policy is the
source of all rights to it; a grant adds to it, and to what no policy denies. Of another account's
key a refusal says no more than that: not even whether there is one.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from stanchion.access.authoriser import NOTHING, Circumstances, Resource, denial
from stanchion.access.identity import NamedPolicy
from stanchion.access.policy.context import NO_KEYS, Values
from stanchion.access.policy.decision import Decision, Reason, Request
from stanchion.access.policy.document import MalformedPolicy, Policy, parse
from stanchion.kms import condition_keys, grant_policies, managed_keys
from stanchion.kms.entities import Key
from stanchion.kms.finding import Name, arn_of, find_named, read_name
from stanchion.kms.service import Kms
from stanchion.model import required
from stanchion.model.errors import AccessDenied, MissingAuthenticationToken, ValidationError
from stanchion.model.kms import InvalidAliasNameException, NotFoundException
from stanchion.service import Call

Rule = Callable[[Kms, Call, Any], Awaitable[None]]

SHAREABLE = frozenset(
    {
        "kms:CreateGrant",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "kms:GenerateDataKeyWithoutPlaintext",
        "kms:GenerateMac",
        "kms:GetKeyRotationStatus",
        "kms:ListGrants",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
        "kms:RetireGrant",
        "kms:RevokeGrant",
        "kms:VerifyMac",
    }
)
"""What a key's policy or a grant can let another account do."""


async def authorise(kms: Kms, call: Call, operation: str, parameters: Any) -> None:
    """Raises `MissingAuthenticationToken`, `ValidationError`, `AccessDenied`, and
    `NotFoundException` for what is not there in the caller's own account."""
    if call.caller.kind == "anonymous":
        raise MissingAuthenticationToken("Request is missing Authentication Token")
    required.check(parameters)
    await RULES[operation](kms, call, parameters)


async def check(
    kms: Kms,
    call: Call,
    permission: str,
    key: Key,
    *,
    asked: Mapping[str, Values] = NO_KEYS,
    encryption_context: Mapping[str, str] | None = None,
    shown: str = "",
) -> None:
    """Raises `AccessDenied` unless policies or a grant allow the caller `permission` on the key.

    `permission` is such as `kms:Decrypt`, `asked` what `condition_keys` makes of the request, or
    more. `shown` is what a refusal calls the key, its ARN if empty. Raises `ValidationError` for an
    encryption context that conditions cannot be asked about.
    """
    arn = arn_of(key)
    request = Request(
        permission,
        arn,
        key.account_id,
        delegation="explicit",
        shareable=permission in SHAREABLE,
    )
    context = encryption_context or {}
    asked = {**asked, **condition_keys.of_encryption_context(context), **condition_keys.of_key(key)}
    tags: dict[str, Values] = {f"aws:resourcetag/{k.lower()}": (v,) for k, v in key.tags.items()}
    resource = Resource(NamedPolicy("the key's policy", _parsed(key.policy)), tags)
    decision = _decide(kms, call, request, resource, asked)
    if decision.allowed:
        return
    if decision.reason not in _DENIED and await _granted(kms, call, request, key, asked, context):
        return
    raise _refusal(call, request, decision, shown or arn)


_DENIED = (
    Reason.DENIED_BY_IDENTITY,
    Reason.DENIED_BY_RESOURCE,
    Reason.DENIED_BY_BOUNDARY,
    Reason.DENIED_BY_SESSION,
)


async def _granted(
    kms: Kms,
    call: Call,
    request: Request,
    key: Key,
    asked: Mapping[str, Values],
    context: Mapping[str, str],
) -> bool:
    """Whether a grant allows it. One to a whole account leaves it to the account's own policies;
    one to a role does not reach beyond the limits of a session."""
    if not request.shareable:
        return False
    operation = request.action.removeprefix("kms:")
    policy = await grant_policies.fitting(kms, key, operation, asked, context)
    if policy is None:
        return False
    # A grant is enough by itself, also for somebody of another account.
    own = Request(request.action, request.resource, call.caller.account_id, delegation="explicit")
    resource = Resource(NamedPolicy("grants", policy))
    return _decide(kms, call, own, resource, asked).allowed


@lru_cache(4096)
def _parsed(document: str) -> Policy | None:
    try:
        return parse(document, "resource")
    except MalformedPolicy:
        return None


def _decide(
    kms: Kms, call: Call, request: Request, resource: Resource, asked: Mapping[str, Values]
) -> Decision:
    circumstances = Circumstances(call.region, call.is_secure, call.peer_ip, call.headers)
    asked = {**asked, "kms:calleraccount": (call.caller.account_id,)}
    return kms.authoriser.decide(call.caller, request, circumstances, resource, asked)


def _refusal(call: Call, request: Request, decision: Decision, shown: str) -> AccessDenied:
    if request.account_id == call.caller.account_id:
        return AccessDenied(denial(call.caller, request, decision))
    return _hidden(call, request.action, shown)


def _hidden(call: Call, permission: str, shown: str) -> AccessDenied:
    """The refusal for what is or might be in another account: the same whatever the reason."""
    return AccessDenied(
        f"User: {call.caller.arn} is not authorized to perform: {permission} on resource: {shown}"
        " because the resource does not exist in this Region, no resource-based policies allow"
        " access, or a resource-based policy explicitly denies access"
    )


# --- On one key -----------------------------------------------------------------------------------


def _on_key(operation: str, *, aliases: bool = False) -> Rule:
    """The rule of an operation that has a KeyId. Where `aliases` are no name, they are no key."""
    permission = f"kms:{operation}"

    async def rule(kms: Kms, call: Call, parameters: Any) -> None:
        await check_named(
            kms,
            call,
            permission,
            parameters.key_id,
            aliases=aliases,
            asked=condition_keys.of_parameters(parameters),
            encryption_context=getattr(parameters, "encryption_context", None),
        )

    return rule


async def check_named(
    kms: Kms,
    call: Call,
    permission: str,
    key_id: str | None,
    *,
    aliases: bool = True,
    asked: Mapping[str, Values] = NO_KEYS,
    encryption_context: Mapping[str, str] | None = None,
) -> Key:
    """The key of a KeyId parameter, which the caller may use as `permission` says.

    Raises as `check` does, and `NotFoundException` and `InvalidArnException`.
    """
    name = read_name(call, key_id or "", aliases=aliases)
    try:
        key = await find_named(kms, name)
    except NotFoundException:
        if name.account_id == call.caller.account_id:
            raise
        condition_keys.of_encryption_context(encryption_context or {})
        raise _hidden(call, permission, name.arn) from None
    shown = "" if key.account_id == call.caller.account_id else name.arn
    await check(
        kms,
        call,
        permission,
        key,
        asked=asked,
        encryption_context=encryption_context,
        shown=shown,
    )
    return key


async def _create_grant(kms: Kms, call: Call, parameters: Any) -> None:
    """The constraints of the new grant count as its encryption context."""
    asked = condition_keys.of_parameters(parameters)
    constraints = parameters.constraints
    context = None
    if constraints and constraints.encryption_context_equals:
        asked["kms:grantconstrainttype"] = ("EncryptionContextEquals",)
        context = constraints.encryption_context_equals
    elif constraints and constraints.encryption_context_subset:
        asked["kms:grantconstrainttype"] = ("EncryptionContextSubset",)
        context = constraints.encryption_context_subset
    await check_named(
        kms,
        call,
        "kms:CreateGrant",
        parameters.key_id,
        aliases=False,
        asked=asked,
        encryption_context=context,
    )


async def _describe_key(kms: Kms, call: Call, parameters: Any) -> None:
    """AWS: describing a key by an alias of AWS's makes the key."""
    name, account_id = read_name(call, parameters.key_id), call.caller.account_id
    if name.alias in managed_keys.ALIASES and name.account_id == account_id:
        service = name.alias.removeprefix(managed_keys.PREFIX)
        await managed_keys.aws_managed_key(kms, account_id, call.region, service)
    await _on_key("DescribeKey", aliases=True)(kms, call, parameters)


# --- On the account -------------------------------------------------------------------------------


def _on_account(operation: str) -> Rule:
    """The rule of an operation that is about no key in particular."""
    permission = f"kms:{operation}"

    async def rule(kms: Kms, call: Call, parameters: Any) -> None:
        _check_account(kms, call, permission, "*", condition_keys.of_parameters(parameters))

    return rule


def _check_account(
    kms: Kms, call: Call, permission: str, arn: str, asked: Mapping[str, Values] = NO_KEYS
) -> None:
    """Only the caller's own policies count: there is no key, or an alias, which has no policy."""
    request = Request(permission, arn, call.caller.account_id, shareable=False)
    decision = _decide(kms, call, request, NOTHING, asked)
    if not decision.allowed:
        raise AccessDenied(denial(call.caller, request, decision))


async def _create_key(kms: Kms, call: Call, parameters: Any) -> None:
    """Tags on the new key need the permission to tag as well."""
    asked: dict[str, Values] = {
        **condition_keys.of_parameters(parameters),
        "kms:keyspec": (condition_keys.spec_of(parameters),),
        "kms:keyusage": (parameters.key_usage or "ENCRYPT_DECRYPT",),
        "kms:keyorigin": (parameters.origin or "AWS_KMS",),
        "kms:multiregion": condition_keys.values_of(bool(parameters.multi_region)),
    }
    _check_account(kms, call, "kms:CreateKey", "*", asked)
    if parameters.tags:
        _check_account(kms, call, "kms:TagResource", "*", asked)


# --- On an alias and its keys ---------------------------------------------------------------------


async def _create_alias(kms: Kms, call: Call, parameters: Any) -> None:
    _check_alias(kms, call, "kms:CreateAlias", parameters.alias_name)
    await check_named(kms, call, "kms:CreateAlias", parameters.target_key_id, aliases=False)


def _check_alias(kms: Kms, call: Call, permission: str, alias: str | None) -> Name:
    name = Name(call.region, call.caller.account_id, alias=check_alias_name(alias))
    _check_account(kms, call, permission, name.arn)
    return name


def check_alias_name(alias: str | None) -> str:
    """The name, with `alias/` and something behind it.

    Raises `ValidationError` and `InvalidAliasNameException`.
    """
    name = alias or ""
    if not name.startswith("alias/"):
        raise ValidationError(
            'Alias must start with the prefix "alias/". Please see '
            "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
        )
    if name == "alias/":
        raise InvalidAliasNameException("The alias has no name behind alias/")
    return name


async def _update_alias(kms: Kms, call: Call, parameters: Any) -> None:
    """Needs the permission on the alias, the key it leaves, and the key it goes to."""
    name = _check_alias(kms, call, "kms:UpdateAlias", parameters.alias_name)
    await check_named(kms, call, "kms:UpdateAlias", parameters.target_key_id, aliases=False)
    await _check_target(kms, call, "kms:UpdateAlias", name)


async def _check_target(kms: Kms, call: Call, permission: str, name: Name) -> None:
    """Raises `NotFoundException` when there is no such alias."""
    await check(kms, call, permission, await find_named(kms, name))


async def _delete_alias(kms: Kms, call: Call, parameters: Any) -> None:
    name = _check_alias(kms, call, "kms:DeleteAlias", parameters.alias_name)
    await _check_target(kms, call, "kms:DeleteAlias", name)


# --- All operations -------------------------------------------------------------------------------


async def _by_action(kms: Kms, call: Call, parameters: Any) -> None:
    """The key is in a ciphertext or a token: the action finds it, and calls `check`."""


RULES: dict[str, Rule] = {
    "CancelKeyDeletion": _on_key("CancelKeyDeletion"),
    "CreateAlias": _create_alias,
    "CreateGrant": _create_grant,
    "CreateKey": _create_key,
    "Decrypt": _by_action,
    "DeleteAlias": _delete_alias,
    "DescribeKey": _describe_key,
    "DisableKey": _on_key("DisableKey"),
    "DisableKeyRotation": _on_key("DisableKeyRotation"),
    "EnableKey": _on_key("EnableKey"),
    "EnableKeyRotation": _on_key("EnableKeyRotation"),
    "Encrypt": _on_key("Encrypt", aliases=True),
    "GenerateDataKey": _on_key("GenerateDataKey", aliases=True),
    "GenerateDataKeyWithoutPlaintext": _on_key("GenerateDataKeyWithoutPlaintext", aliases=True),
    "GenerateMac": _on_key("GenerateMac", aliases=True),
    "GenerateRandom": _on_account("GenerateRandom"),
    "GetKeyPolicy": _on_key("GetKeyPolicy"),
    "GetKeyRotationStatus": _on_key("GetKeyRotationStatus"),
    "ListAliases": _on_account("ListAliases"),
    "ListGrants": _on_key("ListGrants"),
    "ListKeyPolicies": _on_key("ListKeyPolicies"),
    "ListKeyRotations": _on_key("ListKeyRotations"),
    "ListKeys": _on_account("ListKeys"),
    "ListResourceTags": _on_key("ListResourceTags"),
    "ListRetirableGrants": _on_account("ListRetirableGrants"),
    "PutKeyPolicy": _on_key("PutKeyPolicy"),
    "ReEncrypt": _by_action,
    "RetireGrant": _by_action,
    "RevokeGrant": _on_key("RevokeGrant"),
    "RotateKeyOnDemand": _on_key("RotateKeyOnDemand"),
    "ScheduleKeyDeletion": _on_key("ScheduleKeyDeletion"),
    "TagResource": _on_key("TagResource"),
    "UntagResource": _on_key("UntagResource"),
    "UpdateAlias": _update_alias,
    "UpdateKeyDescription": _on_key("UpdateKeyDescription"),
    "VerifyMac": _on_key("VerifyMac", aliases=True),
}
"""By operation."""
