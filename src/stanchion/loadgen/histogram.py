"""Latencies in bounded memory: exact counts in log-linear buckets.

Up to 255 microseconds a bucket is one microsecond wide; above, each power of two is divided into
128 buckets, so a percentile is never less than the exact one and at most 1/128 more. A histogram
is a plain value: workers send theirs to the coordinator as JSON, where they are added.
"""

from collections.abc import Iterable
from math import ceil

from msgspec import Struct, field

_LINEAR_BITS = 7
_VALUE_BITS = 32
_VALUE_MAX_US = (1 << _VALUE_BITS) - 1
_BUCKETS = ((_VALUE_BITS - _LINEAR_BITS - 1) << _LINEAR_BITS) + (2 << _LINEAR_BITS)


class Histogram(Struct):
    """Counts of durations in microseconds; anything above 71 minutes counts as 71 minutes."""

    counts: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    max_us: int = 0

    def record(self, value_us: int) -> None:
        if value_us > self.max_us:
            if value_us > _VALUE_MAX_US:
                value_us = _VALUE_MAX_US
            self.max_us = value_us
        if value_us > 255:
            shift = value_us.bit_length() - 8
            value_us = (shift << 7) + (value_us >> shift)
        self.counts[value_us] += 1

    def total(self) -> int:
        return sum(self.counts)

    def percentile_us(self, percent: float) -> int:
        """The least bucket end that `percent` of the values do not exceed; 0 when empty."""
        rank = ceil(self.total() * percent / 100)
        if rank == 0:
            return 0
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen >= rank:
                return min(_bucket_end_us(bucket), self.max_us)
        return self.max_us

    def add(self, other: "Histogram") -> None:
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.max_us = max(self.max_us, other.max_us)


def _bucket_end_us(bucket: int) -> int:
    if bucket < 2 << _LINEAR_BITS:
        return bucket
    shift = (bucket >> _LINEAR_BITS) - 1
    return ((bucket - (shift << _LINEAR_BITS) + 1) << shift) - 1


def merged(histograms: Iterable[Histogram]) -> Histogram:
    total = Histogram()
    for histogram in histograms:
        total.add(histogram)
    return total
