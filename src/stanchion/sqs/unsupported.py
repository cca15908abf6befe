"""The actions that this version does not have: they say so, rather than pretend."""

from msgspec import Struct

from stanchion.model.sqs import UnsupportedOperation
from stanchion.sqs.call import Call
from stanchion.sqs.registry import action
from stanchion.sqs.service import Sqs


@action
async def list_dead_letter_source_queues(sqs: Sqs, call: Call, request: Struct) -> None:
    raise _no_dead_letters()


@action
async def start_message_move_task(sqs: Sqs, call: Call, request: Struct) -> None:
    raise _no_dead_letters()


@action
async def cancel_message_move_task(sqs: Sqs, call: Call, request: Struct) -> None:
    raise _no_dead_letters()


@action
async def list_message_move_tasks(sqs: Sqs, call: Call, request: Struct) -> None:
    raise _no_dead_letters()


def _no_dead_letters() -> UnsupportedOperation:
    return UnsupportedOperation("Dead-letter queues are not supported by this version.")
