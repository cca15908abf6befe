"""May this caller do this? The evaluation of policies as AWS orders it; see `decide`.

An explicit Deny anywhere denies. Then, in the caller's own account, the resource's policy or the
caller's own policies must allow, and boundary and session policies too, unless the resource's
policy names the user or the session itself. Across accounts both sides must allow. Whatever is not
understood denies. Pure, and called for every request that has no remembered decision.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from msgspec import Struct

from stanchion.access.identity import Caller, Grants, NamedPolicy
from stanchion.access.policy.context import Context, WithoutResourceTags
from stanchion.access.policy.principals import Level
from stanchion.access.policy.rules import (
    Asked,
    Rule,
    allowing,
    allowing_to,
    denying,
    denying_to,
)


class Reason(StrEnum):
    """Why a decision fell as it did."""

    ALLOWED_BY_IDENTITY = "allowed by an identity-based policy"
    ALLOWED_BY_RESOURCE = "allowed by a resource-based policy"
    ALLOWED_BY_BOTH = "allowed by an identity-based and a resource-based policy"
    """Across accounts."""
    ALLOWED_AS_ROOT = "the account's root user"
    DENIED_BY_IDENTITY = "with an explicit deny in an identity-based policy"
    DENIED_BY_RESOURCE = "with an explicit deny in a resource-based policy"
    DENIED_BY_BOUNDARY = "with an explicit deny in a permissions boundary"
    DENIED_BY_SESSION = "with an explicit deny in a session policy"
    NO_IDENTITY = "because no identity-based policy allows the {action} action"
    NO_RESOURCE = "because no resource-based policy allows the {action} action"
    NO_BOUNDARY = "because no permissions boundary allows the {action} action"
    NO_SESSION = "because no session policy allows the {action} action"


class Request(Struct, frozen=True):
    """What is asked for."""

    action: str
    """`sqs:SendMessage`."""
    resource: str
    """An ARN, or `*` for an action without a resource."""
    account_id: str
    """Of the resource."""
    delegation: Literal["implicit", "explicit"] = "implicit"
    """explicit: the account's own policies count only as far as the resource's policy names the
    account, as with the keys of KMS; then even root is nobody without it."""
    shareable: bool = True
    """False for an action that no resource policy can grant to another account."""


class Decision(Struct, frozen=True):
    allowed: bool
    reason: Reason
    policy: str = ""
    """The name of the policy that decided, when one did."""
    statement: str = ""
    """Its Sid, or `Statement[n]`."""
    condition_keys: tuple[str, ...] = ()
    """Of the statement that denied, lower-case."""


def text(reason: Reason, action: str) -> str:
    """The reason as an AccessDenied gives it."""
    return reason.replace("{action}", action)


def decide(
    caller: Caller, request: Request, context: Context, resource_policy: NamedPolicy | None
) -> Decision:
    """Whether `caller` may do what `request` says. `context` holds the keys of caller and request.

    `resource_policy` is None where the resource has none. Of several reasons to deny, the first is
    given: an explicit Deny of an identity policy, the resource's, the boundary, a session policy;
    then what does not allow: identity, boundary, session, and last, across accounts, the resource.
    """
    action = request.action.lower()
    asked = Asked(action, request.resource, context)
    asked_of_resource = asked
    if resource_policy is not None and action.startswith("sqs:"):
        # AWS: the policy of a queue does not see the tags of the queue.
        asked_of_resource = Asked(action, request.resource, WithoutResourceTags(context))
    denied = _explicit_deny(caller, asked, asked_of_resource, resource_policy)
    if denied is not None:
        return denied
    level, by_resource = Level.NOBODY, _NOTHING
    if resource_policy is not None and resource_policy.policy is not None:
        level, rule = allowing_to(resource_policy.policy, asked_of_resource, caller)
        if rule is not None:
            by_resource = Deciding(resource_policy.name, rule)
    is_own = bool(caller.account_id) and caller.account_id == request.account_id
    if not is_own and not request.shareable:
        level = Level.NOBODY
    if caller.kind in _WITHOUT_POLICIES:
        return _by_resource_alone(level, Level.EVERYONE, by_resource)
    if not is_own:
        return _across_accounts(caller, asked, level, by_resource)
    return _in_own_account(caller, request, asked, level, by_resource)


_WITHOUT_POLICIES = ("anonymous", "service", "web")


class Deciding(Struct, frozen=True):
    """What speaks for a decision."""

    policy: str = ""
    rule: Rule | None = None


_NOTHING = Deciding()


def _allowed(reason: Reason, by: Deciding = _NOTHING) -> Decision:
    return Decision(True, reason, by.policy, by.rule.label if by.rule else "")


def _explicit_deny(
    caller: Caller,
    asked: Asked,
    asked_of_resource: Asked,
    resource_policy: NamedPolicy | None,
) -> Decision | None:
    grants = caller.grants
    found = _denied_by(grants.identity, asked, Reason.DENIED_BY_IDENTITY)
    if found is None and resource_policy is not None:
        policy = resource_policy.policy
        rule = None if policy is None else denying_to(policy, asked_of_resource, caller)
        if policy is None or rule is not None:
            return _denied(Reason.DENIED_BY_RESOURCE, resource_policy.name, rule)
    if found is None and grants.boundary is not None:
        found = _denied_by((grants.boundary,), asked, Reason.DENIED_BY_BOUNDARY)
    if found is None and grants.session:
        found = _denied_by(grants.session, asked, Reason.DENIED_BY_SESSION)
    return found


def _denied_by(policies: Iterable[NamedPolicy], asked: Asked, reason: Reason) -> Decision | None:
    """A policy that cannot be read denies, as it might have denied."""
    for named in policies:
        rule = None if named.policy is None else denying(named.policy, asked)
        if named.policy is None or rule is not None:
            return _denied(reason, named.name, rule)
    return None


def _denied(reason: Reason, policy: str, rule: Rule | None) -> Decision:
    if rule is None:
        return Decision(False, reason, policy)
    return Decision(False, reason, policy, rule.label, rule.condition_keys)


def _by_resource_alone(level: Level, level_min: Level, by_resource: Deciding) -> Decision:
    if level >= level_min:
        return _allowed(Reason.ALLOWED_BY_RESOURCE, by_resource)
    return Decision(False, Reason.NO_RESOURCE)


def _across_accounts(caller: Caller, asked: Asked, level: Level, by_resource: Deciding) -> Decision:
    """Both sides must allow. A root user's side always does."""
    if caller.kind == "root":
        return _by_resource_alone(level, Level.ACCOUNT, by_resource)
    grants = caller.grants
    if _allowed_by(grants.identity, asked) is None:
        return Decision(False, Reason.NO_IDENTITY)
    beyond = _beyond_limits(grants, asked)
    if beyond is not None:
        return Decision(False, beyond)
    if level is Level.NOBODY:
        return Decision(False, Reason.NO_RESOURCE)
    return _allowed(Reason.ALLOWED_BY_BOTH, by_resource)


def _in_own_account(
    caller: Caller, request: Request, asked: Asked, level: Level, by_resource: Deciding
) -> Decision:
    """Either side may allow, inside the caller's limits; a grant to the user or session itself is
    not limited."""
    if level is Level.NOBODY and request.delegation == "explicit":
        return Decision(False, Reason.NO_RESOURCE)
    if caller.kind == "root":
        if request.delegation == "explicit":
            return _allowed(Reason.ALLOWED_BY_RESOURCE, by_resource)
        return _allowed(Reason.ALLOWED_AS_ROOT)
    grants = caller.grants
    by_identity = _allowed_by(grants.identity, asked)
    if by_identity is None and level < Level.EVERYONE:
        return Decision(False, Reason.NO_IDENTITY)
    beyond = _beyond_limits(grants, asked)
    if beyond is not None and level is not Level.EXACT:
        return Decision(False, beyond)
    if by_identity is not None and beyond is None:
        return _allowed(Reason.ALLOWED_BY_IDENTITY, by_identity)
    return _allowed(Reason.ALLOWED_BY_RESOURCE, by_resource)


def _allowed_by(policies: Iterable[NamedPolicy], asked: Asked) -> Deciding | None:
    for named in policies:
        rule = None if named.policy is None else allowing(named.policy, asked)
        if rule is not None:
            return Deciding(named.name, rule)
    return None


def _beyond_limits(grants: Grants, asked: Asked) -> Reason | None:
    """Which limit of the caller does not reach as far."""
    if grants.boundary is not None and _allowed_by((grants.boundary,), asked) is None:
        return Reason.NO_BOUNDARY
    if grants.session and _allowed_by(grants.session, asked) is None:
        return Reason.NO_SESSION
    return None
