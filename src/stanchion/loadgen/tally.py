"""What one measured stretch of a run has seen, and how several of them add up."""

from msgspec import Struct, field

from stanchion.loadgen.histogram import Histogram


class Tally(Struct):
    """Counts of successes by operation, of everything else by error code."""

    operations: dict[str, Histogram] = field(default_factory=dict)
    """Latencies of the requests that succeeded, by operation."""
    errors: dict[str, int] = field(default_factory=dict)
    sent_messages: int = 0
    deleted_messages: int = 0
    empty_receives: int = 0
    cycles: Histogram = field(default_factory=Histogram)
    """From the request that sends to the reply that deletes; only the `cycle` scenario has any."""
    wake_ups: Histogram = field(default_factory=Histogram)
    """From the request that sends to the reply that a waiting poll gets."""

    def success(self, operation: str, latency_us: int) -> None:
        try:
            self.operations[operation].record(latency_us)
        except KeyError:
            self.operations[operation] = Histogram()
            self.operations[operation].record(latency_us)

    def error(self, code: str, count: int = 1) -> None:
        self.errors[code] = self.errors.get(code, 0) + count

    def requests(self) -> int:
        return sum(latencies.total() for latencies in self.operations.values())

    def add(self, other: "Tally") -> None:
        for operation, latencies in other.operations.items():
            self.operations.setdefault(operation, Histogram()).add(latencies)
        for code, count in other.errors.items():
            self.error(code, count)
        self.sent_messages += other.sent_messages
        self.deleted_messages += other.deleted_messages
        self.empty_receives += other.empty_receives
        self.cycles.add(other.cycles)
        self.wake_ups.add(other.wake_ups)
