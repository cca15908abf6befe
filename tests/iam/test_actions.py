"""Every action of the model is answered, and none before it was asked whether the caller may."""

from stanchion.iam.actions import service_of
from stanchion.iam.authorisation import TARGETS, authorise
from stanchion.iam.service import REGISTRY
from stanchion.model.iam import OPERATIONS, SERVICE
from tests.iam.harness import Service


def test_every_action_of_the_model_is_answered() -> None:
    assert REGISTRY.missing() == set()
    assert REGISTRY.actions.keys() == OPERATIONS.keys()


def test_every_action_of_the_model_is_decided_on_something() -> None:
    assert TARGETS.keys() == OPERATIONS.keys()


def test_the_service_as_the_gateway_sees_it() -> None:
    service = service_of(Service().iam)
    assert service.model is SERVICE
    assert service._authorise is authorise
