"""Every attribute: what it may be, its default, how it reads back, and what removes it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.model.errors import MissingParameter, ServiceError, ServiceUnavailable
from stanchion.model.sqs import (
    GetQueueAttributesRequest,
    InvalidAttributeName,
    InvalidAttributeValue,
    QueueDoesNotExist,
    SetQueueAttributesRequest,
    TagQueueRequest,
)
from stanchion.sqs.edits import Edited, edit
from stanchion.store.contract import CountMessages, NewMessage, Send
from tests.sqs.harness import Fault, Service, finish, known, pairs_of_faults

BOTH_KINDS_OF_ENCRYPTION = (
    "You can use one type of server-side encryption (SSE) at one time."
    " You can either enable KMS SSE or SQS SSE."
)
POLICY = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",'
    '"Action":"sqs:SendMessage","Resource":"*"}]}'
)


def read(service: Service, *names: str, url: str = "q") -> dict[str, str] | None:
    request = GetQueueAttributesRequest(queue_url=url, attribute_names=list(names))
    found: dict[str, str] | None = service.do(request).attributes
    return found


def change(service: Service, **attributes: str) -> None:
    answer = service.do(SetQueueAttributesRequest(queue_url="q", attributes=attributes))
    assert answer is None


def refusal(service: Service, **attributes: str) -> ServiceError:
    return service.refuses(SetQueueAttributesRequest(queue_url="q", attributes=attributes))


def with_queue(**attributes: str) -> Service:
    service = Service()
    service.create(**attributes)
    return service


def test_a_fresh_queue_has_exactly_these() -> None:
    assert read(with_queue(), "All") == {
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "ReceiveMessageWaitTimeSeconds": "0",
        "VisibilityTimeout": "30",
        "SqsManagedSseEnabled": "true",
        "QueueArn": "arn:aws:sqs:eu-central-1:123456789012:q",
        "CreatedTimestamp": "1700000000",
        "LastModifiedTimestamp": "1700000000",
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
    }


def test_asking_for_nothing_gets_nothing() -> None:
    service = with_queue()
    assert read(service) is None
    assert service.do(GetQueueAttributesRequest(queue_url="q")).attributes is None


def test_only_what_was_asked_for_is_read() -> None:
    service = with_queue(DelaySeconds="3")
    assert read(service, "DelaySeconds", "QueueArn", "DelaySeconds") == {
        "DelaySeconds": "3",
        "QueueArn": "arn:aws:sqs:eu-central-1:123456789012:q",
    }


@pytest.mark.parametrize(
    "name",
    [
        "Policy",
        "RedrivePolicy",
        "RedriveAllowPolicy",
        "KmsMasterKeyId",
        "KmsDataKeyReusePeriodSeconds",
        "FifoQueue",
        "ContentBasedDeduplication",
        "DeduplicationScope",
        "FifoThroughputLimit",
    ],
)
def test_what_is_known_but_not_set_is_left_out(name: str) -> None:
    service = with_queue()
    assert read(service, name) is None
    assert read(service, name, "DelaySeconds") == {"DelaySeconds": "0"}


@pytest.mark.parametrize("name", ["", "Nope", "all", "SenderId"])
def test_an_unknown_name_is_refused(name: str) -> None:
    service = with_queue()
    request = GetQueueAttributesRequest(queue_url="q", attribute_names=["All", name])
    error = service.refuses(request)
    assert isinstance(error, InvalidAttributeName)
    assert error.message == f"Unknown Attribute {name}."


def test_messages_are_counted_by_state() -> None:
    service = with_queue()
    queue = finish(service.catalogue.resolve(service.call, "q"))
    now, later = (NewMessage("id", b"body", b"", "sender", delay) for delay in (0, 60_000))
    finish(service.store.run(Send(queue.id, (now, now, later))))
    assert read(service, "ApproximateNumberOfMessages") == {"ApproximateNumberOfMessages": "2"}
    assert read(service, "ApproximateNumberOfMessagesDelayed") == {
        "ApproximateNumberOfMessagesDelayed": "1"
    }
    assert read(service, "ApproximateNumberOfMessagesNotVisible") == {
        "ApproximateNumberOfMessagesNotVisible": "0"
    }


def test_messages_are_not_counted_unless_asked_for() -> None:
    service = with_queue()
    service.store.commands.clear()
    read(service, "QueueArn", "VisibilityTimeout")
    assert not any(isinstance(command, CountMessages) for command in service.store.commands)
    read(service, "All")
    assert any(isinstance(command, CountMessages) for command in service.store.commands)


# --- Values --------------------------------------------------------------------------------------

RANGES = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, 1048576),
    "MessageRetentionPeriod": (60, 1209600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43200),
}
NUMBERS = [*RANGES, "KmsDataKeyReusePeriodSeconds"]


@given(data=st.data(), name=st.sampled_from(list(RANGES)))
def test_a_number_in_range_reads_back(data: st.DataObject, name: str) -> None:
    value = str(data.draw(st.integers(*RANGES[name])))
    assert read(with_queue(**{name: value}), name) == {name: value}
    service = with_queue()
    change(service, **{name: value})
    assert read(service, name) == {name: value}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value", ["", " ", "x", "-1", "+60", "60.0", "6e1", " 60", "60 ", "60\n", "٦٠", "9" * 5000]
)
def test_what_is_not_a_number_is_refused(name: str, value: str) -> None:
    error = refusal(with_queue(), **{name: value})
    assert isinstance(error, InvalidAttributeValue)
    assert error.message == f"Invalid value for the parameter {name}."


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [(name, *RANGES[name]) for name in RANGES] + [("KmsDataKeyReusePeriodSeconds", 60, 86400)],
)
def test_a_number_out_of_range_is_refused(name: str, least: int, most: int) -> None:
    service = with_queue()
    for value in (least, most):
        change(service, **{name: str(value)})
    for value in (least - 1, most + 1):
        assert isinstance(refusal(service, **{name: str(value)}), InvalidAttributeValue)


def test_a_number_reads_back_without_leading_zeros() -> None:
    assert read(with_queue(DelaySeconds="007"), "DelaySeconds") == {"DelaySeconds": "7"}


@pytest.mark.parametrize("value", ["", "True", "1", "yes"])
def test_a_boolean_is_lower_case(value: str) -> None:
    error = refusal(with_queue(), SqsManagedSseEnabled=value)
    assert isinstance(error, InvalidAttributeValue)
    assert error.message == "Invalid value for the parameter SqsManagedSseEnabled."


@pytest.mark.parametrize("value", ["a key", "k" * 2049, "kéy", "k\n"])
def test_a_kms_key_id_has_its_characters(value: str) -> None:
    error = refusal(with_queue(), KmsMasterKeyId=value)
    assert isinstance(error, InvalidAttributeValue)
    assert error.message == "Invalid value for the parameter KmsMasterKeyId."


@pytest.mark.parametrize(
    "value",
    [
        "alias/aws/sqs",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    ],
)
def test_a_kms_key_reads_back_as_given_and_turns_sse_sqs_off(value: str) -> None:
    names = ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled")
    assert read(with_queue(KmsMasterKeyId=value), *names) == {
        "KmsMasterKeyId": value,
        "KmsDataKeyReusePeriodSeconds": "300",
        "SqsManagedSseEnabled": "false",
    }


# --- Encryption ----------------------------------------------------------------------------------


def encryption(service: Service) -> tuple[str | None, str | None]:
    values = read(service, "KmsMasterKeyId", "SqsManagedSseEnabled") or {}
    return values.get("KmsMasterKeyId"), values.get("SqsManagedSseEnabled")


def test_one_kind_of_encryption_replaces_the_other() -> None:
    service = with_queue()
    assert encryption(service) == (None, "true")
    change(service, KmsMasterKeyId="alias/k")
    assert encryption(service) == ("alias/k", "false")
    change(service, SqsManagedSseEnabled="true")
    assert encryption(service) == (None, "true")
    change(service, SqsManagedSseEnabled="false")
    assert encryption(service) == (None, "false")


def test_taking_the_kms_key_away_does_not_turn_sse_sqs_on() -> None:
    service = with_queue(KmsMasterKeyId="alias/k")
    change(service, KmsMasterKeyId="")
    assert encryption(service) == (None, "false")


def test_a_kms_key_can_be_swapped_for_sse_sqs_in_one_call() -> None:
    service = with_queue(KmsMasterKeyId="alias/k")
    change(service, KmsMasterKeyId="", SqsManagedSseEnabled="true")
    assert encryption(service) == (None, "true")


def test_both_kinds_of_encryption_at_once_are_refused() -> None:
    error = refusal(with_queue(), KmsMasterKeyId="alias/k", SqsManagedSseEnabled="true")
    assert isinstance(error, InvalidAttributeName)
    assert error.message == BOTH_KINDS_OF_ENCRYPTION
    change(with_queue(), KmsMasterKeyId="alias/k", SqsManagedSseEnabled="false")


# --- Setting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Nope",
        "All",
        "FifoQueue",
        "ContentBasedDeduplication",
        "QueueArn",
        "CreatedTimestamp",
        "LastModifiedTimestamp",
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ],
)
def test_what_cannot_be_set_is_unknown(name: str) -> None:
    error = refusal(with_queue(), **{name: "true"})
    assert isinstance(error, InvalidAttributeName)
    assert error.message == f"Unknown Attribute {name}."


@pytest.mark.parametrize("name", ["DeduplicationScope", "FifoThroughputLimit"])
def test_a_fifo_attribute_cannot_be_set(name: str) -> None:
    error = refusal(with_queue(), **{name: "queue"})
    assert isinstance(error, InvalidAttributeName)
    assert error.message == f"You can specify the {name} only when FifoQueue is set to true."


@pytest.mark.parametrize("attributes", [None, {}])
def test_setting_nothing_is_refused(attributes: dict[str, str] | None) -> None:
    request = SetQueueAttributesRequest(queue_url="q", attributes=attributes)
    error = with_queue().refuses(request)
    assert isinstance(error, MissingParameter)
    assert error.message == "The request must contain the parameter Attributes."


def test_all_of_the_attributes_are_set_or_none() -> None:
    service = with_queue(DelaySeconds="1")
    refusal(service, DelaySeconds="2", VisibilityTimeout="x")
    assert read(service, "DelaySeconds") == {"DelaySeconds": "1"}


def test_what_is_set_is_in_force_and_changes_the_timestamp() -> None:
    service = with_queue()
    service.clock.advance(10)
    change(service, VisibilityTimeout="5")
    cached = known(service.catalogue, service.call, "q")
    assert cached is not None
    assert cached.visibility_timeout_ms == 5000
    assert read(service, "CreatedTimestamp", "LastModifiedTimestamp") == {
        "CreatedTimestamp": "1700000000",
        "LastModifiedTimestamp": "1700000010",
    }


def test_setting_attributes_keeps_the_tags_and_the_other_attributes() -> None:
    service = with_queue(DelaySeconds="1")
    service.do(TagQueueRequest(queue_url="q", tags={"a": "b"}))
    change(service, VisibilityTimeout="5")
    cached = known(service.catalogue, service.call, "q")
    assert cached is not None
    assert cached.record.tags == {"a": "b"}
    assert cached.record.attributes == {"DelaySeconds": "1", "VisibilityTimeout": "5"}


def test_an_empty_policy_removes_it() -> None:
    service = with_queue(Policy=POLICY)
    assert read(service, "Policy") == {"Policy": POLICY}
    change(service, Policy="")
    assert read(service, "Policy") is None
    change(service, Policy="", RedrivePolicy="", RedriveAllowPolicy="", KmsMasterKeyId="")


FAULTS: list[Fault] = [
    (
        {"queue_url": "missing"},
        (QueueDoesNotExist, "The specified queue does not exist."),
    ),
    (
        {"attributes": {"Nope": "1"}},
        (InvalidAttributeName, "Unknown Attribute Nope."),
    ),
    (
        {"attributes": {"DelaySeconds": "x"}},
        (InvalidAttributeValue, "Invalid value for the parameter DelaySeconds."),
    ),
    (
        {"attributes": {"KmsMasterKeyId": "k", "SqsManagedSseEnabled": "true"}},
        (InvalidAttributeName, BOTH_KINDS_OF_ENCRYPTION),
    ),
]


@pytest.mark.parametrize(
    ("parameters", "expected"), [*FAULTS[1:], *pairs_of_faults(FAULTS)], ids=str
)
def test_of_two_faults_the_first_is_reported(
    parameters: dict[str, Any], expected: tuple[type[ServiceError], str]
) -> None:
    error = with_queue().refuses(SetQueueAttributesRequest(**{"queue_url": "q", **parameters}))
    assert (type(error), error.message) == expected


# --- Races ---------------------------------------------------------------------------------------


def test_an_edit_that_was_overtaken_decides_again() -> None:
    service = with_queue()
    seen: list[str | None] = []

    def decide(record: Any) -> Edited:
        seen.append(record.attributes.get("DelaySeconds"))
        if len(seen) == 1:
            change(service, DelaySeconds="1")
        return Edited({**record.attributes, "VisibilityTimeout": "5"}, record.tags)

    finish(edit(service.sqs, service.call, "q", decide))
    assert seen == [None, "1"]
    assert read(service, "DelaySeconds", "VisibilityTimeout") == {
        "DelaySeconds": "1",
        "VisibilityTimeout": "5",
    }


def test_an_edit_does_not_try_for_ever() -> None:
    service = with_queue()

    def decide(record: Any) -> Edited:
        change(service, DelaySeconds="1")
        return Edited(record.attributes, record.tags)

    with pytest.raises(ServiceUnavailable):
        finish(edit(service.sqs, service.call, "q", decide))
