"""Users, through their actions."""

from datetime import UTC, datetime

import pytest

from stanchion.access import entities
from stanchion.access.entities import UniqueId
from stanchion.access.identity import root_of
from stanchion.model.iam import (
    AddUserToGroupRequest,
    AttachedPermissionsBoundary,
    AttachUserPolicyRequest,
    CreateAccessKeyRequest,
    CreatePolicyRequest,
    CreateUserRequest,
    DeleteAccessKeyRequest,
    DeleteUserPolicyRequest,
    DeleteUserRequest,
    DetachUserPolicyRequest,
    GetUserRequest,
    ListGroupsForUserRequest,
    ListUsersRequest,
    ListUserTagsRequest,
    PutUserPolicyRequest,
    RemoveUserFromGroupRequest,
    Tag,
    TagUserRequest,
    UntagUserRequest,
    UpdateUserRequest,
)
from tests.iam.harness import ACCOUNT, OTHER_ACCOUNT, Service, allow, call_of

AWS_POLICY = "arn:aws:iam::aws:policy/AmazonSQSFullAccess"


@pytest.fixture
def service() -> Service:
    return Service()


# --- Create and get -------------------------------------------------------------------------------


def test_a_new_user(service: Service) -> None:
    user = service.user("Alice", path="/a/b/", tags=[Tag(key="Team", value="x")])
    assert user.arn == f"arn:aws:iam::{ACCOUNT}:user/a/b/Alice"
    assert (user.path, user.user_name) == ("/a/b/", "Alice")
    assert len(user.user_id) == 21
    assert user.user_id.startswith("AIDA")
    assert user.create_date == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert user.tags == [Tag(key="Team", value="x")]
    assert service.do(GetUserRequest(user_name="aLICE")).user == user
    assert service.exact(UniqueId, "", user.user_id).sort == "user"


def test_without_a_path_it_is_the_root_s(service: Service) -> None:
    user = service.user("alice")
    assert (user.path, user.tags, user.permissions_boundary) == ("/", None, None)


@pytest.mark.parametrize("name", ["alice", "Alice"])
def test_a_name_is_taken_whatever_its_case(service: Service, name: str) -> None:
    service.user("alice")
    error = service.refuses(CreateUserRequest(user_name=name))
    assert (error.query_code, error.http_status) == ("EntityAlreadyExists", 409)
    assert error.message == f"User with name {name} already exists."


def test_another_account_has_names_of_its_own(service: Service) -> None:
    service.user("alice")
    call = call_of(root_of(OTHER_ACCOUNT, "AKIA"))
    service.do(CreateUserRequest(user_name="alice"), call)
    assert len(service.do(ListUsersRequest(), call).users) == 1


def test_a_refused_user_leaves_nothing(service: Service) -> None:
    tags = [Tag(key="a", value=""), Tag(key="A", value="")]
    error = service.refuses(CreateUserRequest(user_name="alice", tags=tags))
    assert error.query_code == "InvalidInput"
    assert service.user_names() == []


def test_a_user_with_a_boundary(service: Service) -> None:
    request = CreatePolicyRequest(policy_name="p", policy_document=allow("sqs:*"))
    arn = service.do(request).policy.arn
    user = service.user("alice", permissions_boundary=arn)
    assert isinstance(user.permissions_boundary, AttachedPermissionsBoundary)
    assert user.permissions_boundary.permissions_boundary_arn == arn
    assert service.get(entities.ManagedPolicy, ACCOUNT, "p").boundary_uses == 1
    service.do(DeleteUserRequest(user_name="alice"))
    assert service.get(entities.ManagedPolicy, ACCOUNT, "p").boundary_uses == 0


def test_a_boundary_that_is_not_there(service: Service) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/none"
    error = service.refuses(CreateUserRequest(user_name="alice", permissions_boundary=arn))
    assert error.query_code == "NoSuchEntity"
    assert error.message == f"Scope ARN: {arn} does not exist or is not attachable."
    assert service.user_names() == []


def test_without_a_name_it_is_the_caller(service: Service) -> None:
    alice = service.user("Alice")
    assert service.do(GetUserRequest(), service.call_by("alice")).user == alice
    root = service.do(GetUserRequest()).user
    assert (root.user_id, root.arn) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
    assert root.user_name is None


@pytest.mark.parametrize(
    "request_",
    [
        GetUserRequest(user_name="Bob"),
        UpdateUserRequest(user_name="Bob", new_path="/x/"),
        DeleteUserRequest(user_name="Bob"),
        TagUserRequest(user_name="Bob", tags=[]),
        UntagUserRequest(user_name="Bob", tag_keys=[]),
        ListUserTagsRequest(user_name="Bob"),
        ListGroupsForUserRequest(user_name="Bob"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_nobody_of_that_name(service: Service, request_: GetUserRequest) -> None:
    service.user("alice")
    error = service.refuses(request_)
    assert (error.query_code, error.http_status) == ("NoSuchEntity", 404)
    assert error.message == "The user with name Bob cannot be found."


# --- List -----------------------------------------------------------------------------------------


def test_users_are_listed_by_name_and_path(service: Service) -> None:
    service.user("bob", path="/x/y/")
    service.user("Alice", path="/x/", tags=[Tag(key="a", value="b")])
    service.user("carl")
    assert service.user_names() == ["Alice", "bob", "carl"]
    found = service.do(ListUsersRequest(path_prefix="/x/"))
    assert [user.user_name for user in found.users] == ["Alice", "bob"]
    assert (found.is_truncated, found.marker) == (False, None)
    # Lists do not tell tags.
    assert found.users[0].tags is None


def test_users_are_listed_in_pages(service: Service) -> None:
    for name in "abc":
        service.user(name)
    first = service.do(ListUsersRequest(max_items=2))
    assert ([user.user_name for user in first.users], first.is_truncated) == (["a", "b"], True)
    rest = service.do(ListUsersRequest(max_items=2, marker=first.marker))
    assert ([user.user_name for user in rest.users], rest.is_truncated) == (["c"], False)


# --- Update ---------------------------------------------------------------------------------------


def test_a_new_name_takes_along_the_groups(service: Service) -> None:
    old = service.user("alice", path="/x/")
    service.group("staff")
    service.do(AddUserToGroupRequest(group_name="staff", user_name="alice"))
    service.do(UpdateUserRequest(user_name="Alice", new_user_name="Bea"))
    new = service.do(GetUserRequest(user_name="bea")).user
    assert new.user_id == old.user_id
    assert new.arn == f"arn:aws:iam::{ACCOUNT}:user/x/Bea"
    assert service.get(entities.Group, ACCOUNT, "staff").users == ("Bea",)
    assert service.user_names() == ["Bea"]
    assert service.refuses(GetUserRequest(user_name="alice")).query_code == "NoSuchEntity"


def test_a_new_name_takes_along_keys_and_unique_id(service: Service) -> None:
    user_id = service.user("alice").user_id
    service.do(CreateAccessKeyRequest(user_name="alice"))
    (key_id,) = service.get(entities.User, ACCOUNT, "alice").access_key_ids
    service.do(UpdateUserRequest(user_name="alice", new_user_name="bea"))
    assert service.exact(entities.AccessKey, "", key_id).user == "bea"
    assert service.exact(UniqueId, "", user_id).name == "bea"


def test_only_the_case_of_a_name(service: Service) -> None:
    service.user("alice")
    service.do(UpdateUserRequest(user_name="alice", new_user_name="Alice"))
    assert service.user_names() == ["Alice"]


def test_a_new_path(service: Service) -> None:
    service.user("alice")
    service.do(UpdateUserRequest(user_name="alice", new_path="/x/"))
    assert service.do(GetUserRequest(user_name="alice")).user.path == "/x/"


def test_a_new_name_that_is_taken(service: Service) -> None:
    service.user("alice")
    service.user("bob")
    error = service.refuses(UpdateUserRequest(user_name="alice", new_user_name="BOB"))
    assert error.message == "User with name BOB already exists."
    assert service.user_names() == ["alice", "bob"]


# --- Delete ---------------------------------------------------------------------------------------


def test_a_user_with_anything_is_not_deleted(service: Service) -> None:
    user_id = service.user("alice").user_id
    service.group("staff")
    alice = {"user_name": "alice"}
    key_id = service.do(CreateAccessKeyRequest(**alice)).access_key.access_key_id
    service.do(PutUserPolicyRequest(**alice, policy_name="p", policy_document=allow("sqs:*")))
    service.do(AttachUserPolicyRequest(**alice, policy_arn=AWS_POLICY))
    service.do(AddUserToGroupRequest(**alice, group_name="staff"))
    for first, undo in (
        ("delete access keys", DeleteAccessKeyRequest(**alice, access_key_id=key_id)),
        ("delete policies", DeleteUserPolicyRequest(**alice, policy_name="p")),
        ("detach all policies", DetachUserPolicyRequest(**alice, policy_arn=AWS_POLICY)),
        ("remove users from group", RemoveUserFromGroupRequest(**alice, group_name="staff")),
    ):
        error = service.refuses(DeleteUserRequest(**alice))
        assert (error.query_code, error.http_status) == ("DeleteConflict", 409)
        assert error.message == f"Cannot delete entity, must {first} first."
        service.do(undo)
    service.do(DeleteUserRequest(**alice))
    assert service.user_names() == []
    assert service.exact(UniqueId, "", user_id) is None


def test_another_user_of_the_name_is_another(service: Service) -> None:
    first = service.user("alice").user_id
    service.do(DeleteUserRequest(user_name="alice"))
    assert service.user("alice").user_id != first


# --- Tags and groups ------------------------------------------------------------------------------


def listed_tags(service: Service) -> dict[str | None, str | None]:
    found = service.do(ListUserTagsRequest(user_name="alice"))
    return {tag.key: tag.value for tag in found.tags}


def test_tags(service: Service) -> None:
    service.user("alice", tags=[Tag(key="Team", value="x")])
    added = [Tag(key="team", value="y"), Tag(key="b", value="")]
    service.do(TagUserRequest(user_name="alice", tags=added))
    assert listed_tags(service) == {"team": "y", "b": ""}
    service.do(UntagUserRequest(user_name="alice", tag_keys=["B", "none"]))
    assert listed_tags(service) == {"team": "y"}


def test_tags_in_pages(service: Service) -> None:
    service.user("alice", tags=[Tag(key=key, value="") for key in "bca"])
    first = service.do(ListUserTagsRequest(user_name="alice", max_items=2))
    assert ([tag.key for tag in first.tags], first.is_truncated) == (["a", "b"], True)
    request = ListUserTagsRequest(user_name="alice", marker=first.marker)
    assert [tag.key for tag in service.do(request).tags] == ["c"]


def test_too_many_tags(service: Service) -> None:
    service.user("alice", tags=[Tag(key=str(number), value="") for number in range(50)])
    error = service.refuses(TagUserRequest(user_name="alice", tags=[Tag(key="x", value="")]))
    assert (error.query_code, error.http_status) == ("LimitExceeded", 409)
    assert len(listed_tags(service)) == 50


def test_groups_of_a_user(service: Service) -> None:
    service.user("alice")
    groups = [service.group(name) for name in ("B", "a")]
    for group in groups:
        service.do(AddUserToGroupRequest(group_name=group.group_name, user_name="alice"))
    found = service.do(ListGroupsForUserRequest(user_name="alice"))
    assert found.groups == [groups[1], groups[0]]
    assert found.is_truncated is False
