"""The service is whole: every operation has its function and its rule."""

from stanchion.kms.actions import service_of
from stanchion.kms.authorisation import RULES
from stanchion.kms.service import REGISTRY
from tests.kms.harness import Service


def test_every_operation_is_answered() -> None:
    assert REGISTRY.missing() == set()
    assert set(REGISTRY.model.operations) == set(REGISTRY.actions)
    assert set(REGISTRY.model.operations) <= set(RULES)


def test_the_gateway_sees_the_model() -> None:
    assert service_of(Service().kms).model.name == "kms"
