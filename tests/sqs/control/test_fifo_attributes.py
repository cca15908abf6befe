"""Creating and setting up FIFO queues: what is theirs alone, and what cannot be changed."""

import pytest

from stanchion.model.errors import ServiceError
from stanchion.model.sqs import (
    CreateQueueRequest,
    GetQueueAttributesRequest,
    InvalidAttributeValue,
    QueueNameExists,
    SetQueueAttributesRequest,
)
from stanchion.sqs.attributes import rules_of
from stanchion.store.contract import CreateQueue, QueueName, QueueRules, UpdateQueue
from tests.sqs.harness import Service

LIMIT_WITHOUT_SCOPE = (
    "The perMessageGroupId value is allowed only when the value for DeduplicationScope"
    " is messageGroup"
)


def with_fifo_queue(**attributes: str) -> Service:
    service = Service()
    service.create("q.fifo", FifoQueue="true", **attributes)
    return service


def read(service: Service, *names: str) -> dict[str, str]:
    request = GetQueueAttributesRequest(queue_url="q.fifo", attribute_names=list(names))
    return dict(service.do(request).attributes or {})


def change(service: Service, **attributes: str) -> None:
    service.do(SetQueueAttributesRequest(queue_url="q.fifo", attributes=attributes))


def refusal(service: Service, **attributes: str) -> ServiceError:
    return service.refuses(SetQueueAttributesRequest(queue_url="q.fifo", attributes=attributes))


def test_a_fresh_fifo_queue_has_four_attributes_more() -> None:
    everything = read(with_fifo_queue(), "All")
    assert len(everything) == 16
    assert (
        everything.items()
        >= {
            "FifoQueue": "true",
            "ContentBasedDeduplication": "false",
            "DeduplicationScope": "queue",
            "FifoThroughputLimit": "perQueue",
        }.items()
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ContentBasedDeduplication", "true"),
        ("DeduplicationScope", "messageGroup"),
        ("FifoThroughputLimit", "perQueue"),
    ],
)
def test_what_is_a_fifo_queues_reads_back(name: str, value: str) -> None:
    assert read(with_fifo_queue(**{name: value}), name) == {name: value}
    service = with_fifo_queue()
    change(service, **{name: value})
    assert read(service, name) == {name: value}


@pytest.mark.parametrize(
    "name", ["ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"]
)
@pytest.mark.parametrize("value", ["", "1", "True", "permessagegroupid"])
def test_another_value_is_refused(name: str, value: str) -> None:
    error = refusal(with_fifo_queue(), **{name: value})
    assert isinstance(error, InvalidAttributeValue)
    assert error.message == f"Invalid value for the parameter {name}."


@pytest.mark.parametrize("value", ["false", "", "TRUE"])
def test_a_fifo_queue_stays_one(value: str) -> None:
    error = refusal(with_fifo_queue(), FifoQueue=value)
    assert isinstance(error, InvalidAttributeValue)
    assert error.message == "Invalid value for the parameter FifoQueue."


def test_saying_again_that_it_is_one_is_no_change() -> None:
    service = with_fifo_queue()
    change(service, FifoQueue="true")
    assert read(service, "FifoQueue") == {"FifoQueue": "true"}


def test_a_limit_for_each_group_needs_deduplication_in_each_group() -> None:
    request = CreateQueueRequest(
        queue_name="q.fifo",
        attributes={"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"},
    )
    for error in (
        Service().refuses(request),
        refusal(with_fifo_queue(), FifoThroughputLimit="perMessageGroupId"),
        refusal(
            with_fifo_queue(
                DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId"
            ),
            DeduplicationScope="queue",
        ),
    ):
        assert isinstance(error, InvalidAttributeValue)
        assert error.message == LIMIT_WITHOUT_SCOPE
    change(
        with_fifo_queue(),
        FifoThroughputLimit="perMessageGroupId",
        DeduplicationScope="messageGroup",
    )


def test_creating_again_compares_what_is_supplied() -> None:
    service = with_fifo_queue(ContentBasedDeduplication="true")
    service.create("q.fifo", FifoQueue="true")
    service.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    request = CreateQueueRequest(
        queue_name="q.fifo", attributes={"FifoQueue": "true", "ContentBasedDeduplication": "false"}
    )
    error = service.refuses(request)
    assert isinstance(error, QueueNameExists)
    assert error.message.endswith("a different value for attribute ContentBasedDeduplication")


# --- Rules of the store --------------------------------------------------------------------------


def test_the_delay_of_a_standard_queue_is_not_a_rule_of_the_store() -> None:
    assert rules_of({"DelaySeconds": "5"}) == QueueRules(retention_ms=345_600_000)


def test_the_delay_of_a_fifo_queue_is_a_rule_of_the_store() -> None:
    assert rules_of({"FifoQueue": "true", "DelaySeconds": "5"}) == QueueRules(
        retention_ms=345_600_000, is_fifo=True, delay_ms=5000
    )


def test_a_redrive_policy_is_a_rule_of_the_store() -> None:
    arn = "arn:aws:sqs:eu-central-1:123456789012:dead"
    policy = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":3}}'
    assert rules_of({"MessageRetentionPeriod": "60", "RedrivePolicy": policy}) == QueueRules(
        retention_ms=60_000,
        dead_letter_queue=QueueName("123456789012", "eu-central-1", "dead"),
        receive_count_max=3,
    )


def test_creating_and_setting_hand_the_rules_to_the_store() -> None:
    service = with_fifo_queue(DelaySeconds="5")
    change(service, MessageRetentionPeriod="60")
    commands = service.store.commands
    (created,) = (command for command in commands if isinstance(command, CreateQueue))
    (updated,) = (command for command in commands if isinstance(command, UpdateQueue))
    assert created.rules == QueueRules(retention_ms=345_600_000, is_fifo=True, delay_ms=5000)
    assert updated.rules == QueueRules(retention_ms=60_000, is_fifo=True, delay_ms=5000)
