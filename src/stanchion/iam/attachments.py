"""Managed policies attached to users, groups and roles.

The attachment is written with whoever has it, and counted with the policy, in one draft.
"""

from collections.abc import Iterable

from msgspec import structs

from stanchion.access.aws_policies import AWS_POLICIES
from stanchion.access.entities import Group, Role, User
from stanchion.iam import limits, managed, names
from stanchion.iam.names import Principal
from stanchion.iam.paging import Page, Paged, page_of
from stanchion.iam.service import Iam, action
from stanchion.model.iam import (
    AttachedPolicy,
    AttachGroupPolicyRequest,
    AttachRolePolicyRequest,
    AttachUserPolicyRequest,
    DetachGroupPolicyRequest,
    DetachRolePolicyRequest,
    DetachUserPolicyRequest,
    ListAttachedGroupPoliciesRequest,
    ListAttachedGroupPoliciesResponse,
    ListAttachedRolePoliciesRequest,
    ListAttachedRolePoliciesResponse,
    ListAttachedUserPoliciesRequest,
    ListAttachedUserPoliciesResponse,
    NoSuchEntityException,
)
from stanchion.service import Call
from stanchion.store.documents import Draft

# --- Attach ---------------------------------------------------------------------------------------


@action
async def attach_user_policy(iam: Iam, call: Call, request: AttachUserPolicyRequest) -> None:
    await _attach(iam, call, User, request.user_name, request.policy_arn)


@action
async def attach_group_policy(iam: Iam, call: Call, request: AttachGroupPolicyRequest) -> None:
    await _attach(iam, call, Group, request.group_name, request.policy_arn)


@action
async def attach_role_policy(iam: Iam, call: Call, request: AttachRolePolicyRequest) -> None:
    await _attach(iam, call, Role, request.role_name, request.policy_arn)


async def _attach(
    iam: Iam, call: Call, sort: type[Principal], name: str | None, policy_arn: str | None
) -> None:
    """A policy that is attached already is no error."""
    account_id, arn = call.caller.account_id, policy_arn or ""

    async def work(draft: Draft) -> None:
        owner: Principal = await names.find(draft, sort, account_id, name or "")
        problem = "Policy {} does not exist or is not attachable."
        await managed.find(draft, account_id, arn, problem)
        if arn in owner.attached:
            return
        if len(owner.attached) >= limits.ATTACHED_POLICIES_MAX:
            quota = f"PoliciesPer{sort.kind.capitalize()}"
            raise names.over_quota(quota, limits.ATTACHED_POLICIES_MAX)
        names.put(draft, account_id, structs.replace(owner, attached=(*owner.attached, arn)))
        await managed.count_use(draft, account_id, arn, attachments=1)

    await iam.documents.change(work)


# --- Detach ---------------------------------------------------------------------------------------


@action
async def detach_user_policy(iam: Iam, call: Call, request: DetachUserPolicyRequest) -> None:
    await _detach(iam, call, User, request.user_name, request.policy_arn)


@action
async def detach_group_policy(iam: Iam, call: Call, request: DetachGroupPolicyRequest) -> None:
    await _detach(iam, call, Group, request.group_name, request.policy_arn)


@action
async def detach_role_policy(iam: Iam, call: Call, request: DetachRolePolicyRequest) -> None:
    await _detach(iam, call, Role, request.role_name, request.policy_arn)


async def _detach(
    iam: Iam, call: Call, sort: type[Principal], name: str | None, policy_arn: str | None
) -> None:
    account_id, arn = call.caller.account_id, policy_arn or ""

    async def work(draft: Draft) -> None:
        owner = await names.find(draft, sort, account_id, name or "")
        if arn not in owner.attached:
            raise NoSuchEntityException(f"Policy {arn} was not found.")
        attached = tuple(other for other in owner.attached if other != arn)
        names.put(draft, account_id, structs.replace(owner, attached=attached))
        await managed.count_use(draft, account_id, arn, attachments=-1)

    await iam.documents.change(work)


# --- List -----------------------------------------------------------------------------------------


@action
async def list_attached_user_policies(
    iam: Iam, call: Call, request: ListAttachedUserPoliciesRequest
) -> ListAttachedUserPoliciesResponse:
    page = await _page(iam, call, User, request.user_name, request.path_prefix, request)
    return ListAttachedUserPoliciesResponse(
        attached_policies=told(page.items), is_truncated=page.is_truncated, marker=page.marker
    )


@action
async def list_attached_group_policies(
    iam: Iam, call: Call, request: ListAttachedGroupPoliciesRequest
) -> ListAttachedGroupPoliciesResponse:
    page = await _page(iam, call, Group, request.group_name, request.path_prefix, request)
    return ListAttachedGroupPoliciesResponse(
        attached_policies=told(page.items), is_truncated=page.is_truncated, marker=page.marker
    )


@action
async def list_attached_role_policies(
    iam: Iam, call: Call, request: ListAttachedRolePoliciesRequest
) -> ListAttachedRolePoliciesResponse:
    page = await _page(iam, call, Role, request.role_name, request.path_prefix, request)
    return ListAttachedRolePoliciesResponse(
        attached_policies=told(page.items), is_truncated=page.is_truncated, marker=page.marker
    )


async def _page(
    iam: Iam,
    call: Call,
    sort: type[Principal],
    name: str | None,
    path_prefix: str | None,
    request: Paged,
) -> Page[str]:
    owner = await names.find(iam.documents, sort, call.caller.account_id, name or "")
    arns = [arn for arn in owner.attached if _path(arn).startswith(path_prefix or "/")]
    return page_of(arns, _sorting_key, request)


def _path(arn: str) -> str:
    """`/path/` of `arn:aws:iam::aws:policy/path/name`."""
    return arn[arn.index("/") : arn.rindex("/") + 1]


def _sorting_key(arn: str) -> str:
    """The name, which AWS and the account may both have. Short, as it becomes a marker."""
    return f"{arn.rpartition('/')[2]} {'aws' if arn in AWS_POLICIES else ''}"


def told(arns: Iterable[str]) -> list[AttachedPolicy]:
    """Attached policies as replies have them."""
    return [AttachedPolicy(policy_name=arn.rpartition("/")[2], policy_arn=arn) for arn in arns]
