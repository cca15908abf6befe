"""What a request may call a key, and what is not there."""

import pytest

from stanchion.access.identity import root_of
from stanchion.kms import finding
from stanchion.kms.entities import Key
from stanchion.model.errors import ServiceError
from stanchion.model.kms import (
    DisabledException,
    DisableKeyRequest,
    InvalidArnException,
    KMSInvalidStateException,
    NotFoundException,
    ScheduleKeyDeletionRequest,
)
from tests.kms.harness import ACCOUNT, DAY_S, OTHER_ACCOUNT, REGION, Service, call_of
from tests.sqs.harness import finish

UNKNOWN = "12345678-1234-1234-1234-123456789012"


@pytest.mark.parametrize(
    "name",
    [
        "{id}",
        "arn:aws:kms:eu-central-1:123456789012:key/{id}",
        "alias/orders",
        "arn:aws:kms:eu-central-1:123456789012:alias/orders",
    ],
)
def test_a_key_has_four_names(name: str) -> None:
    service = Service()
    key_id = service.key()
    service.alias("alias/orders", key_id)
    assert service.found(name.format(id=key_id)).id == key_id


def test_an_arn_is_good_in_any_account() -> None:
    service = Service()
    key_id = service.key()
    arn = finding.arn_of(service.found(key_id))
    assert service.found(arn, service.other_root).account_id == ACCOUNT
    with pytest.raises(NotFoundException):
        service.found(key_id, service.other_root)


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        (UNKNOWN, NotFoundException, f"Key 'arn:aws:kms:{REGION}:{ACCOUNT}:key/{UNKNOWN}' does"),
        ("alias/no", NotFoundException, f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/no is not"),
        ("orders", NotFoundException, "Invalid keyId 'orders'"),
        ("", NotFoundException, "Invalid keyId ''"),
        (
            f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{UNKNOWN}",
            NotFoundException,
            "Invalid arn us-east-1",
        ),
        (f"arn:aws:sqs:{REGION}:{ACCOUNT}:key/{UNKNOWN}", InvalidArnException, "Invalid arn arn:"),
        (f"arn:aws:kms:{REGION}:{ACCOUNT}:ring/{UNKNOWN}", InvalidArnException, "Invalid arn arn:"),
        (f"arn:aws:kms:{REGION}:{ACCOUNT}:key/", InvalidArnException, "Invalid arn arn:"),
        ("arn:aws:kms", InvalidArnException, "Invalid arn arn:aws:kms"),
    ],
)
def test_what_is_not_there(name: str, error: type[ServiceError], text: str) -> None:
    service = Service()
    service.key()
    with pytest.raises(error) as refusal:
        service.found(name)
    assert refusal.value.message.startswith(text)


@pytest.mark.parametrize("prefix", ["", f"arn:aws:kms:{REGION}:{ACCOUNT}:"])
def test_an_alias_is_no_name_where_only_keys_are(prefix: str) -> None:
    service = Service()
    service.alias("alias/orders", service.key())
    with pytest.raises((NotFoundException, InvalidArnException)):
        finish(finding.find(service.kms, service.call, f"{prefix}alias/orders", aliases=False))


def test_regions_are_namespaces() -> None:
    service = Service()
    key_id = service.key()
    elsewhere = call_of(root_of(ACCOUNT, "AKIAROOT"), "us-east-1")
    with pytest.raises(NotFoundException):
        service.found(key_id, elsewhere)


def test_a_key_whose_time_has_come_is_gone() -> None:
    service = Service()
    key_id = service.key()
    service.alias("alias/orders", key_id)
    service.do(ScheduleKeyDeletionRequest(key_id=key_id, pending_window_in_days=7))
    service.clock.advance(7 * DAY_S - 1)
    assert service.found("alias/orders").state == "PendingDeletion"
    service.clock.advance(1)
    for name in (key_id, "alias/orders"):
        with pytest.raises(NotFoundException):
            service.found(name)


def test_what_can_be_used() -> None:
    service = Service()
    key_id = service.key()
    assert finding.usable(service.found(key_id)).id == key_id
    service.do(DisableKeyRequest(key_id=key_id))
    with pytest.raises(DisabledException, match=r"^arn:aws:kms:.* is disabled\.$"):
        finding.usable(service.found(key_id))
    service.do(ScheduleKeyDeletionRequest(key_id=key_id))
    with pytest.raises(KMSInvalidStateException, match=r"^arn:aws:kms:.* is pending deletion\.$"):
        finding.usable(service.found(key_id))


def test_records_say_what_they_are_kept_under() -> None:
    service = Service()
    key_id = service.key()
    assert service.get(Key, ACCOUNT, f"{REGION}/{key_id}").id == key_id
    assert service.get(Key, OTHER_ACCOUNT, f"{REGION}/{key_id}") is None
