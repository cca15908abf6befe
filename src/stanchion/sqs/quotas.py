"""AWS's quotas on the calls to a FIFO queue, for whoever wants to meet them before AWS does.

Off unless the operator asks for them. Each queue and action has a bucket of one second's calls that
fills up steadily. A bucket that nobody has taken from for a second is full, which is what a new one
is: so the oldest buckets can be forgotten, and memory stays bounded. Called by the message actions
on FIFO queues only, from the event loop; standard queues have no quota.
"""

from collections import OrderedDict
from typing import Literal, Protocol

from stanchion.clock import Clock
from stanchion.model.sqs import RequestThrottled
from stanchion.sqs import limits
from stanchion.sqs.catalogue import Queue

Metered = Literal["SendMessage", "ReceiveMessage", "DeleteMessage"]
"""The actions with a quota; a batch counts as one call of its single action."""

_CALLS_PER_S = 300
_HIGH_THROUGHPUT_CALLS_PER_S = {
    "us-east-1": 70_000,
    "us-west-2": 70_000,
    "eu-west-1": 70_000,
    "us-east-2": 19_000,
    "eu-central-1": 19_000,
    "ap-south-1": 9_000,
    "ap-southeast-1": 9_000,
    "ap-southeast-2": 9_000,
    "ap-northeast-1": 9_000,
    "eu-west-2": 4_500,
    "sa-east-1": 4_500,
}
_HIGH_THROUGHPUT_ELSEWHERE = 2_400


class Quotas(Protocol):
    def take(self, queue: Queue, action: Metered) -> None:
        """Count a call. Raises `RequestThrottled` when there are too many."""
        ...


class Unlimited:
    """No quota: as many calls as the machine can answer."""

    def take(self, queue: Queue, action: Metered) -> None:
        pass


UNLIMITED = Unlimited()


class FifoQuotas:
    """AWS's quotas, by the clock that it is given."""

    def __init__(self, clock: Clock, buckets_max: int = limits.QUOTA_BUCKETS_MAX) -> None:
        self._clock = clock
        self._buckets_max = buckets_max
        self._buckets: OrderedDict[tuple[int, Metered], tuple[float, int]] = OrderedDict()
        """What is left in each bucket, and when that was so, oldest first."""

    def take(self, queue: Queue, action: Metered) -> None:
        now_ms, calls_per_s = self._clock.now_ms(), calls_per_s_of(queue)
        left, at_ms = self._buckets.get((queue.id, action), (float(calls_per_s), now_ms))
        left = min(calls_per_s, left + calls_per_s * (now_ms - at_ms) / 1000)
        if left < 1:
            raise RequestThrottled("The request was denied due to request throttling.")
        self._buckets[queue.id, action] = (left - 1, now_ms)
        self._buckets.move_to_end((queue.id, action))
        if len(self._buckets) > self._buckets_max:
            self._buckets.popitem(last=False)


def calls_per_s_of(queue: Queue) -> int:
    """The quota of a FIFO queue, for each action."""
    if not queue.has_high_throughput:
        return _CALLS_PER_S
    return _HIGH_THROUGHPUT_CALLS_PER_S.get(queue.name.region, _HIGH_THROUGHPUT_ELSEWHERE)
