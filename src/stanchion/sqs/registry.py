"""The actions by name. An action is one decorated function; this is where the gateway finds it."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from stanchion.model.sqs import OPERATIONS
from stanchion.sqs.call import Call
from stanchion.sqs.service import Sqs

Action = Callable[[Sqs, Call, Any], Awaitable[Struct | None]]
"""Given a request struct of the model, answers with the response struct, or None if it is void."""

ACTIONS: dict[str, Action] = {}


def action(function: Action) -> Action:
    """Register `send_message` as what answers `SendMessage`, and so on."""
    name = "".join(word.capitalize() for word in function.__name__.split("_"))
    if name not in OPERATIONS:
        raise LookupError(f"{function.__name__}: the model has no operation {name}")
    ACTIONS[name] = function
    return function


def missing() -> set[str]:
    """Operations of the model that no function answers."""
    return set(OPERATIONS) - set(ACTIONS)
