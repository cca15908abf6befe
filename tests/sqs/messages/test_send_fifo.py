"""SendMessage and its batch on a FIFO queue: groups, deduplication ids and sequence numbers."""

from typing import Any

import pytest

from stanchion.model.errors import InvalidParameterValue, MissingParameter, ServiceError
from stanchion.model.sqs import (
    InvalidMessageContents,
    QueueDoesNotExist,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
)
from stanchion.sqs.sequence_numbers import sequence_number_of
from stanchion.store.contract import SendFifo, SentFifo
from tests.sqs.harness import Fault, Service, known, pairs_of_faults

ID_RULE = "can only include alphanumeric and punctuation characters. 1 to 128 in length."
NO_ID = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId "
    "provided explicitly"
)
SHA256_OF_SAME = "0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5"


def with_fifo_queue(**attributes: str) -> Service:
    """A queue whose store says what it was sent, with sequence numbers 1, 2, …"""
    service = Service()
    service.create("q.fifo", FifoQueue="true", **attributes)
    service.store.answers[SendFifo] = lambda command: tuple(
        SentFifo(message.message_id, number)
        for number, message in enumerate(command.messages, start=1)
    )
    return service


def request(**parameters: Any) -> SendMessageRequest:
    good = {
        "queue_url": "q.fifo",
        "message_body": "same",
        "message_group_id": "g",
        "message_deduplication_id": "d",
    }
    return SendMessageRequest(**{**good, **parameters})


def command_of(service: Service) -> SendFifo:
    (command,) = (command for command in service.store.commands if isinstance(command, SendFifo))
    return command


def test_the_answer_has_a_sequence_number_of_twenty_digits() -> None:
    service = with_fifo_queue()
    answer = service.do(request())
    assert answer.sequence_number == "10000000000000000001"
    assert answer.message_id == command_of(service).messages[0].message_id
    assert answer.md5_of_message_body == "51037a4a37730f52c8732586d3aaa316"


def test_sequence_numbers_are_in_order_as_text_too() -> None:
    sequences = [1, 9, 10, 2**32, 2**63 - 1]
    numbers = [sequence_number_of(sequence) for sequence in sequences]
    assert numbers == sorted(numbers)
    assert {len(number) for number in numbers} == {20}


def test_a_repeat_is_answered_with_what_was_sent_first_and_its_own_digest() -> None:
    service = with_fifo_queue()
    service.store.answers[SendFifo] = lambda _: (SentFifo("the-first", 7),)
    answer = service.do(request(message_body="hello"))
    assert answer.message_id == "the-first"
    assert answer.sequence_number == sequence_number_of(7)
    assert answer.md5_of_message_body == "5d41402abc4b2a76b9719d911017c592"


def test_what_is_stored() -> None:
    service = with_fifo_queue(DelaySeconds="5")
    service.do(request())
    command = command_of(service)
    (message,) = command.messages
    assert message.group_id == "g"
    assert message.deduplication_id == "d"
    # The queue's delay is the store's to add, to messages already queued too.
    assert message.delay_ms == 0
    assert command.deduplication_ms == 300_000


@pytest.mark.parametrize(("scope", "by_group"), [("queue", False), ("messageGroup", True)])
def test_ids_are_the_queues_or_each_groups(scope: str, by_group: bool) -> None:
    service = with_fifo_queue(DeduplicationScope=scope)
    service.do(request())
    assert command_of(service).by_group is by_group


def test_without_an_id_the_body_is_digested_and_an_id_wins() -> None:
    service = with_fifo_queue(ContentBasedDeduplication="true")
    service.do(request(message_deduplication_id=None))
    (message,) = command_of(service).messages
    assert message.deduplication_id == SHA256_OF_SAME
    service.store.commands.clear()
    service.do(request())
    (message,) = command_of(service).messages
    assert message.deduplication_id == "d"


@pytest.mark.parametrize("group", [None, ""])
def test_a_group_is_required(group: str | None) -> None:
    error = with_fifo_queue().refuses(request(message_group_id=group))
    assert isinstance(error, MissingParameter)
    assert error.message == "The request must contain the parameter MessageGroupId."


def test_no_delay_is_accepted_and_a_delay_is_not() -> None:
    service = with_fifo_queue()
    service.do(request(delay_seconds=0))
    for delay_s in (5, -1, 901):
        error = service.refuses(request(delay_seconds=delay_s))
        assert isinstance(error, InvalidParameterValue)
        assert error.message == (
            f"Value {delay_s} for parameter DelaySeconds is invalid. Reason: The request include "
            "parameter that is not valid for this queue type."
        )


@pytest.mark.parametrize("token", ["a b", "é", "x" * 129, "a\n"])
@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("message_group_id", "MessageGroupId"),
        ("message_deduplication_id", "MessageDeduplicationId"),
    ],
)
def test_ids_have_their_characters(field: str, name: str, token: str) -> None:
    error = with_fifo_queue().refuses(request(**{field: token}))
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        f"Value {token} for parameter {name} is invalid. Reason: {name} {ID_RULE}"
    )


def test_an_empty_deduplication_id_is_not_an_absent_one() -> None:
    service = with_fifo_queue(ContentBasedDeduplication="true")
    error = service.refuses(request(message_deduplication_id=""))
    assert error.message == (
        "Value  for parameter MessageDeduplicationId is invalid. Reason: MessageDeduplicationId "
        f"{ID_RULE}"
    )


def test_a_queue_that_went_meanwhile_does_not_exist() -> None:
    service = with_fifo_queue()
    service.store.answers[SendFifo] = lambda _: None
    assert isinstance(service.refuses(request()), QueueDoesNotExist)
    assert known(service.catalogue, service.call, "q.fifo") is None


FAULTS: list[Fault] = [
    (
        {"message_body": None},
        (MissingParameter, "The request must contain the parameter MessageBody."),
    ),
    (
        {"message_group_id": None},
        (MissingParameter, "The request must contain the parameter MessageGroupId."),
    ),
    (
        {"message_body": "\0"},
        (
            InvalidMessageContents,
            "Invalid binary character '#x0' was found in the message body, the set of allowed "
            "characters is #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to "
            "#x10FFFF",
        ),
    ),
    (
        {"message_body": "x" * 2000},
        (
            InvalidParameterValue,
            "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.",
        ),
    ),
    (
        {"delay_seconds": 5},
        (
            InvalidParameterValue,
            "Value 5 for parameter DelaySeconds is invalid. Reason: The request include "
            "parameter that is not valid for this queue type.",
        ),
    ),
    (
        {"message_group_id": "a b"},
        (
            InvalidParameterValue,
            f"Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId {ID_RULE}",
        ),
    ),
    ({"message_deduplication_id": None}, (InvalidParameterValue, NO_ID)),
]


@pytest.mark.parametrize(("parameters", "expected"), [*FAULTS, *pairs_of_faults(FAULTS)], ids=str)
def test_of_two_faults_the_first_is_reported(
    parameters: dict[str, Any], expected: tuple[type[ServiceError], str]
) -> None:
    error = with_fifo_queue(MaximumMessageSize="1024").refuses(request(**parameters))
    assert (type(error), error.message) == expected


# --- Batches --------------------------------------------------------------------------------------


def entry(entry_id: str, **parameters: Any) -> SendMessageBatchRequestEntry:
    good = {"message_body": "x", "message_group_id": "g", "message_deduplication_id": entry_id}
    return SendMessageBatchRequestEntry(id=entry_id, **{**good, **parameters})


def test_a_batch_is_stored_in_its_order_without_what_failed() -> None:
    service = with_fifo_queue()
    entries = [entry("a"), entry("b", message_group_id=None), entry("c", delay_seconds=1)]
    entries += [entry("d", message_deduplication_id=None), entry("e")]
    answer = service.do(SendMessageBatchRequest(queue_url="q.fifo", entries=entries))
    assert [(e.id, e.sequence_number) for e in answer.successful] == [
        ("a", sequence_number_of(1)),
        ("e", sequence_number_of(2)),
    ]
    assert [(e.id, e.code) for e in answer.failed] == [
        ("b", "MissingParameter"),
        ("c", "InvalidParameterValue"),
        ("d", "InvalidParameterValue"),
    ]
    assert [m.deduplication_id for m in command_of(service).messages] == ["a", "e"]


def test_a_repeat_in_a_batch_has_the_ids_of_the_first() -> None:
    service = with_fifo_queue()
    service.store.answers[SendFifo] = lambda _: (SentFifo("one", 1), SentFifo("one", 1))
    entries = [entry("a"), entry("b", message_deduplication_id="a", message_body="hello")]
    answer = service.do(SendMessageBatchRequest(queue_url="q.fifo", entries=entries))
    assert [e.message_id for e in answer.successful] == ["one", "one"]
    assert answer.successful[1].md5_of_message_body == "5d41402abc4b2a76b9719d911017c592"


def test_a_batch_of_faults_stores_nothing() -> None:
    service = with_fifo_queue()
    entries = [entry("a", message_group_id=None)]
    service.do(SendMessageBatchRequest(queue_url="q.fifo", entries=entries))
    assert not any(isinstance(command, SendFifo) for command in service.store.commands)
