"""What holds a role's session in: session policies and tags, and how much of them there may be."""

import pytest

from stanchion.access.identity import NamedPolicy
from stanchion.access.policy.document import parse
from stanchion.model.sts import PolicyDescriptorType, Tag
from tests.sts.harness import (
    ACCOUNT,
    BY_ACCOUNT,
    MAY_ASSUME,
    OTHER,
    Service,
    assuming,
    policy,
    policy_arn,
)


@pytest.fixture
def service() -> Service:
    return Service()


def test_session_policies_are_kept_with_the_session(service: Service) -> None:
    arn = service.role("Sender", BY_ACCOUNT, "sqs:*")
    managed = service.managed("readers", policy("sqs:ReceiveMessage"))
    inline = policy("sqs:SendMessage")
    answer = service.assume(
        service.user("alice", *MAY_ASSUME),
        arn,
        policy=inline,
        policy_arns=[policy_arn("readers"), policy_arn("readers")],
    )
    assert 1 <= answer.packed_policy_size <= 10
    caller = service.caller(answer.credentials)
    assert caller.grants.session == (
        NamedPolicy("session policy", parse(inline, "identity")),
        NamedPolicy(managed, parse(policy("sqs:ReceiveMessage"), "identity")),
    )


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:iam::{ACCOUNT}:policy/gone",
        f"arn:aws:iam::{OTHER}:policy/readers",
        "arn:aws:iam::aws:policy/NoSuchPolicyOfAws",
    ],
)
def test_session_policies_are_of_the_account(service: Service, arn: str) -> None:
    service.managed("readers", policy("sqs:*"), OTHER)
    role = service.role("Sender", BY_ACCOUNT)
    alice = service.user("alice", *MAY_ASSUME)
    asked = assuming(role, policy_arns=[PolicyDescriptorType(arn=arn)])
    assert service.refuses(asked, alice) == (
        "ValidationError",
        f"The session policy {arn} does not exist in account {ACCOUNT}.",
    )
    of_aws = PolicyDescriptorType(arn="arn:aws:iam::aws:policy/AmazonSQSFullAccess")
    service.assume(alice, role, policy_arns=[of_aws])


def test_malformed_and_oversized_session_policies(service: Service) -> None:
    role = service.role("Sender", BY_ACCOUNT)
    alice = service.user("alice", *MAY_ASSUME)
    for malformed in ("{", '{"Statement": []', policy("nonsense"), policy("sqs:*", Effect="Maybe")):
        code, _ = service.refuses(assuming(role, policy=malformed), alice)
        assert code == "MalformedPolicyDocument"
    full = policy("sqs:*")
    fitting = full + " " * (2048 - len(full))
    service.assume(alice, role, policy=fitting)
    code, text = service.refuses(assuming(role, policy=fitting + " "), alice)
    assert (code, "less than or equal to 2048" in text) == ("ValidationError", True)
    many = [PolicyDescriptorType(arn=f"arn:aws:iam::{ACCOUNT}:policy/p{n}") for n in range(11)]
    code, text = service.refuses(assuming(role, policy_arns=many), alice)
    assert (code, "less than or equal to 10" in text) == ("ValidationError", True)


def test_the_packed_size_has_a_limit(service: Service) -> None:
    role = service.role("Sender", BY_ACCOUNT)
    alice = service.user("alice", *MAY_ASSUME)
    large = [Tag(key=f"k{n:0>100}", value="v" * 250) for n in range(50)]
    code, text = service.refuses(assuming(role, tags=large), alice)
    assert code == "PackedPolicyTooLarge"
    assert text == "Packed size of session tags consumes 217% of allotted space."
    code, text = service.refuses(assuming(role, tags=large, policy=policy("sqs:*")), alice)
    assert text == "Packed policy consumes 219% of allotted space, please use smaller policy."
    # What is only just allowed makes a token that can be read.
    answer = service.assume(alice, role, tags=large[:22])
    assert 95 <= answer.packed_policy_size <= 100
    service.caller(answer.credentials)


@pytest.mark.parametrize(
    ("tags", "transitive", "expected"),
    [
        ([("a", "1"), ("A", "2")], None, "Duplicate tag keys found."),
        ([("aws:x", "1")], None, "Tag keys must not start with the reserved prefix aws:"),
        ([("a", "1")], ["b"], "The specified transitive tag key must be included"),
        ([], ["b"], "The specified transitive tag key must be included"),
    ],
)
def test_tags_that_are_refused(
    service: Service, tags: list[tuple[str, str]], transitive: list[str] | None, expected: str
) -> None:
    role = service.role("Sender", BY_ACCOUNT)
    alice = service.user("alice", *MAY_ASSUME)
    given = [Tag(key=key, value=value) for key, value in tags]
    asked = assuming(role, tags=given, transitive_tag_keys=transitive)
    code, text = service.refuses(asked, alice)
    assert code == "InvalidParameterValue"
    assert text.startswith(expected)


def test_the_model_limits_tags(service: Service) -> None:
    role = service.role("Sender", BY_ACCOUNT)
    alice = service.user("alice", *MAY_ASSUME)
    for tags in (
        [Tag(key=f"k{n}", value="") for n in range(51)],
        [Tag(key="k" * 129, value="")],
        [Tag(key="k", value="v" * 257)],
        [Tag(key="", value="")],
        [Tag(key="k")],
    ):
        assert service.refuses(assuming(role, tags=tags), alice)[0] == "ValidationError"
