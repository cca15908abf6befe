"""Managed policies: documents with versions, which may be attached to many.

The versions are in `policy_versions.py`. Policies of AWS are there for every account, are counted
nowhere and cannot be changed. Called by the gateway through the registry.
"""

from datetime import UTC, datetime

from msgspec import Struct, structs

from stanchion.access.aws_policies import AWS_POLICIES, AwsPolicy
from stanchion.access.entities import Group, ManagedPolicy, PolicyVersion, Role, User
from stanchion.iam import documents, managed, names, tags
from stanchion.iam.paging import page_of
from stanchion.iam.service import Iam, action
from stanchion.model.iam import (
    CreatePolicyRequest,
    CreatePolicyResponse,
    DeleteConflictException,
    DeletePolicyRequest,
    GetPolicyRequest,
    GetPolicyResponse,
    ListEntitiesForPolicyRequest,
    ListEntitiesForPolicyResponse,
    ListPoliciesRequest,
    ListPoliciesResponse,
    ListPolicyTagsRequest,
    ListPolicyTagsResponse,
    Policy,
    PolicyGroup,
    PolicyRole,
    PolicyUser,
    TagPolicyRequest,
    UntagPolicyRequest,
)
from stanchion.service import Call
from stanchion.store.documents import Draft


@action
async def create_policy(iam: Iam, call: Call, request: CreatePolicyRequest) -> CreatePolicyResponse:
    account_id, now_ms = call.caller.account_id, iam.clock.now_ms()
    version = PolicyVersion("v1", documents.managed(request.policy_document or ""), now_ms)
    policy = ManagedPolicy(
        name=request.policy_name or "",
        path=request.path or "/",
        id=names.new_id("ANPA", iam.entropy),
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        description=request.description or "",
        default_version=version.id,
        versions=(version,),
        tags=tags.given(request.tags),
    )

    async def work(draft: Draft) -> None:
        await names.add(iam.documents, draft, account_id, policy)

    await iam.documents.change(work)
    told = _told(account_id, policy)
    told.tags = tags.told(policy.tags) or None
    return CreatePolicyResponse(policy=told)


@action
async def get_policy(iam: Iam, call: Call, request: GetPolicyRequest) -> GetPolicyResponse:
    account_id = call.caller.account_id
    found = await managed.find(iam.documents, account_id, request.policy_arn or "")
    if isinstance(found, AwsPolicy):
        told = _told_of_aws(found, await managed.uses(iam.documents, account_id))
    else:
        told = _told(account_id, found)
        told.tags = tags.told(found.tags)
    told.description = found.description or None
    return GetPolicyResponse(policy=told)


def _told(account_id: str, policy: ManagedPolicy) -> Policy:
    return Policy(
        policy_name=policy.name,
        policy_id=policy.id,
        arn=names.arn_of(account_id, policy),
        path=policy.path,
        default_version_id=policy.default_version,
        attachment_count=policy.attachments,
        permissions_boundary_usage_count=policy.boundary_uses,
        is_attachable=True,
        create_date=names.instant(policy.created_at_ms),
        update_date=names.instant(policy.updated_at_ms),
    )


AWS_POLICY_DATE = datetime(2015, 2, 6, tzinfo=UTC)
"""When AWS introduced managed policies; those here have never changed."""


def _told_of_aws(policy: AwsPolicy, uses: managed.Uses) -> Policy:
    return Policy(
        policy_name=policy.name,
        policy_id=policy.id,
        arn=policy.arn,
        path=policy.path,
        default_version_id="v1",
        attachment_count=uses.attachments[policy.arn],
        permissions_boundary_usage_count=uses.boundary_uses[policy.arn],
        is_attachable=True,
        create_date=AWS_POLICY_DATE,
        update_date=AWS_POLICY_DATE,
    )


# --- Lists ----------------------------------------------------------------------------------------


@action
async def list_policies(iam: Iam, call: Call, request: ListPoliciesRequest) -> ListPoliciesResponse:
    """Like AWS, without tags and descriptions."""
    account_id, found = call.caller.account_id, []
    if request.scope != "AWS":
        own = managed.every(iam.documents, ManagedPolicy, account_id)
        found += [_told(account_id, policy) async for policy in own]
    if request.scope != "Local":
        uses = await managed.uses(iam.documents, account_id)
        found += [_told_of_aws(policy, uses) for policy in AWS_POLICIES.values()]
    wanted = (policy for policy in found if _is_wanted(policy, request))
    page = page_of(wanted, _sorting_key, request)
    return ListPoliciesResponse(
        policies=page.items, is_truncated=page.is_truncated, marker=page.marker
    )


def _is_wanted(policy: Policy, request: ListPoliciesRequest) -> bool:
    usage = request.policy_usage_filter
    if (request.only_attached or usage == "PermissionsPolicy") and not policy.attachment_count:
        return False
    if usage == "PermissionsBoundary" and not policy.permissions_boundary_usage_count:
        return False
    return (policy.path or "").startswith(request.path_prefix or "/")


def _sorting_key(policy: Policy) -> str:
    """The name, which AWS and the account may both have. Short, as it becomes a marker."""
    return f"{policy.policy_name} {'aws' if policy.arn in AWS_POLICIES else ''}"


class _Use(Struct, frozen=True):
    entity: User | Group | Role
    key: str


@action
async def list_entities_for_policy(
    iam: Iam, call: Call, request: ListEntitiesForPolicyRequest
) -> ListEntitiesForPolicyResponse:
    account_id, arn = call.caller.account_id, request.policy_arn or ""
    await managed.find(iam.documents, account_id, arn)
    found = [
        _Use(entity, f"{entity.kind} {entity.name}")
        async for entity in managed.principals(iam.documents, account_id)
        if _uses(entity, arn, request)
    ]
    page = page_of(found, lambda use: use.key, request)
    users, groups, roles = [], [], []
    for use in page.items:
        entity = use.entity
        if isinstance(entity, User):
            users.append(PolicyUser(user_name=entity.name, user_id=entity.id))
        elif isinstance(entity, Group):
            groups.append(PolicyGroup(group_name=entity.name, group_id=entity.id))
        else:
            roles.append(PolicyRole(role_name=entity.name, role_id=entity.id))
    return ListEntitiesForPolicyResponse(
        policy_groups=groups,
        policy_users=users,
        policy_roles=roles,
        is_truncated=page.is_truncated,
        marker=page.marker,
    )


def _uses(entity: User | Group | Role, arn: str, request: ListEntitiesForPolicyRequest) -> bool:
    wanted = request.entity_filter
    if wanted is not None and wanted.lower() != entity.kind:
        return False
    if not entity.path.startswith(request.path_prefix or "/"):
        return False
    is_attached = arn in entity.attached
    is_bounded = not isinstance(entity, Group) and entity.boundary == arn
    if request.policy_usage_filter == "PermissionsPolicy":
        return is_attached
    if request.policy_usage_filter == "PermissionsBoundary":
        return is_bounded
    return is_attached or is_bounded


# --- Changes --------------------------------------------------------------------------------------


@action
async def delete_policy(iam: Iam, call: Call, request: DeletePolicyRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        policy = await managed.find_own(draft, account_id, request.policy_arn or "")
        if policy.attachments:
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        if policy.boundary_uses:
            raise DeleteConflictException(
                "Cannot delete a policy that is the permissions boundary of entities."
            )
        if len(policy.versions) > 1:
            raise DeleteConflictException(
                "This policy has more than one version. Before you delete a policy, you must delete"
                " the policy's versions. The default version is deleted with the policy."
            )
        names.remove(draft, account_id, policy)

    await iam.documents.change(work)


@action
async def tag_policy(iam: Iam, call: Call, request: TagPolicyRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        policy = await managed.find_own(draft, account_id, request.policy_arn or "")
        merged = tags.merged(policy.tags, request.tags)
        names.put(draft, account_id, structs.replace(policy, tags=merged))

    await iam.documents.change(work)


@action
async def untag_policy(iam: Iam, call: Call, request: UntagPolicyRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        policy = await managed.find_own(draft, account_id, request.policy_arn or "")
        rest = tags.without(policy.tags, request.tag_keys)
        names.put(draft, account_id, structs.replace(policy, tags=rest))

    await iam.documents.change(work)


@action
async def list_policy_tags(
    iam: Iam, call: Call, request: ListPolicyTagsRequest
) -> ListPolicyTagsResponse:
    account_id = call.caller.account_id
    policy = await managed.find(iam.documents, account_id, request.policy_arn or "")
    found = {} if isinstance(policy, AwsPolicy) else policy.tags
    page = page_of(tags.told(found), lambda tag: tag.key or "", request)
    return ListPolicyTagsResponse(
        tags=page.items, is_truncated=page.is_truncated, marker=page.marker
    )
