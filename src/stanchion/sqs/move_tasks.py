"""StartMessageMoveTask, ListMessageMoveTasks and CancelMessageMoveTask.

The checks and the texts are here; the work is the store's. A task handle is only a name for a task:
it is believed once the store says that the source queue it names has such a task.
"""

from base64 import b64decode, b64encode

import msgspec
from msgspec import Struct

from stanchion.model.errors import InvalidParameterValue, MissingParameter
from stanchion.model.sqs import (
    CancelMessageMoveTaskRequest,
    CancelMessageMoveTaskResult,
    ListMessageMoveTasksRequest,
    ListMessageMoveTasksResult,
    ListMessageMoveTasksResultEntry,
    OverLimit,
    QueueDoesNotExist,
    ResourceNotFoundException,
    StartMessageMoveTaskRequest,
    StartMessageMoveTaskResult,
    UnsupportedOperation,
)
from stanchion.service import Call
from stanchion.sqs.catalogue import Queue, view_of
from stanchion.sqs.dead_letters import sources_of
from stanchion.sqs.limits import (
    MOVE_RATE_PER_S_MAX,
    MOVE_TASK_RESULTS_MAX,
    MOVE_TASKS_MAX,
    TASK_HANDLE_CHARS_MAX,
)
from stanchion.sqs.service import Sqs, action
from stanchion.sqs.tokens import echo
from stanchion.sqs.urls import Arn, queue_arn, read_arn
from stanchion.store.contract import ListDeadLetterSources, QueueName
from stanchion.store.moves import CancelMove, ListMoves, MoveFailure, MoveTask, StartMove


@action
async def start_message_move_task(
    sqs: Sqs, call: Call, request: StartMessageMoveTaskRequest
) -> StartMessageMoveTaskResult:
    """Without a destination each message goes back to the queue that it came from."""
    source_arn = _required_arn("SourceArn", request.source_arn)
    destination_arn = None
    if request.destination_arn is not None:
        destination_arn = _arn("DestinationArn", request.destination_arn)
    source = await _queue_of(sqs, call, "SourceArn", source_arn)
    destination = None
    if destination_arn is not None:
        destination = await _queue_of(sqs, call, "DestinationArn", destination_arn)
    await _check_roles(sqs, source, destination)
    await _check_keys(sqs, call, source, destination)
    rate_per_s = _checked_rate(request.max_number_of_messages_per_second)
    started = await sqs.store.run(
        StartMove(
            task_id=sqs.ids.uuid(),
            source_id=source.id,
            destination=destination.name if destination else None,
            messages_per_s=rate_per_s,
            tasks_max=MOVE_TASKS_MAX,
        )
    )
    if started is None:
        sqs.catalogue.forget(source)
        raise _no_resource("SourceArn")
    return StartMessageMoveTaskResult(task_handle=_handle(_started(started)))


async def _check_roles(sqs: Sqs, source: Queue, destination: Queue | None) -> None:
    if not await sqs.store.run(ListDeadLetterSources(source.name, after="", limit=1)):
        raise InvalidParameterValue("Source queue must be configured as a Dead Letter Queue.")
    if destination is None:
        return
    if destination.id == source.id:
        raise InvalidParameterValue(
            "Source queue arn and destination queue arn cannot be the same."
        )
    if destination.is_fifo != source.is_fifo:
        raise InvalidParameterValue(
            "The source queue and destination queue must be of the same queue type."
        )


async def _check_keys(sqs: Sqs, call: Call, source: Queue, destination: Queue | None) -> None:
    """Whoever fills a queue with SSE-KMS needs its key, although messages keep the one they have.

    Raises what a send would.
    """
    if destination is not None:
        targets = [destination]
    else:
        targets = [view_of(record) for record in await sources_of(sqs, source.name)]
    for queue in targets:
        await sqs.bodies.sealing_key(call, queue.id, queue.arn, queue.encryption)


def _checked_rate(messages_per_s: int | None) -> int | None:
    if messages_per_s is not None and not 1 <= messages_per_s <= MOVE_RATE_PER_S_MAX:
        raise InvalidParameterValue(
            "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must enter "
            f"a number that's between 1 and {MOVE_RATE_PER_S_MAX}."
        )
    return messages_per_s


def _started(outcome: MoveTask | str) -> MoveTask:
    if isinstance(outcome, MoveTask):
        return outcome
    if outcome == "running":
        raise UnsupportedOperation(
            "There is already a task running. Only one active task is allowed for a source queue "
            "arn at a given time."
        )
    if outcome == "elsewhere":
        raise UnsupportedOperation(
            "The destination is a FIFO queue on another shard than the source queue: messages "
            "cannot be moved there. Receive them and send them."
        )
    raise OverLimit(f"Only {MOVE_TASKS_MAX} active message move tasks are allowed for an account.")


@action
async def list_message_move_tasks(
    sqs: Sqs, call: Call, request: ListMessageMoveTasksRequest
) -> ListMessageMoveTasksResult:
    """Newest first; one of them, unless MaxResults says more."""
    source_arn = _required_arn("SourceArn", request.source_arn)
    limit = 1 if request.max_results is None else request.max_results
    if not 1 <= limit <= MOVE_TASK_RESULTS_MAX:
        raise InvalidParameterValue(
            "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer "
            f"between 1 and {MOVE_TASK_RESULTS_MAX}."
        )
    source = await _queue_of(sqs, call, "SourceArn", source_arn)
    tasks = await sqs.store.run(ListMoves(source.name, limit))
    return ListMessageMoveTasksResult(results=[_shown(task) for task in tasks] or None)


_FAILURE_REASONS: dict[MoveFailure, str] = {
    "no_source": "CouldNotDetermineMessageSource",
    "no_destination": "AWS.SimpleQueueService.NonExistentQueue",
    "too_long": "MaximumRunTimeExceeded",
}


def _shown(task: MoveTask) -> ListMessageMoveTasksResultEntry:
    return ListMessageMoveTasksResultEntry(
        task_handle=_handle(task) if task.status == "RUNNING" else None,
        status=task.status,
        source_arn=queue_arn(task.source),
        destination_arn=queue_arn(task.destination) if task.destination else None,
        max_number_of_messages_per_second=task.messages_per_s,
        approximate_number_of_messages_moved=task.moved,
        approximate_number_of_messages_to_move=task.to_move,
        failure_reason=_FAILURE_REASONS[task.failure] if task.failure else None,
        started_timestamp=task.started_at_ms,
    )


@action
async def cancel_message_move_task(
    sqs: Sqs, call: Call, request: CancelMessageMoveTaskRequest
) -> CancelMessageMoveTaskResult:
    """What has been moved stays moved."""
    if not request.task_handle:
        raise MissingParameter.named("TaskHandle")
    task_id, source_arn = _read_handle(request.task_handle)
    source = _queue_name(call, source_arn)
    cancelled = None
    if source is not None and await _is_latest(sqs, source, task_id):
        cancelled = await sqs.store.run(CancelMove(task_id, source))
    if cancelled is None:
        raise ResourceNotFoundException("Task does not exist.")
    return CancelMessageMoveTaskResult(approximate_number_of_messages_moved=cancelled.moved)


async def _is_latest(sqs: Sqs, source: QueueName, task_id: str) -> bool:
    """Whether it is the latest task of the source. If one is active, it is that."""
    latest = await sqs.store.run(ListMoves(source, limit=1))
    return bool(latest) and latest[0].task_id == task_id


# --- Handles --------------------------------------------------------------------------------------


class _Handle(Struct, rename="camel"):
    task_id: str
    source_arn: str


def _handle(task: MoveTask) -> str:
    return b64encode(msgspec.json.encode(_Handle(task.task_id, queue_arn(task.source)))).decode()


def _read_handle(handle: str) -> tuple[str, Arn]:
    """The task's id and its source. Raises `InvalidParameterValue`."""
    try:
        if len(handle) > TASK_HANDLE_CHARS_MAX:
            raise ValueError("too long")
        named = msgspec.json.decode(b64decode(handle, validate=True), type=_Handle)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise _bad_handle(handle) from None
    arn = read_arn(named.source_arn)
    if arn is None:
        raise _bad_handle(handle)
    return named.task_id, arn


def source_of(handle: str) -> Arn | None:
    """The source that a handle names, or None for one that cannot be read."""
    try:
        return _read_handle(handle)[1]
    except InvalidParameterValue:
        return None


def _bad_handle(handle: str) -> InvalidParameterValue:
    return InvalidParameterValue(f"Value {echo(handle)} for parameter TaskHandle is invalid.")


# --- ARNs -----------------------------------------------------------------------------------------


def _required_arn(parameter: str, text: str | None) -> Arn:
    if not text:
        raise MissingParameter.named(parameter)
    return _arn(parameter, text)


def _arn(parameter: str, text: str) -> Arn:
    arn = read_arn(text)
    if arn is None:
        raise InvalidParameterValue(
            f"You must use this format to specify the {parameter}: "
            "arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        )
    return arn


async def _queue_of(sqs: Sqs, call: Call, parameter: str, arn: Arn) -> Queue:
    name = _queue_name(call, arn)
    if name is None:
        raise _no_resource(parameter)
    try:
        return await sqs.catalogue.read(name)
    except QueueDoesNotExist:
        raise _no_resource(parameter) from None


def _queue_name(call: Call, arn: Arn) -> QueueName | None:
    """None for what is elsewhere or no queue."""
    name = arn.queue_name()
    return name if name is not None and name.region == call.region else None


def _no_resource(parameter: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(
        f"The resource that you specified for the {parameter} parameter doesn't exist."
    )
