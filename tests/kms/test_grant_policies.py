"""What a grant allows beside the policies, and what it does not."""

from typing import Any

import pytest

from stanchion.kms.authorisation import check
from stanchion.kms.entities import Grant
from stanchion.kms.grant_policies import grants_of
from stanchion.model.errors import AccessDenied
from stanchion.model.kms import PutKeyPolicyRequest
from stanchion.service import Call
from tests.kms.harness import (
    ACCOUNT,
    OTHER_ACCOUNT,
    REGION,
    Service,
    allow,
    deny,
    key_policy,
    statement,
)
from tests.sqs.harness import finish

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/session"
OTHER_ROOT = f"arn:aws:iam::{OTHER_ACCOUNT}:root"
BOB = f"arn:aws:iam::{OTHER_ACCOUNT}:user/bob"


class Fixture(Service):
    """With a key whose policy lets nobody decrypt."""

    def __init__(self) -> None:
        super().__init__()
        self.id = self.key()
        self.policy(statement({"AWS": ROOT}, "kms:PutKeyPolicy"))

    def policy(self, *statements: Any) -> None:
        policy = key_policy(*statements, root=False)
        self.do(
            PutKeyPolicyRequest(
                key_id=self.id, policy=policy, bypass_policy_lockout_safety_check=True
            )
        )

    def grant(self, grantee: str, *operations: str, number: int = 1, **more: Any) -> None:
        grant = Grant(
            id=f"{number:064x}",
            key_id=self.id,
            grantee=grantee,
            operations=operations or ("Decrypt",),
            created_at_ms=0,
            issuer=ROOT,
            **more,
        )
        self.put(grant, ACCOUNT, f"{REGION}/{self.id}/{grant.id}")

    def may(self, call: Call, permission: str = "kms:Decrypt", **more: Any) -> bool:
        arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{self.id}"
        try:
            finish(check(self.kms, call, permission, self.found(arn, call), **more))
        except AccessDenied:
            return False
        return True


def test_a_grant_allows_its_operations_to_its_grantee() -> None:
    service = Fixture()
    alice, carol = service.user("alice"), service.user("carol")
    assert not service.may(alice)
    service.grant(ALICE)
    assert service.may(alice)
    assert not service.may(alice, "kms:Encrypt")
    assert not service.may(carol)


def test_a_grant_goes_by_the_unique_id_as_well() -> None:
    service = Fixture()
    alice = service.user("alice")
    service.grant(alice.caller.entity_id)
    assert service.may(alice)


@pytest.mark.parametrize("grantee", [ROLE, SESSION])
def test_a_session_has_the_grants_of_its_role(grantee: str) -> None:
    service = Fixture()
    service.grant(grantee)
    assert service.may(service.role("worker"))
    assert not service.may(service.role("other"))


def test_a_grant_to_a_role_stays_inside_the_limits_of_a_session() -> None:
    service = Fixture()
    service.grant(ROLE)
    assert not service.may(service.role("worker", session_policies=(allow("sqs:*"),)))
    assert service.may(service.role("worker", session_policies=(allow("kms:Decrypt"),)))


def test_a_grant_to_an_account_leaves_it_to_the_account() -> None:
    service = Fixture()
    service.grant(ROOT)
    assert service.may(service.call)
    assert not service.may(service.user("alice"))
    assert service.may(service.user("alice", allow("kms:Decrypt")))


def test_a_grant_reaches_another_account() -> None:
    service = Fixture()
    bob = service.user("bob", account_id=OTHER_ACCOUNT)
    assert not service.may(bob)
    service.grant(BOB)
    assert service.may(bob)
    assert not service.may(service.other_root)
    service.grant(OTHER_ROOT, number=2)
    assert service.may(service.other_root)


@pytest.mark.parametrize("is_by_key", [True, False])
def test_a_deny_stands_above_a_grant(is_by_key: bool) -> None:
    service = Fixture()
    alice = service.user("alice", *([] if is_by_key else [deny("kms:Decrypt")]))
    service.grant(ALICE)
    if is_by_key:
        service.policy(statement({"AWS": ALICE}, "kms:Decrypt", effect="Deny"))
    assert not service.may(alice)


@pytest.mark.parametrize(
    ("constraint", "context", "is_allowed"),
    [
        ({"context_equals": {"a": "1"}}, {"a": "1"}, True),
        ({"context_equals": {"a": "1"}}, {"a": "1", "b": "2"}, False),
        ({"context_equals": {"a": "1"}}, {"a": "2"}, False),
        ({"context_equals": {"a": "1"}}, {}, False),
        ({"context_subset": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"context_subset": {"a": "1"}}, {"A": "1"}, False),
        ({"context_subset": {"a": "1"}}, {}, False),
        ({}, {"a": "1"}, True),
    ],
)
def test_constraints_are_about_the_encryption_context(
    constraint: dict[str, Any], context: dict[str, str], is_allowed: bool
) -> None:
    service = Fixture()
    alice = service.user("alice")
    service.grant(ALICE, "Decrypt", "DescribeKey", **constraint)
    assert service.may(alice, encryption_context=context) is is_allowed
    assert service.may(alice, "kms:DescribeKey")


@pytest.mark.parametrize(
    ("operations", "kind", "context", "is_allowed"),
    [
        (("Decrypt",), "EncryptionContextEquals", {"a": "1"}, True),
        (("Decrypt", "CreateGrant"), "EncryptionContextEquals", {"a": "1"}, True),
        (("Encrypt",), "EncryptionContextEquals", {"a": "1"}, False),
        (("Decrypt",), "EncryptionContextSubset", {"a": "1"}, False),
        (("Decrypt",), "EncryptionContextEquals", {"a": "2"}, False),
    ],
)
def test_a_grant_of_a_grant_reaches_no_further(
    operations: tuple[str, ...], kind: str, context: dict[str, str], is_allowed: bool
) -> None:
    service = Fixture()
    alice = service.user("alice")
    service.grant(ALICE, "Decrypt", "CreateGrant", context_equals={"a": "1"})
    asked = {"kms:grantoperations": operations, "kms:grantconstrainttype": (kind,)}
    allowed = service.may(alice, "kms:CreateGrant", asked=asked, encryption_context=context)
    assert allowed is is_allowed


def test_what_no_policy_can_share_no_grant_can() -> None:
    service = Fixture()
    service.grant(ALICE, "ScheduleKeyDeletion")
    assert not service.may(service.user("alice"), "kms:ScheduleKeyDeletion")


def test_all_grants_of_a_key_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stanchion.kms.grant_policies._GRANTS_AT_ONCE", 2)
    service = Fixture()
    for number in range(5):
        service.grant(ALICE, number=number)
    found = finish(grants_of(service.kms, service.found(service.id)))
    assert [int(grant.id, 16) for grant in found] == list(range(5))
