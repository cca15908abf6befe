"""Inline policies of users, groups and roles: documents that are part of whom they speak for."""

from msgspec import structs

from stanchion.access.entities import Group, Role, User
from stanchion.iam import documents, names
from stanchion.iam.names import Principal, percent_encoded
from stanchion.iam.paging import Page, Paged, page_of
from stanchion.iam.service import Iam, action
from stanchion.model.iam import (
    DeleteGroupPolicyRequest,
    DeleteRolePolicyRequest,
    DeleteUserPolicyRequest,
    GetGroupPolicyRequest,
    GetGroupPolicyResponse,
    GetRolePolicyRequest,
    GetRolePolicyResponse,
    GetUserPolicyRequest,
    GetUserPolicyResponse,
    ListGroupPoliciesRequest,
    ListGroupPoliciesResponse,
    ListRolePoliciesRequest,
    ListRolePoliciesResponse,
    ListUserPoliciesRequest,
    ListUserPoliciesResponse,
    NoSuchEntityException,
    PutGroupPolicyRequest,
    PutRolePolicyRequest,
    PutUserPolicyRequest,
)
from stanchion.service import Call
from stanchion.store.documents import Draft

# --- Put ------------------------------------------------------------------------------------------

PutRequest = PutUserPolicyRequest | PutGroupPolicyRequest | PutRolePolicyRequest


@action
async def put_user_policy(iam: Iam, call: Call, request: PutUserPolicyRequest) -> None:
    await _put(iam, call, User, request.user_name, request)


@action
async def put_group_policy(iam: Iam, call: Call, request: PutGroupPolicyRequest) -> None:
    await _put(iam, call, Group, request.group_name, request)


@action
async def put_role_policy(iam: Iam, call: Call, request: PutRolePolicyRequest) -> None:
    await _put(iam, call, Role, request.role_name, request)


async def _put(
    iam: Iam, call: Call, sort: type[Principal], name: str | None, request: PutRequest
) -> None:
    account_id = call.caller.account_id
    document = request.policy_document or ""
    documents.parsed(document)

    async def work(draft: Draft) -> None:
        owner = await names.find(draft, sort, account_id, name or "")
        inline = {**owner.inline, request.policy_name or "": document}
        documents.check_inline_size(sort.kind, owner.name, inline.values())
        names.put(draft, account_id, structs.replace(owner, inline=inline))

    await iam.documents.change(work)


# --- Get ------------------------------------------------------------------------------------------

GetRequest = GetUserPolicyRequest | GetGroupPolicyRequest | GetRolePolicyRequest


@action
async def get_user_policy(
    iam: Iam, call: Call, request: GetUserPolicyRequest
) -> GetUserPolicyResponse:
    owner = await names.find(iam.documents, User, call.caller.account_id, request.user_name or "")
    return GetUserPolicyResponse(
        user_name=owner.name,
        policy_name=request.policy_name,
        policy_document=percent_encoded(_document(owner, request.policy_name)),
    )


@action
async def get_group_policy(
    iam: Iam, call: Call, request: GetGroupPolicyRequest
) -> GetGroupPolicyResponse:
    owner = await names.find(iam.documents, Group, call.caller.account_id, request.group_name or "")
    return GetGroupPolicyResponse(
        group_name=owner.name,
        policy_name=request.policy_name,
        policy_document=percent_encoded(_document(owner, request.policy_name)),
    )


@action
async def get_role_policy(
    iam: Iam, call: Call, request: GetRolePolicyRequest
) -> GetRolePolicyResponse:
    owner = await names.find(iam.documents, Role, call.caller.account_id, request.role_name or "")
    return GetRolePolicyResponse(
        role_name=owner.name,
        policy_name=request.policy_name,
        policy_document=percent_encoded(_document(owner, request.policy_name)),
    )


def _document(owner: User | Group | Role, policy_name: str | None) -> str:
    document = owner.inline.get(policy_name or "")
    if document is None:
        raise NoSuchEntityException(
            f"The {owner.kind} policy with name {policy_name} cannot be found."
        )
    return document


# --- List -----------------------------------------------------------------------------------------


@action
async def list_user_policies(
    iam: Iam, call: Call, request: ListUserPoliciesRequest
) -> ListUserPoliciesResponse:
    page = await _page(iam, call, User, request.user_name, request)
    return ListUserPoliciesResponse(
        policy_names=page.items, is_truncated=page.is_truncated, marker=page.marker
    )


@action
async def list_group_policies(
    iam: Iam, call: Call, request: ListGroupPoliciesRequest
) -> ListGroupPoliciesResponse:
    page = await _page(iam, call, Group, request.group_name, request)
    return ListGroupPoliciesResponse(
        policy_names=page.items, is_truncated=page.is_truncated, marker=page.marker
    )


@action
async def list_role_policies(
    iam: Iam, call: Call, request: ListRolePoliciesRequest
) -> ListRolePoliciesResponse:
    page = await _page(iam, call, Role, request.role_name, request)
    return ListRolePoliciesResponse(
        policy_names=page.items, is_truncated=page.is_truncated, marker=page.marker
    )


async def _page(
    iam: Iam, call: Call, sort: type[Principal], name: str | None, request: Paged
) -> Page[str]:
    owner = await names.find(iam.documents, sort, call.caller.account_id, name or "")
    return page_of(owner.inline, str, request)


# --- Delete ---------------------------------------------------------------------------------------


@action
async def delete_user_policy(iam: Iam, call: Call, request: DeleteUserPolicyRequest) -> None:
    await _delete(iam, call, User, request.user_name, request.policy_name)


@action
async def delete_group_policy(iam: Iam, call: Call, request: DeleteGroupPolicyRequest) -> None:
    await _delete(iam, call, Group, request.group_name, request.policy_name)


@action
async def delete_role_policy(iam: Iam, call: Call, request: DeleteRolePolicyRequest) -> None:
    await _delete(iam, call, Role, request.role_name, request.policy_name)


async def _delete(
    iam: Iam, call: Call, sort: type[Principal], name: str | None, policy_name: str | None
) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        owner = await names.find(draft, sort, account_id, name or "")
        _document(owner, policy_name)
        inline = {key: text for key, text in owner.inline.items() if key != policy_name}
        names.put(draft, account_id, structs.replace(owner, inline=inline))

    await iam.documents.change(work)
