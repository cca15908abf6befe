"""Attached policies, through their actions; the same for users, groups and roles."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.access.entities import Group, ManagedPolicy, Role, User
from stanchion.iam import limits
from stanchion.model import iam
from stanchion.model.errors import ServiceError
from stanchion.model.iam import (
    AttachedPolicy,
    CreatePolicyRequest,
    DeletePolicyRequest,
    InvalidInputException,
    LimitExceededException,
    NoSuchEntityException,
)
from stanchion.store.records import EditRecords
from tests.iam.harness import ACCOUNT, OTHER_ACCOUNT, Service, allow
from tests.iam.policies import AWS_POLICY, create_policy, create_role, meanwhile

SORTS = ("user", "group", "role")
ENTITIES: dict[str, Any] = {"user": User, "group": Group, "role": Role}


def service_with_everybody() -> Service:
    """One of each sort, named `x`."""
    service = Service()
    service.user("x")
    service.group("x")
    create_role(service, "x")
    return service


@pytest.fixture
def service() -> Service:
    return service_with_everybody()


def attach(sort: str, arn: str, name: str = "x") -> Any:
    request = getattr(iam, f"Attach{sort.capitalize()}PolicyRequest")
    return request(**{f"{sort}_name": name}, policy_arn=arn)


def detach(sort: str, arn: str, name: str = "x") -> Any:
    request = getattr(iam, f"Detach{sort.capitalize()}PolicyRequest")
    return request(**{f"{sort}_name": name}, policy_arn=arn)


def listed(service: Service, sort: str, **more: Any) -> Any:
    request = getattr(iam, f"ListAttached{sort.capitalize()}PoliciesRequest")
    return service.do(request(**{f"{sort}_name": "x"}, **more))


def attachments(service: Service, name: str = "send") -> int:
    return int(service.get(ManagedPolicy, ACCOUNT, name).attachments)


@pytest.mark.parametrize("sort", SORTS)
def test_attaching_and_detaching(service: Service, sort: str) -> None:
    arn = create_policy(service, path="/a/")
    service.do(attach(sort, arn))
    assert listed(service, sort).attached_policies == [
        AttachedPolicy(policy_name="send", policy_arn=arn)
    ]
    assert attachments(service) == 1
    service.do(detach(sort, arn))
    assert listed(service, sort).attached_policies == []
    assert attachments(service) == 0


@pytest.mark.parametrize("sort", SORTS)
def test_all_is_written_in_one_edit(service: Service, sort: str) -> None:
    arn = create_policy(service)
    for request in (attach(sort, arn), detach(sort, arn)):
        service.store.commands.clear()
        service.do(request)
        (edit,) = [c for c in service.store.commands if isinstance(c, EditRecords)]
        assert {change.key.kind for change in edit.changes} == {sort, "policy"}


@pytest.mark.parametrize("sort", SORTS)
def test_attaching_again_is_no_error_and_counts_once(service: Service, sort: str) -> None:
    arn = create_policy(service)
    service.do(attach(sort, arn))
    service.do(attach(sort, arn))
    assert len(listed(service, sort).attached_policies) == 1
    assert attachments(service) == 1


@pytest.mark.parametrize("sort", SORTS)
def test_a_policy_of_aws(service: Service, sort: str) -> None:
    service.do(attach(sort, AWS_POLICY))
    (found,) = listed(service, sort).attached_policies
    assert (found.policy_name, found.policy_arn) == ("AmazonSQSFullAccess", AWS_POLICY)
    service.do(detach(sort, AWS_POLICY))
    assert listed(service, sort).attached_policies == []


@pytest.mark.parametrize("sort", SORTS)
def test_there_may_be_ten(service: Service, sort: str) -> None:
    arns = [create_policy(service, f"p{n}") for n in range(limits.ATTACHED_POLICIES_MAX + 1)]
    for arn in arns[:-1]:
        service.do(attach(sort, arn))
    refusal = service.refuses(attach(sort, arns[-1]))
    assert isinstance(refusal, LimitExceededException)
    assert refusal.message == f"Cannot exceed quota for PoliciesPer{sort.capitalize()}: 10"
    assert attachments(service, "p10") == 0
    service.do(attach(sort, arns[0]))


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:iam::{ACCOUNT}:policy/none",
        f"arn:aws:iam::{OTHER_ACCOUNT}:policy/send",
        "arn:aws:iam::aws:policy/None",
    ],
)
def test_a_policy_that_is_not_there(service: Service, sort: str, arn: str) -> None:
    refusal = service.refuses(attach(sort, arn))
    assert isinstance(refusal, NoSuchEntityException)
    assert refusal.message == f"Policy {arn} does not exist or is not attachable."
    refusal = service.refuses(detach(sort, arn))
    assert isinstance(refusal, NoSuchEntityException)
    assert refusal.message == f"Policy {arn} was not found."


@pytest.mark.parametrize("sort", SORTS)
def test_what_is_no_arn_of_a_policy(service: Service, sort: str) -> None:
    refusal = service.refuses(attach(sort, "arn:aws:iam::nobody:policy/x"))
    assert isinstance(refusal, InvalidInputException)


@pytest.mark.parametrize("sort", SORTS)
def test_somebody_who_is_not_there(service: Service, sort: str) -> None:
    for request in (attach(sort, AWS_POLICY, "none"), detach(sort, AWS_POLICY, "none")):
        refusal = service.refuses(request)
        assert isinstance(refusal, NoSuchEntityException)
        assert refusal.message == f"The {sort} with name none cannot be found."


@pytest.mark.parametrize("sort", SORTS)
def test_listing_by_path_and_page(service: Service, sort: str) -> None:
    for name, path in (("b", "/a/"), ("a", "/a/b/"), ("AmazonSQSFullAccess", "/c/")):
        service.do(attach(sort, create_policy(service, name, path=path)))
    service.do(attach(sort, AWS_POLICY))
    under_a = listed(service, sort, path_prefix="/a/").attached_policies
    assert [policy.policy_name for policy in under_a] == ["a", "b"]
    first = listed(service, sort, max_items=1)
    rest = listed(service, sort, marker=first.marker)
    found = [policy.policy_arn for policy in [*first.attached_policies, *rest.attached_policies]]
    prefix = f"arn:aws:iam::{ACCOUNT}:policy"
    assert found == [
        f"{prefix}/c/AmazonSQSFullAccess",
        AWS_POLICY,
        f"{prefix}/a/b/a",
        f"{prefix}/a/b",
    ]


@pytest.mark.parametrize("sort", SORTS)
def test_a_policy_that_is_deleted_meanwhile_is_not_there(service: Service, sort: str) -> None:
    arn = create_policy(service)
    meanwhile(service, DeletePolicyRequest(policy_arn=arn))
    assert isinstance(service.refuses(attach(sort, arn)), NoSuchEntityException)
    assert listed(service, sort).attached_policies == []


def test_who_attaches_at_the_same_time_is_counted_too(service: Service) -> None:
    arn = create_policy(service)
    meanwhile(service, attach("group", arn))
    service.do(attach("user", arn))
    assert attachments(service) == 2


# --- Bookkeeping ----------------------------------------------------------------------------------

POLICIES = ("p0", "p1")
steps = st.tuples(
    st.sampled_from(("attach", "detach", "bound", "unbound", "delete", "create")),
    st.sampled_from(SORTS),
    st.sampled_from(POLICIES),
)


def request_of(step: tuple[str, str, str]) -> Any:
    verb, sort, policy = step
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{policy}"
    if verb == "delete":
        return DeletePolicyRequest(policy_arn=arn)
    if verb == "create":
        return CreatePolicyRequest(policy_name=policy, policy_document=allow("sqs:*"))
    if verb in ("attach", "detach"):
        return (attach if verb == "attach" else detach)(sort, arn)
    bounded = "role" if sort == "role" else "user"
    whose = {f"{bounded}_name": "x"}
    if verb == "bound":
        request = getattr(iam, f"Put{bounded.capitalize()}PermissionsBoundaryRequest")
        return request(**whose, permissions_boundary=arn)
    return getattr(iam, f"Delete{bounded.capitalize()}PermissionsBoundaryRequest")(**whose)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=40))
def test_uses_are_counted_whatever_happens(history: list[tuple[str, str, str]]) -> None:
    service = service_with_everybody()
    for name in POLICIES:
        create_policy(service, name)
    for step in history:
        try:
            service.do(request_of(step))
        except ServiceError:
            continue
    attached: Counter[str] = Counter()
    bounding: Counter[str] = Counter()
    for sort in SORTS:
        entity = service.get(ENTITIES[sort], ACCOUNT, "x")
        attached.update(entity.attached)
        bounding[getattr(entity, "boundary", "")] += 1
    for name in POLICIES:
        arn = f"arn:aws:iam::{ACCOUNT}:policy/{name}"
        policy = service.get(ManagedPolicy, ACCOUNT, name)
        counted = (policy.attachments, policy.boundary_uses) if policy else (0, 0)
        assert counted == (attached[arn], bounding[arn])
