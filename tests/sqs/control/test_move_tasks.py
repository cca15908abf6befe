"""The three actions of message move tasks: each check and text, and what a task looks like."""

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

from stanchion.model.errors import (
    AccessDenied,
    InvalidParameterValue,
    MissingParameter,
    ServiceError,
)
from stanchion.model.sqs import (
    CancelMessageMoveTaskRequest,
    DeleteQueueRequest,
    ListMessageMoveTasksRequest,
    OverLimit,
    ResourceNotFoundException,
    StartMessageMoveTaskRequest,
    UnsupportedOperation,
)
from stanchion.store.contract import QueueName
from stanchion.store.moves import (
    CancelMove,
    ListMoves,
    MoveFailure,
    MoveStatus,
    MoveTask,
    StartMove,
)
from tests.sqs.harness import ACCOUNT, REGION, START_MS, Fault, Service, call_of, pairs_of_faults

ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}"
DEAD = QueueName(ACCOUNT, REGION, "dead")
TASK = MoveTask(
    task_id="task-1",
    source=DEAD,
    destination=None,
    messages_per_s=None,
    status="RUNNING",
    started_at_ms=START_MS,
    moved=3,
    to_move=10,
    failure=None,
)
FORMAT = "arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
RATE = (
    "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must enter a number "
    "that's between 1 and 500."
)


def bad_arn(parameter: str) -> str:
    return f"You must use this format to specify the {parameter}: {FORMAT}"


def absent(parameter: str) -> str:
    return f"The resource that you specified for the {parameter} parameter doesn't exist."


def told(error: ServiceError) -> tuple[type[ServiceError], str]:
    return type(error), error.message


def with_dead_letters(*tasks: MoveTask) -> Service:
    """Queues of which `dead` and `dead.fifo` are dead-letter queues, and a store with tasks."""
    service = Service()
    for suffix, attributes in (("", {}), (".fifo", {"FifoQueue": "true"})):
        for name in ("dead", "other"):
            service.create(f"{name}{suffix}", **attributes)
        policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead{suffix}", "maxReceiveCount": 1})
        service.create(f"source{suffix}", RedrivePolicy=policy, **attributes)
    service.store.answers[StartMove] = lambda _: TASK
    service.store.answers[ListMoves] = lambda command: tasks[: command.limit]
    service.store.answers[CancelMove] = lambda _: TASK
    return service


def start(**parameters: Any) -> StartMessageMoveTaskRequest:
    return StartMessageMoveTaskRequest(**{"source_arn": f"{ARN}:dead", **parameters})


def handle_of(task_id: str = "task-1", source_arn: str = f"{ARN}:dead") -> str:
    document = json.dumps({"taskId": task_id, "sourceArn": source_arn})
    return b64encode(document.encode()).decode()


# --- Start ----------------------------------------------------------------------------------------


def test_a_handle_says_which_task_of_which_source() -> None:
    answer = with_dead_letters().do(start())
    document = json.loads(b64decode(answer.task_handle, validate=True))
    assert document == {"taskId": "task-1", "sourceArn": f"{ARN}:dead"}


def test_what_the_store_is_asked_to_start() -> None:
    service = with_dead_letters()
    service.do(start())
    service.do(start(destination_arn=f"{ARN}:other", max_number_of_messages_per_second=500))
    first, second = (c for c in service.store.commands if isinstance(c, StartMove))
    assert first == StartMove("00000000-0000-4000-8000-000000000001", 1, None, None, 100)
    assert second.destination == QueueName(ACCOUNT, REGION, "other")
    assert second.messages_per_s == 500
    assert second.task_id != first.task_id


@pytest.mark.parametrize("rate_per_s", [-1, 0, 501])
def test_a_rate_has_a_range(rate_per_s: int) -> None:
    error = with_dead_letters().refuses(start(max_number_of_messages_per_second=rate_per_s))
    assert told(error) == (InvalidParameterValue, RATE)


BAD_ARNS = ["dead", "arn:aws:sqs:x", f"{ARN}:", f"{ARN}:dead:more", f"ARN{ARN[3:]}:dead"]


@pytest.mark.parametrize("arn", BAD_ARNS)
@pytest.mark.parametrize(
    ("field", "name"), [("source_arn", "SourceArn"), ("destination_arn", "DestinationArn")]
)
def test_an_arn_has_its_parts(field: str, name: str, arn: str) -> None:
    error = with_dead_letters().refuses(start(**{field: arn}))
    assert told(error) == (InvalidParameterValue, bad_arn(name))


def test_an_empty_destination_is_not_an_absent_one() -> None:
    error = with_dead_letters().refuses(start(destination_arn=""))
    assert told(error) == (InvalidParameterValue, bad_arn("DestinationArn"))


@pytest.mark.parametrize("source_arn", [None, ""])
def test_a_source_is_required(source_arn: str | None) -> None:
    error = with_dead_letters().refuses(start(source_arn=source_arn))
    text = "The request must contain the parameter SourceArn."
    assert told(error) == (MissingParameter, text)


@pytest.mark.parametrize(
    "arn",
    [
        f"{ARN}:absent",
        f"arn:aws:sqs:eu-west-1:{ACCOUNT}:dead",
        f"arn:aws-cn:sqs:{REGION}:{ACCOUNT}:dead",
        f"arn:aws:sns:{REGION}:{ACCOUNT}:dead",
        f"arn:aws:sqs:{REGION}:root:dead",
    ],
)
@pytest.mark.parametrize(
    ("field", "name"), [("source_arn", "SourceArn"), ("destination_arn", "DestinationArn")]
)
def test_a_queue_must_be_there(field: str, name: str, arn: str) -> None:
    error = with_dead_letters().refuses(start(**{field: arn}))
    assert told(error) == (ResourceNotFoundException, absent(name))
    assert error.http_status == 404


def test_a_source_that_went_meanwhile_is_absent() -> None:
    service = with_dead_letters()
    service.store.answers[StartMove] = lambda _: None
    assert told(service.refuses(start())) == (ResourceNotFoundException, absent("SourceArn"))


@pytest.mark.parametrize("field", ["source_arn", "destination_arn"])
@pytest.mark.parametrize("name", ["dead", "absent"])
def test_a_queue_of_another_account_is_denied(field: str, name: str) -> None:
    arn = f"arn:aws:sqs:{REGION}:999999999999:{name}"
    error = with_dead_letters().refuses(start(**{field: arn}))
    assert isinstance(error, AccessDenied)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (
            "running",
            (
                UnsupportedOperation,
                "There is already a task running. Only one active task is allowed for a source "
                "queue arn at a given time.",
            ),
        ),
        (
            "too_many",
            (OverLimit, "Only 100 active message move tasks are allowed for an account."),
        ),
    ],
)
def test_there_are_only_so_many_active_tasks(
    outcome: str, expected: tuple[type[ServiceError], str]
) -> None:
    service = with_dead_letters()
    service.store.answers[StartMove] = lambda _: outcome
    assert told(service.refuses(start())) == expected


NOBODYS = "Source queue must be configured as a Dead Letter Queue."
FAULTS: list[Fault] = [
    (
        {"source_arn": None},
        (MissingParameter, "The request must contain the parameter SourceArn."),
    ),
    ({"source_arn": "x"}, (InvalidParameterValue, bad_arn("SourceArn"))),
    ({"destination_arn": "x"}, (InvalidParameterValue, bad_arn("DestinationArn"))),
    ({"source_arn": f"{ARN}:absent"}, (ResourceNotFoundException, absent("SourceArn"))),
    ({"destination_arn": f"{ARN}:absent"}, (ResourceNotFoundException, absent("DestinationArn"))),
    ({"source_arn": f"{ARN}:other"}, (InvalidParameterValue, NOBODYS)),
    (
        {"destination_arn": f"{ARN}:dead"},
        (
            InvalidParameterValue,
            "Source queue arn and destination queue arn cannot be the same.",
        ),
    ),
    (
        {"destination_arn": f"{ARN}:other.fifo"},
        (
            InvalidParameterValue,
            "The source queue and destination queue must be of the same queue type.",
        ),
    ),
    ({"max_number_of_messages_per_second": 501}, (InvalidParameterValue, RATE)),
]


@pytest.mark.parametrize(("parameters", "expected"), [*FAULTS, *pairs_of_faults(FAULTS)], ids=str)
def test_of_two_faults_the_first_is_reported(
    parameters: dict[str, Any], expected: tuple[type[ServiceError], str]
) -> None:
    assert told(with_dead_letters().refuses(start(**parameters))) == expected


# --- List -----------------------------------------------------------------------------------------


def listed(*tasks: MoveTask, **parameters: Any) -> list[Any]:
    request = ListMessageMoveTasksRequest(source_arn=f"{ARN}:dead", **parameters)
    found: list[Any] | None = with_dead_letters(*tasks).do(request).results
    return found or []


def task_of(status: MoveStatus, failure: MoveFailure | None = None) -> MoveTask:
    return MoveTask("task-1", DEAD, None, None, status, START_MS, 3, 10, failure)


def test_a_running_task_has_a_handle_and_no_member_that_was_not_given() -> None:
    (entry,) = listed(TASK)
    assert entry.status == "RUNNING"
    assert entry.source_arn == f"{ARN}:dead"
    assert entry.started_timestamp == START_MS
    assert entry.approximate_number_of_messages_moved == 3
    assert entry.approximate_number_of_messages_to_move == 10
    assert entry.task_handle == with_dead_letters().do(start()).task_handle
    assert entry.destination_arn is None
    assert entry.max_number_of_messages_per_second is None
    assert entry.failure_reason is None


@pytest.mark.parametrize("status", ["COMPLETED", "CANCELLING", "CANCELLED"])
def test_a_task_that_does_not_run_has_no_handle(status: MoveStatus) -> None:
    (entry,) = listed(task_of(status))
    assert entry.status == status
    assert entry.task_handle is None


def test_what_was_given_is_shown() -> None:
    destination = QueueName(ACCOUNT, REGION, "other")
    task = MoveTask("t", DEAD, destination, 5, "COMPLETED", START_MS, 3, 10, None)
    (entry,) = listed(task)
    assert entry.destination_arn == f"{ARN}:other"
    assert entry.max_number_of_messages_per_second == 5


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("no_source", "CouldNotDetermineMessageSource"),
        ("no_destination", "AWS.SimpleQueueService.NonExistentQueue"),
        ("too_long", "MaximumRunTimeExceeded"),
    ],
)
def test_a_task_that_failed_says_why(failure: MoveFailure, reason: str) -> None:
    (entry,) = listed(task_of("FAILED", failure))
    assert entry.status == "FAILED"
    assert entry.failure_reason == reason
    assert entry.task_handle is None


def test_one_task_is_listed_unless_more_are_asked_for() -> None:
    tasks = [task_of("COMPLETED")] * 12
    assert len(listed(*tasks)) == 1
    assert len(listed(*tasks, max_results=10)) == 10
    assert listed() == []


LIST_FAULTS: list[Fault] = [
    (
        {"source_arn": None},
        (MissingParameter, "The request must contain the parameter SourceArn."),
    ),
    ({"source_arn": "x"}, (InvalidParameterValue, bad_arn("SourceArn"))),
    *(
        (
            {"max_results": max_results},
            (
                InvalidParameterValue,
                "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer "
                "between 1 and 10.",
            ),
        )
        for max_results in (0, 11)
    ),
    ({"source_arn": f"{ARN}:absent"}, (ResourceNotFoundException, absent("SourceArn"))),
]


@pytest.mark.parametrize(
    ("parameters", "expected"), [*LIST_FAULTS, *pairs_of_faults(LIST_FAULTS)], ids=str
)
def test_of_two_faults_of_a_listing_the_first_is_reported(
    parameters: dict[str, Any], expected: tuple[type[ServiceError], str]
) -> None:
    request = ListMessageMoveTasksRequest(**{"source_arn": f"{ARN}:dead", **parameters})
    assert told(with_dead_letters(TASK).refuses(request)) == expected


# --- Cancel ---------------------------------------------------------------------------------------


def cancel(handle: str | None) -> CancelMessageMoveTaskRequest:
    return CancelMessageMoveTaskRequest(task_handle=handle)


NO_TASK = (ResourceNotFoundException, "Task does not exist.")


def test_a_cancelled_task_says_what_it_has_moved() -> None:
    service = with_dead_letters(TASK)
    handle = service.do(start()).task_handle
    assert service.do(cancel(handle)).approximate_number_of_messages_moved == 3
    assert service.store.commands[-1] == CancelMove("task-1", TASK.source)


def test_a_task_outlives_its_source() -> None:
    service = with_dead_letters(TASK)
    service.do(DeleteQueueRequest(queue_url="dead"))
    assert service.do(cancel(handle_of())).approximate_number_of_messages_moved == 3


@pytest.mark.parametrize("handle", [None, ""])
def test_a_handle_is_required(handle: str | None) -> None:
    text = "The request must contain the parameter TaskHandle."
    assert told(with_dead_letters().refuses(cancel(handle))) == (MissingParameter, text)


@pytest.mark.parametrize(
    "handle",
    [
        "x",
        "é",
        "!!!!",
        b64encode(b"x").decode(),
        b64encode(b"[]").decode(),
        b64encode(b"{}").decode(),
        b64encode(b'{"taskId":1,"sourceArn":"x"}').decode(),
        handle_of(source_arn="x"),
        handle_of("x" * 2000),
    ],
)
def test_garbage_is_no_handle(handle: str) -> None:
    echoed = handle if len(handle) <= 256 else handle[:256] + "…"
    assert told(with_dead_letters(TASK).refuses(cancel(handle))) == (
        InvalidParameterValue,
        f"Value {echoed} for parameter TaskHandle is invalid.",
    )


def test_a_task_must_be_the_latest_of_the_source_that_its_handle_names() -> None:
    service = with_dead_letters(TASK)
    for handle in (
        handle_of("another"),
        handle_of(source_arn=f"arn:aws:sqs:eu-west-1:{ACCOUNT}:dead"),
    ):
        assert told(service.refuses(cancel(handle))) == NO_TASK
    assert not any(isinstance(command, CancelMove) for command in service.store.commands)


def test_a_task_that_does_not_run_is_not_there() -> None:
    service = with_dead_letters(task_of("COMPLETED"))
    service.store.answers[CancelMove] = lambda _: None
    assert told(service.refuses(cancel(handle_of()))) == NO_TASK


def test_a_task_of_another_account_is_denied() -> None:
    service = with_dead_letters(TASK)
    error = service.refuses(cancel(handle_of()), call_of("999999999999"))
    assert isinstance(error, AccessDenied)
