"""Making, describing and listing keys, and the end of one."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from stanchion.keys.sealing import Unsealable
from stanchion.kms import limits, materials
from stanchion.kms.entities import Alias, Grant, Key, KeyCount, KeyDeletion
from stanchion.kms.keys import destroy_due
from stanchion.model.errors import ServiceError, ValidationError
from stanchion.model.kms import (
    CancelKeyDeletionRequest,
    CreateKeyRequest,
    DescribeKeyRequest,
    DisableKeyRequest,
    EnableKeyRequest,
    GetKeyPolicyRequest,
    KMSInvalidStateException,
    LimitExceededException,
    ListAliasesRequest,
    ListKeysRequest,
    NotFoundException,
    ScheduleKeyDeletionRequest,
    Tag,
    TagException,
    UnsupportedOperationException,
    UpdateKeyDescriptionRequest,
)
from tests.kms.harness import ACCOUNT, DAY_S, OTHER_ACCOUNT, REGION, Service
from tests.sqs.harness import START_MS, finish

CREATED = datetime.fromtimestamp(START_MS / 1000, UTC)


def test_a_key_is_described_in_full() -> None:
    service = Service()
    request = CreateKeyRequest(description="orders", tags=[Tag(tag_key="team", tag_value="a")])
    told = service.ask(request).key_metadata
    assert told == service.ask(DescribeKeyRequest(key_id=told.key_id)).key_metadata
    assert told.arn == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{told.key_id}"
    assert (told.aws_account_id, told.creation_date) == (ACCOUNT, CREATED)
    assert (told.enabled, told.key_state, told.description) == (True, "Enabled", "orders")
    assert (told.key_usage, told.key_spec) == ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT")
    assert told.customer_master_key_spec == "SYMMETRIC_DEFAULT"
    assert told.encryption_algorithms == ["SYMMETRIC_DEFAULT"]
    assert (told.origin, told.key_manager, told.multi_region) == ("AWS_KMS", "CUSTOMER", False)
    assert (told.deletion_date, told.mac_algorithms) == (None, None)
    assert len(told.current_key_material_id) == 64


@pytest.mark.parametrize(
    ("spec", "size", "algorithm"),
    [
        ("HMAC_224", 28, "HMAC_SHA_224"),
        ("HMAC_256", 32, "HMAC_SHA_256"),
        ("HMAC_384", 48, "HMAC_SHA_384"),
        ("HMAC_512", 64, "HMAC_SHA_512"),
    ],
)
def test_a_key_for_macs(spec: str, size: int, algorithm: str) -> None:
    service = Service()
    request = CreateKeyRequest(key_spec=spec, key_usage="GENERATE_VERIFY_MAC")
    told = service.ask(request).key_metadata
    assert (told.mac_algorithms, told.encryption_algorithms) == ([algorithm], None)
    assert told.current_key_material_id is None
    key = service.found(told.key_id)
    assert len(materials.opened(service.kms, key, key.materials[0])) == size


def test_material_is_sealed_for_its_key_alone() -> None:
    service = Service()
    one, other = (service.found(service.key()) for _ in range(2))
    plaintext = materials.opened(service.kms, one, one.materials[0])
    assert len(plaintext) == 32
    assert plaintext not in one.materials[0].sealed
    purpose = f"kms-key:arn:aws:kms:{REGION}:{ACCOUNT}:key/{one.id}:1"
    assert service.ring.open(purpose, one.materials[0].sealed) == plaintext
    with pytest.raises(Unsealable):
        materials.opened(service.kms, other, one.materials[0])


ASYMMETRIC = ["RSA_2048", "ECC_NIST_P256", "SM2", "ML_DSA_44", "ECC_NIST_EDWARDS25519"]


@pytest.mark.parametrize(
    ("parameters", "error", "text"),
    [
        *(
            ({"key_spec": spec, "key_usage": "SIGN_VERIFY"}, UnsupportedOperationException, spec)
            for spec in ASYMMETRIC
        ),
        ({"multi_region": True}, UnsupportedOperationException, "Multi-Region keys"),
        ({"origin": "EXTERNAL"}, UnsupportedOperationException, "Origin EXTERNAL"),
        ({"custom_key_store_id": "cks-1"}, UnsupportedOperationException, "Custom key stores"),
        ({"xks_key_id": "x"}, UnsupportedOperationException, "Custom key stores"),
        ({"key_spec": "HMAC_256"}, ValidationError, "You must specify a KeyUsage value"),
        (
            {"key_spec": "HMAC_256", "key_usage": "ENCRYPT_DECRYPT"},
            ValidationError,
            "KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec HMAC_256",
        ),
        (
            {"key_usage": "GENERATE_VERIFY_MAC"},
            ValidationError,
            "KeyUsage GENERATE_VERIFY_MAC is not compatible with KeySpec SYMMETRIC_DEFAULT",
        ),
        (
            {"key_spec": "HMAC_256", "customer_master_key_spec": "HMAC_256"},
            ValidationError,
            "You cannot specify KeySpec and CustomerMasterKeySpec",
        ),
        ({"key_spec": "AES_9"}, ValidationError, "enum value set"),
        ({"description": "x" * 8193}, ValidationError, "less than or equal to 8192"),
        ({"tags": [Tag(tag_key="aws:x", tag_value="")]}, TagException, "reserved prefix"),
    ],
)
def test_what_cannot_be_made(
    parameters: dict[str, Any], error: type[ServiceError], text: str
) -> None:
    service = Service()
    refusal = service.refuses(CreateKeyRequest(**parameters))
    assert type(refusal) is error
    assert text in refusal.message
    assert service.ask(ListKeysRequest()).keys == []


def test_the_old_name_of_a_spec_still_counts() -> None:
    request = CreateKeyRequest(customer_master_key_spec="HMAC_512", key_usage="GENERATE_VERIFY_MAC")
    assert Service().ask(request).key_metadata.key_spec == "HMAC_512"


def test_keys_are_not_without_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEYS_MAX", 2)
    service = Service()
    first = service.key()
    service.key()
    assert isinstance(service.refuses(CreateKeyRequest()), LimitExceededException)
    assert service.ask(CreateKeyRequest(), service.other_root).key_metadata.enabled
    destroy(service, first)
    service.key()


def test_keys_are_listed_page_by_page() -> None:
    service = Service()
    made = sorted(service.key() for _ in range(5))
    service.do(CreateKeyRequest(), service.other_root)
    first = service.ask(ListKeysRequest(limit=3))
    assert [key.key_id for key in first.keys] == made[:3]
    assert first.truncated
    rest = service.ask(ListKeysRequest(limit=3, marker=first.next_marker))
    assert [key.key_id for key in rest.keys] == made[3:]
    assert (rest.truncated, rest.next_marker) == (False, None)
    assert first.keys[0].key_arn == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{made[0]}"


def test_the_description_changes() -> None:
    service = Service()
    key_id = service.key(description="old")
    service.ask(UpdateKeyDescriptionRequest(key_id=key_id, description="new"))
    assert service.ask(DescribeKeyRequest(key_id=key_id)).key_metadata.description == "new"
    service.ask(UpdateKeyDescriptionRequest(key_id=key_id, description=""))
    assert service.ask(DescribeKeyRequest(key_id=key_id)).key_metadata.description == ""


# --- The end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "days"), [(None, 30), (7, 7), (30, 30)])
def test_deletion_is_scheduled(given: int | None, days: int) -> None:
    service = Service()
    key_id = service.key()
    answer = service.ask(ScheduleKeyDeletionRequest(key_id=key_id, pending_window_in_days=given))
    at = datetime.fromtimestamp(START_MS / 1000 + days * DAY_S, UTC)
    assert answer.key_id == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"
    assert (answer.key_state, answer.pending_window_in_days) == ("PendingDeletion", days)
    told = service.ask(DescribeKeyRequest(key_id=key_id)).key_metadata
    assert (answer.deletion_date, told.deletion_date, told.enabled) == (at, at, False)


@pytest.mark.parametrize("days", [1, 6, 31, 365])
def test_the_window_has_its_limits(days: int) -> None:
    service = Service()
    request = ScheduleKeyDeletionRequest(key_id=service.key(), pending_window_in_days=days)
    assert service.refuses(request).message == (
        f"PendingWindowInDays should be between 7 and 30, but it is {days}"
    )


def test_a_key_that_is_kept_is_disabled() -> None:
    service = Service()
    key_id = service.key()
    service.ask(ScheduleKeyDeletionRequest(key_id=key_id))
    answer = service.ask(CancelKeyDeletionRequest(key_id=key_id))
    assert answer.key_id == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"
    told = service.ask(DescribeKeyRequest(key_id=key_id)).key_metadata
    assert (told.key_state, told.deletion_date) == ("Disabled", None)
    service.clock.advance(60 * DAY_S)
    finish(destroy_due(service.kms))
    service.ask(EnableKeyRequest(key_id=key_id))
    assert service.found(key_id).state == "Enabled"


@pytest.mark.parametrize(
    "request_type",
    [EnableKeyRequest, DisableKeyRequest, ScheduleKeyDeletionRequest, UpdateKeyDescriptionRequest],
)
def test_nothing_more_is_done_to_a_key_that_waits_for_its_end(request_type: Any) -> None:
    service = Service()
    key_id = service.key()
    service.do(ScheduleKeyDeletionRequest(key_id=key_id))
    more = {"description": ""} if request_type is UpdateKeyDescriptionRequest else {}
    refusal = service.refuses(request_type(key_id=key_id, **more))
    assert isinstance(refusal, KMSInvalidStateException)
    assert refusal.message == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id} is pending deletion."


def test_only_what_was_scheduled_can_be_cancelled() -> None:
    service = Service()
    refusal = service.refuses(CancelKeyDeletionRequest(key_id=service.key()))
    assert isinstance(refusal, KMSInvalidStateException)
    assert refusal.message.endswith("is not pending deletion.")


def destroy(service: Service, key_id: str) -> None:
    service.do(ScheduleKeyDeletionRequest(key_id=key_id, pending_window_in_days=7))
    service.clock.advance(7 * DAY_S)
    assert finish(destroy_due(service.kms)) is False


def test_the_end_leaves_nothing() -> None:
    service = Service()
    key_id, kept = service.key(), service.key()
    service.alias("alias/orders", key_id)
    service.alias("alias/kept", kept)
    for owner in (key_id, kept):
        put_grant(service, owner)
    destroy(service, key_id)
    assert service.get(Key, ACCOUNT, f"{REGION}/{key_id}") is None
    assert service.get(Alias, ACCOUNT, f"{REGION}/alias/orders") is None
    assert service.get(Grant, ACCOUNT, f"{REGION}/{key_id}/g") is None
    assert service.get(Grant, ACCOUNT, f"{REGION}/{kept}/g") is not None
    assert service.get(KeyCount, ACCOUNT, REGION).keys == 1
    assert [key.key_id for key in service.ask(ListKeysRequest()).keys] == [kept]
    aliases = service.ask(ListAliasesRequest()).aliases
    assert [alias.alias_name for alias in aliases] == ["alias/kept"]
    assert isinstance(service.refuses(DescribeKeyRequest(key_id=key_id)), NotFoundException)


def test_keys_are_destroyed_when_their_time_has_come_and_not_before() -> None:
    service = Service()
    soon, later = service.key(), service.key()
    service.do(ScheduleKeyDeletionRequest(key_id=later, pending_window_in_days=8))
    service.do(ScheduleKeyDeletionRequest(key_id=soon, pending_window_in_days=7))
    service.clock.advance(7 * DAY_S)
    # Before anything is erased, it is gone for whoever looks.
    assert [key.key_id for key in service.ask(ListKeysRequest()).keys] == [later]
    finish(destroy_due(service.kms))
    assert service.get(Key, ACCOUNT, f"{REGION}/{soon}") is None
    assert service.get(Key, ACCOUNT, f"{REGION}/{later}") is not None


def test_a_key_that_waits_is_looked_at_again() -> None:
    service = Service()
    key_id = service.key()
    service.do(ScheduleKeyDeletionRequest(key_id=key_id, pending_window_in_days=7))
    finish(destroy_due(service.kms))
    assert service.found(key_id).state == "PendingDeletion"
    service.clock.advance(7 * DAY_S)
    finish(destroy_due(service.kms))
    assert service.get(Key, ACCOUNT, f"{REGION}/{key_id}") is None


def test_what_was_cancelled_is_not_destroyed() -> None:
    service = Service()
    key_id = service.key()
    service.do(ScheduleKeyDeletionRequest(key_id=key_id))
    ((name, deletion),) = finish(service.documents.list(KeyDeletion, ""))
    service.do(CancelKeyDeletionRequest(key_id=key_id))
    assert finish(service.documents.list(KeyDeletion, "")) == []
    # Somebody else may have read it before.
    service.put(deletion, "", name)
    put_grant(service, key_id)
    service.clock.advance(30 * DAY_S)
    finish(destroy_due(service.kms))
    assert service.found(key_id).state == "Disabled"
    assert service.get(Grant, ACCOUNT, f"{REGION}/{key_id}/g") is not None
    assert finish(service.documents.list(KeyDeletion, "")) == []


def put_grant(service: Service, key_id: str) -> None:
    grant = Grant(id="g", key_id=key_id, grantee="x", operations=(), created_at_ms=0, issuer="y")
    service.put(grant, ACCOUNT, f"{REGION}/{key_id}/g")


def test_destroying_goes_on_until_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DESTROYED_AT_ONCE_MAX", 2)
    service = Service()
    for _ in range(3):
        service.do(ScheduleKeyDeletionRequest(key_id=service.key()))
    service.clock.advance(30 * DAY_S)
    assert finish(destroy_due(service.kms)) is True
    assert finish(destroy_due(service.kms)) is False
    assert service.get(KeyCount, ACCOUNT, REGION).keys == 0


def test_an_account_sees_its_own_keys() -> None:
    service = Service()
    key_id = service.key()
    assert service.ask(ListKeysRequest(), service.other_root).keys == []
    policy = service.ask(GetKeyPolicyRequest(key_id=key_id)).policy
    assert json.loads(policy)["Statement"][0]["Principal"] == {
        "AWS": f"arn:aws:iam::{ACCOUNT}:root"
    }
    assert OTHER_ACCOUNT not in policy
