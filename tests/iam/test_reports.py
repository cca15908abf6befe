"""GetAccountAuthorizationDetails, through its action."""

import json
from typing import Any
from urllib.parse import unquote

import pytest

from stanchion.model.errors import ValidationError
from stanchion.model.iam import (
    AddUserToGroupRequest,
    AttachedPolicy,
    AttachGroupPolicyRequest,
    AttachRolePolicyRequest,
    CreatePolicyRequest,
    CreateRoleRequest,
    GetAccountAuthorizationDetailsRequest,
    PutUserPolicyRequest,
    Tag,
)
from tests.iam.harness import ACCOUNT, Service, allow

AWS_POLICY = "arn:aws:iam::aws:policy/AmazonSQSFullAccess"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/pol"


@pytest.fixture
def service() -> Service:
    """One account with two users, two groups, a role and a policy."""
    service = Service()
    service.do(CreatePolicyRequest(policy_name="pol", policy_document=allow("sqs:*")))
    alice = service.user("alice", permissions_boundary=POLICY, tags=[Tag(key="a", value="b")])
    service.user("bob")
    service.group("staff")
    service.group("crew")
    service.do(AddUserToGroupRequest(group_name="staff", user_name="alice"))
    document = allow("sqs:ReceiveMessage")
    service.do(PutUserPolicyRequest(user_name="alice", policy_name="in", policy_document=document))
    service.do(AttachGroupPolicyRequest(group_name="staff", policy_arn=AWS_POLICY))
    trust = {"Effect": "Allow", "Principal": {"AWS": alice.arn}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": trust})
    service.do(CreateRoleRequest(role_name="worker", assume_role_policy_document=document))
    service.do(AttachRolePolicyRequest(role_name="worker", policy_arn=POLICY))
    return service


def report(service: Service, **more: Any) -> Any:
    return service.do(GetAccountAuthorizationDetailsRequest(**more))


def names_in(found: Any) -> list[str]:
    return [
        *(user.user_name for user in found.user_detail_list),
        *(group.group_name for group in found.group_detail_list),
        *(role.role_name for role in found.role_detail_list),
        *(policy.policy_name for policy in found.policies),
    ]


EVERYTHING = ["alice", "bob", "crew", "staff", "worker", "pol", "AmazonSQSFullAccess"]


def test_everything(service: Service) -> None:
    found = report(service)
    assert names_in(found) == EVERYTHING
    assert (found.is_truncated, found.marker) == (False, None)


def test_a_user_in_detail(service: Service) -> None:
    alice, bob = report(service).user_detail_list
    assert (alice.group_list, bob.group_list) == (["staff"], [])
    (inline,) = alice.user_policy_list
    assert inline.policy_name == "in"
    assert unquote(inline.policy_document) == allow("sqs:ReceiveMessage")
    assert alice.permissions_boundary.permissions_boundary_arn == POLICY
    assert alice.tags == [Tag(key="a", value="b")]
    assert (bob.permissions_boundary, bob.attached_managed_policies) == (None, [])


def test_a_group_and_a_role_in_detail(service: Service) -> None:
    found = report(service)
    attached = [AttachedPolicy(policy_name="AmazonSQSFullAccess", policy_arn=AWS_POLICY)]
    assert found.group_detail_list[1].attached_managed_policies == attached
    (role,) = found.role_detail_list
    statement = json.loads(unquote(role.assume_role_policy_document))["Statement"]
    assert statement["Principal"]["AWS"] == f"arn:aws:iam::{ACCOUNT}:user/alice"
    assert role.attached_managed_policies == [AttachedPolicy(policy_name="pol", policy_arn=POLICY)]


def test_policies_in_detail(service: Service) -> None:
    own, aws = report(service).policies
    assert (own.arn, aws.arn) == (POLICY, AWS_POLICY)
    assert (own.attachment_count, own.permissions_boundary_usage_count) == (1, 1)
    assert (aws.attachment_count, aws.permissions_boundary_usage_count) == (1, 0)
    for policy in (own, aws):
        (version,) = policy.policy_version_list
        assert (version.version_id, version.is_default_version) == ("v1", True)
        assert json.loads(unquote(version.document))["Version"] == "2012-10-17"


@pytest.mark.parametrize("size", range(1, 9))
def test_pages_show_everything_once(service: Service, size: int) -> None:
    found: list[str] = []
    marker = None
    while True:
        page = report(service, marker=marker, max_items=size)
        assert 0 < len(names_in(page)) <= size
        found += names_in(page)
        marker = page.marker
        if not page.is_truncated:
            break
    assert marker is None
    assert found == EVERYTHING


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["User"], ["alice", "bob"]),
        (["Role", "Group"], ["crew", "staff", "worker"]),
        (["LocalManagedPolicy"], ["pol"]),
        (["AWSManagedPolicy"], ["AmazonSQSFullAccess"]),
    ],
)
def test_filters(service: Service, wanted: list[str], names: list[str]) -> None:
    assert names_in(report(service, filter=wanted)) == names
    first = report(service, filter=wanted, max_items=1)
    assert first.is_truncated is (len(names) > 1)


@pytest.mark.parametrize("marker", ["OS9h", "YQ==", "x", "LTEv"])
def test_a_marker_that_is_not_ours(service: Service, marker: str) -> None:
    assert isinstance(
        service.refuses(GetAccountAuthorizationDetailsRequest(marker=marker)), ValidationError
    )
