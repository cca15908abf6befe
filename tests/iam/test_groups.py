"""Groups, through their actions."""

import pytest
from msgspec import Struct

from stanchion.access import entities
from stanchion.access.entities import UniqueId
from stanchion.model.iam import (
    AddUserToGroupRequest,
    AttachGroupPolicyRequest,
    CreateGroupRequest,
    DeleteGroupPolicyRequest,
    DeleteGroupRequest,
    DetachGroupPolicyRequest,
    GetGroupRequest,
    ListGroupsForUserRequest,
    ListGroupsRequest,
    PutGroupPolicyRequest,
    RemoveUserFromGroupRequest,
    UpdateGroupRequest,
)
from tests.iam.harness import ACCOUNT, Service, allow

AWS_POLICY = "arn:aws:iam::aws:policy/AmazonSQSFullAccess"


@pytest.fixture
def service() -> Service:
    return Service()


def members_of(service: Service, name: str = "staff") -> list[str]:
    return [user.user_name for user in service.do(GetGroupRequest(group_name=name)).users]


def groups_of(service: Service, name: str = "alice") -> list[str]:
    found = service.do(ListGroupsForUserRequest(user_name=name))
    return [group.group_name for group in found.groups]


def add(service: Service, group: str = "staff", user: str = "alice") -> None:
    service.do(AddUserToGroupRequest(group_name=group, user_name=user))


def test_a_new_group(service: Service) -> None:
    group = service.group("Staff", path="/a/")
    assert group.arn == f"arn:aws:iam::{ACCOUNT}:group/a/Staff"
    assert len(group.group_id) == 21
    assert group.group_id.startswith("AGPA")
    found = service.do(GetGroupRequest(group_name="sTAFF"))
    assert (found.group, found.users, found.is_truncated) == (group, [], False)
    assert service.exact(UniqueId, "", group.group_id).sort == "group"


def test_a_name_is_taken_whatever_its_case(service: Service) -> None:
    service.group("staff")
    error = service.refuses(CreateGroupRequest(group_name="Staff"))
    assert (error.query_code, error.http_status) == ("EntityAlreadyExists", 409)
    assert error.message == "Group with name Staff already exists."


def test_a_user_may_have_the_name_of_a_group(service: Service) -> None:
    service.group("staff")
    service.user("staff")


@pytest.mark.parametrize(
    "request_",
    [
        GetGroupRequest(group_name="None"),
        UpdateGroupRequest(group_name="None"),
        DeleteGroupRequest(group_name="None"),
        AddUserToGroupRequest(group_name="None", user_name="alice"),
        RemoveUserFromGroupRequest(group_name="None", user_name="alice"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_no_group_of_that_name(service: Service, request_: Struct) -> None:
    service.user("alice")
    error = service.refuses(request_)
    assert (error.query_code, error.http_status) == ("NoSuchEntity", 404)
    assert error.message == "The group with name None cannot be found."


@pytest.mark.parametrize("request_", [AddUserToGroupRequest, RemoveUserFromGroupRequest])
def test_no_user_of_that_name(service: Service, request_: type[AddUserToGroupRequest]) -> None:
    service.group("staff")
    error = service.refuses(request_(group_name="staff", user_name="Bob"))
    assert error.message == "The user with name Bob cannot be found."


def test_groups_are_listed_by_name_and_path(service: Service) -> None:
    for name, path in (("B", "/x/y/"), ("a", "/x/"), ("c", "/")):
        service.group(name, path=path)
    found = service.do(ListGroupsRequest(path_prefix="/x/"))
    assert [group.group_name for group in found.groups] == ["a", "B"]
    first = service.do(ListGroupsRequest(max_items=1))
    rest = service.do(ListGroupsRequest(marker=first.marker))
    assert (first.is_truncated, rest.is_truncated) == (True, False)
    assert [group.group_name for group in first.groups + rest.groups] == ["a", "B", "c"]


# --- Members --------------------------------------------------------------------------------------


def test_coming_and_going(service: Service) -> None:
    service.group("Staff")
    for name in ("bob", "Alice"):
        service.user(name)
        add(service, "staff", name.lower())
    assert members_of(service) == ["Alice", "bob"]
    assert groups_of(service) == ["Staff"]
    service.do(RemoveUserFromGroupRequest(group_name="STAFF", user_name="ALICE"))
    assert (members_of(service), groups_of(service)) == (["bob"], [])


def test_coming_twice_and_going_twice(service: Service) -> None:
    service.group("staff")
    service.user("alice")
    add(service)
    add(service, "STAFF", "ALICE")
    assert service.get(entities.Group, ACCOUNT, "staff").users == ("alice",)
    for _ in range(2):
        service.do(RemoveUserFromGroupRequest(group_name="staff", user_name="alice"))
    assert members_of(service) == []


def test_members_in_pages(service: Service) -> None:
    service.group("staff")
    for name in "abc":
        service.user(name)
        add(service, "staff", name)
    first = service.do(GetGroupRequest(group_name="staff", max_items=2))
    rest = service.do(GetGroupRequest(group_name="staff", marker=first.marker))
    assert (first.is_truncated, rest.is_truncated) == (True, False)
    assert [user.user_name for user in first.users + rest.users] == ["a", "b", "c"]


def test_ten_groups_at_most(service: Service) -> None:
    service.user("alice")
    for number in range(11):
        service.group(f"g{number}")
    for number in range(10):
        add(service, f"g{number}")
    error = service.refuses(AddUserToGroupRequest(group_name="g10", user_name="alice"))
    assert (error.query_code, error.http_status) == ("LimitExceeded", 409)
    assert error.message == "Cannot exceed quota for GroupsPerUser: 10"
    assert members_of(service, "g10") == []
    # A group it is in already is none more.
    add(service, "g9")


# --- Update and delete ----------------------------------------------------------------------------


def test_a_new_name_reaches_the_members(service: Service) -> None:
    old = service.group("staff", path="/x/")
    service.user("alice")
    add(service)
    service.do(UpdateGroupRequest(group_name="STAFF", new_group_name="Crew", new_path="/y/"))
    group = service.do(GetGroupRequest(group_name="crew")).group
    assert group.group_id == old.group_id
    assert group.arn == f"arn:aws:iam::{ACCOUNT}:group/y/Crew"
    assert groups_of(service) == ["Crew"]
    assert members_of(service, "crew") == ["alice"]
    assert service.exact(UniqueId, "", old.group_id).name == "Crew"
    assert service.refuses(GetGroupRequest(group_name="staff")).query_code == "NoSuchEntity"


def test_a_new_name_that_is_taken(service: Service) -> None:
    service.group("staff")
    service.group("crew")
    error = service.refuses(UpdateGroupRequest(group_name="staff", new_group_name="CREW"))
    assert error.message == "Group with name CREW already exists."
    service.do(UpdateGroupRequest(group_name="staff", new_group_name="STAFF"))
    found = service.do(ListGroupsRequest()).groups
    assert [group.group_name for group in found] == ["crew", "STAFF"]


def test_a_group_with_anything_is_not_deleted(service: Service) -> None:
    group_id = service.group("staff").group_id
    service.user("alice")
    staff = {"group_name": "staff"}
    add(service)
    service.do(PutGroupPolicyRequest(**staff, policy_name="p", policy_document=allow("sqs:*")))
    service.do(AttachGroupPolicyRequest(**staff, policy_arn=AWS_POLICY))
    for first, undo in (
        ("remove users from group", RemoveUserFromGroupRequest(**staff, user_name="alice")),
        ("delete policies", DeleteGroupPolicyRequest(**staff, policy_name="p")),
        ("detach all policies", DetachGroupPolicyRequest(**staff, policy_arn=AWS_POLICY)),
    ):
        error = service.refuses(DeleteGroupRequest(**staff))
        assert (error.query_code, error.http_status) == ("DeleteConflict", 409)
        assert error.message == f"Cannot delete entity, must {first} first."
        service.do(undo)
    service.do(DeleteGroupRequest(**staff))
    assert service.do(ListGroupsRequest()).groups == []
    assert service.exact(UniqueId, "", group_id) is None
