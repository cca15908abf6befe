"""Sessions of roles: what AssumeRole and AssumeRoleWithWebIdentity have in common.

A role's trust policy must allow; where it names the caller's account only, the caller's own
policies must allow as well, and across accounts both must in any case. A role that does not exist
is one that nobody may assume. Called by `assume_role.py` and `web_identity.py`.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct

from stanchion.access.authoriser import Resource
from stanchion.access.entities import Role, entity_arn
from stanchion.access.identity import Caller, NamedPolicy
from stanchion.access.policy.context import Values
from stanchion.access.policy.decision import Request
from stanchion.access.policy.document import MalformedPolicy, Policy, parse
from stanchion.access.sessions import Session
from stanchion.model.errors import ValidationError
from stanchion.model.sts import AssumedRoleUser, Credentials
from stanchion.service import Call
from stanchion.sts import issuing, restrictions
from stanchion.sts.authorisation import circumstances
from stanchion.sts.restrictions import SessionPolicies, SessionTags
from stanchion.sts.service import Sts

DURATION_S = 3600
"""Unless the request says otherwise."""


class RoleArn(Struct, frozen=True):
    text: str
    account_id: str
    name: str


_ROLE_ARN = re.compile(r"arn:aws:iam::([0-9]{12}):role/(?:[\x21-\x7e]*/)?([\w+=,.@-]+)", re.ASCII)


def role_arn(text: str, refusal: str) -> RoleArn:
    """Raises `ValidationError` with that text for what is not the ARN of a role."""
    match = _ROLE_ARN.fullmatch(text)
    if match is None:
        raise ValidationError(refusal)
    return RoleArn(text, match[1], match[2])


async def find(sts: Sts, arn: RoleArn) -> Role | None:
    role = await sts.documents.get(Role, arn.account_id, arn.name.lower())
    if role is None or entity_arn(arn.account_id, "role", role.path, role.name) != arn.text:
        return None
    return role


class Asking(Struct, frozen=True):
    """Somebody who wants to be a role, and how."""

    caller: Caller
    arn: RoleArn
    actions: tuple[str, ...]
    """All of which must be allowed."""
    keys: Mapping[str, Values]
    """Condition keys of the request."""


def denied_action(sts: Sts, call: Call, asking: Asking, role: Role | None) -> str | None:
    """The first of the actions that is not allowed, or None."""
    if role is None:
        return asking.actions[0]
    resource = Resource(NamedPolicy("the role's trust policy", _trust(role.trust)), _tags(role))
    for action in asking.actions:
        request = Request(action, asking.arn.text, asking.arn.account_id, delegation="explicit")
        decision = sts.authoriser.decide(
            asking.caller, request, circumstances(call), resource, asking.keys
        )
        if not decision.allowed:
            return action
    return None


@lru_cache(1024)
def _trust(document: str) -> Policy | None:
    try:
        return parse(document, "trust")
    except MalformedPolicy:
        return None


def _tags(role: Role) -> dict[str, Values]:
    return {
        f"{service}:resourcetag/{name.lower()}": (value,)
        for name, value in role.tags.items()
        for service in ("aws", "iam")
    }


def actions(action: str, tags: SessionTags, source_identity: str) -> tuple[str, ...]:
    """Tags and a source identity need permissions of their own, inherited or not."""
    found = [action]
    if tags.given or tags.inherited:
        found.append("sts:TagSession")
    if source_identity:
        found.append("sts:SetSourceIdentity")
    return tuple(found)


class RoleSession(Struct, frozen=True):
    """A session as it was asked for, and allowed."""

    name: str
    duration_s: int
    policies: SessionPolicies
    tags: SessionTags
    source_identity: str
    claims: Mapping[str, Values] = {}
    provider: str = ""


class Issued(Struct, frozen=True):
    credentials: Credentials
    user: AssumedRoleUser
    packed_percent: int | None


async def issue(sts: Sts, account_id: str, role: Role, asked: RoleSession) -> Issued:
    """Raises `ValidationError` and `PackedPolicyTooLargeException`."""
    if asked.duration_s > role.session_s_max:
        raise ValidationError(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    await restrictions.check_managed(sts, account_id, asked.policies.arns)
    session = Session(
        **issuing.fresh(sts, asked.duration_s),
        kind="role",
        account_id=account_id,
        name=role.name,
        entity_id=role.id,
        session_name=asked.name,
        policies=asked.policies.documents,
        policy_arns=asked.policies.arns,
        tags=asked.tags.all(),
        transitive_tag_keys=asked.tags.all_transitive_keys(),
        source_identity=asked.source_identity,
        claims=dict(asked.claims),
        provider=asked.provider,
    )
    percent = restrictions.packed_percent(session)
    user = AssumedRoleUser(
        assumed_role_id=f"{role.id}:{asked.name}",
        arn=f"arn:aws:sts::{account_id}:assumed-role/{role.name}/{asked.name}",
    )
    return Issued(issuing.issue(sts, session), user, percent)
