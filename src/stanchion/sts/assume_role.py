"""AssumeRole: from one's own credentials to those of a role."""

from stanchion.access.identity import Caller
from stanchion.model.errors import InvalidParameterValue, ValidationError
from stanchion.model.sts import AssumeRoleRequest, AssumeRoleResponse
from stanchion.service import Call
from stanchion.sts import restrictions, roles
from stanchion.sts.authorisation import not_authorised, refuse_mfa
from stanchion.sts.restrictions import SessionTags
from stanchion.sts.roles import Asking, RoleArn, RoleSession
from stanchion.sts.service import Sts, action

CHAINED_S_MAX = 3600


@action
async def assume_role(sts: Sts, call: Call, request: AssumeRoleRequest) -> AssumeRoleResponse:
    caller = call.caller
    arn = roles.role_arn(request.role_arn or "", f"{request.role_arn} is invalid")
    refuse_mfa(request.serial_number, request.token_code)
    if request.provided_contexts:
        raise ValidationError("ProvidedContexts: there are no context providers.")
    policies = restrictions.policies(request.policy, request.policy_arns)
    tags = restrictions.tags(request.tags, request.transitive_tag_keys, caller.transitive_tags)
    source_identity = _source_identity(caller, request.source_identity)
    role = await roles.find(sts, arn)
    asking = _asking(caller, arn, request, tags, source_identity)
    denied = roles.denied_action(sts, call, asking, role)
    if role is None or denied is not None:
        raise not_authorised(caller, denied or asking.actions[0], arn.text)
    asked = RoleSession(
        request.role_session_name or "",
        _duration_s(caller, request.duration_seconds),
        policies,
        tags,
        source_identity,
    )
    issued = await roles.issue(sts, arn.account_id, role, asked)
    return AssumeRoleResponse(
        credentials=issued.credentials,
        assumed_role_user=issued.user,
        packed_policy_size=issued.packed_percent,
        source_identity=source_identity or None,
    )


def _source_identity(caller: Caller, given: str | None) -> str:
    """As given, or that of the calling session, which stays for good."""
    inherited = "".join(caller.keys.get("aws:sourceidentity", ()))
    if given and inherited and given != inherited:
        raise InvalidParameterValue(
            "The specified source identity can't be set because it conflicts with the source "
            "identity of the calling session."
        )
    return given or inherited


def _asking(
    caller: Caller,
    arn: RoleArn,
    request: AssumeRoleRequest,
    tags: SessionTags,
    source_identity: str,
) -> Asking:
    keys = tags.condition_keys()
    keys["sts:rolesessionname"] = (request.role_session_name or "",)
    if request.external_id is not None:
        keys["sts:externalid"] = (request.external_id,)
    if source_identity:
        keys["sts:sourceidentity"] = (source_identity,)
    return Asking(caller, arn, roles.actions("sts:AssumeRole", tags, source_identity), keys)


def _duration_s(caller: Caller, given_s: int | None) -> int:
    duration_s = roles.DURATION_S if given_s is None else given_s
    if caller.kind == "role" and duration_s > CHAINED_S_MAX:
        raise ValidationError(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining"
        )
    return duration_s
