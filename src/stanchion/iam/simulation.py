"""What policies would decide, told statement by statement: the part of simulation that is pure.

The decision itself is that of `access.policy.decision`, as for real calls; here is found out which
statements led to it, and where in their documents they are. Called by `simulate`.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from msgspec import Struct

from stanchion.access.identity import Caller, Grants, NamedPolicy
from stanchion.access.policy.context import Context
from stanchion.access.policy.decision import Decision, Reason, Request, decide
from stanchion.access.policy.document import Policy, context_keys
from stanchion.access.policy.principals import Level
from stanchion.access.policy.rules import Asked, Rule, allowing, denying, denying_to, rules_for
from stanchion.access.policy_principals import TOKEN
from stanchion.model.iam import (
    EvaluationResult,
    PermissionsBoundaryDecisionDetail,
    Position,
    Statement,
)


class Source(Struct, frozen=True):
    """A policy that takes part."""

    id: str
    """`PolicyInputList.1`, or of the principal's own for example `user_alice_send`."""
    document: str
    policy: Policy | None
    """None for one that cannot be read, which denies everything."""
    reference: str = ""
    """Own policies: what an exclusion names: an ARN, or `user/alice/send` of an inline one."""


class Scene(Struct, frozen=True):
    """What is the same for all actions and resources of a simulation."""

    caller: Caller
    """Its grants are not looked at: what it may do is in what follows."""
    identity: Sequence[Source]
    boundary: Source | None
    resource_policy: Source | None
    resource_owner: str
    """The account of resources whose ARNs do not say."""
    context: Context


def evaluate(scene: Scene, action: str, resource: str, missing: list[str]) -> EvaluationResult:
    """What would come of one action on one resource. `missing` is that of the scene."""
    request = _request(scene, action, resource)
    caller = _caller_with_grants(scene)
    decision = decide(caller, request, scene.context, _named(scene.resource_policy))
    asked = Asked(action.lower(), resource, scene.context)
    return EvaluationResult(
        eval_action_name=action,
        eval_resource_name=resource,
        eval_decision=_verdict(decision),
        matched_statements=list(_matched(scene, decision, asked)),
        missing_context_values=missing,
        permissions_boundary_decision_detail=_boundary_detail(scene.boundary, asked),
        eval_decision_details=_details(scene, caller, request, asked),
    )


_ACCOUNT_PART = 4


def _request(scene: Scene, action: str, resource: str) -> Request:
    """Without a policy of the resource, only what the caller's side says is of interest."""
    if scene.resource_policy is None:
        return Request(action, resource, scene.caller.account_id)
    parts = resource.split(":")
    written = parts[_ACCOUNT_PART] if len(parts) > _ACCOUNT_PART else ""
    account_id = written or scene.resource_owner
    is_kms = action.lower().startswith("kms:")
    return Request(action, resource, account_id, "explicit" if is_kms else "implicit")


def _caller_with_grants(scene: Scene) -> Caller:
    caller = scene.caller
    identity = tuple(NamedPolicy(source.id, source.policy) for source in scene.identity)
    return Caller(
        caller.kind,
        caller.account_id,
        caller.arn,
        caller.sender_id,
        role_arn=caller.role_arn,
        entity_id=caller.entity_id,
        grants=Grants(identity, _named(scene.boundary)),
        keys=caller.keys,
    )


def _named(source: Source | None) -> NamedPolicy | None:
    return None if source is None else NamedPolicy(source.id, source.policy)


_EXPLICIT = (Reason.DENIED_BY_IDENTITY, Reason.DENIED_BY_RESOURCE, Reason.DENIED_BY_BOUNDARY)


def _verdict(decision: Decision) -> str:
    if decision.allowed:
        return "allowed"
    return "explicitDeny" if decision.reason in _EXPLICIT else "implicitDeny"


def _details(scene: Scene, caller: Caller, request: Request, asked: Asked) -> dict[str, str] | None:
    """Across accounts, what each side says."""
    policy = scene.resource_policy.policy if scene.resource_policy else None
    if policy is None or request.account_id == caller.account_id:
        return None
    own = decide(
        caller, Request(request.action, request.resource, caller.account_id), scene.context, None
    )
    if denying_to(policy, asked, caller):
        theirs = "explicitDeny"
    else:
        theirs = "allowed" if any(_granting(policy, asked, caller)) else "implicitDeny"
    return {"IAM Policy": _verdict(own), "Resource Policy": theirs}


def _boundary_detail(
    boundary: Source | None, asked: Asked
) -> PermissionsBoundaryDecisionDetail | None:
    if boundary is None:
        return None
    policy = boundary.policy
    is_allowed = policy is not None and bool(allowing(policy, asked)) and not denying(policy, asked)
    return PermissionsBoundaryDecisionDetail(allowed_by_permissions_boundary=is_allowed)


def missing_keys(scene: Scene) -> list[str]:
    """Condition keys that the policies ask for and the simulation does not have."""
    others = (scene.boundary, scene.resource_policy)
    sources = [*scene.identity, *(source for source in others if source is not None)]
    keys = context_keys(source.policy for source in sources if source.policy is not None)
    return [key for key in keys if scene.context.values(key.lower()) is None]


# --- The statements that decided ------------------------------------------------------------------

_IDENTITY_TYPE = "IAM Policy"
_BOUNDARY_TYPE = "IAM Permissions Boundary Policy"
_RESOURCE_TYPE = "Resource Policy"


def _matched(scene: Scene, decision: Decision, asked: Asked) -> Iterator[Statement]:
    """All that allow, when it is allowed; those that deny, when one does."""
    verdict = _verdict(decision)
    caller, resource = scene.caller, scene.resource_policy
    for source in scene.identity:
        if source.policy is not None:
            if verdict == "allowed":
                yield from _told(source, _IDENTITY_TYPE, _allowing_all(source.policy, asked))
            elif verdict == "explicitDeny":
                yield from _told(source, _IDENTITY_TYPE, [denying(source.policy, asked)])
    if resource is not None and resource.policy is not None:
        if verdict == "allowed":
            yield from _told(resource, _RESOURCE_TYPE, _granting(resource.policy, asked, caller))
        elif verdict == "explicitDeny":
            rule = denying_to(resource.policy, asked, caller)
            yield from _told(resource, _RESOURCE_TYPE, [rule])
    boundary = scene.boundary
    if boundary is not None and boundary.policy is not None and verdict == "explicitDeny":
        yield from _told(boundary, _BOUNDARY_TYPE, [denying(boundary.policy, asked)])


def _allowing_all(policy: Policy, asked: Asked) -> Iterator[Rule]:
    for rule in rules_for(policy, asked.action)[1]:
        if rule.names is None and rule.applies(asked):
            yield rule


def _granting(policy: Policy, asked: Asked, caller: Caller) -> Iterator[Rule]:
    """The statements of a resource's policy that allow."""
    for rule in rules_for(policy, asked.action)[1]:
        is_meant = rule.names is not None and rule.names.allows(caller) > Level.NOBODY
        if is_meant and rule.applies(asked):
            yield rule


def _told(source: Source, source_type: str, rules: Iterable[Rule | None]) -> Iterator[Statement]:
    for rule in rules:
        if rule is None or source.policy is None:
            continue
        start, end = _spans(source.document)[_index(source.policy, rule)]
        yield Statement(
            source_policy_id=source.id,
            source_policy_type=source_type,
            start_position=_position(source.document, start),
            end_position=_position(source.document, end),
        )


def _index(policy: Policy, rule: Rule) -> int:
    for statement in policy.statements:
        if rule.label == (statement.sid or f"Statement[{statement.index}]"):
            return statement.index
    raise LookupError(f"{rule.label}: the policy has no such statement")


@lru_cache(256)
def _spans(document: str) -> tuple[tuple[int, int], ...]:
    """Where each statement starts and ends: the objects directly inside the document's own.

    A well-formed policy has no others there.
    """
    depth, start, found = 0, 0, []
    for token in TOKEN.finditer(document):
        if token["bracket"] == "{":
            depth += 1
            if depth == _STATEMENT_DEPTH:
                start = token.start()
        elif token["bracket"]:
            if depth == _STATEMENT_DEPTH:
                found.append((start, token.end()))
            depth -= 1
    return tuple(found)


_STATEMENT_DEPTH = 2


def _position(document: str, offset: int) -> Position:
    """Lines and columns count from 1."""
    before = document[:offset]
    return Position(line=before.count("\n") + 1, column=offset - before.rfind("\n"))
