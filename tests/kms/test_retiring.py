"""Who may retire a grant, and what others learn of it."""

from typing import Any

import pytest

from stanchion.model.errors import AccessDenied, ValidationError
from stanchion.model.kms import (
    DryRunOperationException,
    InvalidGrantIdException,
    InvalidGrantTokenException,
    NotFoundException,
    PutKeyPolicyRequest,
    RetireGrantRequest,
)
from stanchion.service import Call
from tests.kms.granting import ALICE, BOB, SESSION, Fixture
from tests.kms.harness import (
    ACCOUNT,
    OTHER_ACCOUNT,
    allow,
    call_of,
    deny,
    key_policy,
    statement,
)


def retires(service: Fixture, call: Call, *, by_token: bool = False, **grant: Any) -> bool:
    """Whether the caller may retire such a grant."""
    made = service.ask(service.request(*grant.pop("operations", ("Decrypt",)), **grant))
    request = RetireGrantRequest(key_id=service.arn, grant_id=made.grant_id)
    if by_token:
        request = RetireGrantRequest(grant_token=made.grant_token)
    try:
        service.ask(request, call)
    except AccessDenied:
        assert made.grant_id in {grant.grant_id for grant in service.listed()}
        return False
    assert made.grant_id not in {grant.grant_id for grant in service.listed()}
    return True


@pytest.mark.parametrize("by_token", [False, True])
def test_who_may_retire_a_grant(by_token: bool) -> None:
    service = Fixture()
    anybody: dict[str, Any] = {"by_token": by_token, "grantee_principal": BOB}
    assert not retires(service, service.alice, **anybody)
    assert retires(service, service.call, **anybody)
    assert retires(service, service.alice, retiring_principal=ALICE, **anybody)
    assert not retires(service, service.bob, retiring_principal=ALICE, **anybody)
    assert retires(service, service.bob, operations=("RetireGrant",), **anybody)
    assert not retires(service, service.alice, operations=("RetireGrant",), **anybody)


def test_a_grant_to_retire_is_for_no_other_grant() -> None:
    service = Fixture()
    service.grant("RetireGrant", "Decrypt")
    assert not retires(service, service.alice, grantee_principal=BOB, operations=("RetireGrant",))


def test_policies_of_the_account_let_and_denials_stop() -> None:
    service = Fixture()
    carol = service.user("carol", allow("kms:RetireGrant", resource=service.arn))
    assert retires(service, carol)
    dora = service.user("dora", deny("kms:RetireGrant"))
    principal = f"arn:aws:iam::{ACCOUNT}:user/dora"
    assert not retires(service, dora, retiring_principal=principal)
    denying = statement({"AWS": ALICE}, "kms:RetireGrant", effect="Deny")
    service.do(PutKeyPolicyRequest(key_id=service.id, policy=key_policy(denying)))
    assert not retires(service, service.alice, retiring_principal=ALICE)
    assert retires(service, service.bob, retiring_principal=BOB)


def test_a_session_retires_inside_its_limits() -> None:
    service = Fixture()
    role = f"arn:aws:iam::{ACCOUNT}:role/worker"
    free = service.role("worker")
    assert retires(service, free, retiring_principal=role)
    bound = service.role("worker", session_policies=(allow("s3:*"),))
    assert not retires(service, bound, retiring_principal=role)
    assert retires(service, free, retiring_principal=SESSION)


def test_somebody_of_another_account_retires() -> None:
    service = Fixture()
    carol = service.user("carol", account_id=OTHER_ACCOUNT)
    principal = f"arn:aws:iam::{OTHER_ACCOUNT}:user/carol"
    assert retires(service, carol, retiring_principal=principal)
    assert not retires(service, service.other_root)
    other = f"arn:aws:iam::{OTHER_ACCOUNT}:root"
    assert retires(service, service.other_root, retiring_principal=other)


def test_strangers_learn_nothing() -> None:
    service = Fixture()
    made = service.grant()
    none = service.arn[:-1] + "f"
    errors = [
        service.refuses(RetireGrantRequest(key_id=key, grant_id=grant), service.other_root)
        for key, grant in ((service.arn, made.grant_id), (service.arn, "0" * 64), (none, "0" * 64))
    ]
    assert [type(error) for error in errors] == [AccessDenied] * 3
    assert len({error.message.replace(none, service.arn) for error in errors}) == 1


def test_retiring_what_is_not_there() -> None:
    service = Fixture()
    made = service.grant()
    both = {"key_id": service.id, "grant_id": made.grant_id}
    for parameters, error in (
        ({"key_id": service.id, "grant_id": "0" * 64}, NotFoundException),
        ({"key_id": service.id, "grant_id": "x"}, InvalidGrantIdException),
        ({"key_id": service.id}, ValidationError),
        ({"grant_token": made.grant_token, **both}, ValidationError),
        ({"grant_token": "x"}, InvalidGrantTokenException),
        ({**both, "dry_run": True}, DryRunOperationException),
    ):
        assert type(service.refuses(RetireGrantRequest(**parameters))) is error
    elsewhere = call_of(service.call.caller, "us-east-1")
    request = RetireGrantRequest(grant_token=made.grant_token)
    assert type(service.refuses(request, elsewhere)) is InvalidGrantTokenException
    service.ask(request)
    assert type(service.refuses(request)) is NotFoundException
