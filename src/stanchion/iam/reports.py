"""GetAccountAuthorizationDetails: everybody in an account, and every policy, page by page.

The sorts come one after the other; a marker says in which of them the next page starts, and after
which name. Of AWS's policies only those that somebody has are told.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from stanchion.access.aws_policies import AWS_POLICIES, AwsPolicy
from stanchion.access.entities import Group, ManagedPolicy, Role, User
from stanchion.iam import attachments, boundaries, managed, names, paging, tags
from stanchion.iam.roles import told_trust
from stanchion.iam.service import Iam, action
from stanchion.model.errors import ValidationError
from stanchion.model.iam import (
    GetAccountAuthorizationDetailsRequest,
    GetAccountAuthorizationDetailsResponse,
    GroupDetail,
    ManagedPolicyDetail,
    PolicyDetail,
    PolicyVersion,
    RoleDetail,
    UserDetail,
)
from stanchion.service import Call
from stanchion.store.documents import Document


@action
async def get_account_authorization_details(
    iam: Iam, call: Call, request: GetAccountAuthorizationDetailsRequest
) -> GetAccountAuthorizationDetailsResponse:
    account_id = call.caller.account_id
    first, after = _start(request)
    reply = GetAccountAuthorizationDetailsResponse(
        user_detail_list=[],
        group_detail_list=[],
        role_detail_list=[],
        policies=[],
        is_truncated=False,
    )
    room = paging.size_of(request)
    for index, section in enumerate(_SECTIONS[first:], first):
        if request.filter and section.name not in request.filter:
            continue
        found = await section.list(iam, account_id, after, room + 1)
        for name, document in found[:room]:
            getattr(reply, section.field).append(await section.tell(iam, account_id, document))
            after = name
        if len(found) > room:
            reply.is_truncated = True
            reply.marker = paging.marker(f"{index}/{after}")
            break
        room, after = room - len(found), ""
    return reply


def _start(request: GetAccountAuthorizationDetailsRequest) -> tuple[int, str]:
    """Index of the section, and the name in it after which the page starts."""
    index, _, after = (paging.start(request) or "0/").partition("/")
    if index not in [str(number) for number in range(len(_SECTIONS))]:
        raise ValidationError("Invalid Marker.")
    return int(index), after


async def _user(iam: Iam, account_id: str, user: User) -> UserDetail:
    return UserDetail(
        path=user.path,
        user_name=user.name,
        user_id=user.id,
        arn=names.arn_of(account_id, user),
        create_date=names.instant(user.created_at_ms),
        user_policy_list=_inline(user),
        group_list=list(user.groups),
        attached_managed_policies=attachments.told(user.attached),
        permissions_boundary=boundaries.told(user.boundary),
        tags=tags.told(user.tags),
    )


def _inline(entity: User | Group | Role) -> list[PolicyDetail]:
    return [
        PolicyDetail(policy_name=name, policy_document=names.percent_encoded(document))
        for name, document in entity.inline.items()
    ]


async def _group(iam: Iam, account_id: str, group: Group) -> GroupDetail:
    return GroupDetail(
        path=group.path,
        group_name=group.name,
        group_id=group.id,
        arn=names.arn_of(account_id, group),
        create_date=names.instant(group.created_at_ms),
        group_policy_list=_inline(group),
        attached_managed_policies=attachments.told(group.attached),
    )


async def _role(iam: Iam, account_id: str, role: Role) -> RoleDetail:
    return RoleDetail(
        path=role.path,
        role_name=role.name,
        role_id=role.id,
        arn=names.arn_of(account_id, role),
        create_date=names.instant(role.created_at_ms),
        assume_role_policy_document=await told_trust(iam.documents, role),
        instance_profile_list=[],
        role_policy_list=_inline(role),
        attached_managed_policies=attachments.told(role.attached),
        permissions_boundary=boundaries.told(role.boundary),
        tags=tags.told(role.tags),
    )


async def _policy(iam: Iam, account_id: str, policy: ManagedPolicy) -> ManagedPolicyDetail:
    return ManagedPolicyDetail(
        policy_name=policy.name,
        policy_id=policy.id,
        arn=names.arn_of(account_id, policy),
        path=policy.path,
        default_version_id=policy.default_version,
        attachment_count=policy.attachments,
        permissions_boundary_usage_count=policy.boundary_uses,
        is_attachable=True,
        description=policy.description or None,
        create_date=names.instant(policy.created_at_ms),
        update_date=names.instant(policy.updated_at_ms),
        policy_version_list=[
            PolicyVersion(
                document=names.percent_encoded(version.document),
                version_id=version.id,
                is_default_version=version.id == policy.default_version,
                create_date=names.instant(version.created_at_ms),
            )
            for version in policy.versions
        ],
    )


class _Used(Struct, frozen=True):
    """A policy of AWS, and how many have it."""

    policy: AwsPolicy
    attachments: int
    boundary_uses: int


async def _aws_policies(
    iam: Iam, account_id: str, after: str, limit: int
) -> Sequence[tuple[str, _Used]]:
    uses = await managed.uses(iam.documents, account_id)
    used = {*uses.attachments, *uses.boundary_uses}
    return [
        (arn, _Used(AWS_POLICIES[arn], uses.attachments[arn], uses.boundary_uses[arn]))
        for arn in sorted(AWS_POLICIES)
        if arn > after and arn in used
    ][:limit]


async def _aws_policy(iam: Iam, account_id: str, used: _Used) -> ManagedPolicyDetail:
    policy = used.policy
    document = names.percent_encoded(policy.document)
    return ManagedPolicyDetail(
        policy_name=policy.name,
        policy_id=policy.id,
        arn=policy.arn,
        path=policy.path,
        default_version_id="v1",
        attachment_count=used.attachments,
        permissions_boundary_usage_count=used.boundary_uses,
        is_attachable=True,
        description=policy.description,
        policy_version_list=[
            PolicyVersion(document=document, version_id="v1", is_default_version=True)
        ],
    )


_List = Callable[[Iam, str, str, int], Awaitable[Sequence[tuple[str, Any]]]]


class _Section(Struct, frozen=True):
    """One sort of what is reported."""

    name: str
    """As filters call it."""
    field: str
    """Of the reply."""
    list: _List
    """Given account, name after which to start and limit: names and what goes by them."""
    tell: Callable[[Iam, str, Any], Awaitable[Struct]]


def _documents(sort: type[Document]) -> _List:
    async def found(
        iam: Iam, account_id: str, after: str, limit: int
    ) -> Sequence[tuple[str, Document]]:
        return await iam.documents.list(sort, account_id, after=after, limit=limit)

    return found


_SECTIONS = (
    _Section("User", "user_detail_list", _documents(User), _user),
    _Section("Group", "group_detail_list", _documents(Group), _group),
    _Section("Role", "role_detail_list", _documents(Role), _role),
    _Section("LocalManagedPolicy", "policies", _documents(ManagedPolicy), _policy),
    _Section("AWSManagedPolicy", "policies", _aws_policies, _aws_policy),
)
