"""CreateQueue: names, idempotence, the quarantine, and in which order faults are found."""

import json
from typing import Any

import pytest

from stanchion.model.errors import InvalidParameterValue, ServiceError
from stanchion.model.sqs import (
    CreateQueueRequest,
    DeleteQueueRequest,
    InvalidAttributeName,
    InvalidAttributeValue,
    ListQueueTagsRequest,
    OverLimit,
    QueueDeletedRecently,
    QueueNameExists,
    SetQueueAttributesRequest,
)
from stanchion.sqs.service import Limits
from tests.sqs.harness import ACCOUNT, ORIGIN, REGION, Fault, Service, call_of, pairs_of_faults

NAME_RULE = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
FIFO_NAME_RULE = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores,"
    " must end with .fifo suffix and be 1 to 80 in length."
)


def refusal(name: str | None, **attributes: str) -> ServiceError:
    return Service().refuses(CreateQueueRequest(queue_name=name, attributes=attributes))


def policy(*statement_actions: str) -> str:
    statements = ",".join(
        f'{{"Effect":"Allow","Principal":"*","Action":"{action}","Resource":"*"}}'
        for action in statement_actions
    )
    return f'{{"Statement":[{statements}]}}'


@pytest.mark.parametrize("name", ["q", "A-b_9", "x" * 80])
def test_a_queue_gets_its_url(name: str) -> None:
    assert Service().create(name) == f"{ORIGIN}/{ACCOUNT}/{name}"


@pytest.mark.parametrize("name", [None, "", "x" * 81, "a b", "a.b", "ümlaut", "q\n", "q.fifo"])
def test_a_bad_name_is_refused(name: str | None) -> None:
    error = refusal(name)
    assert isinstance(error, InvalidParameterValue)
    assert error.message == NAME_RULE


@pytest.mark.parametrize("name", [None, "q", ".fifo", "x" * 76 + ".fifo", "a b.fifo", "q.fifo\n"])
def test_a_bad_fifo_name_is_refused(name: str | None) -> None:
    error = refusal(name, FifoQueue="true")
    assert isinstance(error, InvalidParameterValue)
    assert error.message == FIFO_NAME_RULE


@pytest.mark.parametrize("value", ["false", "", "TRUE"])
def test_fifo_queue_is_unknown_to_a_standard_queue(value: str) -> None:
    error = refusal("q", FifoQueue=value)
    assert isinstance(error, InvalidAttributeName)
    assert error.message == "Unknown Attribute FifoQueue."


@pytest.mark.parametrize(
    "name", ["ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"]
)
def test_a_fifo_attribute_is_unknown_to_a_standard_queue(name: str) -> None:
    error = refusal("q", **{name: "true"})
    assert isinstance(error, InvalidAttributeName)
    assert error.message == f"Unknown Attribute {name}."


def test_creating_again_with_the_same_or_no_attributes_succeeds() -> None:
    service = Service()
    url = service.create(VisibilityTimeout="5", DelaySeconds="0")
    assert service.create() == url
    assert service.create(VisibilityTimeout="5") == url
    # An attribute that was not given has its default, which may be given later.
    assert service.create(MaximumMessageSize="1048576", SqsManagedSseEnabled="true") == url
    assert service.create(KmsMasterKeyId="", Policy="") == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VisibilityTimeout", "6"),
        ("DelaySeconds", "1"),
        ("KmsMasterKeyId", "alias/other"),
        ("SqsManagedSseEnabled", "false"),
        ("Policy", policy("sqs:SendMessage")),
    ],
)
def test_creating_again_with_a_different_value_is_refused(name: str, value: str) -> None:
    service = Service()
    service.create(VisibilityTimeout="5")
    error = service.refuses(CreateQueueRequest(queue_name="q", attributes={name: value}))
    assert isinstance(error, QueueNameExists)
    assert error.message == (
        f"A queue already exists with the same name and a different value for attribute {name}"
    )


def test_a_policy_is_compared_by_what_it_says() -> None:
    service = Service()
    service.create(
        Policy='{"Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},'
        '"Action":["sqs:SendMessage","sqs:ReceiveMessage"],"Resource":"*"}}'
    )
    service.create(
        Policy=' {"Statement": [{"Resource": "*", "Action": ["sqs:ReceiveMessage",'
        '"sqs:SendMessage"], "Principal": {"AWS": ["arn:aws:iam::111122223333:root"]},'
        '"Effect": "Allow"}]} '
    )


def test_who_may_send_dead_letters_is_a_set() -> None:
    service = Service()
    sources = [f"arn:aws:sqs:us-east-1:123456789012:{name}" for name in ("one", "two")]
    for arns in (sources, sources[::-1]):
        allowed = {"redrivePermission": "byQueue", "sourceQueueArns": arns}
        service.create(RedriveAllowPolicy=json.dumps(allowed))


def test_creating_again_compares_with_what_was_set_since() -> None:
    service = Service()
    url = service.create()
    service.do(SetQueueAttributesRequest(queue_url=url, attributes={"KmsMasterKeyId": "alias/k"}))
    service.create(KmsMasterKeyId="alias/k")
    request = CreateQueueRequest(queue_name="q", attributes={"SqsManagedSseEnabled": "true"})
    assert isinstance(service.refuses(request), QueueNameExists)


def test_tags_are_stored_and_ignored_when_the_queue_exists() -> None:
    service = Service()
    url = service.do(CreateQueueRequest(queue_name="q", tags={"team": "a"})).queue_url
    service.do(CreateQueueRequest(queue_name="q", tags={"team": "b"}))
    assert service.do(ListQueueTagsRequest(queue_url=url)).tags == {"team": "a"}


def test_a_deleted_name_is_in_quarantine_for_a_minute() -> None:
    service = Service()
    service.do(DeleteQueueRequest(queue_url=service.create()))
    service.clock.advance(59.9)
    error = service.refuses(CreateQueueRequest(queue_name="q"))
    assert isinstance(error, QueueDeletedRecently)
    assert error.message == (
        "You must wait 60 seconds after deleting a queue before you can create another"
        " with the same name."
    )
    service.clock.advance(0.1)
    service.create()


def test_the_quarantine_can_be_set() -> None:
    service = Service(Limits(queue_name_quarantine_s=0))
    service.do(DeleteQueueRequest(queue_url=service.create()))
    service.create()


def test_accounts_and_regions_do_not_share_names() -> None:
    service = Service()
    service.create(VisibilityTimeout="1")
    request = CreateQueueRequest(queue_name="q", attributes={"VisibilityTimeout": "2"})
    service.do(request, call_of("999999999999"))
    service.do(request, call_of(ACCOUNT, "eu-west-1"))


def test_a_policy_of_too_many_statements_is_a_bad_value_on_create_only() -> None:
    service = Service()
    document = policy(*["sqs:SendMessage"] * 21)
    request = CreateQueueRequest(queue_name="q", attributes={"Policy": document})
    error = service.refuses(request)
    assert isinstance(error, InvalidAttributeValue)
    assert error.message == "Invalid value for the parameter Policy."
    change = SetQueueAttributesRequest(queue_url=service.create(), attributes={"Policy": document})
    assert isinstance(service.refuses(change), OverLimit)


REDRIVE = f'{{"deadLetterTargetArn":"arn:aws:sqs:{REGION}:{ACCOUNT}:absent","maxReceiveCount":3}}'
FAULTS: list[Fault] = [
    ({"queue_name": "a b"}, (InvalidParameterValue, NAME_RULE)),
    ({"attributes": {"Nope": "1"}}, (InvalidAttributeName, "Unknown Attribute Nope.")),
    (
        {"attributes": {"DelaySeconds": "901"}},
        (InvalidAttributeValue, "Invalid value for the parameter DelaySeconds."),
    ),
    (
        {"attributes": {"KmsMasterKeyId": "alias/k", "SqsManagedSseEnabled": "true"}},
        (
            InvalidAttributeName,
            "You can use one type of server-side encryption (SSE) at one time."
            " You can either enable KMS SSE or SQS SSE.",
        ),
    ),
    (
        {"tags": {"": "v"}},
        (InvalidParameterValue, "Tag keys must be between 1 and 128 characters in length."),
    ),
    (
        {"attributes": {"RedrivePolicy": REDRIVE}},
        (
            InvalidParameterValue,
            f"Value {REDRIVE} for parameter RedrivePolicy is invalid. Reason: Dead letter target"
            " does not exist.",
        ),
    ),
    (
        {"attributes": {"VisibilityTimeout": "31"}},
        (
            QueueNameExists,
            "A queue already exists with the same name and a different value for attribute"
            " VisibilityTimeout",
        ),
    ),
]


@pytest.mark.parametrize(("parameters", "expected"), [*FAULTS, *pairs_of_faults(FAULTS)], ids=str)
def test_of_two_faults_the_first_is_reported(
    parameters: dict[str, Any], expected: tuple[type[ServiceError], str]
) -> None:
    service = Service()
    service.create()
    error = service.refuses(CreateQueueRequest(**{"queue_name": "q", **parameters}))
    assert (type(error), error.message) == expected
