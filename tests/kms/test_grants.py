"""Making, listing and ending grants."""

from typing import Any

import pytest

from stanchion.access.entities import User
from stanchion.kms import limits
from stanchion.kms.entities import Grant, Key
from stanchion.kms.rotation import instant
from stanchion.model.errors import AccessDenied, ServiceError, ValidationError
from stanchion.model.kms import (
    CreateGrantRequest,
    DecryptRequest,
    DisabledException,
    DisableKeyRequest,
    DryRunOperationException,
    EncryptRequest,
    GrantConstraints,
    InvalidArnException,
    InvalidGrantIdException,
    InvalidGrantTokenException,
    InvalidMarkerException,
    LimitExceededException,
    ListGrantsRequest,
    ListRetirableGrantsRequest,
    NotFoundException,
    PutKeyPolicyRequest,
    RetireGrantRequest,
    RevokeGrantRequest,
    UnsupportedOperationException,
)
from stanchion.service import Call
from stanchion.store.documents import Draft
from tests.kms.harness import (
    ACCOUNT,
    OTHER_ACCOUNT,
    REGION,
    Service,
    allow,
    call_of,
    deny,
    key_policy,
    statement,
)
from tests.sqs.harness import finish

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
BOB = f"arn:aws:iam::{ACCOUNT}:user/bob"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/session"
SERVICE_NAME = "sns.amazonaws.com"


class Fixture(Service):
    """With a key, and users alice and bob, who have no policies."""

    def __init__(self, **key: Any) -> None:
        super().__init__()
        self.id = self.key(**key)
        self.arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{self.id}"
        self.alice, self.bob = self.user("alice"), self.user("bob")

    def request(self, *operations: str, **more: Any) -> CreateGrantRequest:
        given = {"key_id": self.id, "grantee_principal": ALICE, **more}
        return CreateGrantRequest(operations=list(operations or ("Decrypt",)), **given)

    def grant(self, *operations: str, **more: Any) -> Any:
        return self.ask(self.request(*operations, **more))

    def listed(self, **more: Any) -> list[Any]:
        grants: list[Any] = self.ask(ListGrantsRequest(key_id=self.id, **more)).grants
        return grants

    def counted(self) -> int:
        return self.found(self.id).grants


# --- Making ---------------------------------------------------------------------------------------


def test_a_grant_counts_at_once_and_until_it_is_revoked() -> None:
    service = Fixture()
    blob = service.ask(EncryptRequest(key_id=service.id, plaintext=b"x")).ciphertext_blob
    request = DecryptRequest(ciphertext_blob=blob)
    assert type(service.refuses(request, service.alice)) is AccessDenied
    made = service.grant("Decrypt")
    assert service.ask(request, service.alice).plaintext == b"x"
    assert type(service.refuses(request, service.bob)) is AccessDenied
    service.ask(RevokeGrantRequest(key_id=service.id, grant_id=made.grant_id))
    assert type(service.refuses(request, service.alice)) is AccessDenied


@pytest.mark.parametrize("kind", ["encryption_context_equals", "encryption_context_subset"])
def test_constraints_bind(kind: str) -> None:
    service = Fixture()
    constraints = GrantConstraints(**{kind: {"a": "1"}})
    service.grant("Encrypt", "Decrypt", constraints=constraints)

    def may(**context: str) -> bool:
        request = EncryptRequest(key_id=service.id, plaintext=b"x", encryption_context=context)
        try:
            service.ask(request, service.alice)
        except AccessDenied:
            return False
        return True

    assert may(a="1")
    assert may(a="1", b="2") == (kind == "encryption_context_subset")
    assert not may(a="2")
    assert not may()


def test_all_of_a_grant_is_listed() -> None:
    service = Fixture()
    made = service.grant(
        "Decrypt",
        "Decrypt",
        "Encrypt",
        name="a-name",
        retiring_principal=BOB,
        constraints=GrantConstraints(encryption_context_subset={"a": "1"}),
    )
    (told,) = service.listed()
    assert told.grant_id == made.grant_id
    assert (told.key_id, told.name) == (service.arn, "a-name")
    assert (told.grantee_principal, told.retiring_principal) == (ALICE, BOB)
    assert told.operations == ["Decrypt", "Encrypt"]
    assert told.constraints == GrantConstraints(encryption_context_subset={"a": "1"})
    assert told.issuing_account == ROOT
    assert told.creation_date == instant(service.clock.now_ms())


def test_the_same_name_is_the_same_grant_if_all_else_is() -> None:
    service = Fixture()
    first = service.grant("Decrypt", "Encrypt", name="n")
    service.clock.advance(60)
    assert service.grant("Encrypt", "Decrypt", name="n").grant_id == first.grant_id
    assert service.counted() == len(service.listed()) == 1
    for other in (
        service.grant("Decrypt", name="n"),
        service.grant("Decrypt", "Encrypt", name="m"),
        service.grant("Decrypt", "Encrypt", name="n", retiring_principal=BOB),
        service.grant("Decrypt", "Encrypt"),
        service.grant("Decrypt", "Encrypt"),
    ):
        assert other.grant_id != first.grant_id
    assert service.counted() == len({grant.grant_id for grant in service.listed()}) == 6


def test_a_named_grant_can_be_made_again() -> None:
    service = Fixture()
    made = service.grant(name="n")
    service.ask(RevokeGrantRequest(key_id=service.id, grant_id=made.grant_id))
    assert (service.listed(), service.counted()) == ([], 0)
    service.grant(name="n")
    assert service.counted() == len(service.listed()) == 1


def test_services_are_principals_too() -> None:
    service = Fixture()
    service.grant(
        grantee_principal=None,
        grantee_service_principal=SERVICE_NAME,
        retiring_service_principal=SERVICE_NAME,
    )
    (told,) = service.listed(grantee_service_principal=SERVICE_NAME)
    assert told.grantee_service_principal == told.retiring_service_principal == SERVICE_NAME
    assert told.grantee_principal is told.retiring_principal is None


@pytest.mark.parametrize(
    "principal",
    [
        "alice",
        ACCOUNT,
        f"{ALICE}x",
        f"arn:aws:iam::{ACCOUNT}:role/alice",
        f"arn:aws:iam::{ACCOUNT}:group/alice",
        f"arn:aws:sqs:{REGION}:{ACCOUNT}:q",
        f"{ROOT}x",
        SERVICE_NAME,
    ],
)
def test_who_is_not_there_gets_no_grant(principal: str) -> None:
    service = Fixture()
    for wrong in ({"grantee_principal": principal}, {"retiring_principal": principal}):
        error = service.refuses(service.request(**wrong))
        assert type(error) is InvalidArnException
        assert error.message == f"ARN does not refer to a valid principal: {principal}"


@pytest.mark.parametrize("principal", [ROOT, SESSION, f"arn:aws:iam::{OTHER_ACCOUNT}:root"])
def test_roots_and_sessions_get_grants(principal: str) -> None:
    service = Fixture()
    service.grant(grantee_principal=principal)
    assert service.listed()[0].grantee_principal == principal


def test_a_grant_is_not_for_the_next_of_that_name() -> None:
    service = Fixture()
    service.grant("Encrypt")

    async def replace(draft: Draft) -> None:
        draft.delete(User, ACCOUNT, "alice")

    finish(service.documents.change(replace))
    again = User(name="alice", id="AIDAANOTHERALICE0000", created_at_ms=0)
    service.put(again, ACCOUNT, "alice")
    caller = finish(service.directory.caller_of_user(ACCOUNT, again, "AKIATEST"))
    request = EncryptRequest(key_id=service.id, plaintext=b"x")
    assert type(service.refuses(request, call_of(caller))) is AccessDenied


LONG = {"a": "x" * 385}


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"operations": []}, ValidationError),
        ({"operations": ["Sign"]}, ValidationError),
        ({"operations": ["GenerateMac"]}, ValidationError),
        ({"grantee_service_principal": SERVICE_NAME}, ValidationError),
        ({"grantee_principal": None}, ValidationError),
        (
            {"retiring_principal": ALICE, "retiring_service_principal": SERVICE_NAME},
            ValidationError,
        ),
        ({"constraints": {"encryption_context_equals": {}}}, ValidationError),
        ({"constraints": {"encryption_context_subset": LONG}}, ValidationError),
        (
            {"constraints": {"encryption_context_equals": {str(n): "" for n in range(9)}}},
            ValidationError,
        ),
        (
            {"constraints": {"source_arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}},
            UnsupportedOperationException,
        ),
        ({"grant_tokens": ["x"]}, InvalidGrantTokenException),
        ({"key_id": "alias/a"}, NotFoundException),
        ({"dry_run": True}, DryRunOperationException),
    ],
)
def test_what_is_no_grant(parameters: dict[str, Any], error: type[ServiceError]) -> None:
    service = Fixture()
    given = {"key_id": service.id, "grantee_principal": ALICE, "operations": ["Decrypt"]}
    given |= parameters
    if "constraints" in parameters:
        given["constraints"] = GrantConstraints(**parameters["constraints"])
    assert type(service.refuses(CreateGrantRequest(**given))) is error
    assert service.listed() == []


def test_a_key_for_macs_grants_macs() -> None:
    service = Fixture(key_spec="HMAC_256", key_usage="GENERATE_VERIFY_MAC")
    service.grant("GenerateMac", "VerifyMac", "DescribeKey")
    assert type(service.refuses(service.request("Decrypt"))) is ValidationError
    constraints = GrantConstraints(encryption_context_equals={"a": "1"})
    wrong = service.request("GenerateMac", constraints=constraints)
    assert type(service.refuses(wrong)) is ValidationError


def test_a_disabled_key_gives_none_but_loses_some() -> None:
    service = Fixture()
    made = service.grant()
    service.do(DisableKeyRequest(key_id=service.id))
    assert type(service.refuses(service.request())) is DisabledException
    assert len(service.listed()) == 1
    service.ask(RevokeGrantRequest(key_id=service.id, grant_id=made.grant_id))
    assert service.listed() == []


def test_there_are_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRANTS_MAX", 2)
    service = Fixture()
    service.grant(name="one")
    service.grant()
    assert type(service.refuses(service.request())) is LimitExceededException
    service.grant(name="one")


def test_a_grant_of_createGrant_reaches_no_further() -> None:
    service = Fixture()
    service.grant("CreateGrant", "Decrypt")
    for operations, is_fine in ((["Decrypt"], True), (["Encrypt"], False)):
        request = service.request(*operations, grantee_principal=BOB)
        if is_fine:
            service.ask(request, service.alice)
        else:
            assert type(service.refuses(request, service.alice)) is AccessDenied


# --- Lists ----------------------------------------------------------------------------------------


def test_lists_are_filtered_and_in_pages() -> None:
    service = Fixture()
    ids = [service.grant().grant_id for _ in range(3)]
    bobs = service.grant(grantee_principal=BOB).grant_id
    assert [grant.grant_id for grant in service.listed()] == sorted([*ids, bobs])
    assert [grant.grant_id for grant in service.listed(grantee_principal=BOB)] == [bobs]
    assert [grant.grant_id for grant in service.listed(grant_id=ids[0])] == [ids[0]]
    assert service.listed(grant_id="0" * 64) == []
    assert service.listed(grantee_principal=f"{ALICE}x") == []
    first = service.ask(ListGrantsRequest(key_id=service.id, limit=3))
    assert (len(first.grants), first.truncated) == (3, True)
    rest = service.ask(ListGrantsRequest(key_id=service.id, marker=first.next_marker))
    assert (len(rest.grants), rest.truncated) == (1, False)
    for wrong, error in (
        ({"grant_id": "x"}, InvalidGrantIdException),
        ({"marker": "!"}, InvalidMarkerException),
    ):
        request = ListGrantsRequest(key_id=service.id, **wrong)  # type: ignore[arg-type]
        assert type(service.refuses(request)) is error


def test_retirable_grants_are_those_of_all_keys() -> None:
    service = Fixture()
    other_id = service.key()
    mine = [
        service.grant(retiring_principal=BOB).grant_id,
        service.grant(retiring_principal=BOB, key_id=other_id).grant_id,
    ]
    service.grant(retiring_principal=ALICE)
    service.grant()
    answer = service.ask(ListRetirableGrantsRequest(retiring_principal=BOB))
    assert {grant.grant_id for grant in answer.grants} == set(mine)
    assert {grant.key_id.rpartition("/")[2] for grant in answer.grants} == {service.id, other_id}
    page = service.ask(ListRetirableGrantsRequest(retiring_principal=BOB, limit=1))
    assert page.truncated
    rest = ListRetirableGrantsRequest(retiring_principal=BOB, marker=page.next_marker)
    assert len(service.ask(rest).grants) == 1
    elsewhere = call_of(service.call.caller, "us-east-1")
    assert service.ask(ListRetirableGrantsRequest(retiring_principal=BOB), elsewhere).grants == []
    assert type(service.refuses(ListRetirableGrantsRequest())) is ValidationError


# --- The end --------------------------------------------------------------------------------------


def test_revoking_what_is_not_there() -> None:
    service = Fixture()
    for grant_id, error in (("0" * 64, NotFoundException), ("x", InvalidGrantIdException)):
        request = RevokeGrantRequest(key_id=service.id, grant_id=grant_id)
        assert type(service.refuses(request)) is error
    made = service.grant()
    request = RevokeGrantRequest(key_id=service.id, grant_id=made.grant_id, dry_run=True)
    assert type(service.refuses(request)) is DryRunOperationException
    assert len(service.listed()) == 1


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


def test_two_who_end_a_grant_count_once() -> None:
    service = Fixture()
    made = service.grant()
    service.ask(RevokeGrantRequest(key_id=service.id, grant_id=made.grant_id))
    again = RevokeGrantRequest(key_id=service.id, grant_id=made.grant_id)
    assert type(service.refuses(again)) is NotFoundException
    assert service.counted() == 0
    assert service.get(Grant, ACCOUNT, f"{REGION}/{service.id}/{made.grant_id}") is None
    assert service.get(Key, ACCOUNT, f"{REGION}/{service.id}").grants == 0
