"""ReceiveMessage: its ranges and texts, what it asks the store for, and what it shows."""

from typing import Any

import pytest

from stanchion.model.errors import InvalidParameterValue, ServiceError
from stanchion.model.sqs import (
    InvalidAttributeName,
    Message,
    MessageAttributeValue,
    MessageSystemAttributeValue,
    OverLimit,
    QueueDoesNotExist,
    ReceiveMessageRequest,
    SendMessageRequest,
)
from stanchion.sqs.receipts import Receipt
from stanchion.sqs.sequence_numbers import sequence_number_of
from stanchion.sqs.service import Limits
from stanchion.store.contract import (
    Claim,
    Claimed,
    ClaimedMessage,
    ClaimFifo,
    Lease,
    QueueName,
)
from tests.sqs.harness import ACCOUNT, REGION, START_MS, Fault, Service, known, pairs_of_faults

NOT_FOR_STANDARD = (
    "Value a for parameter ReceiveRequestAttemptId is invalid. Reason: The request include "
    "parameter that is not valid for this queue type."
)
MESSAGE = ClaimedMessage(
    lease=Lease(7, 2),
    message_id="id",
    body="é".encode(),
    attributes=b"",
    sender_id="sender",
    sent_at_ms=1000,
    first_received_at_ms=2000,
    group_id="group",
    trace_header=None,
    deduplication_id="deduplication",
)


def with_queues(limits: Limits | None = None, **attributes: str) -> Service:
    service = Service(limits)
    service.create("q", **attributes)
    service.create("q.fifo", FifoQueue="true", **attributes)
    return service


def answering(*messages: ClaimedMessage, at_capacity: bool = False) -> Service:
    """Two queues whose store has just these messages to give."""
    service = with_queues()
    claimed = Claimed(messages, START_MS, None, at_capacity)
    service.store.answers[Claim] = service.store.answers[ClaimFifo] = lambda _: claimed
    return service


def receive(service: Service, **parameters: Any) -> list[Message]:
    request = ReceiveMessageRequest(**{"queue_url": "q", **parameters})
    messages: list[Message] | None = service.do(request).messages
    return messages or []


def refusal(service: Service, **parameters: Any) -> ServiceError:
    return service.refuses(ReceiveMessageRequest(**{"queue_url": "q", **parameters}))


def claim_of(service: Service) -> Claim | ClaimFifo:
    command = service.store.commands[-1]
    assert isinstance(command, Claim | ClaimFifo)
    return command


# --- Parameters -----------------------------------------------------------------------------------


def test_without_parameters_the_queues_are_in_force() -> None:
    service = with_queues(VisibilityTimeout="7")
    assert service.do(ReceiveMessageRequest(queue_url="q")).messages is None
    assert claim_of(service) == Claim(1, limit=1, visibility_ms=7000, in_flight_max=120_000)


@pytest.mark.parametrize(("visibility_s", "limit"), [(0, 1), (43_200, 10)])
def test_parameters_replace_the_queues(visibility_s: int, limit: int) -> None:
    service = with_queues(Limits(in_flight_max=5), VisibilityTimeout="7")
    receive(service, visibility_timeout=visibility_s, max_number_of_messages=limit)
    assert claim_of(service) == Claim(1, limit, visibility_s * 1000, in_flight_max=5)


def test_an_explicit_wait_of_nothing_replaces_the_queues() -> None:
    service = with_queues(ReceiveMessageWaitTimeSeconds="20")
    assert receive(service, wait_time_seconds=0) == []


@pytest.mark.parametrize(
    ("field", "name", "values", "allowed"),
    [
        ("max_number_of_messages", "MaxNumberOfMessages", (-1, 0, 11), "between 1 and 10"),
        ("visibility_timeout", "VisibilityTimeout", (-1, 43_201), ">= 0 and <= 43200"),
        ("wait_time_seconds", "WaitTimeSeconds", (-1, 21), ">= 0 and <= 20"),
    ],
)
def test_a_number_has_its_range(
    field: str, name: str, values: tuple[int, ...], allowed: str
) -> None:
    for value in values:
        error = refusal(with_queues(), **{field: value})
        assert isinstance(error, InvalidParameterValue)
        assert error.message == (
            f"Value {value} for parameter {name} is invalid. Reason: Must be {allowed}, if "
            "provided."
        )


@pytest.mark.parametrize("field", ["attribute_names", "message_system_attribute_names"])
def test_an_unknown_system_attribute_is_refused(field: str) -> None:
    error = refusal(with_queues(), **{field: ["All", "Nope"]})
    assert isinstance(error, InvalidAttributeName)
    assert error.message == "Unknown Attribute Nope."


def test_an_attempt_id_is_for_fifo_queues() -> None:
    error = refusal(with_queues(), receive_request_attempt_id="a")
    assert isinstance(error, InvalidParameterValue)
    assert error.message == NOT_FOR_STANDARD


FAULTS: list[Fault] = [
    ({"queue_url": "absent"}, (QueueDoesNotExist, "The specified queue does not exist.")),
    (
        {"max_number_of_messages": 11},
        (
            InvalidParameterValue,
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 "
            "and 10, if provided.",
        ),
    ),
    (
        {"visibility_timeout": 43_201},
        (
            InvalidParameterValue,
            "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and "
            "<= 43200, if provided.",
        ),
    ),
    (
        {"wait_time_seconds": 21},
        (
            InvalidParameterValue,
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, "
            "if provided.",
        ),
    ),
    ({"attribute_names": ["Nope"]}, (InvalidAttributeName, "Unknown Attribute Nope.")),
    ({"receive_request_attempt_id": "a"}, (InvalidParameterValue, NOT_FOR_STANDARD)),
]


@pytest.mark.parametrize(("parameters", "expected"), [*FAULTS, *pairs_of_faults(FAULTS)], ids=str)
def test_of_two_faults_the_first_is_reported(
    parameters: dict[str, Any], expected: tuple[type[ServiceError], str]
) -> None:
    error = refusal(with_queues(), **parameters)
    assert (type(error), error.message) == expected


# --- What is shown --------------------------------------------------------------------------------


def test_a_message_is_shown_without_what_was_not_asked_for() -> None:
    service = answering(MESSAGE)
    receipt = Receipt(Lease(7, 2), START_MS)
    assert receive(service) == [
        Message(
            message_id="id",
            receipt_handle=service.sqs.receipts.issue(1, receipt),
            md5_of_body="66ddcd97cfdeabb2f6fb8a999b4bc76f",
            body="é",
        )
    ]


STANDARD = {
    "SenderId": "sender",
    "SentTimestamp": "1000",
    "ApproximateReceiveCount": "2",
    "ApproximateFirstReceiveTimestamp": "2000",
    "MessageGroupId": "group",
}
FIFO = {
    "MessageDeduplicationId": "deduplication",
    "SequenceNumber": sequence_number_of(7),
}


def shown(service: Service, *names: str, url: str = "q") -> dict[str, str] | None:
    (message,) = receive(service, queue_url=url, message_system_attribute_names=list(names))
    return message.attributes


def test_all_is_everything_that_there_is() -> None:
    assert shown(answering(MESSAGE), "All") == STANDARD
    assert shown(answering(MESSAGE), "All", url="q.fifo") == STANDARD | FIFO


@pytest.mark.parametrize("name", [*STANDARD, *FIFO])
def test_one_may_be_asked_for(name: str) -> None:
    everything = STANDARD | FIFO
    assert shown(answering(MESSAGE), name, url="q.fifo") == {name: everything[name]}


def test_both_ways_of_asking_count() -> None:
    (message,) = receive(
        answering(MESSAGE),
        attribute_names=["SenderId"],
        message_system_attribute_names=["SentTimestamp"],
    )
    assert message.attributes == {"SenderId": "sender", "SentTimestamp": "1000"}


def test_a_message_from_another_queue_says_which() -> None:
    moved = ClaimedMessage(
        lease=Lease(7, 4),
        message_id="id",
        body=b"x",
        attributes=b"",
        sender_id="sender",
        sent_at_ms=1000,
        first_received_at_ms=2000,
        group_id=None,
        trace_header="trace",
        dead_letter_source=QueueName(ACCOUNT, REGION, "source"),
    )
    assert shown(answering(moved), "DeadLetterQueueSourceArn", "AWSTraceHeader") == {
        "DeadLetterQueueSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:source",
        "AWSTraceHeader": "trace",
    }


def test_attributes_come_back_with_the_digest_of_those_that_do() -> None:
    service = with_queues()
    color = MessageAttributeValue(data_type="String", string_value="blue")
    count = MessageAttributeValue(data_type="Number", string_value="3")
    trace = MessageSystemAttributeValue(data_type="String", string_value="trace")
    request = SendMessageRequest(
        queue_url="q",
        message_body="x",
        message_attributes={"color": color, "count": count},
        message_system_attributes={"AWSTraceHeader": trace},
    )
    for _ in range(3):
        service.do(request)
    (message,) = receive(service, message_attribute_names=["col.*"], attribute_names=["All"])
    assert message.message_attributes == {"color": color}
    assert message.md5_of_message_attributes == "da1b33cc3cbfe8b1630921e78e6b9880"
    assert message.attributes == {
        "SenderId": ACCOUNT,
        "SentTimestamp": str(START_MS),
        "ApproximateReceiveCount": "1",
        "ApproximateFirstReceiveTimestamp": str(START_MS),
        "AWSTraceHeader": "trace",
    }
    for names in (None, ["absent"]):
        (message,) = receive(service, message_attribute_names=names)
        assert message.message_attributes is None
        assert message.md5_of_message_attributes is None


# --- In flight ------------------------------------------------------------------------------------


def test_a_standard_queue_with_too_much_in_flight_refuses_a_short_poll() -> None:
    service = with_queues(Limits(in_flight_max=2))
    for _ in range(3):
        service.do(SendMessageRequest(queue_url="q", message_body="x"))
    assert len(receive(service, max_number_of_messages=2)) == 2
    error = refusal(service)
    assert isinstance(error, OverLimit)
    assert error.message == "The maximum number of in flight messages, 2, is reached."


def test_a_fifo_queue_with_too_much_in_flight_is_merely_empty() -> None:
    assert receive(answering(at_capacity=True), queue_url="q.fifo") == []


@pytest.mark.parametrize("url", ["q", "q.fifo"])
def test_a_queue_that_went_meanwhile_does_not_exist(url: str) -> None:
    service = with_queues()
    service.store.answers[Claim] = service.store.answers[ClaimFifo] = lambda _: None
    assert isinstance(refusal(service, queue_url=url), QueueDoesNotExist)
    assert known(service.catalogue, service.call, url) is None


# --- FIFO -----------------------------------------------------------------------------------------


def test_an_attempt_id_goes_to_the_store() -> None:
    service = with_queues(VisibilityTimeout="7")
    receive(service, queue_url="q.fifo", receive_request_attempt_id="a", max_number_of_messages=3)
    assert claim_of(service) == ClaimFifo(2, 3, 7000, 120_000, "a")
    receive(service, queue_url="q.fifo")
    assert claim_of(service) == ClaimFifo(2, 1, 7000, 120_000, None)


@pytest.mark.parametrize("attempt", ["", "a b", "é", "x" * 129])
def test_an_attempt_id_has_its_characters(attempt: str) -> None:
    error = refusal(with_queues(), queue_url="q.fifo", receive_request_attempt_id=attempt)
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        f"Value {attempt} for parameter ReceiveRequestAttemptId is invalid. Reason: "
        "ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. "
        "1 to 128 in length."
    )


def test_what_is_handed_out_again_has_the_same_handle() -> None:
    service = answering(MESSAGE)
    first = receive(service, queue_url="q.fifo", receive_request_attempt_id="a")
    service.clock.advance(60)
    assert receive(service, queue_url="q.fifo", receive_request_attempt_id="a") == first
