"""Who may call IAM: every operation is decided as `iam:<Operation>` on what it is about.

One table says for each operation which ARNs that is; an operation without a row cannot be called.
What is not there is decided on the ARN that it would have, so that a caller who may not know learns
nothing. Resources belong to the account in their ARN, and no policy shares them with another one.
Called for every request, before its action.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct, structs

from stanchion.access.authoriser import Circumstances, Resource, denial
from stanchion.access.entities import (
    AccessKey,
    Group,
    ManagedPolicy,
    OidcProvider,
    Role,
    Tags,
    User,
    entity_arn,
)
from stanchion.access.identity import Caller
from stanchion.access.policy.context import Values
from stanchion.access.policy.decision import Request
from stanchion.iam import tags
from stanchion.iam.names import arn_of
from stanchion.iam.service import Iam
from stanchion.model import required
from stanchion.model.errors import AccessDenied, MissingAuthenticationToken
from stanchion.model.iam import InvalidInputException, Tag
from stanchion.service import Call


async def authorise(iam: Iam, call: Call, operation: str, parameters: Any) -> None:
    """Raises `MissingAuthenticationToken`, `ValidationError`, `InvalidInputException` for an ARN
    that is none, and `AccessDenied`."""
    caller = call.caller
    if caller.kind == "anonymous":
        raise MissingAuthenticationToken("Request is missing Authentication Token")
    _check_session(caller)
    required.check(parameters)
    circumstances = Circumstances(call.region, call.is_secure, call.peer_ip, call.headers)
    for target in await TARGETS[operation](iam, caller, parameters):
        asked = _asked(operation, parameters, target)
        keys = _resource_keys(target)
        for action in _actions(operation, parameters):
            request = Request(action, target.arn, target.account_id, shareable=False)
            decision = iam.authoriser.decide(
                caller, request, circumstances, Resource(keys=keys), asked
            )
            if not decision.allowed:
                shown = structs.replace(request, resource=target.shown or target.arn)
                raise AccessDenied(denial(caller, shown, decision))


def _check_session(caller: Caller) -> None:
    """Of temporary credentials only those of roles may call IAM as they are."""
    if caller.kind == "federated":
        raise AccessDenied("Credentials of GetFederationToken cannot call IAM.")
    is_session = caller.kind in ("user", "root") and "aws:tokenissuetime" in caller.keys
    if is_session and caller.keys.get("aws:multifactorauthpresent") != ("true",):
        raise AccessDenied(
            "Credentials of GetSessionToken cannot call IAM without multi-factor authentication."
        )


class Target(Struct, frozen=True):
    """What an operation is about."""

    arn: str
    """Or `*`."""
    account_id: str
    tags: Tags = {}
    boundary: str = ""
    """ARN of the policy that bounds the user or role."""
    shown: str = ""
    """What a refusal calls it, where the ARN would tell that it is there; empty: the ARN."""


def _actions(operation: str, parameters: Any) -> tuple[str, ...]:
    """Creating something with tags is creating and tagging it."""
    if operation.startswith("Create") and getattr(parameters, "tags", None):
        return f"iam:{operation}", f"iam:{operation.replace('Create', 'Tag')}"
    return (f"iam:{operation}",)


_WITH_BOUNDARY = frozenset(
    f"{verb}{sort}{what}"
    for sort in ("User", "Role")
    for verb, what in (
        ("Attach", "Policy"),
        ("Detach", "Policy"),
        ("Put", "Policy"),
        ("Delete", "Policy"),
        ("Delete", "PermissionsBoundary"),
    )
)
"""Operations that may be allowed for those with a certain boundary only."""


def _asked(operation: str, parameters: Any, target: Target) -> dict[str, Values]:
    """The condition keys that the request brings along."""
    asked: dict[str, Values] = {}
    given: list[Tag] | None = getattr(parameters, "tags", None)
    if given:
        asked |= tags.condition_keys("aws:requesttag", {t.key or "": t.value or "" for t in given})
        asked["aws:tagkeys"] = tuple(tag.key or "" for tag in given)
    elif getattr(parameters, "tag_keys", None):
        asked["aws:tagkeys"] = tuple(parameters.tag_keys)
    if operation.startswith(("Attach", "Detach")):
        asked["iam:policyarn"] = (parameters.policy_arn,)
    boundary = getattr(parameters, "permissions_boundary", None)
    if operation in _WITH_BOUNDARY:
        boundary = target.boundary
    if boundary:
        asked["iam:permissionsboundary"] = (boundary,)
    return asked


def _resource_keys(target: Target) -> dict[str, Values]:
    return {
        key: value
        for prefix in ("aws:resourcetag", "iam:resourcetag")
        for key, value in tags.condition_keys(prefix, target.tags).items()
    }


# --- What operations are about --------------------------------------------------------------------

Targets = Callable[[Iam, Caller, Any], Awaitable[tuple[Target, ...]]]
_Sort = type[User] | type[Group] | type[Role]


async def _account(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
    """Operations that are about nothing in particular."""
    return (Target("*", caller.account_id),)


def _of(sort: _Sort) -> Targets:
    """The user, group or role that is named."""

    async def targets(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
        name = getattr(parameters, f"{sort.kind}_name")
        return (await _named(iam, caller.account_id, sort, name),)

    return targets


async def _named(iam: Iam, account_id: str, sort: _Sort, name: str) -> Target:
    found: User | Group | Role | None = await iam.documents.get(sort, account_id, name.lower())
    absent = entity_arn(account_id, sort.kind, "/", name)
    if found is None:
        return Target(absent, account_id)
    arn = arn_of(account_id, found)
    if isinstance(found, Group):
        return Target(arn, account_id, shown=absent)
    return Target(arn, account_id, found.tags, found.boundary, absent)


async def _user_or_caller(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
    name = parameters.user_name
    if not name and caller.kind == "user":
        (name,) = caller.keys["aws:username"]
    if name:
        return (await _named(iam, caller.account_id, User, name),)
    # Root itself; or somebody whom the action asks for a name.
    return (Target(caller.arn, caller.account_id),)


async def _user_or_all(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
    """All users of the account, if that is asked for."""
    if parameters.all_users:
        return (Target(entity_arn(caller.account_id, "user", "/", ""), caller.account_id),)
    return await _user_or_caller(iam, caller, parameters)


async def _owner_of_key(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
    key = await iam.documents.get(AccessKey, "", parameters.access_key_id)
    if key is None or key.account_id != caller.account_id:
        return (Target("*", caller.account_id),)
    if not key.user:
        root_arn = f"arn:aws:iam::{key.account_id}:root"
        return (Target(root_arn, key.account_id, shown="*"),)
    owner = await _named(iam, caller.account_id, User, key.user)
    return (structs.replace(owner, shown="*"),)


def _new(sort: type[User | Group | Role | ManagedPolicy]) -> Targets:
    """What is about to be created."""

    async def targets(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
        name, path = getattr(parameters, f"{sort.kind}_name"), parameters.path or "/"
        return (Target(entity_arn(caller.account_id, sort.kind, path, name), caller.account_id),)

    return targets


def _moved(sort: type[User] | type[Group]) -> Targets:
    """The user or group as it is, and as it is going to be."""

    async def targets(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
        account_id = caller.account_id
        name = getattr(parameters, f"{sort.kind}_name")
        source = await _named(iam, account_id, sort, name)
        found: User | Group | None = await iam.documents.get(sort, account_id, name.lower())
        path = parameters.new_path or (found.path if found else "/")
        new_name = getattr(parameters, f"new_{sort.kind}_name") or (found.name if found else name)
        arn = entity_arn(account_id, sort.kind, path, new_name)
        return source, Target(arn, account_id, source.tags, source.boundary)

    return targets


def _listed(sort: _Sort) -> Targets:
    """All under a path."""

    async def targets(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
        arn = entity_arn(caller.account_id, sort.kind, parameters.path_prefix or "/", "")
        return (Target(arn, caller.account_id),)

    return targets


async def _policy(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
    arn = parameters.policy_arn
    account_id = _account_of(arn, caller)
    name = arn.rpartition("/")[2].lower()
    found = await iam.documents.get(ManagedPolicy, account_id, name)
    if found is None or arn_of(account_id, found) != arn:
        return (Target(arn, account_id),)
    return (Target(arn, account_id, found.tags),)


def _account_of(arn: str, caller: Caller) -> str:
    """Whose an ARN is. What is AWS's counts as everybody's own."""
    parts = arn.split(":", 5)
    if len(parts) == 6 and parts[:4] == ["arn", "aws", "iam", ""] and parts[5]:
        if parts[4] == "aws":
            return caller.account_id
        if len(parts[4]) == 12 and parts[4].isascii() and parts[4].isdigit():
            return parts[4]
    raise InvalidInputException(f"ARN {arn} is not valid.")


async def _source(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
    """The user, group or role that an ARN names."""
    arn = parameters.policy_source_arn
    account_id = _account_of(arn, caller)
    sort = _SORTS.get(arn.rpartition(":")[2].partition("/")[0])
    if sort is not None:
        found = await _named(iam, account_id, sort, arn.rpartition("/")[2])
        if found.arn == arn:
            return (structs.replace(found, shown=arn),)
    return (Target(arn, account_id),)


_SORTS: dict[str, _Sort] = {"user": User, "group": Group, "role": Role}


async def _new_provider(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
    url = parameters.url.removeprefix("https://")
    return (Target(f"arn:aws:iam::{caller.account_id}:oidc-provider/{url}", caller.account_id),)


async def _provider(iam: Iam, caller: Caller, parameters: Any) -> tuple[Target, ...]:
    arn = parameters.open_id_connect_provider_arn
    account_id = _account_of(arn, caller)
    url = arn.partition(":oidc-provider/")[2]
    found = await iam.documents.get(OidcProvider, account_id, url)
    return (Target(arn, account_id, found.tags if found else {}),)


_BY_TARGET: dict[Targets, str] = {
    _account: """
        GetAccountAuthorizationDetails GetAccountSummary ListAccountAliases CreateAccountAlias
        DeleteAccountAlias ListPolicies ListOpenIDConnectProviders SimulateCustomPolicy
        GetContextKeysForCustomPolicy ListVirtualMFADevices
    """,
    _new(User): "CreateUser",
    _moved(User): "UpdateUser",
    _listed(User): "ListUsers",
    _user_or_caller: """
        GetUser CreateAccessKey ListAccessKeys UpdateAccessKey DeleteAccessKey
        ListSSHPublicKeys ListMFADevices ListSigningCertificates GetLoginProfile DeleteLoginProfile
    """,
    _user_or_all: "ListServiceSpecificCredentials",
    _owner_of_key: "GetAccessKeyLastUsed",
    _of(User): """
        DeleteUser TagUser UntagUser ListUserTags ListGroupsForUser
        PutUserPolicy GetUserPolicy ListUserPolicies DeleteUserPolicy
        AttachUserPolicy DetachUserPolicy ListAttachedUserPolicies
        PutUserPermissionsBoundary DeleteUserPermissionsBoundary
    """,
    _new(Group): "CreateGroup",
    _moved(Group): "UpdateGroup",
    _listed(Group): "ListGroups",
    _of(Group): """
        GetGroup DeleteGroup AddUserToGroup RemoveUserFromGroup
        PutGroupPolicy GetGroupPolicy ListGroupPolicies DeleteGroupPolicy
        AttachGroupPolicy DetachGroupPolicy ListAttachedGroupPolicies
    """,
    _new(Role): "CreateRole",
    _listed(Role): "ListRoles",
    _of(Role): """
        GetRole UpdateRole UpdateRoleDescription DeleteRole UpdateAssumeRolePolicy
        TagRole UntagRole ListRoleTags
        PutRolePolicy GetRolePolicy ListRolePolicies DeleteRolePolicy
        AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies
        PutRolePermissionsBoundary DeleteRolePermissionsBoundary ListInstanceProfilesForRole
    """,
    _new(ManagedPolicy): "CreatePolicy",
    _policy: """
        GetPolicy DeletePolicy CreatePolicyVersion GetPolicyVersion ListPolicyVersions
        DeletePolicyVersion SetDefaultPolicyVersion ListEntitiesForPolicy
        TagPolicy UntagPolicy ListPolicyTags
    """,
    _source: "SimulatePrincipalPolicy GetContextKeysForPrincipalPolicy",
    _new_provider: "CreateOpenIDConnectProvider",
    _provider: """
        GetOpenIDConnectProvider DeleteOpenIDConnectProvider AddClientIDToOpenIDConnectProvider
        RemoveClientIDFromOpenIDConnectProvider UpdateOpenIDConnectProviderThumbprint
        TagOpenIDConnectProvider UntagOpenIDConnectProvider ListOpenIDConnectProviderTags
    """,
}

TARGETS: dict[str, Targets] = {
    operation: targets
    for targets, operations in _BY_TARGET.items()
    for operation in operations.split()
}
"""By operation."""
