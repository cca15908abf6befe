"""Access keys, through their actions."""

import re

import pytest
from msgspec import Struct

from stanchion.access import entities
from stanchion.access.entities import AccessKeyUse, Account
from stanchion.access.identity import Caller, root_of
from stanchion.model.iam import (
    AccessKey,
    AccessKeyMetadata,
    CreateAccessKeyRequest,
    DeleteAccessKeyRequest,
    GetAccessKeyLastUsedRequest,
    ListAccessKeysRequest,
    UpdateAccessKeyRequest,
)
from stanchion.service import Call
from tests.iam.harness import ACCOUNT, OTHER_ACCOUNT, Service, call_of
from tests.sqs.harness import START_MS, finish


@pytest.fixture
def service() -> Service:
    service = Service()
    service.user("Alice")
    service.user("bob")
    return service


def create(service: Service, user: str | None = "alice", call: Call | None = None) -> AccessKey:
    key = service.do(CreateAccessKeyRequest(user_name=user), call).access_key
    assert isinstance(key, AccessKey)
    return key


def listed(
    service: Service, user: str | None = "alice", call: Call | None = None
) -> list[AccessKeyMetadata]:
    found = service.do(ListAccessKeysRequest(user_name=user), call)
    assert found.is_truncated is False
    return list(found.access_key_metadata)


# --- Create and list ------------------------------------------------------------------------------


def test_a_new_key(service: Service) -> None:
    key = create(service)
    assert re.fullmatch("AKIA[A-Z2-7]{16}", key.access_key_id or "")
    assert re.fullmatch("[A-Za-z0-9+/]{40}", key.secret_access_key or "")
    assert (key.user_name, key.status) == ("Alice", "Active")
    (found,) = listed(service)
    assert (found.user_name, found.access_key_id) == ("Alice", key.access_key_id)
    assert (found.status, found.create_date) == ("Active", key.create_date)


def test_the_secret_is_sealed_for_its_key(service: Service) -> None:
    key = create(service)
    stored = service.exact(entities.AccessKey, "", key.access_key_id or "")
    purpose = f"access-key:{key.access_key_id}"
    assert service.sealer.open(purpose, stored.sealed_secret).decode() == key.secret_access_key
    assert (stored.account_id, stored.user, stored.is_active) == (ACCOUNT, "Alice", True)


def test_the_key_stands_for_its_user(service: Service) -> None:
    key = create(service)
    stored = service.exact(entities.AccessKey, "", key.access_key_id or "")
    caller = finish(service.directory.caller_of_key(stored))
    assert caller is not None
    assert caller.arn == f"arn:aws:iam::{ACCOUNT}:user/Alice"


def test_two_at_most(service: Service) -> None:
    ids = {create(service).access_key_id, create(service).access_key_id}
    error = service.refuses(CreateAccessKeyRequest(user_name="alice"))
    assert (error.query_code, error.http_status) == ("LimitExceeded", 409)
    assert error.message == "Cannot exceed quota for AccessKeysPerUser: 2"
    assert {key.access_key_id for key in listed(service)} == ids
    create(service, "bob")


def test_keys_in_pages(service: Service) -> None:
    ids = sorted(str(create(service).access_key_id) for _ in range(2))
    first = service.do(ListAccessKeysRequest(user_name="alice", max_items=1))
    rest = service.do(ListAccessKeysRequest(user_name="alice", marker=first.marker))
    assert (first.is_truncated, rest.is_truncated) == (True, False)
    found = first.access_key_metadata + rest.access_key_metadata
    assert [key.access_key_id for key in found] == ids


# --- Without a name -------------------------------------------------------------------------------


def test_without_a_name_they_are_the_caller_s(service: Service) -> None:
    call = service.call_by("alice")
    key = create(service, None, call)
    assert key.user_name == "Alice"
    assert [found.access_key_id for found in listed(service, None, call)] == [key.access_key_id]
    key_id = key.access_key_id
    service.do(UpdateAccessKeyRequest(access_key_id=key_id, status="Inactive"), call)
    assert listed(service)[0].status == "Inactive"
    service.do(DeleteAccessKeyRequest(access_key_id=key_id), call)
    assert listed(service) == []


def test_root_has_keys_too(service: Service) -> None:
    key = create(service, None)
    key_id = str(key.access_key_id)
    assert key.user_name is None
    assert [found.access_key_id for found in listed(service, None)] == [key_id]
    assert service.exact(Account, "", ACCOUNT).root_access_key_ids == (key_id,)
    stored = service.exact(entities.AccessKey, "", key_id)
    caller = finish(service.directory.caller_of_key(stored))
    assert caller is not None
    assert caller.kind == "root"
    service.do(UpdateAccessKeyRequest(access_key_id=key_id, status="Inactive"))
    assert not service.exact(entities.AccessKey, "", key_id).is_active
    create(service, None)
    assert service.refuses(CreateAccessKeyRequest()).query_code == "LimitExceeded"
    service.do(DeleteAccessKeyRequest(access_key_id=key_id))
    assert service.exact(entities.AccessKey, "", key_id) is None
    assert len(service.exact(Account, "", ACCOUNT).root_access_key_ids) == 1


@pytest.mark.parametrize(
    "request_",
    [
        CreateAccessKeyRequest(),
        ListAccessKeysRequest(),
        UpdateAccessKeyRequest(access_key_id="AKIAIOSFODNN7EXAMPLE", status="Active"),
        DeleteAccessKeyRequest(access_key_id="AKIAIOSFODNN7EXAMPLE"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_a_role_has_none(service: Service, request_: Struct) -> None:
    role = Caller("role", ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s", "AROA:s")
    error = service.refuses(request_, call_of(role))
    assert (error.query_code, error.http_status) == ("ValidationError", 400)
    assert error.message == "Must specify userName when calling with non-User credentials"


@pytest.mark.parametrize(
    "request_",
    [
        CreateAccessKeyRequest(user_name="Carl"),
        ListAccessKeysRequest(user_name="Carl"),
        UpdateAccessKeyRequest(user_name="Carl", access_key_id="AKIA", status="Active"),
        DeleteAccessKeyRequest(user_name="Carl", access_key_id="AKIA"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_nobody_of_that_name(service: Service, request_: Struct) -> None:
    error = service.refuses(request_)
    assert (error.query_code, error.http_status) == ("NoSuchEntity", 404)
    assert error.message == "The user with name Carl cannot be found."


def test_an_account_that_is_gone(service: Service) -> None:
    call = call_of(root_of("999999999999", "AKIA"))
    assert service.refuses(CreateAccessKeyRequest(), call).query_code == "NoSuchEntity"


# --- Update and delete ----------------------------------------------------------------------------


def test_off_and_on_again(service: Service) -> None:
    key_id = str(create(service).access_key_id)
    for status in ("Inactive", "Active"):
        service.do(UpdateAccessKeyRequest(user_name="ALICE", access_key_id=key_id, status=status))
        assert [key.status for key in listed(service)] == [status]


def test_a_status_that_only_aws_sets(service: Service) -> None:
    key_id = str(create(service).access_key_id)
    request = UpdateAccessKeyRequest(user_name="alice", access_key_id=key_id, status="Expired")
    error = service.refuses(request)
    assert error.query_code == "ValidationError"
    assert error.message.endswith("Member must satisfy enum value set: [Active, Inactive]")


@pytest.mark.parametrize("user", ["bob", None])
def test_the_key_of_another(service: Service, user: str | None) -> None:
    key_id = str(create(service).access_key_id)
    for request in (
        UpdateAccessKeyRequest(user_name=user, access_key_id=key_id, status="Inactive"),
        DeleteAccessKeyRequest(user_name=user, access_key_id=key_id),
    ):
        error = service.refuses(request)
        assert (error.query_code, error.http_status) == ("NoSuchEntity", 404)
        assert error.message == f"The Access Key with id {key_id} cannot be found."
    assert [key.status for key in listed(service)] == ["Active"]


def test_a_deleted_key_is_gone(service: Service) -> None:
    key_id = str(create(service).access_key_id)
    use = AccessKeyUse(used_at_ms=START_MS, service="sqs", region="r")
    service.put(use, "", key_id)
    service.do(DeleteAccessKeyRequest(user_name="alice", access_key_id=key_id))
    assert listed(service) == []
    assert service.exact(entities.AccessKey, "", key_id) is None
    assert service.exact(AccessKeyUse, "", key_id) is None
    create(service)


# --- Last use -------------------------------------------------------------------------------------


def test_when_a_key_was_last_used(service: Service) -> None:
    key_id = str(create(service).access_key_id)
    found = service.do(GetAccessKeyLastUsedRequest(access_key_id=key_id))
    assert found.user_name == "Alice"
    never = found.access_key_last_used
    assert (never.last_used_date, never.service_name, never.region) == (None, "N/A", "N/A")
    service.uses.note(key_id, "sqs", "eu-central-1", service.clock.wall_s())
    used = service.do(GetAccessKeyLastUsedRequest(access_key_id=key_id)).access_key_last_used
    assert used.last_used_date.timestamp() == START_MS // 1000
    assert (used.service_name, used.region) == ("sqs", "eu-central-1")


def test_last_use_of_a_key_of_nobody_or_of_another_account(service: Service) -> None:
    key_id = str(create(service).access_key_id)
    foreign = call_of(root_of(OTHER_ACCOUNT, "AKIA"))
    for name, call in (("AKIAIOSFODNN7EXAMPLE", None), (key_id, foreign)):
        error = service.refuses(GetAccessKeyLastUsedRequest(access_key_id=name), call)
        assert error.message == f"The Access Key with id {name} cannot be found."
