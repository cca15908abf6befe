"""Every action of the model is answered, and nobody may call one without a rule about who may."""

from stanchion.model.sqs import OPERATIONS
from stanchion.sqs import actions
from stanchion.sqs.authorisation import RULES
from stanchion.sqs.service import REGISTRY


def test_every_action_of_the_model_is_answered() -> None:
    assert actions.REGISTRY is REGISTRY
    assert REGISTRY.actions.keys() == OPERATIONS.keys()


def test_every_action_has_a_rule() -> None:
    assert RULES.keys() == OPERATIONS.keys()
