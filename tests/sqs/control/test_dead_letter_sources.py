"""ListDeadLetterSourceQueues: which queues there are, and in which pages."""

import json
from typing import Any

import pytest

from stanchion.model.errors import InvalidParameterValue, ServiceError
from stanchion.model.sqs import (
    ListDeadLetterSourceQueuesRequest,
    ListQueuesRequest,
    QueueDoesNotExist,
    SetQueueAttributesRequest,
)
from tests.sqs.harness import ACCOUNT, ORIGIN, REGION, Fault, Service, pairs_of_faults

RANGE = (
    "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 "
    "and 1000."
)
MANDATORY = "MaxResults is a mandatory parameter when you provide a value for NextToken."


def redrive(target: str) -> str:
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{target}"
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})


def with_sources(*names: str) -> Service:
    service = Service()
    service.create("dead")
    service.create("other")
    for name in names:
        service.create(name, RedrivePolicy=redrive("dead"))
    return service


def urls(*names: str) -> list[str]:
    return [f"{ORIGIN}/{ACCOUNT}/{name}" for name in names]


def sources(service: Service, **parameters: Any) -> Any:
    return service.do(ListDeadLetterSourceQueuesRequest(**{"queue_url": "dead", **parameters}))


def test_without_sources_there_is_no_member() -> None:
    answer = sources(with_sources())
    assert answer.queue_urls is None
    assert answer.next_token is None


def test_sources_are_in_the_order_of_their_names() -> None:
    service = with_sources("c", "a", "b")
    service.create("elsewhere", RedrivePolicy=redrive("other"))
    assert sources(service).queue_urls == urls("a", "b", "c")


def test_a_source_is_one_until_its_policy_says_otherwise() -> None:
    service = with_sources("a", "b", "c")
    for name, policy in (("a", ""), ("b", redrive("other")), ("dead", redrive("dead"))):
        attributes = {"RedrivePolicy": policy}
        service.do(SetQueueAttributesRequest(queue_url=name, attributes=attributes))
    assert sources(service).queue_urls == urls("c", "dead")


def test_pages() -> None:
    service = with_sources("a", "b", "c")
    first = sources(service, max_results=2)
    assert first.queue_urls == urls("a", "b")
    second = sources(service, max_results=2, next_token=first.next_token)
    assert second.queue_urls == urls("c")
    assert second.next_token is None
    assert sources(service, max_results=3).next_token is None


def test_a_token_is_good_for_its_queue_only() -> None:
    service = with_sources("a", "b")
    token = sources(service, max_results=1).next_token
    request = ListDeadLetterSourceQueuesRequest(queue_url="other", max_results=1, next_token=token)
    error = service.refuses(request)
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        "Invalid NextToken value. If you are passing in NextToken, you must not change the other "
        "request parameters."
    )
    listing = ListQueuesRequest(max_results=1, next_token=token)
    assert isinstance(service.refuses(listing), InvalidParameterValue)


@pytest.mark.parametrize("max_results", [-1, 0, 1001])
def test_a_page_has_a_size(max_results: int) -> None:
    request = ListDeadLetterSourceQueuesRequest(queue_url="dead", max_results=max_results)
    error = with_sources().refuses(request)
    assert isinstance(error, InvalidParameterValue)
    assert error.message == RANGE


FAULTS: list[Fault] = [
    ({"queue_url": "absent"}, (QueueDoesNotExist, "The specified queue does not exist.")),
    ({"max_results": 0}, (InvalidParameterValue, RANGE)),
    ({"next_token": "x"}, (InvalidParameterValue, MANDATORY)),
]


@pytest.mark.parametrize(("parameters", "expected"), [*FAULTS, *pairs_of_faults(FAULTS)], ids=str)
def test_of_two_faults_the_first_is_reported(
    parameters: dict[str, Any], expected: tuple[type[ServiceError], str]
) -> None:
    request = ListDeadLetterSourceQueuesRequest(**{"queue_url": "dead", **parameters})
    error = with_sources("a").refuses(request)
    assert (type(error), error.message) == expected
