"""SendMessage and its batch on a standard queue: each rule and text, and which fault is first."""

from typing import Any

import pytest

from stanchion.model.errors import InvalidParameterValue, MissingParameter, ServiceError
from stanchion.model.sqs import (
    DeleteQueueRequest,
    InvalidMessageContents,
    MessageAttributeValue,
    MessageSystemAttributeValue,
    QueueDoesNotExist,
    ReceiveMessageRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
)
from stanchion.store.contract import NewMessage, Send
from tests.sqs.harness import ACCOUNT, Fault, Service, known, pairs_of_faults

BLUE = MessageAttributeValue(data_type="String", string_value="blue")
TRACE = MessageSystemAttributeValue(data_type="String", string_value="some-trace-id")
GROUP_RULE = "can only include alphanumeric and punctuation characters. 1 to 128 in length."


def with_queue(**attributes: str) -> Service:
    service = Service()
    service.create(**attributes)
    return service


def send(service: Service, **parameters: Any) -> Any:
    return service.do(SendMessageRequest(**{"queue_url": "q", "message_body": "x", **parameters}))


def refusal(service: Service, **parameters: Any) -> ServiceError:
    request = SendMessageRequest(**{"queue_url": "q", "message_body": "x", **parameters})
    return service.refuses(request)


def stored(service: Service) -> list[NewMessage]:
    sends = (command for command in service.store.commands if isinstance(command, Send))
    return [message for command in sends for message in command.messages]


def test_the_answer_has_an_id_and_the_digests_of_what_there_was() -> None:
    service = with_queue()
    answer = send(service, message_body="hello")
    assert answer.message_id == "00000000-0000-4000-8000-000000000001"
    assert answer.md5_of_message_body == "5d41402abc4b2a76b9719d911017c592"
    assert answer.md5_of_message_attributes is None
    assert answer.md5_of_message_system_attributes is None
    assert answer.sequence_number is None
    answer = send(
        service,
        message_attributes={"color": BLUE},
        message_system_attributes={"AWSTraceHeader": TRACE},
    )
    assert answer.md5_of_message_attributes == "da1b33cc3cbfe8b1630921e78e6b9880"
    assert answer.md5_of_message_system_attributes == "fdce4f2818803f2f73becc09a54792c0"


def test_what_is_stored() -> None:
    service = with_queue(SqsManagedSseEnabled="false")
    send(
        service,
        message_body="é",
        message_group_id="tenant",
        message_system_attributes={"AWSTraceHeader": TRACE},
    )
    (message,) = stored(service)
    assert message.body == "é".encode()
    assert message.sender_id == ACCOUNT
    assert message.group_id == "tenant"
    assert message.trace_header == "some-trace-id"
    assert message.deduplication_id is None


@pytest.mark.parametrize("body", [None, ""])
def test_a_body_is_required(body: str | None) -> None:
    error = refusal(with_queue(), message_body=body)
    assert isinstance(error, MissingParameter)
    assert error.message == "The request must contain the parameter MessageBody."


@pytest.mark.parametrize("parameters", [{}, {"message_attributes": {"color": BLUE}}])
def test_a_message_may_be_as_large_as_the_queue_allows(parameters: dict[str, Any]) -> None:
    service = with_queue(MaximumMessageSize="1024")
    room = 1024 - (len("color" + "String" + "blue") if parameters else 0)
    send(service, message_body="é" * (room // 2) + "x" * (room % 2), **parameters)
    error = refusal(service, message_body="x" * (room + 1), **parameters)
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."
    )


def test_system_attributes_and_groups_do_not_count() -> None:
    send(
        with_queue(MaximumMessageSize="1024"),
        message_body="x" * 1024,
        message_group_id="g",
        message_system_attributes={"AWSTraceHeader": TRACE},
    )


@pytest.mark.parametrize(("delay_s", "delay_ms"), [(None, 5000), (0, 0), (900, 900_000)])
def test_a_delay_replaces_the_queues(delay_s: int | None, delay_ms: int) -> None:
    service = with_queue(DelaySeconds="5")
    send(service, delay_seconds=delay_s)
    assert [message.delay_ms for message in stored(service)] == [delay_ms]


@pytest.mark.parametrize("delay_s", [-1, 901, 10**30])
def test_a_delay_has_a_range(delay_s: int) -> None:
    error = refusal(with_queue(), delay_seconds=delay_s)
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        f"Value {delay_s} for parameter DelaySeconds is invalid. Reason: "
        "DelaySeconds must be >= 0 and <= 900."
    )


@pytest.mark.parametrize("group", ["", "a b", "é", "x" * 129, "a\n"])
def test_a_group_has_its_characters(group: str) -> None:
    error = refusal(with_queue(), message_group_id=group)
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        f"Value {group} for parameter MessageGroupId is invalid. Reason: MessageGroupId "
        f"{GROUP_RULE}"
    )


def test_a_group_may_have_every_punctuation_character() -> None:
    send(with_queue(), message_group_id="""azAZ09!"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~""")
    send(with_queue(), message_group_id="x" * 128)


def test_a_standard_queue_does_not_deduplicate() -> None:
    error = refusal(with_queue(), message_deduplication_id="d")
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        "The request include parameter MessageDeduplicationId which is not valid for this queue "
        "type"
    )


def test_a_queue_that_went_meanwhile_does_not_exist() -> None:
    service = with_queue()
    service.store.answers[Send] = lambda _: False
    assert isinstance(refusal(service), QueueDoesNotExist)
    assert known(service.catalogue, service.call, "q") is None
    service.do(DeleteQueueRequest(queue_url="q"))


FAULTS: list[Fault] = [
    ({"queue_url": "absent"}, (QueueDoesNotExist, "The specified queue does not exist.")),
    (
        {"message_body": ""},
        (MissingParameter, "The request must contain the parameter MessageBody."),
    ),
    (
        {"message_body": "\0" * 2000},
        (
            InvalidMessageContents,
            "Invalid binary character '#x0' was found in the message body, the set of allowed "
            "characters is #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to "
            "#x10FFFF",
        ),
    ),
    (
        {"message_attributes": {"": BLUE}},
        (
            InvalidParameterValue,
            "The request must contain non-empty message (user) attribute names.",
        ),
    ),
    (
        {"message_system_attributes": {"Odd": TRACE}},
        (InvalidParameterValue, "Message system attribute name 'Odd' is invalid."),
    ),
    (
        {"message_body": "x" * 2000},
        (
            InvalidParameterValue,
            "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.",
        ),
    ),
    (
        {"delay_seconds": 901},
        (
            InvalidParameterValue,
            "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 "
            "and <= 900.",
        ),
    ),
    (
        {"message_group_id": "a b"},
        (
            InvalidParameterValue,
            "Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId "
            f"{GROUP_RULE}",
        ),
    ),
    (
        {"message_deduplication_id": "d"},
        (
            InvalidParameterValue,
            "The request include parameter MessageDeduplicationId which is not valid for this "
            "queue type",
        ),
    ),
]


@pytest.mark.parametrize(("parameters", "expected"), [*FAULTS, *pairs_of_faults(FAULTS)], ids=str)
def test_of_two_faults_the_first_is_reported(
    parameters: dict[str, Any], expected: tuple[type[ServiceError], str]
) -> None:
    error = refusal(with_queue(MaximumMessageSize="1024"), **parameters)
    assert (type(error), error.message) == expected


# --- Batches --------------------------------------------------------------------------------------


def test_each_entry_is_accepted_or_refused_by_itself() -> None:
    service = with_queue()
    entries = [
        SendMessageBatchRequestEntry(id="a", message_body="1", message_attributes={"color": BLUE}),
        SendMessageBatchRequestEntry(id="b", message_body=""),
        SendMessageBatchRequestEntry(id="c", message_body="\0"),
        SendMessageBatchRequestEntry(id="d", message_body="4", delay_seconds=901),
        SendMessageBatchRequestEntry(id="e", message_body="5"),
    ]
    answer = service.do(SendMessageBatchRequest(queue_url="q", entries=entries))
    assert [entry.id for entry in answer.successful] == ["a", "e"]
    assert answer.successful[0].md5_of_message_attributes == "da1b33cc3cbfe8b1630921e78e6b9880"
    assert answer.successful[1].sequence_number is None
    assert [(entry.id, entry.code, entry.sender_fault) for entry in answer.failed] == [
        ("b", "MissingParameter", True),
        ("c", "InvalidMessageContents", True),
        ("d", "InvalidParameterValue", True),
    ]
    assert answer.failed[0].message == "The request must contain the parameter MessageBody."
    received = service.do(ReceiveMessageRequest(queue_url="q", max_number_of_messages=10))
    assert [message.body for message in received.messages] == ["1", "5"]
    assert [message.message_id for message in received.messages] == [
        entry.message_id for entry in answer.successful
    ]


def test_a_batch_of_faults_stores_nothing() -> None:
    service = with_queue()
    entries = [SendMessageBatchRequestEntry(id="a")]
    answer = service.do(SendMessageBatchRequest(queue_url="q", entries=entries))
    assert answer.successful == []
    assert stored(service) == []


def test_a_batch_for_a_queue_that_went_meanwhile_fails_whole() -> None:
    service = with_queue()
    service.store.answers[Send] = lambda _: False
    entries = [SendMessageBatchRequestEntry(id="a", message_body="1")]
    error = service.refuses(SendMessageBatchRequest(queue_url="q", entries=entries))
    assert isinstance(error, QueueDoesNotExist)
