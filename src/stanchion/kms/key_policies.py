"""The policy of a key, of which it has exactly one, named `default`; and what may be its policy.

It is kept with unique ids for the users and roles that it names, and told with their ARNs. A policy
that would lock out whoever sets it is refused, unless that is asked for. Called by CreateKey too.
"""

from msgspec import structs

from stanchion.access.authoriser import Circumstances, Resource
from stanchion.access.identity import Caller, Grants, NamedPolicy
from stanchion.access.policy.decision import Request
from stanchion.access.policy.document import MalformedPolicy, Policy, parse
from stanchion.access.policy_principals import UnknownPrincipal, to_arns, to_ids
from stanchion.kms import limits, paging
from stanchion.kms.finding import arn_of, edit, find
from stanchion.kms.service import Kms, action
from stanchion.model.kms import (
    GetKeyPolicyRequest,
    GetKeyPolicyResponse,
    LimitExceededException,
    ListKeyPoliciesRequest,
    ListKeyPoliciesResponse,
    MalformedPolicyDocumentException,
    NotFoundException,
    PutKeyPolicyRequest,
)
from stanchion.service import Call

_NAME = "default"


@action
async def put_key_policy(kms: Kms, call: Call, request: PutKeyPolicyRequest) -> None:
    _check_name(request.policy_name)
    bypass = bool(request.bypass_policy_lockout_safety_check)
    key = await find(kms, call, request.key_id, aliases=False)
    policy = await accepted(kms, call, request.policy or "", arn_of(key), bypass=bypass)
    await edit(kms, call, request.key_id, lambda key: structs.replace(key, policy=policy))


def _check_name(name: str | None) -> None:
    if name not in (None, _NAME):
        raise NotFoundException("No such policy exists")


async def accepted(kms: Kms, call: Call, document: str, arn: str, *, bypass: bool) -> str:
    """A policy for the key of that ARN as it is to be kept.

    Raises `MalformedPolicyDocumentException` and `LimitExceededException`. `bypass` leaves out the
    check that the caller could set another one.
    """
    if len(document.encode()) > limits.POLICY_BYTES_MAX:
        raise LimitExceededException(
            f"The key policy is larger than {limits.POLICY_BYTES_MAX} bytes"
        )
    try:
        kept = await to_ids(kms.documents, _well_formed(document))
        policy = parse(kept, "resource")
    except MalformedPolicy as error:
        raise MalformedPolicyDocumentException(str(error)) from None
    except UnknownPrincipal:
        raise MalformedPolicyDocumentException(
            "Policy contains a statement with one or more invalid principals."
        ) from None
    if not bypass:
        _check_lockout(kms, call, policy, arn)
    return kept


def _well_formed(document: str) -> str:
    parse(document, "resource")
    return document


def _check_lockout(kms: Kms, call: Call, policy: Policy, arn: str) -> None:
    """Whether the policy lets the caller set another, as far as it is up to the policy."""
    caller = call.caller
    trusted = Caller(
        caller.kind,
        caller.account_id,
        caller.arn,
        caller.sender_id,
        role_arn=caller.role_arn,
        entity_id=caller.entity_id,
        grants=_EVERYTHING,
        keys=caller.keys,
    )
    request = Request(
        "kms:PutKeyPolicy", arn, caller.account_id, delegation="explicit", shareable=False
    )
    circumstances = Circumstances(call.region, call.is_secure, call.peer_ip, call.headers)
    resource = Resource(NamedPolicy("the new key policy", policy))
    asked = {"kms:calleraccount": (caller.account_id,)}
    if not kms.authoriser.decide(trusted, request, circumstances, resource, asked).allowed:
        raise MalformedPolicyDocumentException(
            "The new key policy will not allow you to update the key policy in the future."
        )


_EVERYTHING = Grants(
    (
        NamedPolicy(
            "everything",
            parse(
                '{"Version":"2012-10-17",'
                '"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}',
                "identity",
            ),
        ),
    )
)


@action
async def get_key_policy(
    kms: Kms, call: Call, request: GetKeyPolicyRequest
) -> GetKeyPolicyResponse:
    _check_name(request.policy_name)
    key = await find(kms, call, request.key_id, aliases=False)
    return GetKeyPolicyResponse(policy=await to_arns(kms.documents, key.policy), policy_name=_NAME)


@action
async def list_key_policies(
    kms: Kms, call: Call, request: ListKeyPoliciesRequest
) -> ListKeyPoliciesResponse:
    await find(kms, call, request.key_id, aliases=False)
    page = paging.page_of([_NAME], str, request, paging.KEYS)
    return ListKeyPoliciesResponse(
        policy_names=page.items, next_marker=page.next_marker, truncated=page.truncated
    )


def default_policy(account_id: str) -> str:
    """What a key has that was made without one: it leaves everything to the account's policies."""
    return _DEFAULT.replace("ACCOUNT", account_id)


_DEFAULT = """{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::ACCOUNT:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}"""
