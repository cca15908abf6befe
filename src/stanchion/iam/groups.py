"""Groups, and who is in them.

A group names its users and a user its groups; whatever changes one changes the other in the same
draft. A group's record goes by its name, as a user's does.
"""

from msgspec import structs

from stanchion.access import entities
from stanchion.iam import names, paging
from stanchion.iam.limits import GROUPS_PER_USER_MAX
from stanchion.iam.service import Iam, action
from stanchion.model.iam import (
    AddUserToGroupRequest,
    CreateGroupRequest,
    CreateGroupResponse,
    DeleteConflictException,
    DeleteGroupRequest,
    GetGroupRequest,
    GetGroupResponse,
    Group,
    ListGroupsRequest,
    ListGroupsResponse,
    RemoveUserFromGroupRequest,
    UpdateGroupRequest,
    User,
)
from stanchion.service import Call
from stanchion.store.documents import Draft


@action
async def create_group(iam: Iam, call: Call, request: CreateGroupRequest) -> CreateGroupResponse:
    account_id = call.caller.account_id
    group = entities.Group(
        name=request.group_name or "",
        path=request.path or "/",
        id=names.new_id("AGPA", iam.entropy),
        created_at_ms=iam.clock.now_ms(),
    )

    async def work(draft: Draft) -> None:
        await names.add(iam.documents, draft, account_id, group)

    await iam.documents.change(work)
    return CreateGroupResponse(group=told(account_id, group))


def told(account_id: str, group: entities.Group) -> Group:
    return Group(
        path=group.path,
        group_name=group.name,
        group_id=group.id,
        arn=names.arn_of(account_id, group),
        create_date=names.instant(group.created_at_ms),
    )


@action
async def get_group(iam: Iam, call: Call, request: GetGroupRequest) -> GetGroupResponse:
    """The group and a page of its users."""
    account_id = call.caller.account_id
    group = await names.find(iam.documents, entities.Group, account_id, request.group_name or "")
    page = paging.page_of(group.users, str.lower, request)
    found = [await iam.documents.get(entities.User, account_id, n.lower()) for n in page.items]
    return GetGroupResponse(
        group=told(account_id, group),
        # One that is missing was deleted since the group was read.
        users=[told_user(account_id, user) for user in found if user is not None],
        is_truncated=page.is_truncated,
        marker=page.marker,
    )


def told_user(account_id: str, user: entities.User) -> User:
    """A user as lists have it."""
    return User(
        path=user.path,
        user_name=user.name,
        user_id=user.id,
        arn=names.arn_of(account_id, user),
        create_date=names.instant(user.created_at_ms),
    )


@action
async def list_groups(iam: Iam, call: Call, request: ListGroupsRequest) -> ListGroupsResponse:
    account_id, prefix = call.caller.account_id, request.path_prefix or "/"
    page = await paging.page_of_documents(
        iam.documents,
        entities.Group,
        account_id,
        request,
        lambda group: group.path.startswith(prefix),
    )
    return ListGroupsResponse(
        groups=[told(account_id, group) for group in page.items],
        is_truncated=page.is_truncated,
        marker=page.marker,
    )


@action
async def update_group(iam: Iam, call: Call, request: UpdateGroupRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        old = await names.find(draft, entities.Group, account_id, request.group_name or "")
        name, path = request.new_group_name or old.name, request.new_path or old.path
        new = structs.replace(old, name=name, path=path)
        await names.rename(draft, account_id, old, new)
        if new.name != old.name:
            await _rename_in_users(draft, account_id, old, new.name)

    await iam.documents.change(work)


async def _rename_in_users(
    draft: Draft, account_id: str, old: entities.Group, new_name: str
) -> None:
    for user_name in old.users:
        user = await names.find(draft, entities.User, account_id, user_name)
        groups = replaced(user.groups, old.name, new_name)
        names.put(draft, account_id, structs.replace(user, groups=groups))


def replaced(listed: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    """The same names with one of them changed."""
    return tuple(new if name == old else name for name in listed)


@action
async def delete_group(iam: Iam, call: Call, request: DeleteGroupRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        group = await names.find(draft, entities.Group, account_id, request.group_name or "")
        _check_deletable(group)
        names.remove(draft, account_id, group)

    await iam.documents.change(work)


def _check_deletable(group: entities.Group) -> None:
    for is_there, first in (
        (group.users, "remove users from group"),
        (group.inline, "delete policies"),
        (group.attached, "detach all policies"),
    ):
        if is_there:
            raise DeleteConflictException(f"Cannot delete entity, must {first} first.")


@action
async def add_user_to_group(iam: Iam, call: Call, request: AddUserToGroupRequest) -> None:
    """A user that is in the group already stays in it."""
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        group = await names.find(draft, entities.Group, account_id, request.group_name or "")
        user = await names.find(draft, entities.User, account_id, request.user_name or "")
        if group.name in user.groups:
            return
        if len(user.groups) >= GROUPS_PER_USER_MAX:
            raise names.over_quota("GroupsPerUser", GROUPS_PER_USER_MAX)
        groups, users = (*user.groups, group.name), (*group.users, user.name)
        names.put(draft, account_id, structs.replace(user, groups=groups))
        names.put(draft, account_id, structs.replace(group, users=users))

    await iam.documents.change(work)


@action
async def remove_user_from_group(iam: Iam, call: Call, request: RemoveUserFromGroupRequest) -> None:
    """A user that is not in the group is no error."""
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        group = await names.find(draft, entities.Group, account_id, request.group_name or "")
        user = await names.find(draft, entities.User, account_id, request.user_name or "")
        if group.name not in user.groups:
            return
        groups = tuple(name for name in user.groups if name != group.name)
        users = tuple(name for name in group.users if name != user.name)
        names.put(draft, account_id, structs.replace(user, groups=groups))
        names.put(draft, account_id, structs.replace(group, users=users))

    await iam.documents.change(work)
