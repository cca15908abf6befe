"""Counting: what every request adds to, and how it is told to Prometheus.

Counting is on the hot path, so it is plain additions in plain dictionaries; names, help texts and
the text format are put together only when somebody asks. Labels take their values from the service
model and the error classes, never from what a client sent. Written by the gateway, read by the
`/metrics` page; from the event loop only.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 21.0)
"""The last but infinity holds the longest long poll there is."""


class Latency(Struct, gc=False):
    """How long the requests of one action took."""

    counts: list[int]
    """One for each bucket, and one for what was slower than all of them."""
    sum_s: float = 0.0


class Reading(Struct, frozen=True):
    """A value that somebody else keeps, read when it is asked for; or one for each of a label's."""

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    read: Callable[[], float | Mapping[str, float]]
    label: str = ""
    """What tells values apart, where there are several."""


class Metrics:
    """The counters of one server."""

    def __init__(self, worker: int = 0) -> None:
        """`worker` is a label of everything, where there are several."""
        self._worker = worker
        self.requests: dict[tuple[str, str], int] = {}
        """By action and outcome: `OK`, or the error's code."""
        self.latency: dict[str, Latency] = {}
        self._readings: list[Reading] = []

    def answered(self, action: str, code: str, elapsed_s: float) -> None:
        """A request has been answered."""
        key = (action, code)
        self.requests[key] = self.requests.get(key, 0) + 1
        latency = self.latency.get(action)
        if latency is None:
            latency = self.latency[action] = Latency([0] * (len(LATENCY_BUCKETS_S) + 1))
        latency.counts[bisect_left(LATENCY_BUCKETS_S, elapsed_s)] += 1
        latency.sum_s += elapsed_s

    def watch(self, *readings: Reading) -> None:
        """Expose values that other parts keep for themselves."""
        self._readings += readings

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        # Takes a while to import, and most servers in development are never asked.
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(self)
        if not self._worker:
            return generate_latest(registry)
        labelled = CollectorRegistry()
        labelled.register(_Labelled(registry, {"worker": str(self._worker)}))
        return generate_latest(labelled)

    def collect(self) -> Iterator["Metric"]:
        """As prometheus_client wants it: metric families."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        requests = CounterMetricFamily(
            "stanchion_requests", "Requests answered.", labels=("action", "code")
        )
        for labels, count in self.requests.items():
            requests.add_metric(labels, count)
        yield requests
        yield self._latency_family()
        for reading in self._readings:
            kind = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
            family = kind(reading.name, reading.help, labels=(reading.label,) * bool(reading.label))
            found = reading.read()
            for label, value in found.items() if isinstance(found, Mapping) else ((None, found),):
                family.add_metric(() if label is None else (label,), value)
            yield family

    def _latency_family(self) -> "Metric":
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(
            "stanchion_request_seconds", "Time from request to reply.", labels=("action",)
        )
        for action, latency in self.latency.items():
            family.add_metric((action,), _cumulative(latency.counts), latency.sum_s)
        return family


class _Labelled:
    """What another registry has, with some more labels."""

    def __init__(self, registry: "CollectorRegistry", labels: dict[str, str]) -> None:
        self._registry = registry
        self._labels = labels

    def collect(self) -> Iterator["Metric"]:
        for family in self._registry.collect():
            family.samples = [
                sample._replace(labels={**sample.labels, **self._labels})
                for sample in family.samples
            ]
            yield family


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*map(str, LATENCY_BUCKETS_S), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
