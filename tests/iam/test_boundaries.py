"""Permissions boundaries, through their actions; the same for users and roles."""

from typing import Any

import pytest

from stanchion.access.entities import ManagedPolicy, Role, User
from stanchion.model import iam
from stanchion.model.iam import GetRoleRequest, GetUserRequest, NoSuchEntityException
from tests.iam.harness import ACCOUNT, Service
from tests.iam.policies import AWS_POLICY, create_policy, create_role

SORTS = ("user", "role")


@pytest.fixture
def service() -> Service:
    service = Service()
    service.user("x")
    create_role(service, "x")
    return service


def put(sort: str, arn: str, name: str = "x") -> Any:
    request = getattr(iam, f"Put{sort.capitalize()}PermissionsBoundaryRequest")
    return request(**{f"{sort}_name": name}, permissions_boundary=arn)


def delete(sort: str, name: str = "x") -> Any:
    request = getattr(iam, f"Delete{sort.capitalize()}PermissionsBoundaryRequest")
    return request(**{f"{sort}_name": name})


def shown(service: Service, sort: str) -> Any:
    if sort == "user":
        return service.do(GetUserRequest(user_name="x")).user.permissions_boundary
    return service.do(GetRoleRequest(role_name="x")).role.permissions_boundary


def uses(service: Service, name: str) -> int:
    return int(service.get(ManagedPolicy, ACCOUNT, name).boundary_uses)


@pytest.mark.parametrize("sort", SORTS)
def test_setting_replacing_and_deleting(service: Service, sort: str) -> None:
    first, second = create_policy(service, "first"), create_policy(service, "second")
    service.do(put(sort, first))
    assert shown(service, sort).permissions_boundary_arn == first
    assert uses(service, "first") == 1
    service.do(put(sort, first))
    assert uses(service, "first") == 1
    service.do(put(sort, second))
    assert (uses(service, "first"), uses(service, "second")) == (0, 1)
    service.do(delete(sort))
    assert shown(service, sort) is None
    assert uses(service, "second") == 0
    service.do(delete(sort))


@pytest.mark.parametrize("sort", SORTS)
def test_a_policy_of_aws(service: Service, sort: str) -> None:
    service.do(put(sort, AWS_POLICY))
    entity = service.get(User if sort == "user" else Role, ACCOUNT, "x")
    assert entity.boundary == AWS_POLICY
    service.do(delete(sort))


@pytest.mark.parametrize("sort", SORTS)
def test_a_policy_that_is_not_there(service: Service, sort: str) -> None:
    service.do(put(sort, AWS_POLICY))
    arn = f"arn:aws:iam::{ACCOUNT}:policy/none"
    refusal = service.refuses(put(sort, arn))
    assert isinstance(refusal, NoSuchEntityException)
    assert refusal.message == f"Scope ARN: {arn} does not exist or is not attachable."
    assert shown(service, sort).permissions_boundary_arn == AWS_POLICY


@pytest.mark.parametrize("sort", SORTS)
def test_somebody_who_is_not_there(service: Service, sort: str) -> None:
    for request in (put(sort, AWS_POLICY, "none"), delete(sort, "none")):
        refusal = service.refuses(request)
        assert isinstance(refusal, NoSuchEntityException)
        assert refusal.message == f"The {sort} with name none cannot be found."
