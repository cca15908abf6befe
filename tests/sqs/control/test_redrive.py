"""RedrivePolicy and RedriveAllowPolicy: every rule and text, and which fault is found first."""

import json
from itertools import pairwise
from typing import Any

import pytest

from stanchion.model.errors import InvalidParameterValue, ServiceError
from stanchion.model.sqs import (
    CreateQueueRequest,
    DeleteQueueRequest,
    GetQueueAttributesRequest,
    InvalidAttributeValue,
    SetQueueAttributesRequest,
)
from stanchion.sqs.redrive import lets_in
from stanchion.store.contract import QueueName
from tests.sqs.harness import ACCOUNT, REGION, Service

ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}"
CANNOT = "Amazon SQS can't create the redrive allow policy"


def redrive(target: object = f"{ARN}:dead", count: object = 3, **more: object) -> str:
    return json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": count, **more})


def with_queues() -> Service:
    service = Service()
    service.create("q")
    service.create("dead")
    return service


def change(service: Service, url: str = "q", **attributes: str) -> None:
    service.do(SetQueueAttributesRequest(queue_url=url, attributes=attributes))


def read(service: Service, name: str, url: str = "q") -> str | None:
    request = GetQueueAttributesRequest(queue_url=url, attribute_names=[name])
    attributes: dict[str, str] = service.do(request).attributes or {}
    return attributes.get(name)


def refusal(policy: str, service: Service | None = None, url: str = "q") -> ServiceError:
    request = SetQueueAttributesRequest(queue_url=url, attributes={"RedrivePolicy": policy})
    return (service or with_queues()).refuses(request)


def reason(policy: str, error: ServiceError) -> str:
    """The reason of a refusal that repeats the policy as it was sent."""
    assert isinstance(error, InvalidParameterValue)
    echoed, _, text = error.message.partition(" for parameter RedrivePolicy is invalid. Reason: ")
    sent = policy if len(policy) <= 256 else policy[:256] + "…"
    assert echoed == f"Value {sent}"
    return text


# --- RedrivePolicy --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        redrive(),
        redrive(count="3"),
        redrive(count="003"),
        f' {{ "maxReceiveCount": 3, "deadLetterTargetArn": "{ARN}:dead" }} ',
    ],
)
def test_a_redrive_policy_reads_back_compact(policy: str) -> None:
    service = with_queues()
    change(service, RedrivePolicy=policy)
    compact = f'{{"deadLetterTargetArn":"{ARN}:dead","maxReceiveCount":3}}'
    assert read(service, "RedrivePolicy") == compact
    # Nor does it differ from what is there, however it is written.
    service.create("q", RedrivePolicy=redrive())


@pytest.mark.parametrize("count", [1, 1000, "1", "1000"])
def test_a_count_in_range_is_accepted(count: object) -> None:
    change(with_queues(), RedrivePolicy=redrive(count=count))


@pytest.mark.parametrize(
    ("count", "echoed"),
    [
        (0, "0"),
        (1001, "1001"),
        (-1, "-1"),
        (1.5, "1.5"),
        (3.0, "3.0"),
        (True, "true"),
        ("x", "x"),
        ("+3", "+3"),
        (" 3", " 3"),
        ("٣", "٣"),
        ([3], "[3]"),
        ("9" * 400, "9" * 256 + "…"),
    ],
)
def test_a_count_out_of_range_is_refused(count: object, echoed: str) -> None:
    policy = redrive(count=count)
    assert reason(policy, refusal(policy)) == (
        f"Invalid value for maxReceiveCount: {echoed}, valid values are from 1 to 1000 both "
        "inclusive."
    )


@pytest.mark.parametrize(
    "policy", ["x", "[]", "3", '"x"', "null", "{", '{"a":NaN}', '{"a":' * 5000, "\ud800"]
)
def test_what_is_no_json_map_is_refused(policy: str) -> None:
    error = refusal(policy)
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        "Invalid value for the parameter RedrivePolicy. "
        "Reason: Redrive policy is not a valid JSON map."
    )


@pytest.mark.parametrize(
    ("document", "missing"),
    [
        ({}, "maxReceiveCount"),
        ({"deadLetterTargetArn": f"{ARN}:dead"}, "maxReceiveCount"),
        ({"maxReceiveCount": 3}, "deadLetterTargetArn"),
        ({"maxReceiveCount": 3, "deadLetterTargetArn": None}, "deadLetterTargetArn"),
        ({"maxReceiveCount": 3, "deadLetterTargetArn": ""}, "deadLetterTargetArn"),
    ],
)
def test_both_attributes_are_mandatory(document: dict[str, Any], missing: str) -> None:
    policy = json.dumps(document)
    assert reason(policy, refusal(policy)) == (
        f"Redrive policy does not contain mandatory attribute: {missing}."
    )


NOT_QUALIFIED = "Dead-letter target ARN should be fully qualified ARN."
NO_QUEUE = "Only SQS queues are valid resources for deadLetterTargetArn."
NOT_OURS = "Dead letter target owner should be same as the source."
ABSENT = "Dead letter target does not exist."


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("dead", NOT_QUALIFIED),
        (f"http://localhost/{ACCOUNT}/dead", NOT_QUALIFIED),
        (f"arn:aws:sqs:{REGION}:{ACCOUNT}", NOT_QUALIFIED),
        (f"arn:aws:sqs::{ACCOUNT}:dead", NOT_QUALIFIED),
        (f"arn:aws:sqs:{REGION}:1234:dead", NOT_QUALIFIED),
        (f"arn:aws-cn:sqs:{REGION}:{ACCOUNT}:dead", NOT_QUALIFIED),
        (3, NOT_QUALIFIED),
        (f"arn:aws:sns:{REGION}:{ACCOUNT}:dead", NO_QUEUE),
        (f"arn:aws:sqs:{REGION}:999999999999:dead", NOT_OURS),
        (f"arn:aws:sqs:eu-west-1:{ACCOUNT}:dead", NOT_OURS),
        (f"{ARN}:absent", ABSENT),
    ],
)
def test_a_target_must_be_a_queue_of_the_same_owner(target: object, text: str) -> None:
    policy = redrive(target)
    assert reason(policy, refusal(policy)) == text


def test_creating_checks_the_target_too() -> None:
    policy = redrive(f"{ARN}:absent")
    request = CreateQueueRequest(queue_name="new", attributes={"RedrivePolicy": policy})
    assert reason(policy, Service().refuses(request)) == ABSENT
    service = with_queues()
    service.create("new", RedrivePolicy=redrive())
    assert read(service, "RedrivePolicy", "new") is not None


@pytest.mark.parametrize(("source", "target"), [("q", "dead.fifo"), ("q.fifo", "dead")])
def test_types_must_be_the_same(source: str, target: str) -> None:
    service = with_queues()
    service.create("q.fifo", FifoQueue="true")
    service.create("dead.fifo", FifoQueue="true")
    policy = redrive(f"{ARN}:{target}")
    assert reason(policy, refusal(policy, service, source)) == (
        "Dead-letter queue must be same type of queue as the source.."
    )


def test_a_queue_may_be_its_own_target_and_a_cycle_is_accepted() -> None:
    service = with_queues()
    change(service, RedrivePolicy=redrive(f"{ARN}:q"))
    change(service, RedrivePolicy=redrive(f"{ARN}:dead"))
    change(service, "dead", RedrivePolicy=redrive(f"{ARN}:q"))


def test_an_empty_policy_removes_it() -> None:
    service = with_queues()
    change(service, RedrivePolicy=redrive())
    change(service, RedrivePolicy="")
    assert read(service, "RedrivePolicy") is None


def test_what_was_set_stays_when_the_target_goes() -> None:
    service = with_queues()
    change(service, RedrivePolicy=redrive())
    service.do(DeleteQueueRequest(queue_url="dead"))
    change(service, VisibilityTimeout="5")
    assert read(service, "RedrivePolicy") is not None


def test_nothing_is_set_when_the_target_is_refused() -> None:
    service = with_queues()
    policy = redrive(f"{ARN}:absent")
    request = SetQueueAttributesRequest(
        queue_url="q", attributes={"VisibilityTimeout": "5", "RedrivePolicy": policy}
    )
    service.refuses(request)
    assert read(service, "VisibilityTimeout") == "30"


IN_ORDER = [
    ("Only following attributes", {"more": 1}),
    ("Redrive policy does not contain", {"maxReceiveCount": None}),
    ("Invalid value for maxReceiveCount", {"maxReceiveCount": 0}),
    (NO_QUEUE, {"deadLetterTargetArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:dead"}),
    (NOT_QUALIFIED, {"deadLetterTargetArn": "dead"}),
    (NOT_OURS, {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:999999999999:absent"}),
    (ABSENT, {"deadLetterTargetArn": f"{ARN}:absent"}),
]


@pytest.mark.parametrize(("first", "second"), list(pairwise(IN_ORDER)))
def test_of_two_faults_of_a_policy_the_first_is_reported(
    first: tuple[str, dict[str, object]], second: tuple[str, dict[str, object]]
) -> None:
    good = {"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 3}
    policy = json.dumps({**good, **second[1], **first[1]})
    assert reason(policy, refusal(policy)).startswith(first[0])


def test_other_attributes_are_checked_before_the_target_exists() -> None:
    request = SetQueueAttributesRequest(
        queue_url="q",
        attributes={"RedrivePolicy": redrive(f"{ARN}:absent"), "DelaySeconds": "x"},
    )
    assert isinstance(with_queues().refuses(request), InvalidAttributeValue)


# --- RedriveAllowPolicy ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "compact"),
    [
        ('{ "redrivePermission": "allowAll" }', '{"redrivePermission":"allowAll"}'),
        ('{"redrivePermission":"denyAll"}', '{"redrivePermission":"denyAll"}'),
        (
            '{"redrivePermission":"denyAll","sourceQueueArns":[]}',
            '{"redrivePermission":"denyAll"}',
        ),
        (
            f'{{"sourceQueueArns": ["{ARN}:a", "{ARN}:b"], "redrivePermission": "byQueue"}}',
            f'{{"redrivePermission":"byQueue","sourceQueueArns":["{ARN}:a","{ARN}:b"]}}',
        ),
    ],
)
def test_a_redrive_allow_policy_reads_back_compact(policy: str, compact: str) -> None:
    service = with_queues()
    change(service, RedriveAllowPolicy=policy)
    assert read(service, "RedriveAllowPolicy") == compact
    change(service, RedriveAllowPolicy="")
    assert read(service, "RedriveAllowPolicy") is None


def allow_refusal(policy: str) -> ServiceError:
    request = SetQueueAttributesRequest(queue_url="q", attributes={"RedriveAllowPolicy": policy})
    return with_queues().refuses(request)


@pytest.mark.parametrize(
    "policy",
    [
        "x",
        "[]",
        "{}",
        '{"redrivePermission":"some"}',
        '{"redrivePermission":["allowAll"]}',
        '{"redrivePermission":"allowAll","more":1}',
        '{"redrivePermission":"byQueue","sourceQueueArns":"x"}',
        '{"redrivePermission":"byQueue","sourceQueueArns":null}',
        '{"redrivePermission":"byQueue","sourceQueueArns":["x"]}',
        '{"redrivePermission":"byQueue","sourceQueueArns":[3]}',
    ],
)
def test_a_redrive_allow_policy_has_a_format(policy: str) -> None:
    error = allow_refusal(policy)
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        "Invalid value for the parameter RedriveAllowPolicy. "
        f"Reason: {CANNOT}, as it’s in an unsupported format."
    )


def by_queue(count: int, permission: str = "byQueue") -> str:
    arns = [f"{ARN}:{n}" for n in range(count)]
    return json.dumps({"redrivePermission": permission, "sourceQueueArns": arns})


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (
            '{"redrivePermission":"byQueue"}',
            "When you specify the byQueue permission type, you must also specify one or more "
            "sourceQueueArns values.",
        ),
        (
            by_queue(0),
            "When you specify the byQueue permission type, you must also specify one or more "
            "sourceQueueArns values.",
        ),
        (
            by_queue(1, "allowAll"),
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.",
        ),
        (
            by_queue(11, "denyAll"),
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.",
        ),
        (by_queue(11), "The maximum number of source queue ARNs you can specify is 10."),
    ],
)
def test_sources_go_with_by_queue_and_nothing_else(policy: str, text: str) -> None:
    error = allow_refusal(policy)
    assert isinstance(error, InvalidParameterValue)
    assert error.message.startswith(f"Value {policy[:256]}")
    assert error.message.endswith(
        f" for parameter RedriveAllowPolicy is invalid. Reason: {CANNOT}. {text}"
    )


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, True),
        ('{"redrivePermission":"allowAll"}', True),
        ('{"redrivePermission":"denyAll"}', False),
        (f'{{"redrivePermission":"byQueue","sourceQueueArns":["{ARN}:q"]}}', True),
        (f'{{"redrivePermission":"byQueue","sourceQueueArns":["{ARN}:other"]}}', False),
    ],
)
def test_who_is_let_in(policy: str | None, expected: bool) -> None:
    attributes = {"RedriveAllowPolicy": policy} if policy else {}
    assert lets_in(attributes, QueueName(ACCOUNT, REGION, "q")) is expected


def test_a_source_that_is_not_let_in_is_refused_and_one_that_was_stays() -> None:
    service = with_queues()
    service.create("early", RedrivePolicy=redrive())
    change(service, "dead", RedriveAllowPolicy='{"redrivePermission":"denyAll"}')
    policy = redrive()
    assert reason(policy, refusal(policy, service)) == (
        "The redrive allow policy of the dead-letter queue denies this source queue."
    )
    change(service, "early", VisibilityTimeout="5")
    assert read(service, "RedrivePolicy", "early") is not None
