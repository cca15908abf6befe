"""SimulatePrincipalPolicy and SimulateCustomPolicy, and the condition keys that policies ask for.

Nothing is done and nobody is asked: the policies given, or those of a user, group or role, decide
about made-up calls. Called by the gateway through the registry.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

from stanchion.access.authoriser import keys_of_principal
from stanchion.access.entities import Group, Role, User
from stanchion.access.identity import Caller
from stanchion.access.policy.context import Context, Values
from stanchion.access.policy.document import MalformedPolicy, context_keys, parse
from stanchion.iam import names, paging, tags
from stanchion.iam.service import Iam, action
from stanchion.iam.simulation import Scene, Source, evaluate, missing_keys
from stanchion.model.errors import ValidationError
from stanchion.model.iam import (
    ContextEntry,
    GetContextKeysForCustomPolicyRequest,
    GetContextKeysForPolicyResponse,
    GetContextKeysForPrincipalPolicyRequest,
    InvalidInputException,
    NoSuchEntityException,
    PolicyIdentifier,
    SimulateCustomPolicyRequest,
    SimulatePolicyResponse,
    SimulatePrincipalPolicyRequest,
)
from stanchion.service import Call

SimulateRequest = SimulateCustomPolicyRequest | SimulatePrincipalPolicyRequest


@action
async def simulate_custom_policy(
    iam: Iam, call: Call, request: SimulateCustomPolicyRequest
) -> SimulatePolicyResponse:
    if request.ordered_organization_policy_input_list:
        raise InvalidInputException("There are no organizations here, and no policies of theirs.")
    identity = _given(request.policy_input_list, "PolicyInputList")
    boundary = _given_boundary(request)
    caller = await _caller(iam, call, request, "")
    return _simulated(iam, request, _scene(iam, request, caller, identity, boundary))


@action
async def simulate_principal_policy(
    iam: Iam, call: Call, request: SimulatePrincipalPolicyRequest
) -> SimulatePolicyResponse:
    account_id, arn = call.caller.account_id, request.policy_source_arn or ""
    entity = await _entity(iam, account_id, arn)
    excluded = _excluded(request.policy_exclusion_list)
    own = [s for s in await _own(iam, account_id, entity) if s.reference not in excluded]
    identity = [*own, *_given(request.policy_input_list, "PolicyInputList")]
    boundary = _given_boundary(request)
    if boundary is None and not isinstance(entity, Group) and entity.boundary:
        boundary = await _managed(iam, entity.boundary)
        if boundary.reference in excluded:
            boundary = None
    caller = await _caller(iam, call, request, arn)
    return _simulated(iam, request, _scene(iam, request, caller, identity, boundary))


# --- Policies -------------------------------------------------------------------------------------


def _given(documents: Iterable[str] | None, name: str) -> list[Source]:
    found = []
    for number, document in enumerate(documents or (), 1):
        found.append(_source(f"{name}.{number}", document, "identity"))
    return found


def _source(name: str, document: str, kind: Literal["identity", "resource"]) -> Source:
    """A policy of the request. Raises `InvalidInputException`."""
    try:
        return Source(name, document, parse(document, kind))
    except MalformedPolicy as error:
        raise InvalidInputException(f"{name}: {error}") from None


def _given_boundary(request: SimulateRequest) -> Source | None:
    given = request.permissions_boundary_policy_input_list
    found = _given(given, "PermissionsBoundaryPolicyInputList")
    if len(found) > 1:
        raise InvalidInputException("There can be only one permissions boundary.")
    return found[0] if found else None


async def _own(iam: Iam, account_id: str, entity: User | Group | Role) -> list[Source]:
    """What speaks for somebody, as for real calls."""
    found = await _policies(iam, entity)
    if isinstance(entity, User):
        for name in entity.groups:
            group = await iam.documents.get(Group, account_id, name.lower())
            if group is not None:
                found += await _policies(iam, group)
    return found


async def _policies(iam: Iam, entity: User | Group | Role) -> list[Source]:
    inline = [
        _stored(
            f"{entity.kind}_{entity.name}_{name}", document, f"{entity.kind}/{entity.name}/{name}"
        )
        for name, document in entity.inline.items()
    ]
    return inline + [await _managed(iam, arn) for arn in entity.attached]


async def _managed(iam: Iam, arn: str) -> Source:
    document = await iam.directory.managed_document(arn)
    return _stored(arn.rpartition("/")[2], document or "", arn)


def _stored(name: str, document: str, reference: str) -> Source:
    try:
        return Source(name, document, parse(document, "identity"), reference)
    except MalformedPolicy:
        return Source(name, document, None, reference)


def _excluded(identifiers: Iterable[PolicyIdentifier] | None) -> set[str]:
    found = set()
    for identifier in identifiers or ():
        inline = identifier.inline_policy_identifier
        if inline is not None:
            found.add(f"{inline.attachment_type}/{inline.attachment_name}/{inline.policy_name}")
        elif identifier.policy_arn:
            found.add(identifier.policy_arn)
        else:
            raise InvalidInputException("A policy to be excluded is not named.")
    return found


# --- Principals -----------------------------------------------------------------------------------

_SOURCE_ARN = re.compile(r"arn:aws:iam::[0-9]{12}:(user|group|role)/[!-~]+", re.ASCII)
_USER_ARN = re.compile(r"arn:aws:iam::([0-9]{12}):user/[!-~]+", re.ASCII)
_SORTS: dict[str, type[User | Group | Role]] = {"user": User, "group": Group, "role": Role}


async def _entity(iam: Iam, account_id: str, arn: str) -> User | Group | Role:
    match = _SOURCE_ARN.fullmatch(arn)
    if match is None:
        raise InvalidInputException(f"ARN {arn} is not that of a user, group or role.")
    name = arn.rpartition("/")[2]
    found = await iam.documents.get(_SORTS[match[1]], account_id, name.lower())
    if found is None or names.arn_of(account_id, found) != arn:
        raise NoSuchEntityException(f"The {match[1]} with ARN {arn} cannot be found.")
    return found


async def _caller(iam: Iam, call: Call, request: SimulateRequest, source_arn: str) -> Caller:
    """Who makes the calls: CallerArn, which is a user's, or the principal whose policies decide."""
    account_id = call.caller.account_id
    arn = request.caller_arn or ""
    match = _USER_ARN.fullmatch(arn)
    if arn and match is None:
        raise InvalidInputException(f"CallerArn {arn} is not the ARN of a user.")
    if not arn and request.resource_policy and ":user/" not in source_arn:
        raise InvalidInputException("A ResourcePolicy needs the CallerArn of a user.")
    if match is not None:
        return await _caller_of_arn(iam, call, match[1], arn)
    if not source_arn:
        return _anybody(account_id)
    return await _caller_of_source(iam, account_id, await _entity(iam, account_id, source_arn))


async def _caller_of_arn(iam: Iam, call: Call, account_id: str, arn: str) -> Caller:
    """A user who may be made up. One of another account is none of the caller's business."""
    name = arn.rpartition("/")[2]
    if account_id == call.caller.account_id:
        user = await iam.documents.get(User, account_id, name.lower())
        if user is not None and names.arn_of(account_id, user) == arn:
            return await iam.directory.caller_of_user(account_id, user)
    return Caller("user", account_id, arn, "", keys={"aws:username": (name,)})


async def _caller_of_source(iam: Iam, account_id: str, entity: User | Group | Role) -> Caller:
    if isinstance(entity, User):
        return await iam.directory.caller_of_user(account_id, entity)
    if isinstance(entity, Group):
        return _anybody(account_id)
    return Caller(
        "role",
        account_id,
        f"arn:aws:sts::{account_id}:assumed-role/{entity.name}/simulation",
        f"{entity.id}:simulation",
        role_arn=names.arn_of(account_id, entity),
        entity_id=entity.id,
        keys=tags.condition_keys("aws:principaltag", entity.tags),
    )


def _anybody(account_id: str) -> Caller:
    return Caller("user", account_id, f"arn:aws:iam::{account_id}:user/anybody", "")


# --- The simulation -------------------------------------------------------------------------------


def _scene(
    iam: Iam,
    request: SimulateRequest,
    caller: Caller,
    identity: list[Source],
    boundary: Source | None,
) -> Scene:
    policy = request.resource_policy
    return Scene(
        caller=caller,
        identity=identity,
        boundary=boundary,
        resource_policy=_source("ResourcePolicy", policy, "resource") if policy else None,
        resource_owner=_owner(request.resource_owner) or caller.account_id,
        context=Context(
            _entries(request.context_entries), keys_of_principal(caller), _keys_of_now(iam)
        ),
    )


_OWNER = re.compile(r"(?:arn:aws:iam::)?([0-9]{12})(?::root)?", re.ASCII)


def _owner(given: str | None) -> str:
    match = _OWNER.fullmatch(given or "")
    if given and match is None:
        raise InvalidInputException(f"ResourceOwner {given} is not the ARN of an account.")
    return match[1] if match else ""


def _entries(entries: Iterable[ContextEntry] | None) -> Mapping[str, Values]:
    return {
        (entry.context_key_name or "").lower(): tuple(entry.context_key_values or ())
        for entry in entries or ()
    }


def _keys_of_now(iam: Iam) -> Mapping[str, Values]:
    now_s = int(iam.clock.wall_s())
    return {
        "aws:currenttime": (datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),),
        "aws:epochtime": (str(now_s),),
    }


_ACTION = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9]+", re.ASCII)


def _simulated(iam: Iam, request: SimulateRequest, scene: Scene) -> SimulatePolicyResponse:
    """The page asked for of all actions on all resources; only that is evaluated."""
    actions = request.action_names or []
    resources = request.resource_arns or ["*"]
    for name in actions:
        if not _ACTION.fullmatch(name):
            raise InvalidInputException(f"Invalid action: {name}")
    count = len(actions) * len(resources)
    start = _start(request)
    end = min(start + paging.size_of(request), count)
    missing = missing_keys(scene)
    results = []
    for number in range(start, end):
        at_action, at_resource = divmod(number, len(resources))
        results.append(evaluate(scene, actions[at_action], resources[at_resource], missing))
    is_truncated = end < count
    return SimulatePolicyResponse(
        evaluation_results=results,
        is_truncated=is_truncated,
        marker=paging.marker(str(end)) if is_truncated else None,
    )


_DIGITS_MAX = 9


def _start(request: SimulateRequest) -> int:
    after = paging.start(request) or "0"
    if not (after.isascii() and after.isdigit() and len(after) <= _DIGITS_MAX):
        raise ValidationError("Invalid Marker.")
    return int(after)


# --- Condition keys -------------------------------------------------------------------------------


@action
async def get_context_keys_for_custom_policy(
    iam: Iam, call: Call, request: GetContextKeysForCustomPolicyRequest
) -> GetContextKeysForPolicyResponse:
    return _keys_of(_given(request.policy_input_list, "PolicyInputList"))


@action
async def get_context_keys_for_principal_policy(
    iam: Iam, call: Call, request: GetContextKeysForPrincipalPolicyRequest
) -> GetContextKeysForPolicyResponse:
    account_id = call.caller.account_id
    entity = await _entity(iam, account_id, request.policy_source_arn or "")
    own = await _own(iam, account_id, entity)
    return _keys_of([*own, *_given(request.policy_input_list, "PolicyInputList")])


def _keys_of(sources: Iterable[Source]) -> GetContextKeysForPolicyResponse:
    policies = [source.policy for source in sources if source.policy is not None]
    return GetContextKeysForPolicyResponse(context_key_names=context_keys(policies))
