"""GenerateMac and VerifyMac."""

import hmac
from typing import Any

import pytest

from stanchion.kms import materials
from stanchion.model.errors import AccessDenied, ValidationError
from stanchion.model.kms import (
    DisabledException,
    DisableKeyRequest,
    DryRunOperationException,
    GenerateMacRequest,
    InvalidGrantTokenException,
    InvalidKeyUsageException,
    KMSInvalidMacException,
    VerifyMacRequest,
)
from tests.kms.harness import ACCOUNT, REGION, Service, allow

SPECS = ["HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512"]


def mac_key(service: Service, spec: str = "HMAC_256") -> str:
    return service.key(key_spec=spec, key_usage="GENERATE_VERIFY_MAC")


def generate(key_id: str, spec: str = "256", **more: Any) -> GenerateMacRequest:
    return GenerateMacRequest(
        key_id=key_id, message=b"message", mac_algorithm=f"HMAC_SHA_{spec}", **more
    )


def verify(key_id: str, mac: bytes, message: bytes = b"message", **more: Any) -> VerifyMacRequest:
    return VerifyMacRequest(
        key_id=key_id, message=message, mac=mac, mac_algorithm="HMAC_SHA_256", **more
    )


@pytest.mark.parametrize("spec", SPECS)
def test_it_is_the_mac_that_everybody_computes(spec: str) -> None:
    service = Service()
    key_id = mac_key(service, spec)
    answer = service.ask(generate(key_id, spec[-3:]))
    key = service.found(key_id)
    material = materials.opened(service.kms, key, key.materials[0])
    assert answer.mac == hmac.digest(material, b"message", f"sha{spec[-3:]}")
    assert answer.key_id == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"
    told = service.ask(
        VerifyMacRequest(
            key_id=key_id, message=b"message", mac=answer.mac, mac_algorithm=answer.mac_algorithm
        )
    )
    assert told.mac_valid is True


def test_what_does_not_match_is_refused() -> None:
    service = Service()
    key_id, other_id = mac_key(service), mac_key(service)
    mac = service.ask(generate(key_id)).mac
    for wrong in (
        verify(key_id, mac[:-1]),
        verify(key_id, bytes((mac[0] ^ 1,)) + mac[1:]),
        verify(key_id, mac, b"another"),
        verify(other_id, mac),
    ):
        assert type(service.refuses(wrong)) is KMSInvalidMacException


def test_keys_and_algorithms_that_do_not_fit() -> None:
    service = Service()
    mac_id, aes_id = mac_key(service), service.key()
    error = service.refuses(generate(mac_id, "512"))
    assert type(error) is InvalidKeyUsageException
    assert error.message == "Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256."
    for request, operation in (
        (generate(aes_id), "GenerateMac"),
        (verify(aes_id, b"m"), "VerifyMac"),
    ):
        error = service.refuses(request)
        assert type(error) is InvalidKeyUsageException
        assert error.message.endswith(
            f"key usage is ENCRYPT_DECRYPT which is not valid for {operation}."
        )
    error = service.refuses(GenerateMacRequest(key_id=mac_id, message=b"m"))
    assert type(error) is ValidationError


def test_states_dry_runs_and_tokens() -> None:
    service = Service()
    key_id = mac_key(service)
    mac = service.ask(generate(key_id)).mac
    for request in (generate(key_id, dry_run=True), verify(key_id, mac, dry_run=True)):
        assert type(service.refuses(request)) is DryRunOperationException
    wrong = verify(key_id, b"another", dry_run=True)
    assert type(service.refuses(wrong)) is KMSInvalidMacException
    for request in (generate(key_id, grant_tokens=["x"]), verify(key_id, mac, grant_tokens=["x"])):
        assert type(service.refuses(request)) is InvalidGrantTokenException
    service.do(DisableKeyRequest(key_id=key_id))
    for request in (generate(key_id), verify(key_id, mac)):
        assert type(service.refuses(request)) is DisabledException


def test_each_has_a_permission_of_its_own() -> None:
    service = Service()
    key_id = mac_key(service)
    mac = service.ask(generate(key_id)).mac
    alice = service.user("alice", allow("kms:VerifyMac"))
    service.ask(verify(key_id, mac), alice)
    assert type(service.refuses(generate(key_id), alice)) is AccessDenied
