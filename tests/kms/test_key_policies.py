"""Key policies: which are accepted, how they are kept, and who would be locked out."""

import json
from typing import Any

import pytest

from stanchion.access.entities import UniqueId, User
from stanchion.kms import limits
from stanchion.model.errors import ServiceError, ValidationError
from stanchion.model.kms import (
    CreateKeyRequest,
    DescribeKeyRequest,
    GetKeyPolicyRequest,
    LimitExceededException,
    ListKeyPoliciesRequest,
    MalformedPolicyDocumentException,
    NotFoundException,
    PutKeyPolicyRequest,
)
from tests.kms.harness import ACCOUNT, OTHER_ACCOUNT, Service, allow, key_policy, statement

ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
LOCKED_OUT = "The new key policy will not allow you to update the key policy in the future."


def policy_of(service: Service, key_id: str) -> Any:
    return json.loads(service.ask(GetKeyPolicyRequest(key_id=key_id)).policy)


def alice(service: Service, *policies: str) -> Any:
    """A call by Alice, who can be named in policies."""
    call = service.user("alice", *policies)
    owner = UniqueId(account_id=ACCOUNT, sort="user", name="alice")
    service.put(owner, "", call.caller.entity_id)
    return call


def test_a_key_begins_with_what_leaves_everything_to_its_account() -> None:
    service = Service()
    key_id = service.key()
    answer = service.ask(GetKeyPolicyRequest(key_id=key_id, policy_name="default"))
    assert answer.policy_name == "default"
    assert json.loads(answer.policy) == {
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [
            {
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }


def test_a_policy_is_told_as_it_was_given() -> None:
    service = Service()
    alice(service)
    policy = key_policy(statement({"AWS": ALICE}, "kms:Decrypt")).replace(":", " :  ", 1)
    key_id = service.ask(CreateKeyRequest(policy=policy)).key_metadata.key_id
    assert service.ask(GetKeyPolicyRequest(key_id=key_id)).policy == policy
    assert ALICE not in service.found(key_id).policy
    other = key_policy()
    service.ask(PutKeyPolicyRequest(key_id=key_id, policy=other))
    assert service.ask(GetKeyPolicyRequest(key_id=key_id)).policy == other


def test_a_policy_means_the_very_user_that_it_named() -> None:
    service = Service()
    old = alice(service)
    key_id = service.key(policy=key_policy(statement({"AWS": ALICE}, "kms:DescribeKey")))
    service.ask(DescribeKeyRequest(key_id=key_id), old)
    service.put(User(name="alice", id="AIDAANOTHERALICE1234", created_at_ms=0), ACCOUNT, "alice")
    assert policy_of(service, key_id)["Statement"][1]["Principal"] == {"AWS": old.caller.entity_id}


STATEMENT: dict[str, Any] = statement({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "kms:*")


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"Version":"2012-10-17"}', "there must be at least one"),
        (key_policy({**STATEMENT, "Effect": "Perhaps"}), "must be Allow or Deny"),
        (key_policy({**STATEMENT, "Principal": {"AWS": "alice"}}), "is not an account"),
        (key_policy({**STATEMENT, "Condition": {"Like": {"a": "b"}}}), "is not an operator"),
        (
            key_policy({**STATEMENT, "Principal": {"AWS": ALICE}}),
            "Policy contains a statement with one or more invalid principals.",
        ),
    ],
)
@pytest.mark.parametrize("bypass", [True, False])
def test_what_is_no_policy(policy: str, text: str, bypass: bool) -> None:
    service = Service()
    key_id = service.key()
    before = policy_of(service, key_id)
    for request in (
        PutKeyPolicyRequest(
            key_id=key_id, policy=policy, bypass_policy_lockout_safety_check=bypass
        ),
        CreateKeyRequest(policy=policy, bypass_policy_lockout_safety_check=bypass),
    ):
        refusal = service.refuses(request)
        assert isinstance(refusal, MalformedPolicyDocumentException)
        assert text in refusal.message
    assert policy_of(service, key_id) == before


def test_a_policy_has_its_size() -> None:
    service = Service()
    key_id = service.key()
    policy = key_policy()
    fitting = policy + " " * (limits.POLICY_BYTES_MAX - len(policy))
    service.ask(PutKeyPolicyRequest(key_id=key_id, policy=fitting))
    refusal = service.refuses(PutKeyPolicyRequest(key_id=key_id, policy=fitting + " "))
    assert isinstance(refusal, LimitExceededException)


@pytest.mark.parametrize(
    "statements",
    [
        [statement({"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"}, "kms:*")],
        [statement({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "kms:Decrypt")],
        [STATEMENT, statement("*", "kms:PutKeyPolicy", effect="Deny")],
        [
            statement(
                {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                "kms:*",
                StringEquals={"kms:CallerAccount": OTHER_ACCOUNT},
            )
        ],
    ],
)
def test_nobody_is_locked_out_by_mistake(statements: list[Any]) -> None:
    service = Service()
    policy = key_policy(*statements, root=False)
    for request in (
        CreateKeyRequest(policy=policy),
        PutKeyPolicyRequest(key_id=service.key(), policy=policy),
    ):
        refusal = service.refuses(request)
        assert isinstance(refusal, MalformedPolicyDocumentException)
        assert refusal.message == LOCKED_OUT
        request.bypass_policy_lockout_safety_check = True
        service.ask(request)


def test_only_the_policy_is_asked_whether_it_locks_out() -> None:
    service = Service()
    call = alice(service, allow("kms:CreateKey"))
    service.ask(CreateKeyRequest(policy=key_policy()), call)
    service.ask(
        CreateKeyRequest(policy=key_policy(statement({"AWS": ALICE}, "kms:*"), root=False)), call
    )
    root_alone = statement(
        {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "kms:*",
        ArnEquals={"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:root"},
    )
    request = CreateKeyRequest(policy=key_policy(root_alone, root=False))
    assert service.refuses(request, call).message == LOCKED_OUT


def test_a_session_is_its_role_to_the_check() -> None:
    service = Service()
    call = service.role("worker", allow("kms:CreateKey"))
    for role, is_accepted in (("worker", True), ("other", False)):
        only = statement(
            {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "kms:*",
            ArnEquals={"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/{role}"},
        )
        request = CreateKeyRequest(policy=key_policy(only, root=False))
        if is_accepted:
            service.ask(request, call)
        else:
            assert service.refuses(request, call).message == LOCKED_OUT


@pytest.mark.parametrize(
    ("name", "error"), [("other", NotFoundException), ("d-e", ValidationError)]
)
def test_there_is_one_policy(name: str, error: type[ServiceError]) -> None:
    service = Service()
    key_id = service.key()
    assert service.ask(ListKeyPoliciesRequest(key_id=key_id)).policy_names == ["default"]
    for request in (
        GetKeyPolicyRequest(key_id=key_id, policy_name=name),
        PutKeyPolicyRequest(key_id=key_id, policy_name=name, policy=key_policy()),
    ):
        assert type(service.refuses(request)) is error
