"""Every action of the model is answered."""

from stanchion.model.sqs import OPERATIONS
from stanchion.sqs.actions import ACTIONS


def test_every_action_of_the_model_is_answered() -> None:
    assert ACTIONS.keys() == OPERATIONS.keys()
