"""Rotation: at intervals, on demand, and what is told of it."""

from datetime import timedelta
from typing import Any

import pytest

from stanchion.kms import limits, materials, rotation
from stanchion.kms.entities import Key
from stanchion.model.errors import ValidationError
from stanchion.model.kms import (
    CancelKeyDeletionRequest,
    DescribeKeyRequest,
    DisabledException,
    DisableKeyRequest,
    DisableKeyRotationRequest,
    EnableKeyRequest,
    EnableKeyRotationRequest,
    GetKeyRotationStatusRequest,
    GetKeyRotationStatusResponse,
    KMSInvalidStateException,
    LimitExceededException,
    ListKeyRotationsRequest,
    RotateKeyOnDemandRequest,
    ScheduleKeyDeletionRequest,
    UnsupportedOperationException,
)
from tests.kms.harness import DAY_S, Service
from tests.sqs.harness import finish


class Fixture(Service):
    """With a key."""

    def __init__(self) -> None:
        super().__init__()
        self.id = self.key()

    def days(self, days: float) -> None:
        self.clock.advance(days * DAY_S)

    def rotates(self, period: int | None = None) -> None:
        self.ask(EnableKeyRotationRequest(key_id=self.id, rotation_period_in_days=period))

    def status(self) -> Any:
        return self.ask(GetKeyRotationStatusRequest(key_id=self.id))

    def used(self) -> Key:
        """The key when something is encrypted with it now."""
        return finish(rotation.up_to_date(self.kms, self.found(self.id)))


def test_a_key_does_not_rotate_by_itself() -> None:
    service = Fixture()
    status = service.status()
    assert (status.key_rotation_enabled, status.key_id) == (False, service.id)
    assert (status.rotation_period_in_days, status.next_rotation_date) == (None, None)
    service.days(3000)
    assert len(service.used().materials) == 1


@pytest.mark.parametrize(("given", "days"), [(None, 365), (90, 90), (2560, 2560)])
def test_rotation_is_enabled_for_a_period(given: int | None, days: int) -> None:
    service = Fixture()
    service.rotates(given)
    status = service.status()
    assert (status.key_rotation_enabled, status.rotation_period_in_days) == (True, days)
    created = service.ask(DescribeKeyRequest(key_id=service.id)).key_metadata.creation_date
    assert status.next_rotation_date == created + timedelta(days=days)


@pytest.mark.parametrize("days", [89, 2561])
def test_the_period_has_its_limits(days: int) -> None:
    service = Fixture()
    request = EnableKeyRotationRequest(key_id=service.id, rotation_period_in_days=days)
    assert isinstance(service.refuses(request), ValidationError)


def test_a_key_rotates_when_it_is_next_used() -> None:
    service = Fixture()
    service.rotates(100)
    old = service.found(service.id)
    next_date = service.status().next_rotation_date
    service.days(99.9)
    assert service.used() == old
    service.days(0.1)
    new = service.used()
    assert [m.number for m in new.materials] == [1, 2]
    assert new.materials[0] == old.materials[0]
    plain = {materials.opened(service.kms, new, material) for material in new.materials}
    assert len(plain) == 2
    assert service.used() == new
    assert service.status().next_rotation_date == next_date + timedelta(days=100)


def test_one_rotation_makes_up_for_many_that_were_missed() -> None:
    service = Fixture()
    service.rotates(100)
    first = service.status().next_rotation_date
    service.days(350)
    assert len(service.used().materials) == 2
    assert service.status().next_rotation_date == first + timedelta(days=300)


def test_what_describes_a_key_sees_the_rotation_too() -> None:
    service = Fixture()
    service.rotates()
    before = service.ask(DescribeKeyRequest(key_id=service.id)).key_metadata
    service.days(365)
    after = service.ask(DescribeKeyRequest(key_id=service.id)).key_metadata
    assert before.current_key_material_id != after.current_key_material_id


def test_a_key_that_is_not_enabled_waits() -> None:
    service = Fixture()
    service.rotates(90)
    service.ask(DisableKeyRequest(key_id=service.id))
    service.days(90)
    assert len(service.used().materials) == 1
    service.ask(EnableKeyRequest(key_id=service.id))
    assert len(service.used().materials) == 2


def test_a_key_that_was_nearly_deleted_rotates_again() -> None:
    service = Fixture()
    service.rotates(90)
    service.do(ScheduleKeyDeletionRequest(key_id=service.id))
    assert service.status().key_rotation_enabled is False
    service.do(CancelKeyDeletionRequest(key_id=service.id))
    assert service.status().key_rotation_enabled is True


def test_rotation_ends_when_it_is_disabled() -> None:
    service = Fixture()
    service.rotates(90)
    service.ask(DisableKeyRotationRequest(key_id=service.id))
    service.days(90)
    assert len(service.used().materials) == 1
    assert service.status().key_rotation_enabled is False


def test_a_new_period_begins_now() -> None:
    service = Fixture()
    service.rotates(100)
    service.days(50)
    service.rotates(100)
    unchanged = service.status().next_rotation_date
    service.rotates(90)
    assert service.status().next_rotation_date - unchanged == timedelta(days=40)


def test_rotation_on_demand_leaves_the_dates_alone() -> None:
    service = Fixture()
    service.rotates(100)
    before = service.status()
    service.days(10)
    answer = service.ask(RotateKeyOnDemandRequest(key_id=service.id))
    assert answer.key_id == service.id
    assert service.status() == before
    assert len(service.used().materials) == 2


def test_rotation_on_demand_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ON_DEMAND_ROTATIONS_MAX", 2)
    service = Fixture()
    for _ in range(2):
        service.ask(RotateKeyOnDemandRequest(key_id=service.id))
    refusal = service.refuses(RotateKeyOnDemandRequest(key_id=service.id))
    assert isinstance(refusal, LimitExceededException)
    service.rotates(90)
    service.days(90)
    assert len(service.used().materials) == 4


def test_rotations_are_listed() -> None:
    service = Fixture()
    assert service.ask(ListKeyRotationsRequest(key_id=service.id)).rotations == []
    service.rotates(90)
    service.days(10)
    service.ask(RotateKeyOnDemandRequest(key_id=service.id))
    service.days(80)
    listed = service.ask(ListKeyRotationsRequest(key_id=service.id)).rotations
    assert [(entry.rotation_type, entry.key_material_state) for entry in listed] == [
        ("ON_DEMAND", "NON_CURRENT"),
        ("AUTOMATIC", "CURRENT"),
    ]
    assert listed[1].rotation_date - listed[0].rotation_date == timedelta(days=80)
    request = ListKeyRotationsRequest(key_id=service.id, include_key_material="ALL_KEY_MATERIAL")
    first, *rest = service.ask(request).rotations
    assert (first.rotation_type, first.rotation_date) == (None, None)
    assert rest == listed
    request.limit = 2
    page = service.ask(request)
    assert (len(page.rotations), page.truncated) == (2, True)
    request.marker = page.next_marker
    assert service.ask(request).rotations == rest[1:]


EDITS = [EnableKeyRotationRequest, DisableKeyRotationRequest, RotateKeyOnDemandRequest]


@pytest.mark.parametrize("request_type", EDITS)
def test_a_key_must_be_usable_to_be_changed(request_type: Any) -> None:
    service = Fixture()
    service.do(DisableKeyRequest(key_id=service.id))
    assert isinstance(service.refuses(request_type(key_id=service.id)), DisabledException)
    service.do(ScheduleKeyDeletionRequest(key_id=service.id))
    assert isinstance(service.refuses(request_type(key_id=service.id)), KMSInvalidStateException)


@pytest.mark.parametrize("request_type", [*EDITS, ListKeyRotationsRequest])
def test_only_keys_for_encryption_rotate(request_type: Any) -> None:
    service = Fixture()
    key_id = service.key(key_spec="HMAC_256", key_usage="GENERATE_VERIFY_MAC")
    refusal = service.refuses(request_type(key_id=key_id))
    assert isinstance(refusal, UnsupportedOperationException)


@pytest.mark.parametrize("is_kept", [True, False])
def test_of_a_key_that_cannot_rotate_it_is_told_that_it_does_not(is_kept: bool) -> None:
    service = Fixture()
    key_id = service.key(key_spec="HMAC_256", key_usage="GENERATE_VERIFY_MAC")
    if not is_kept:
        service.do(ScheduleKeyDeletionRequest(key_id=key_id))
    status = service.ask(GetKeyRotationStatusRequest(key_id=key_id))
    assert status == GetKeyRotationStatusResponse(key_rotation_enabled=False, key_id=key_id)
