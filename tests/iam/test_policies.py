"""Managed policies, through their actions."""

from typing import Any

import pytest

from stanchion.access.entities import ManagedPolicy, UniqueId
from stanchion.access.identity import root_of
from stanchion.iam import limits, managed
from stanchion.iam.names import instant
from stanchion.model.errors import AccessDenied
from stanchion.model.iam import (
    AttachGroupPolicyRequest,
    AttachRolePolicyRequest,
    AttachUserPolicyRequest,
    CreatePolicyRequest,
    CreatePolicyVersionRequest,
    DeleteConflictException,
    DeletePolicyRequest,
    DeletePolicyVersionRequest,
    DeleteUserPermissionsBoundaryRequest,
    DetachUserPolicyRequest,
    EntityAlreadyExistsException,
    GetPolicyRequest,
    InvalidInputException,
    LimitExceededException,
    ListEntitiesForPolicyRequest,
    ListPoliciesRequest,
    ListPolicyTagsRequest,
    ListPolicyVersionsRequest,
    MalformedPolicyDocumentException,
    NoSuchEntityException,
    PutUserPermissionsBoundaryRequest,
    SetDefaultPolicyVersionRequest,
    Tag,
    TagPolicyRequest,
    UntagPolicyRequest,
)
from tests.iam.harness import ACCOUNT, OTHER_ACCOUNT, Service, allow, call_of
from tests.iam.policies import AWS_POLICY, allow_of_size, create_policy, create_role
from tests.sqs.harness import START_MS

NO_ARN = f"arn:aws:iam::{ACCOUNT}:policy/none"


@pytest.fixture
def service() -> Service:
    return Service()


def names_of(service: Service, **request: Any) -> list[str]:
    return [policy.policy_name for policy in service.do(ListPoliciesRequest(**request)).policies]


# --- Create and get -------------------------------------------------------------------------------


def test_a_new_policy(service: Service) -> None:
    request = CreatePolicyRequest(
        policy_name="Send",
        path="/a/",
        policy_document=allow("sqs:SendMessage"),
        description="sends",
        tags=[Tag(key="Team", value="x")],
    )
    policy = service.do(request).policy
    assert policy.arn == f"arn:aws:iam::{ACCOUNT}:policy/a/Send"
    assert (policy.policy_name, policy.path, policy.default_version_id) == ("Send", "/a/", "v1")
    assert (policy.attachment_count, policy.permissions_boundary_usage_count) == (0, 0)
    assert policy.is_attachable
    assert (policy.policy_id[:4], len(policy.policy_id)) == ("ANPA", 21)
    assert policy.create_date == policy.update_date == instant(START_MS)
    assert policy.tags == [Tag(key="Team", value="x")]
    shown = service.do(GetPolicyRequest(policy_arn=policy.arn)).policy
    assert shown.description == "sends"
    policy.description = "sends"
    assert shown == policy
    owner = service.exact(UniqueId, "", policy.policy_id)
    assert owner == UniqueId(account_id=ACCOUNT, sort="policy", name="Send")


def test_a_name_is_taken_whatever_its_case_and_path(service: Service) -> None:
    create_policy(service)
    refusal = service.refuses(
        CreatePolicyRequest(
            policy_name="SEND", path="/a/", policy_document=allow("sqs:SendMessage")
        )
    )
    assert isinstance(refusal, EntityAlreadyExistsException)
    assert refusal.message == (
        "A policy called SEND already exists. Duplicate names are not allowed."
    )


def test_a_document_has_to_be_well_formed(service: Service) -> None:
    refusal = service.refuses(CreatePolicyRequest(policy_name="send", policy_document="{}"))
    assert isinstance(refusal, MalformedPolicyDocumentException)
    assert refusal.message == "Statement: there must be at least one"
    policy_of_a_queue = '{"Statement":{"Effect":"Allow","Principal":"*","Action":"*"}}'
    refusal = service.refuses(
        CreatePolicyRequest(policy_name="send", policy_document=policy_of_a_queue)
    )
    assert isinstance(refusal, MalformedPolicyDocumentException)


def test_a_document_may_only_be_so_long_without_white_space(service: Service) -> None:
    most = limits.MANAGED_POLICY_BYTES_MAX
    create_policy(service, policy_document=allow_of_size(most))
    refusal = service.refuses(
        CreatePolicyRequest(policy_name="more", policy_document=allow_of_size(most + 1))
    )
    assert isinstance(refusal, LimitExceededException)
    assert refusal.message == "Cannot exceed quota for PolicySize: 6144"


def test_a_policy_of_aws(service: Service) -> None:
    policy = service.do(GetPolicyRequest(policy_arn=AWS_POLICY)).policy
    assert (policy.policy_name, policy.arn, policy.path) == ("AmazonSQSFullAccess", AWS_POLICY, "/")
    assert (policy.default_version_id, policy.attachment_count) == ("v1", 0)
    service.user("alice")
    service.do(AttachUserPolicyRequest(user_name="alice", policy_arn=AWS_POLICY))
    assert service.do(GetPolicyRequest(policy_arn=AWS_POLICY)).policy.attachment_count == 1
    tags = service.do(ListPolicyTagsRequest(policy_arn=AWS_POLICY)).tags
    assert tags == []


@pytest.mark.parametrize(
    "request_to_change",
    [
        DeletePolicyRequest(policy_arn=AWS_POLICY),
        TagPolicyRequest(policy_arn=AWS_POLICY, tags=[]),
        UntagPolicyRequest(policy_arn=AWS_POLICY, tag_keys=[]),
        CreatePolicyVersionRequest(policy_arn=AWS_POLICY, policy_document=allow("sqs:*")),
        DeletePolicyVersionRequest(policy_arn=AWS_POLICY, version_id="v1"),
        SetDefaultPolicyVersionRequest(policy_arn=AWS_POLICY, version_id="v1"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_a_policy_of_aws_cannot_be_changed(service: Service, request_to_change: Any) -> None:
    assert isinstance(service.refuses(request_to_change), AccessDenied)


@pytest.mark.parametrize(
    "request_of_none",
    [
        GetPolicyRequest(policy_arn=NO_ARN),
        DeletePolicyRequest(policy_arn=NO_ARN),
        ListEntitiesForPolicyRequest(policy_arn=NO_ARN),
        TagPolicyRequest(policy_arn=NO_ARN, tags=[]),
        UntagPolicyRequest(policy_arn=NO_ARN, tag_keys=[]),
        ListPolicyTagsRequest(policy_arn=NO_ARN),
        ListPolicyVersionsRequest(policy_arn=NO_ARN),
        CreatePolicyVersionRequest(policy_arn=NO_ARN, policy_document=allow("sqs:*")),
        DeletePolicyVersionRequest(policy_arn=NO_ARN, version_id="v1"),
        SetDefaultPolicyVersionRequest(policy_arn=NO_ARN, version_id="v1"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_is_not_there(service: Service, request_of_none: Any) -> None:
    refusal = service.refuses(request_of_none)
    assert isinstance(refusal, NoSuchEntityException)
    assert refusal.message == f"Policy {NO_ARN} was not found."


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:iam::{OTHER_ACCOUNT}:policy/send",
        f"arn:aws:iam::{ACCOUNT}:policy/a/send",
        f"arn:aws:iam::{ACCOUNT}:policy/SEND",
        "arn:aws:iam::aws:policy/NoSuchPolicy",
    ],
)
def test_an_arn_has_to_be_the_very_one(service: Service, arn: str) -> None:
    create_policy(service)
    assert isinstance(service.refuses(GetPolicyRequest(policy_arn=arn)), NoSuchEntityException)


def test_what_is_no_arn(service: Service) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:user/alice"
    refusal = service.refuses(GetPolicyRequest(policy_arn=arn))
    assert isinstance(refusal, InvalidInputException)
    assert refusal.message == f"ARN {arn} is not valid."


# --- Lists ----------------------------------------------------------------------------------------


def test_listing_by_scope(service: Service) -> None:
    create_policy(service, description="sends", tags=[Tag(key="k", value="v")])
    theirs = call_of(root_of(OTHER_ACCOUNT, "AKIAOTHER"))
    document = allow("sqs:SendMessage")
    service.do(CreatePolicyRequest(policy_name="theirs", policy_document=document), theirs)
    assert names_of(service, scope="Local") == ["send"]
    of_aws = names_of(service, scope="AWS")
    assert "AmazonSQSFullAccess" in of_aws
    assert sorted([*of_aws, "send"]) == names_of(service) == names_of(service, scope="All")
    (policy,) = service.do(ListPoliciesRequest(scope="Local")).policies
    assert (policy.description, policy.tags) == (None, None)


def test_listing_by_use_and_path(service: Service) -> None:
    attached = create_policy(service, "attached", path="/a/")
    bounding = create_policy(service, "bounding", path="/a/b/")
    create_policy(service, "loose")
    service.user("alice", permissions_boundary=bounding)
    service.do(AttachUserPolicyRequest(user_name="alice", policy_arn=attached))
    service.do(AttachUserPolicyRequest(user_name="alice", policy_arn=AWS_POLICY))
    assert names_of(service, only_attached=True) == ["AmazonSQSFullAccess", "attached"]
    assert names_of(service, only_attached=True, scope="Local") == ["attached"]
    assert names_of(service, policy_usage_filter="PermissionsBoundary") == ["bounding"]
    assert names_of(service, policy_usage_filter="PermissionsPolicy", scope="Local") == ["attached"]
    assert names_of(service, path_prefix="/a/") == ["attached", "bounding"]
    assert names_of(service, path_prefix="/a/b/") == ["bounding"]


def test_listing_by_page(service: Service) -> None:
    create_policy(service, "AmazonSQSFullAccess")
    whole = service.do(ListPoliciesRequest()).policies
    found, marker = [], None
    while True:
        page = service.do(ListPoliciesRequest(max_items=2, marker=marker))
        found += page.policies
        marker = page.marker
        if not page.is_truncated:
            break
    assert found == whole
    assert len({policy.arn for policy in found}) == len(found)


def test_all_are_looked_at_however_many(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "_READ_AT_ONCE", 2)
    names = [f"p{number}" for number in range(5)]
    for name in names:
        create_policy(service, name)
        service.user(name)
        service.do(AttachUserPolicyRequest(user_name=name, policy_arn=AWS_POLICY))
    assert names_of(service, scope="Local") == names
    users = service.do(ListEntitiesForPolicyRequest(policy_arn=AWS_POLICY)).policy_users
    assert [user.user_name for user in users] == names


def test_who_uses_a_policy(service: Service) -> None:
    arn = create_policy(service)
    service.user("alice", path="/a/", permissions_boundary=arn)
    service.user("bob")
    service.group("staff")
    create_role(service, "worker", permissions_boundary=arn)
    service.do(AttachUserPolicyRequest(user_name="bob", policy_arn=arn))
    service.do(AttachGroupPolicyRequest(group_name="staff", policy_arn=arn))
    service.do(AttachRolePolicyRequest(role_name="worker", policy_arn=arn))

    def uses(**request: Any) -> list[str]:
        found = service.do(ListEntitiesForPolicyRequest(policy_arn=arn, **request))
        assert not found.is_truncated
        return [
            *(user.user_name for user in found.policy_users),
            *(group.group_name for group in found.policy_groups),
            *(role.role_name for role in found.policy_roles),
        ]

    assert uses() == ["alice", "bob", "staff", "worker"]
    assert uses(entity_filter="User") == ["alice", "bob"]
    assert uses(entity_filter="Group") == ["staff"]
    assert uses(entity_filter="Role") == ["worker"]
    assert uses(entity_filter="LocalManagedPolicy") == []
    assert uses(path_prefix="/a/") == ["alice"]
    assert uses(policy_usage_filter="PermissionsPolicy") == ["bob", "staff", "worker"]
    assert uses(policy_usage_filter="PermissionsBoundary") == ["alice", "worker"]
    first = service.do(ListEntitiesForPolicyRequest(policy_arn=arn, max_items=1))
    assert (len(first.policy_groups), first.policy_users, first.is_truncated) == (1, [], True)
    rest = service.do(ListEntitiesForPolicyRequest(policy_arn=arn, marker=first.marker))
    assert (rest.policy_groups, len(rest.policy_users), len(rest.policy_roles)) == ([], 2, 1)


# --- Changes --------------------------------------------------------------------------------------


def test_deleting_needs_a_policy_without_uses_and_versions(service: Service) -> None:
    arn = create_policy(service)
    policy_id = service.get(ManagedPolicy, ACCOUNT, "send").id
    service.user("alice", permissions_boundary=arn)
    service.do(AttachUserPolicyRequest(user_name="alice", policy_arn=arn))
    service.do(CreatePolicyVersionRequest(policy_arn=arn, policy_document=allow("sqs:*")))
    delete = DeletePolicyRequest(policy_arn=arn)
    assert isinstance(service.refuses(delete), DeleteConflictException)
    assert service.refuses(delete).message == "Cannot delete a policy attached to entities."
    service.do(DetachUserPolicyRequest(user_name="alice", policy_arn=arn))
    assert "permissions boundary" in service.refuses(delete).message
    service.do(DeleteUserPermissionsBoundaryRequest(user_name="alice"))
    assert "more than one version" in service.refuses(delete).message
    service.do(DeletePolicyVersionRequest(policy_arn=arn, version_id="v2"))
    service.do(delete)
    assert isinstance(service.refuses(GetPolicyRequest(policy_arn=arn)), NoSuchEntityException)
    assert service.exact(UniqueId, "", policy_id) is None


def test_a_boundary_that_is_replaced_is_free(service: Service) -> None:
    old, new = create_policy(service, "old"), create_policy(service, "new")
    service.user("alice", permissions_boundary=old)
    service.do(PutUserPermissionsBoundaryRequest(user_name="alice", permissions_boundary=new))
    service.do(DeletePolicyRequest(policy_arn=old))
    assert isinstance(service.refuses(DeletePolicyRequest(policy_arn=new)), DeleteConflictException)


def test_tags(service: Service) -> None:
    arn = create_policy(service, tags=[Tag(key="Team", value="a"), Tag(key="x", value="")])
    service.do(TagPolicyRequest(policy_arn=arn, tags=[Tag(key="team", value="b")]))
    service.do(UntagPolicyRequest(policy_arn=arn, tag_keys=["X"]))
    assert service.do(ListPolicyTagsRequest(policy_arn=arn)).tags == [Tag(key="team", value="b")]
    assert service.do(GetPolicyRequest(policy_arn=arn)).policy.tags == [Tag(key="team", value="b")]
