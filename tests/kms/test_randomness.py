"""GenerateRandom."""

from typing import Any

import pytest

from stanchion.model.errors import AccessDenied, ServiceError, ValidationError
from stanchion.model.kms import (
    CustomKeyStoreNotFoundException,
    GenerateRandomRequest,
    RecipientInfo,
    UnsupportedOperationException,
)
from tests.kms.harness import Service, allow


def test_it_is_as_long_as_asked_for_and_never_the_same() -> None:
    service = Service()
    alice = service.user("alice", allow("kms:GenerateRandom"))
    for size in (1, 1024):
        assert len(service.ask(GenerateRandomRequest(number_of_bytes=size), alice).plaintext) == (
            size
        )
    made = {service.ask(GenerateRandomRequest(number_of_bytes=16)).plaintext for _ in range(3)}
    assert len(made) == 3


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({}, ValidationError),
        ({"number_of_bytes": 0}, ValidationError),
        ({"number_of_bytes": 1025}, ValidationError),
        ({"number_of_bytes": 1, "custom_key_store_id": "c"}, CustomKeyStoreNotFoundException),
        ({"number_of_bytes": 1, "recipient": RecipientInfo()}, UnsupportedOperationException),
    ],
)
def test_what_cannot_be_had(parameters: Any, error: type[ServiceError]) -> None:
    assert type(Service().refuses(GenerateRandomRequest(**parameters))) is error


def test_it_needs_a_permission() -> None:
    service = Service()
    request = GenerateRandomRequest(number_of_bytes=1)
    assert type(service.refuses(request, service.user())) is AccessDenied
