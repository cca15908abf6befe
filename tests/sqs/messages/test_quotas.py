"""The quotas of FIFO queues: off unless asked for, and as AWS has them when they are on."""

from typing import Any

import msgspec
import pytest

from stanchion.model.sqs import (
    DeleteMessageBatchRequest,
    DeleteMessageRequest,
    ReceiveMessageRequest,
    RequestThrottled,
    SendMessageBatchRequest,
    SendMessageRequest,
)
from stanchion.sqs.catalogue import Queue
from stanchion.sqs.quotas import FifoQuotas, Metered
from tests.sqs.harness import REGION, Service, call_of, finish

SEND: Metered = "SendMessage"


def queue_of(region: str = REGION, name: str = "q.fifo", **attributes: str) -> Queue:
    service = Service()
    service.call = call_of("123456789012", region)
    service.create(name, FifoQueue="true", **attributes)
    return finish(service.catalogue.resolve(service.call, name))


def taken(quotas: FifoQuotas, queue: Queue, action: Metered = SEND) -> int:
    """How many calls there are now before one is throttled."""
    calls = 0
    while True:
        try:
            quotas.take(queue, action)
        except RequestThrottled:
            return calls
        calls += 1


def test_a_queue_has_300_calls_a_second() -> None:
    clock, queue = Service().clock, queue_of()
    quotas = FifoQuotas(clock)
    assert taken(quotas, queue) == 300
    clock.advance(0.1)
    assert taken(quotas, queue) == 30
    clock.advance(100)
    assert taken(quotas, queue) == 300


def test_a_throttled_call_says_so() -> None:
    quotas, queue = FifoQuotas(Service().clock), queue_of()
    taken(quotas, queue)
    with pytest.raises(RequestThrottled) as refusal:
        quotas.take(queue, SEND)
    assert refusal.value.http_status == 403
    assert refusal.value.message == "The request was denied due to request throttling."


def test_actions_and_queues_do_not_share_a_quota() -> None:
    quotas, queue = FifoQuotas(Service().clock), queue_of()
    assert taken(quotas, queue) == 300
    assert taken(quotas, queue, "ReceiveMessage") == 300
    assert taken(quotas, msgspec.structs.replace(queue, id=2)) == 300


@pytest.mark.parametrize(
    ("region", "calls"),
    [("eu-central-1", 19_000), ("eu-west-2", 4500), ("eu-north-1", 2400), ("elsewhere", 2400)],
)
def test_high_throughput_has_the_regions_quota(region: str, calls: int) -> None:
    queue = queue_of(
        region, DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId"
    )
    assert taken(FifoQuotas(Service().clock), queue) == calls


def test_only_the_latest_buckets_are_kept() -> None:
    quotas, queue = FifoQuotas(Service().clock, buckets_max=2), queue_of()
    first, second, third = (msgspec.structs.replace(queue, id=number) for number in (1, 2, 3))
    for _ in range(299):
        quotas.take(first, SEND)
    assert taken(quotas, second) == 300
    quotas.take(first, SEND)
    quotas.take(third, SEND)  # and the second is forgotten
    assert taken(quotas, first) == 0
    assert taken(quotas, third) == 299
    assert taken(quotas, second) == 300


REQUESTS: list[tuple[type[Any], Metered]] = [
    (SendMessageRequest, "SendMessage"),
    (SendMessageBatchRequest, "SendMessage"),
    (ReceiveMessageRequest, "ReceiveMessage"),
    (DeleteMessageRequest, "DeleteMessage"),
    (DeleteMessageBatchRequest, "DeleteMessage"),
]


class Counted:
    """Quotas that only note what was taken."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []

    def take(self, queue: Queue, action: Metered) -> None:
        self.taken.append((queue.name.name, action))
        raise RequestThrottled("no more")


@pytest.mark.parametrize(("request_type", "action"), REQUESTS)
def test_a_call_counts_before_anything_is_checked_on_fifo_queues_only(
    request_type: type[Any], action: str
) -> None:
    service, quotas = Service(), Counted()
    service.sqs = msgspec.structs.replace(service.sqs, quotas=quotas)
    service.create("q.fifo", FifoQueue="true")
    assert isinstance(service.refuses(request_type(queue_url="q.fifo")), RequestThrottled)
    assert quotas.taken == [("q.fifo", action)]
    service.create("q")
    if request_type is ReceiveMessageRequest:
        service.do(request_type(queue_url="q"))
    else:
        assert not isinstance(service.refuses(request_type(queue_url="q")), RequestThrottled)


def test_without_quotas_there_is_no_limit() -> None:
    service = Service()
    service.create("q.fifo", FifoQueue="true")
    queue = finish(service.catalogue.resolve(service.call, "q.fifo"))
    for _ in range(1000):
        service.sqs.quotas.take(queue, SEND)
