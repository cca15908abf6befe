"""The versions of managed policies, through their actions."""

from urllib.parse import unquote

import pytest

from stanchion.access.aws_policies import AWS_POLICIES
from stanchion.iam.names import instant
from stanchion.model.iam import (
    CreatePolicyVersionRequest,
    DeleteConflictException,
    DeletePolicyVersionRequest,
    GetPolicyRequest,
    GetPolicyVersionRequest,
    LimitExceededException,
    ListPolicyVersionsRequest,
    MalformedPolicyDocumentException,
    NoSuchEntityException,
    SetDefaultPolicyVersionRequest,
)
from tests.iam.harness import Service, allow
from tests.iam.policies import AWS_POLICY, create_policy
from tests.sqs.harness import START_MS, finish


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def arn(service: Service) -> str:
    return create_policy(service)


def create(service: Service, arn: str, *, is_default: bool = False) -> str:
    request = CreatePolicyVersionRequest(
        policy_arn=arn, policy_document=allow("sqs:*"), set_as_default=is_default
    )
    return str(service.do(request).policy_version.version_id)


def versions(service: Service, arn: str) -> list[str]:
    found = service.do(ListPolicyVersionsRequest(policy_arn=arn)).versions
    return [f"{v.version_id}{'*' if v.is_default_version else ''}" for v in found]


def test_a_new_version_is_in_force_when_it_is_made_the_default(service: Service, arn: str) -> None:
    service.clock.advance(5)
    assert create(service, arn) == "v2"
    assert versions(service, arn) == ["v2", "v1*"]
    assert finish(service.directory.managed_document(arn)) == allow("sqs:SendMessage")
    assert create(service, arn, is_default=True) == "v3"
    assert versions(service, arn) == ["v3*", "v2", "v1"]
    assert finish(service.directory.managed_document(arn)) == allow("sqs:*")
    policy = service.do(GetPolicyRequest(policy_arn=arn)).policy
    assert policy.default_version_id == "v3"
    assert (policy.create_date, policy.update_date) == (instant(START_MS), instant(START_MS + 5000))


def test_showing_one(service: Service, arn: str) -> None:
    create(service, arn)
    shown = service.do(GetPolicyVersionRequest(policy_arn=arn, version_id="v1")).policy_version
    assert unquote(shown.document) == allow("sqs:SendMessage")
    assert (shown.is_default_version, shown.create_date) == (True, instant(START_MS))
    shown = service.do(GetPolicyVersionRequest(policy_arn=arn, version_id="v2")).policy_version
    assert unquote(shown.document) == allow("sqs:*")
    assert not shown.is_default_version


def test_those_of_aws_have_one(service: Service) -> None:
    assert versions(service, AWS_POLICY) == ["v1*"]
    request = GetPolicyVersionRequest(policy_arn=AWS_POLICY, version_id="v1")
    shown = service.do(request).policy_version
    assert unquote(shown.document) == AWS_POLICIES[AWS_POLICY].document


def test_listing_by_page_without_documents(service: Service, arn: str) -> None:
    create(service, arn)
    first = service.do(ListPolicyVersionsRequest(policy_arn=arn, max_items=1))
    rest = service.do(ListPolicyVersionsRequest(policy_arn=arn, marker=first.marker))
    found = [*first.versions, *rest.versions]
    assert [(version.version_id, version.document) for version in found] == [
        ("v2", None),
        ("v1", None),
    ]


def test_there_are_five_and_numbers_are_not_used_again(service: Service, arn: str) -> None:
    for _ in range(4):
        create(service, arn)
    refusal = service.refuses(
        CreatePolicyVersionRequest(policy_arn=arn, policy_document=allow("sqs:*"))
    )
    assert isinstance(refusal, LimitExceededException)
    assert "up to 5 versions" in refusal.message
    service.do(DeletePolicyVersionRequest(policy_arn=arn, version_id="v5"))
    assert create(service, arn) == "v6"
    assert versions(service, arn) == ["v6", "v4", "v3", "v2", "v1*"]


def test_the_tenth_comes_before_the_ninth(service: Service, arn: str) -> None:
    for number in range(2, 11):
        create(service, arn)
        if number < 9:
            service.do(DeletePolicyVersionRequest(policy_arn=arn, version_id=f"v{number}"))
    assert versions(service, arn) == ["v10", "v9", "v1*"]


def test_a_malformed_document(service: Service, arn: str) -> None:
    refusal = service.refuses(CreatePolicyVersionRequest(policy_arn=arn, policy_document="[]"))
    assert isinstance(refusal, MalformedPolicyDocumentException)
    assert versions(service, arn) == ["v1*"]


def test_the_default_is_changed_and_never_deleted(service: Service, arn: str) -> None:
    create(service, arn)
    refusal = service.refuses(DeletePolicyVersionRequest(policy_arn=arn, version_id="v1"))
    assert isinstance(refusal, DeleteConflictException)
    assert refusal.message == "Cannot delete the default version of a policy."
    service.do(SetDefaultPolicyVersionRequest(policy_arn=arn, version_id="v2"))
    service.do(DeletePolicyVersionRequest(policy_arn=arn, version_id="v1"))
    assert versions(service, arn) == ["v2*"]


@pytest.mark.parametrize(
    "request_type",
    [GetPolicyVersionRequest, DeletePolicyVersionRequest, SetDefaultPolicyVersionRequest],
)
def test_a_version_that_is_not_there(
    service: Service, arn: str, request_type: type[GetPolicyVersionRequest]
) -> None:
    refusal = service.refuses(request_type(policy_arn=arn, version_id="v9"))
    assert isinstance(refusal, NoSuchEntityException)
    assert refusal.message == f"Policy {arn} version v9 does not exist or is not attachable."
