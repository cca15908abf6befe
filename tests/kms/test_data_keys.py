"""Data keys: their sizes, and that the two halves belong together."""

from typing import Any

import pytest

from stanchion.model.errors import AccessDenied, ValidationError
from stanchion.model.kms import (
    DecryptRequest,
    DisabledException,
    DisableKeyRequest,
    DryRunOperationException,
    EnableKeyRotationRequest,
    GenerateDataKeyRequest,
    GenerateDataKeyWithoutPlaintextRequest,
    InvalidKeyUsageException,
    RecipientInfo,
    UnsupportedOperationException,
)
from tests.kms.harness import ACCOUNT, DAY_S, REGION, Service, allow

BOTH = [GenerateDataKeyRequest, GenerateDataKeyWithoutPlaintextRequest]


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        (16, {"key_spec": "AES_128"}),
        (32, {"key_spec": "AES_256"}),
        (1, {"number_of_bytes": 1}),
        (1024, {"number_of_bytes": 1024}),
    ],
)
def test_a_data_key_is_what_its_ciphertext_holds(size: int, parameters: Any) -> None:
    service = Service()
    key_id, context = service.key(), {"a": "b"}
    for request in BOTH:
        made = service.ask(request(key_id=key_id, encryption_context=context, **parameters))
        told = service.ask(
            DecryptRequest(ciphertext_blob=made.ciphertext_blob, encryption_context=context)
        )
        assert len(told.plaintext) == size
        assert made.key_id == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"
        assert made.key_material_id == told.key_material_id
        if request is GenerateDataKeyRequest:
            assert made.plaintext == told.plaintext


@pytest.mark.parametrize("request_type", BOTH)
def test_it_is_never_the_same_again(request_type: Any) -> None:
    service = Service()
    request = request_type(key_id=service.key(), key_spec="AES_256")
    blobs = [service.ask(request).ciphertext_blob for _ in range(3)]
    plain = {service.ask(DecryptRequest(ciphertext_blob=blob)).plaintext for blob in blobs}
    assert len(plain) == 3


@pytest.mark.parametrize("request_type", BOTH)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"key_spec": "AES_256", "number_of_bytes": 32},
        {"number_of_bytes": 0},
        {"number_of_bytes": 1025},
        {"key_spec": "AES_512"},
    ],
)
def test_sizes_that_are_none(request_type: Any, parameters: Any) -> None:
    service = Service()
    error = service.refuses(request_type(key_id=service.key(), **parameters))
    assert type(error) is ValidationError
    if len(parameters) != 1:
        assert error.message == "Please specify either number of bytes or key spec."


@pytest.mark.parametrize("request_type", BOTH)
def test_states_usages_and_dry_runs(request_type: Any) -> None:
    service = Service()
    key_id = service.key()
    mac_id = service.key(key_spec="HMAC_256", key_usage="GENERATE_VERIFY_MAC")
    request = request_type(key_id=key_id, key_spec="AES_256", dry_run=True)
    assert type(service.refuses(request)) is DryRunOperationException
    wrong = request_type(key_id=mac_id, key_spec="AES_256")
    assert type(service.refuses(wrong)) is InvalidKeyUsageException
    service.do(DisableKeyRequest(key_id=key_id))
    assert type(service.refuses(request)) is DisabledException


def test_each_has_a_permission_of_its_own() -> None:
    service = Service()
    key_id = service.key()
    for request_type, other in zip(BOTH, reversed(BOTH), strict=True):
        operation = request_type.__name__.removesuffix("Request")
        alice = service.user("alice", allow(f"kms:{operation}"))
        service.ask(request_type(key_id=key_id, key_spec="AES_256"), alice)
        error = service.refuses(other(key_id=key_id, key_spec="AES_256"), alice)
        assert type(error) is AccessDenied


def test_a_rotation_that_is_due_comes_first() -> None:
    service = Service()
    key_id = service.key()
    request = GenerateDataKeyRequest(key_id=key_id, key_spec="AES_256")
    before = service.ask(request)
    service.do(EnableKeyRotationRequest(key_id=key_id, rotation_period_in_days=90))
    service.clock.advance(90 * DAY_S)
    after = service.ask(request)
    assert before.key_material_id != after.key_material_id
    for made in (before, after):
        told = service.ask(DecryptRequest(ciphertext_blob=made.ciphertext_blob))
        assert told.plaintext == made.plaintext


def test_there_are_no_enclaves() -> None:
    service = Service()
    request = GenerateDataKeyRequest(
        key_id=service.key(), key_spec="AES_256", recipient=RecipientInfo()
    )
    assert type(service.refuses(request)) is UnsupportedOperationException
