"""Roles: identities without keys, which those whom the trust policy names may assume.

The trust policy is kept with unique ids for the users and roles that it names, so that it means
those and not others who get their names later; it is shown with their ARNs. Called by the gateway
through the registry.
"""

from msgspec import structs

from stanchion.access import entities
from stanchion.access.policy_principals import Reader, to_arns
from stanchion.iam import boundaries, documents, names, paging, tags
from stanchion.iam.service import Iam, action
from stanchion.model.iam import (
    CreateRoleRequest,
    CreateRoleResponse,
    DeleteConflictException,
    DeleteRoleRequest,
    GetRoleRequest,
    GetRoleResponse,
    ListRolesRequest,
    ListRolesResponse,
    ListRoleTagsRequest,
    ListRoleTagsResponse,
    Role,
    RoleLastUsed,
    TagRoleRequest,
    UntagRoleRequest,
    UpdateAssumeRolePolicyRequest,
    UpdateRoleDescriptionRequest,
    UpdateRoleDescriptionResponse,
    UpdateRoleRequest,
    UpdateRoleResponse,
)
from stanchion.service import Call
from stanchion.store.documents import Draft

SESSION_S_MAX_DEFAULT = 3600


@action
async def create_role(iam: Iam, call: Call, request: CreateRoleRequest) -> CreateRoleResponse:
    account_id = call.caller.account_id
    role_id = names.new_id("AROA", iam.entropy)

    async def work(draft: Draft) -> entities.Role:
        role = entities.Role(
            name=request.role_name or "",
            path=request.path or "/",
            id=role_id,
            created_at_ms=iam.clock.now_ms(),
            description=request.description or "",
            session_s_max=request.max_session_duration or SESSION_S_MAX_DEFAULT,
            trust=await documents.trust(draft, request.assume_role_policy_document or ""),
            tags=tags.given(request.tags),
            boundary=request.permissions_boundary or "",
        )
        await names.add(iam.documents, draft, account_id, role)
        if role.boundary:
            await boundaries.bind(draft, account_id, role.boundary)
        return role

    role = await iam.documents.change(work)
    return CreateRoleResponse(role=await _told_whole(iam, account_id, role))


@action
async def get_role(iam: Iam, call: Call, request: GetRoleRequest) -> GetRoleResponse:
    account_id = call.caller.account_id
    role = await names.find(iam.documents, entities.Role, account_id, request.role_name or "")
    found = await _told_whole(iam, account_id, role)
    found.role_last_used = RoleLastUsed()
    return GetRoleResponse(role=found)


async def _told_whole(iam: Iam, account_id: str, role: entities.Role) -> Role:
    """As replies about a single role have it."""
    found = await _told(iam, account_id, role)
    found.permissions_boundary = boundaries.told(role.boundary)
    found.tags = tags.told(role.tags) or None
    return found


async def _told(iam: Iam, account_id: str, role: entities.Role) -> Role:
    return Role(
        path=role.path,
        role_name=role.name,
        role_id=role.id,
        arn=names.arn_of(account_id, role),
        create_date=names.instant(role.created_at_ms),
        assume_role_policy_document=await told_trust(iam.documents, role),
        description=role.description or None,
        max_session_duration=role.session_s_max,
    )


async def told_trust(reader: Reader, role: entities.Role) -> str:
    """The trust policy as replies have it."""
    return names.percent_encoded(await to_arns(reader, role.trust))


@action
async def list_roles(iam: Iam, call: Call, request: ListRolesRequest) -> ListRolesResponse:
    """Like AWS, without tags and boundaries."""
    account_id, prefix = call.caller.account_id, request.path_prefix or "/"
    page = await paging.page_of_documents(
        iam.documents,
        entities.Role,
        account_id,
        request,
        lambda role: role.path.startswith(prefix),
    )
    return ListRolesResponse(
        roles=[await _told(iam, account_id, role) for role in page.items],
        is_truncated=page.is_truncated,
        marker=page.marker,
    )


# --- Changes --------------------------------------------------------------------------------------


@action
async def update_role(iam: Iam, call: Call, request: UpdateRoleRequest) -> UpdateRoleResponse:
    """As AWS documents it, a session length that is not given becomes an hour again."""
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        role = await names.find(draft, entities.Role, account_id, request.role_name or "")
        given = request.description
        changed = structs.replace(
            role,
            description=role.description if given is None else given,
            session_s_max=request.max_session_duration or SESSION_S_MAX_DEFAULT,
        )
        names.put(draft, account_id, changed)

    await iam.documents.change(work)
    return UpdateRoleResponse()


@action
async def update_role_description(
    iam: Iam, call: Call, request: UpdateRoleDescriptionRequest
) -> UpdateRoleDescriptionResponse:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> entities.Role:
        role = await names.find(draft, entities.Role, account_id, request.role_name or "")
        changed = structs.replace(role, description=request.description or "")
        names.put(draft, account_id, changed)
        return changed

    role = await iam.documents.change(work)
    return UpdateRoleDescriptionResponse(role=await _told_whole(iam, account_id, role))


@action
async def update_assume_role_policy(
    iam: Iam, call: Call, request: UpdateAssumeRolePolicyRequest
) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        role = await names.find(draft, entities.Role, account_id, request.role_name or "")
        trust = await documents.trust(draft, request.policy_document or "")
        names.put(draft, account_id, structs.replace(role, trust=trust))

    await iam.documents.change(work)


@action
async def delete_role(iam: Iam, call: Call, request: DeleteRoleRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        role = await names.find(draft, entities.Role, account_id, request.role_name or "")
        if role.attached:
            raise DeleteConflictException("Cannot delete entity, must detach all policies first.")
        if role.inline:
            raise DeleteConflictException("Cannot delete entity, must delete policies first.")
        if role.boundary:
            await boundaries.release(draft, account_id, role.boundary)
        names.remove(draft, account_id, role)

    await iam.documents.change(work)


# --- Tags -----------------------------------------------------------------------------------------


@action
async def tag_role(iam: Iam, call: Call, request: TagRoleRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        role = await names.find(draft, entities.Role, account_id, request.role_name or "")
        merged = tags.merged(role.tags, request.tags)
        names.put(draft, account_id, structs.replace(role, tags=merged))

    await iam.documents.change(work)


@action
async def untag_role(iam: Iam, call: Call, request: UntagRoleRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        role = await names.find(draft, entities.Role, account_id, request.role_name or "")
        rest = tags.without(role.tags, request.tag_keys)
        names.put(draft, account_id, structs.replace(role, tags=rest))

    await iam.documents.change(work)


@action
async def list_role_tags(
    iam: Iam, call: Call, request: ListRoleTagsRequest
) -> ListRoleTagsResponse:
    account_id = call.caller.account_id
    role = await names.find(iam.documents, entities.Role, account_id, request.role_name or "")
    page = paging.page_of(tags.told(role.tags), lambda tag: tag.key or "", request)
    return ListRoleTagsResponse(tags=page.items, is_truncated=page.is_truncated, marker=page.marker)
