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
    RevokeGrantRequest,
    UnsupportedOperationException,
)
from stanchion.store.documents import Draft
from tests.kms.granting import ALICE, BOB, ROOT, SERVICE_NAME, SESSION, Fixture
from tests.kms.harness import (
    ACCOUNT,
    OTHER_ACCOUNT,
    REGION,
    call_of,
)
from tests.sqs.harness import finish

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


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"context_equals": {"a": "1"}, "context_subset": {}}, {"context_equals": {"a": "1"}}),
        ({"context_equals": {}, "context_subset": {"a": "1"}}, {"context_subset": {"a": "1"}}),
        ({"context_equals": {}, "context_subset": {}}, None),
        ({"context_equals": {}}, None),
        ({"context_subset": {}}, None),
        ({}, None),
    ],
)
def test_an_empty_constraint_is_none(given: dict[str, Any], meant: dict[str, Any] | None) -> None:
    service = Fixture()
    made = service.grant("Encrypt", name="n", constraints=_constraints(given))
    (told,) = service.listed()
    assert told.constraints == (meant and _constraints(meant))
    same = service.grant("Encrypt", name="n", constraints=meant and _constraints(meant))
    assert same.grant_id == made.grant_id
    for context, is_allowed in (
        ({"a": "1"}, True),
        ({"a": "1", "b": "2"}, "context_equals" not in (meant or {})),
        ({}, meant is None),
    ):
        request = EncryptRequest(key_id=service.id, plaintext=b"x", encryption_context=context)
        assert _may(service, request) is is_allowed


def _constraints(given: dict[str, Any]) -> GrantConstraints:
    return GrantConstraints(**{f"encryption_{name}": pairs for name, pairs in given.items()})


def _may(service: Fixture, request: Any) -> bool:
    try:
        service.ask(request, service.alice)
    except AccessDenied:
        return False
    return True


@pytest.mark.parametrize("kind", ["context_equals", "context_subset"])
def test_an_empty_constraint_loosens_no_grant_of_a_grant(kind: str) -> None:
    service = Fixture()
    whole = {kind: {"a": "1"}}
    service.grant("CreateGrant", "Decrypt", constraints=_constraints(whole))
    empty = {"context_equals": {}, "context_subset": {}}
    for given, is_allowed in ((empty, False), ({kind: {}}, False), (empty | whole, True)):
        request = service.request(grantee_principal=BOB, constraints=_constraints(given))
        assert _may(service, request) is is_allowed


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
        (
            {"constraints": {"encryption_context_equals": {}, "encryption_context_subset": LONG}},
            ValidationError,
        ),
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
    empty = GrantConstraints(encryption_context_equals={}, encryption_context_subset={})
    service.grant("GenerateMac", "VerifyMac", "DescribeKey", constraints=empty)
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
        ({"marker": "x"}, InvalidMarkerException),
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


def test_two_who_end_a_grant_count_once() -> None:
    service = Fixture()
    made = service.grant()
    service.ask(RevokeGrantRequest(key_id=service.id, grant_id=made.grant_id))
    again = RevokeGrantRequest(key_id=service.id, grant_id=made.grant_id)
    assert type(service.refuses(again)) is NotFoundException
    assert service.counted() == 0
    assert service.get(Grant, ACCOUNT, f"{REGION}/{service.id}/{made.grant_id}") is None
    assert service.get(Key, ACCOUNT, f"{REGION}/{service.id}").grants == 0
