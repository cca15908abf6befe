"""Permissions boundaries of users and roles: the managed policy that they cannot reach beyond."""

from typing import TypeVar

from msgspec import structs

from stanchion.access.entities import Role, User
from stanchion.iam import managed, names
from stanchion.iam.service import Iam, action
from stanchion.model.iam import (
    AttachedPermissionsBoundary,
    DeleteRolePermissionsBoundaryRequest,
    DeleteUserPermissionsBoundaryRequest,
    PutRolePermissionsBoundaryRequest,
    PutUserPermissionsBoundaryRequest,
)
from stanchion.service import Call
from stanchion.store.documents import Draft

Bounded = TypeVar("Bounded", User, Role)


@action
async def put_user_permissions_boundary(
    iam: Iam, call: Call, request: PutUserPermissionsBoundaryRequest
) -> None:
    await _set(iam, call, User, request.user_name, request.permissions_boundary)


@action
async def delete_user_permissions_boundary(
    iam: Iam, call: Call, request: DeleteUserPermissionsBoundaryRequest
) -> None:
    await _set(iam, call, User, request.user_name, None)


@action
async def put_role_permissions_boundary(
    iam: Iam, call: Call, request: PutRolePermissionsBoundaryRequest
) -> None:
    await _set(iam, call, Role, request.role_name, request.permissions_boundary)


@action
async def delete_role_permissions_boundary(
    iam: Iam, call: Call, request: DeleteRolePermissionsBoundaryRequest
) -> None:
    await _set(iam, call, Role, request.role_name, None)


async def _set(
    iam: Iam, call: Call, sort: type[Bounded], name: str | None, arn: str | None
) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        entity: Bounded = await names.find(draft, sort, account_id, name or "")
        if arn:
            await bind(draft, account_id, arn)
        if entity.boundary:
            await release(draft, account_id, entity.boundary)
        names.put(draft, account_id, structs.replace(entity, boundary=arn or ""))

    await iam.documents.change(work)


async def bind(draft: Draft, account_id: str, arn: str) -> None:
    """Count one more whom a policy bounds.

    Raises `InvalidInputException` and `NoSuchEntityException` for what is no policy.
    """
    await managed.find(draft, account_id, arn, "Scope ARN: {} does not exist or is not attachable.")
    await managed.count_use(draft, account_id, arn, boundary_uses=1)


async def release(draft: Draft, account_id: str, arn: str) -> None:
    """Count one less, also when somebody with a boundary is deleted."""
    await managed.count_use(draft, account_id, arn, boundary_uses=-1)


def told(arn: str) -> AttachedPermissionsBoundary | None:
    """A boundary as replies have it."""
    if not arn:
        return None
    return AttachedPermissionsBoundary(
        permissions_boundary_type="PermissionsBoundaryPolicy", permissions_boundary_arn=arn
    )
