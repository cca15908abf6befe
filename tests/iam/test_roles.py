"""Roles, through their actions."""

from urllib.parse import unquote

import pytest

from stanchion.access import entities
from stanchion.access.entities import ManagedPolicy, UniqueId
from stanchion.access.identity import root_of
from stanchion.iam import limits
from stanchion.iam.names import instant
from stanchion.model.iam import (
    AttachedPermissionsBoundary,
    AttachRolePolicyRequest,
    CreateRoleRequest,
    CreateUserRequest,
    DeleteConflictException,
    DeleteRolePolicyRequest,
    DeleteRoleRequest,
    DeleteUserRequest,
    DetachRolePolicyRequest,
    EntityAlreadyExistsException,
    GetRoleRequest,
    LimitExceededException,
    ListRolesRequest,
    ListRoleTagsRequest,
    MalformedPolicyDocumentException,
    NoSuchEntityException,
    PutRolePolicyRequest,
    RoleLastUsed,
    Tag,
    TagRoleRequest,
    UntagRoleRequest,
    UpdateAssumeRolePolicyRequest,
    UpdateRoleDescriptionRequest,
    UpdateRoleRequest,
)
from tests.iam.harness import ACCOUNT, OTHER_ACCOUNT, Service, allow, call_of
from tests.iam.policies import AWS_POLICY, create_policy, create_role, meanwhile, trusting
from tests.sqs.harness import START_MS


@pytest.fixture
def service() -> Service:
    return Service()


def shown_trust(service: Service, name: str = "worker") -> str:
    role = service.do(GetRoleRequest(role_name=name)).role
    return unquote(role.assume_role_policy_document)


# --- Create, get, list ----------------------------------------------------------------------------


def test_a_new_role(service: Service) -> None:
    boundary = create_policy(service)
    role = create_role(
        service,
        "Worker",
        path="/a/",
        description="works",
        max_session_duration=7200,
        permissions_boundary=boundary,
        tags=[Tag(key="Team", value="x")],
    )
    assert role.arn == f"arn:aws:iam::{ACCOUNT}:role/a/Worker"
    assert (role.path, role.role_name, role.description) == ("/a/", "Worker", "works")
    assert role.max_session_duration == 7200
    assert (role.role_id[:4], len(role.role_id)) == ("AROA", 21)
    assert role.create_date == instant(START_MS)
    assert role.tags == [Tag(key="Team", value="x")]
    assert role.permissions_boundary == AttachedPermissionsBoundary(
        permissions_boundary_type="PermissionsBoundaryPolicy", permissions_boundary_arn=boundary
    )
    assert "%22" in role.assume_role_policy_document
    assert "/" not in role.assume_role_policy_document
    assert unquote(role.assume_role_policy_document) == trusting()
    role.role_last_used = RoleLastUsed()
    assert service.do(GetRoleRequest(role_name="wORKER")).role == role
    assert service.get(ManagedPolicy, ACCOUNT, "send").boundary_uses == 1


def test_what_is_not_given(service: Service) -> None:
    role = create_role(service)
    assert (role.path, role.max_session_duration) == ("/", 3600)
    assert (role.description, role.tags, role.permissions_boundary) == (None, None, None)


def test_a_unique_id_lives_as_long_as_its_role(service: Service) -> None:
    role_id = create_role(service).role_id
    owner = service.exact(UniqueId, "", role_id)
    assert owner == UniqueId(account_id=ACCOUNT, sort="role", name="worker")
    service.do(DeleteRoleRequest(role_name="worker"))
    assert service.exact(UniqueId, "", role_id) is None
    assert create_role(service).role_id != role_id


def test_a_name_is_taken_whatever_its_case(service: Service) -> None:
    create_role(service)
    refusal = service.refuses(
        CreateRoleRequest(role_name="WORKER", assume_role_policy_document=trusting())
    )
    assert isinstance(refusal, EntityAlreadyExistsException)
    assert refusal.message == "Role with name WORKER already exists."


def test_a_boundary_has_to_be_there(service: Service) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/none"
    refusal = service.refuses(
        CreateRoleRequest(
            role_name="worker", assume_role_policy_document=trusting(), permissions_boundary=arn
        )
    )
    assert isinstance(refusal, NoSuchEntityException)
    assert service.get(entities.Role, ACCOUNT, "worker") is None


def test_listing_by_path_and_page(service: Service) -> None:
    for name, path in (("c", "/x/"), ("a", "/x/y/"), ("b", "/z/")):
        create_role(service, name, path=path, tags=[Tag(key="k", value="v")])
    first = service.do(ListRolesRequest(path_prefix="/x/", max_items=1))
    assert [role.role_name for role in first.roles] == ["a"]
    assert first.is_truncated
    last = service.do(ListRolesRequest(path_prefix="/x/", max_items=1, marker=first.marker))
    assert [role.role_name for role in last.roles] == ["c"]
    assert not last.is_truncated
    (role,) = last.roles
    assert (role.tags, role.permissions_boundary) == (None, None)
    assert unquote(role.assume_role_policy_document) == trusting()


@pytest.mark.parametrize(
    "request_of_none",
    [
        GetRoleRequest(role_name="none"),
        UpdateRoleRequest(role_name="none"),
        UpdateRoleDescriptionRequest(role_name="none", description=""),
        UpdateAssumeRolePolicyRequest(role_name="none", policy_document=trusting()),
        DeleteRoleRequest(role_name="none"),
        TagRoleRequest(role_name="none", tags=[]),
        UntagRoleRequest(role_name="none", tag_keys=[]),
        ListRoleTagsRequest(role_name="none"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_is_not_there(service: Service, request_of_none: GetRoleRequest) -> None:
    refusal = service.refuses(request_of_none)
    assert isinstance(refusal, NoSuchEntityException)
    assert refusal.message == "The role with name none cannot be found."


# --- Trust ----------------------------------------------------------------------------------------


def test_whom_a_role_trusts_is_kept_by_id_and_shown_by_arn(service: Service) -> None:
    user = service.user("alice", path="/a/")
    create_role(service, assume_role_policy_document=trusting(user.arn))
    assert service.get(entities.Role, ACCOUNT, "worker").trust == trusting(user.user_id)
    assert shown_trust(service) == trusting(user.arn)


def test_another_of_the_same_name_is_not_trusted(service: Service) -> None:
    user = service.user("alice")
    create_role(service, assume_role_policy_document=trusting(user.arn))
    service.do(DeleteUserRequest(user_name="alice"))
    assert shown_trust(service) == trusting(user.user_id)
    again = service.user("alice")
    assert again.arn == user.arn
    assert shown_trust(service) == trusting(user.user_id)
    change = UpdateAssumeRolePolicyRequest(role_name="worker", policy_document=trusting(again.arn))
    service.do(change)
    assert shown_trust(service) == trusting(again.arn)


def test_a_role_may_trust_one_of_another_account(service: Service) -> None:
    theirs = call_of(root_of(OTHER_ACCOUNT, "AKIAOTHER"))
    other = service.do(CreateUserRequest(user_name="bob"), theirs).user
    create_role(service, assume_role_policy_document=trusting(other.arn))
    assert shown_trust(service) == trusting(other.arn)


@pytest.mark.parametrize(
    "principal",
    [
        f"arn:aws:iam::{ACCOUNT}:user/none",
        f"arn:aws:iam::{OTHER_ACCOUNT}:role/none",
        "arn:aws:iam::999999999999:user/alice",
        "AIDA0000000000000NONE",
    ],
)
@pytest.mark.parametrize("is_new", [True, False])
def test_a_principal_has_to_be_there(service: Service, principal: str, is_new: bool) -> None:
    document = trusting(principal)
    if is_new:
        refusal = service.refuses(
            CreateRoleRequest(role_name="worker", assume_role_policy_document=document)
        )
        assert service.get(entities.Role, ACCOUNT, "worker") is None
    else:
        create_role(service)
        refusal = service.refuses(
            UpdateAssumeRolePolicyRequest(role_name="worker", policy_document=document)
        )
        assert shown_trust(service) == trusting()
    assert isinstance(refusal, MalformedPolicyDocumentException)
    assert refusal.message == f'Invalid principal in policy: "AWS":"{principal}"'


def test_a_principal_that_is_deleted_meanwhile_is_not_there(service: Service) -> None:
    user = service.user("alice")
    meanwhile(service, DeleteUserRequest(user_name="alice"))
    request = CreateRoleRequest(role_name="worker", assume_role_policy_document=trusting(user.arn))
    assert isinstance(service.refuses(request), MalformedPolicyDocumentException)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "document: is not JSON"),
        (allow("sts:AssumeRole"), "Statement[0]: the element 'Resource' is unknown"),
        (trusting(Action="sqs:*"), "AssumeRole policy may only specify STS AssumeRole actions."),
        (trusting(Action="*"), "AssumeRole policy may only specify STS AssumeRole actions."),
        (trusting(Effect="Maybe"), "Statement[0].Effect: must be Allow or Deny"),
    ],
)
def test_malformed_trust(service: Service, document: str, message: str) -> None:
    refusal = service.refuses(
        CreateRoleRequest(role_name="worker", assume_role_policy_document=document)
    )
    assert isinstance(refusal, MalformedPolicyDocumentException)
    assert message in refusal.message


def test_trust_may_only_be_so_long(service: Service) -> None:
    def document(characters: int) -> str:
        padding = "x" * (characters - len(trusting(Sid="").replace(" ", "")))
        return trusting(Sid=padding)

    create_role(service, assume_role_policy_document=document(limits.TRUST_POLICY_BYTES_MAX))
    too_long = document(limits.TRUST_POLICY_BYTES_MAX + 1)
    refusal = service.refuses(
        UpdateAssumeRolePolicyRequest(role_name="worker", policy_document=too_long)
    )
    assert isinstance(refusal, LimitExceededException)
    assert refusal.message == "Cannot exceed quota for ACLSizePerRole: 2048"


# --- Changes --------------------------------------------------------------------------------------


def test_updating(service: Service) -> None:
    create_role(service, description="old", max_session_duration=7200)
    service.do(UpdateRoleRequest(role_name="worker", max_session_duration=43200))
    role = service.do(GetRoleRequest(role_name="worker")).role
    assert (role.description, role.max_session_duration) == ("old", 43200)
    service.do(UpdateRoleRequest(role_name="worker", description="new"))
    role = service.do(GetRoleRequest(role_name="worker")).role
    assert (role.description, role.max_session_duration) == ("new", 3600)
    told = service.do(UpdateRoleDescriptionRequest(role_name="worker", description="newer")).role
    assert (told.description, told.role_name) == ("newer", "worker")
    assert service.get(entities.Role, ACCOUNT, "worker").description == "newer"


def test_deleting_needs_a_role_without_policies(service: Service) -> None:
    boundary = create_policy(service)
    create_role(service, permissions_boundary=boundary)
    service.do(AttachRolePolicyRequest(role_name="worker", policy_arn=AWS_POLICY))
    service.do(
        PutRolePolicyRequest(
            role_name="worker", policy_name="p", policy_document=allow("sqs:SendMessage")
        )
    )
    refusal = service.refuses(DeleteRoleRequest(role_name="worker"))
    assert isinstance(refusal, DeleteConflictException)
    assert refusal.message == "Cannot delete entity, must detach all policies first."
    service.do(DetachRolePolicyRequest(role_name="worker", policy_arn=AWS_POLICY))
    refusal = service.refuses(DeleteRoleRequest(role_name="worker"))
    assert isinstance(refusal, DeleteConflictException)
    assert refusal.message == "Cannot delete entity, must delete policies first."
    service.do(DeleteRolePolicyRequest(role_name="worker", policy_name="p"))
    service.do(DeleteRoleRequest(role_name="worker"))
    assert service.get(entities.Role, ACCOUNT, "worker") is None
    assert service.get(ManagedPolicy, ACCOUNT, "send").boundary_uses == 0


def test_tags(service: Service) -> None:
    create_role(service, tags=[Tag(key="Team", value="a"), Tag(key="stage", value="test")])
    service.do(TagRoleRequest(role_name="worker", tags=[Tag(key="team", value="b")]))
    service.do(UntagRoleRequest(role_name="worker", tag_keys=["STAGE", "none"]))
    listed = service.do(ListRoleTagsRequest(role_name="worker"))
    assert listed.tags == [Tag(key="team", value="b")]
    assert not listed.is_truncated
