"""What this version does not have says so, and every action of the model is answered."""

import pytest
from msgspec import Struct

from stanchion.model.sqs import (
    OPERATIONS,
    CancelMessageMoveTaskRequest,
    ListDeadLetterSourceQueuesRequest,
    ListMessageMoveTasksRequest,
    StartMessageMoveTaskRequest,
    UnsupportedOperation,
)
from stanchion.sqs.actions import ACTIONS
from tests.sqs.harness import Service


@pytest.mark.parametrize(
    "request_type",
    [
        CancelMessageMoveTaskRequest,
        ListDeadLetterSourceQueuesRequest,
        ListMessageMoveTasksRequest,
        StartMessageMoveTaskRequest,
    ],
)
def test_dead_letter_actions_are_not_supported(request_type: type[Struct]) -> None:
    error = Service().refuses(request_type())
    assert isinstance(error, UnsupportedOperation)
    assert error.message == "Dead-letter queues are not supported by this version."


def test_every_action_of_the_model_is_answered() -> None:
    assert ACTIONS.keys() == OPERATIONS.keys()
