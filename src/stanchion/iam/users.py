"""Users: making, finding, renaming and removing them, their tags, and the groups they are in.

A user's record goes by its name, so renaming moves it, and takes along what refers to the name: its
groups and its access keys. The unique id stays. All of an operation is one draft.
"""

from msgspec import structs

from stanchion.access import entities
from stanchion.access.entities import AccessKey, Account
from stanchion.iam import boundaries, names, paging, tags
from stanchion.iam.groups import replaced, told_user
from stanchion.iam.groups import told as told_group
from stanchion.iam.service import Iam, action
from stanchion.model.iam import (
    CreateUserRequest,
    CreateUserResponse,
    DeleteConflictException,
    DeleteUserRequest,
    GetUserRequest,
    GetUserResponse,
    ListGroupsForUserRequest,
    ListGroupsForUserResponse,
    ListUsersRequest,
    ListUsersResponse,
    ListUserTagsRequest,
    ListUserTagsResponse,
    TagUserRequest,
    UntagUserRequest,
    UpdateUserRequest,
    User,
)
from stanchion.service import Call
from stanchion.store.documents import Draft


@action
async def create_user(iam: Iam, call: Call, request: CreateUserRequest) -> CreateUserResponse:
    account_id = call.caller.account_id
    user = entities.User(
        name=request.user_name or "",
        path=request.path or "/",
        id=names.new_id("AIDA", iam.entropy),
        created_at_ms=iam.clock.now_ms(),
        tags=tags.merged({}, request.tags),
        boundary=request.permissions_boundary or "",
    )

    async def work(draft: Draft) -> None:
        await names.add(iam.documents, draft, account_id, user)
        if user.boundary:
            await boundaries.bind(draft, account_id, user.boundary)

    await iam.documents.change(work)
    return CreateUserResponse(user=_told_fully(account_id, user))


@action
async def get_user(iam: Iam, call: Call, request: GetUserRequest) -> GetUserResponse:
    """Without a name it is the caller."""
    account_id = call.caller.account_id
    name = request.user_name or names.own_user(call.caller)
    if not name:
        return GetUserResponse(user=await _root(iam, account_id))
    user = await names.find(iam.documents, entities.User, account_id, name)
    return GetUserResponse(user=_told_fully(account_id, user))


async def _root(iam: Iam, account_id: str) -> User:
    account = await iam.documents.get(Account, "", account_id)
    return User(
        user_id=account_id,
        arn=f"arn:aws:iam::{account_id}:root",
        create_date=names.instant(account.created_at_ms if account else 0),
    )


def _told_fully(account_id: str, user: entities.User) -> User:
    found = told_user(account_id, user)
    found.tags = tags.told(user.tags) or None
    found.permissions_boundary = boundaries.told(user.boundary)
    return found


@action
async def list_users(iam: Iam, call: Call, request: ListUsersRequest) -> ListUsersResponse:
    account_id, prefix = call.caller.account_id, request.path_prefix or "/"
    page = await paging.page_of_documents(
        iam.documents,
        entities.User,
        account_id,
        request,
        lambda user: user.path.startswith(prefix),
    )
    return ListUsersResponse(
        users=[told_user(account_id, user) for user in page.items],
        is_truncated=page.is_truncated,
        marker=page.marker,
    )


@action
async def update_user(iam: Iam, call: Call, request: UpdateUserRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        old = await names.find(draft, entities.User, account_id, request.user_name or "")
        name, path = request.new_user_name or old.name, request.new_path or old.path
        new = structs.replace(old, name=name, path=path)
        await names.rename(draft, account_id, old, new)
        if new.name != old.name:
            await _rename_references(draft, account_id, old, new.name)

    await iam.documents.change(work)


async def _rename_references(
    draft: Draft, account_id: str, old: entities.User, new_name: str
) -> None:
    for group_name in old.groups:
        group = await names.find(draft, entities.Group, account_id, group_name)
        users = replaced(group.users, old.name, new_name)
        names.put(draft, account_id, structs.replace(group, users=users))
    for access_key_id in old.access_key_ids:
        key = await draft.get(AccessKey, "", access_key_id)
        assert key is not None
        draft.put(structs.replace(key, user=new_name), "", access_key_id)


@action
async def delete_user(iam: Iam, call: Call, request: DeleteUserRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        user = await names.find(draft, entities.User, account_id, request.user_name or "")
        _check_deletable(user)
        names.remove(draft, account_id, user)
        if user.boundary:
            await boundaries.release(draft, account_id, user.boundary)

    await iam.documents.change(work)


def _check_deletable(user: entities.User) -> None:
    """Raises `DeleteConflictException` while the user has anything of its own."""
    for is_there, first in (
        (user.access_key_ids, "delete access keys"),
        (user.inline, "delete policies"),
        (user.attached, "detach all policies"),
        (user.groups, "remove users from group"),
    ):
        if is_there:
            raise DeleteConflictException(f"Cannot delete entity, must {first} first.")


@action
async def tag_user(iam: Iam, call: Call, request: TagUserRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        user = await names.find(draft, entities.User, account_id, request.user_name or "")
        merged = tags.merged(user.tags, request.tags)
        names.put(draft, account_id, structs.replace(user, tags=merged))

    await iam.documents.change(work)


@action
async def untag_user(iam: Iam, call: Call, request: UntagUserRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        user = await names.find(draft, entities.User, account_id, request.user_name or "")
        rest = tags.without(user.tags, request.tag_keys)
        names.put(draft, account_id, structs.replace(user, tags=rest))

    await iam.documents.change(work)


@action
async def list_user_tags(
    iam: Iam, call: Call, request: ListUserTagsRequest
) -> ListUserTagsResponse:
    account_id = call.caller.account_id
    user = await names.find(iam.documents, entities.User, account_id, request.user_name or "")
    page = paging.page_of(tags.told(user.tags), lambda tag: tag.key or "", request)
    return ListUserTagsResponse(tags=page.items, is_truncated=page.is_truncated, marker=page.marker)


@action
async def list_groups_for_user(
    iam: Iam, call: Call, request: ListGroupsForUserRequest
) -> ListGroupsForUserResponse:
    account_id = call.caller.account_id
    user = await names.find(iam.documents, entities.User, account_id, request.user_name or "")
    page = paging.page_of(user.groups, str.lower, request)
    found = [await iam.documents.get(entities.Group, account_id, n.lower()) for n in page.items]
    return ListGroupsForUserResponse(
        # One that is missing was deleted since the user was read.
        groups=[told_group(account_id, group) for group in found if group is not None],
        is_truncated=page.is_truncated,
        marker=page.marker,
    )
