"""Who may retire a grant: what it says itself, and no policy alone.

AWS: its retiring principal; its grantee, when RetireGrant is among its operations; and the account
of the key, which is its root user and whoever its own policies let retire grants. An explicit Deny
in any policy, the key's too, goes before. Called by RetireGrant alone.
"""

from stanchion.access.authoriser import Circumstances, Resource
from stanchion.access.identity import NamedPolicy
from stanchion.access.policy.context import Values
from stanchion.access.policy.decision import Request
from stanchion.access.policy.document import (
    MalformedPolicy,
    Policy,
    Principals,
    Statement,
    parse,
)
from stanchion.kms import condition_keys
from stanchion.kms.entities import Grant, Key, is_service
from stanchion.kms.finding import arn_of
from stanchion.kms.service import Kms
from stanchion.model.errors import AccessDenied
from stanchion.service import Call

_PERMISSION = "kms:RetireGrant"


def check_retiring(kms: Kms, call: Call, key: Key, grant: Grant) -> None:
    """Raises `AccessDenied` unless the caller may."""
    arn = arn_of(key)
    # What a grant says is enough by itself, also for somebody of another account.
    request = Request(_PERMISSION, arn, call.caller.account_id, delegation="explicit")
    circumstances = Circumstances(call.region, call.is_secure, call.peer_ip, call.headers)
    tags: dict[str, Values] = {f"aws:resourcetag/{k.lower()}": (v,) for k, v in key.tags.items()}
    resource = Resource(NamedPolicy("the grant", _policy(key, grant)), tags)
    asked = {**condition_keys.of_key(key), "kms:calleraccount": (call.caller.account_id,)}
    if not kms.authoriser.decide(call.caller, request, circumstances, resource, asked).allowed:
        raise may_not_retire(call, arn)


def may_not_retire(call: Call, arn: str) -> AccessDenied:
    """The refusal for a key or grant that is not there, too, if that is another account's."""
    return AccessDenied(
        f"User: {call.caller.arn} is not authorized to perform: {_PERMISSION} on resource: {arn}"
    )


def _policy(key: Key, grant: Grant) -> Policy | None:
    """What the grant allows, and what the key's policy denies; None if that cannot be read."""
    try:
        denying = [s for s in parse(key.policy, "resource").statements if s.effect == "Deny"]
    except MalformedPolicy:
        return None
    names = [grant.retiring] if grant.retiring else []
    if "RetireGrant" in grant.operations:
        names.append(grant.grantee)
    allowing = Statement(
        len(denying),
        grant.id,
        "Allow",
        Principals(
            aws=(
                f"arn:aws:iam::{key.account_id}:root",
                *(name for name in names if not is_service(name)),
            ),
            services=tuple(name for name in names if is_service(name)),
        ),
        not_principals=False,
        actions=(_PERMISSION,),
        not_actions=False,
        resources=("*",),
        not_resources=False,
        conditions=(),
    )
    return Policy("2012-10-17", "", (*denying, allowing))
