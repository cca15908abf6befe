"""Who keeps the consumers of one queue busy: estimates by tenant, in bounded memory.

A tenant is a message group of a standard queue. What is known of it is how many of its messages are
in flight, and how much consumer time they took lately: the integral of that number over time, with
a weight that fades. Leases are counted by the second in which they end, as `tally` does, so one
that runs out needs no event. Losing an estimate does no harm: it is learnt again in a minute. So
nothing here is durable, and nothing here touches the database. Used by `fair` only.
"""

from collections.abc import Iterable, Mapping
from math import exp

NOISY_SHARE = 0.1
"""Of all messages in flight, or of all recent consumer time: a noisy tenant has more."""
NOISY_IN_FLIGHT_MIN = 30
RECENT_MS = 60_000
"""The weight of consumer time that was used so long ago is 1/e."""
NOISY_BUSY_MIN_MS = 30_000
"""Half a consumer during the last minute: below that, a share of the time says nothing."""
SILENT_MS = 300_000
"""A tenant that has sent nothing for so long is not noisy."""
TENANTS_MAX = 500

NO_GROUP = ""
"""Messages without a group: each is a tenant of its own, so only the totals count them."""


class Use:
    """How many messages are in flight, and the consumer time that they take."""

    __slots__ = ("_at_ms", "_busy_ms", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._busy_ms = 0.0
        self._at_ms = 0

    def add(self, messages: int, now_ms: int) -> None:
        self._busy_ms = self.busy_ms(now_ms)
        self._at_ms = now_ms
        self.in_flight = max(0, self.in_flight + messages)

    def busy_ms(self, now_ms: int) -> float:
        """Recent consumer time: n messages in flight all the while come to n * RECENT_MS."""
        kept = exp((self._at_ms - now_ms) / RECENT_MS)
        return self._busy_ms * kept + self.in_flight * RECENT_MS * (1 - kept)

    def forget_busy(self, now_ms: int) -> None:
        self._busy_ms = 0.0
        self._at_ms = now_ms


class Tenant(Use):
    __slots__ = ("last_sent_at_ms",)

    def __init__(self) -> None:
        super().__init__()
        self.last_sent_at_ms = 0


class Tenants:
    """The tenants of one queue. Whatever is told or asked says what time it is."""

    def __init__(self) -> None:
        self._everyone = Use()
        self._tenants: dict[str, Tenant] = {}
        self._ends: dict[int, dict[str, int]] = {}
        """By the second in which leases end: how many of whom."""
        self._ended_s = 0

    def leased(self, messages: Mapping[str, int], until_ms: int, now_ms: int) -> None:
        """Messages, counted by group, are in flight until an instant."""
        self._advance(now_ms)
        if until_ms <= now_ms:
            return
        ends = self._ends.setdefault(_second(until_ms), {})
        for group_id, count in messages.items():
            ends[group_id] = ends.get(group_id, 0) + count
            self._add(group_id, count, now_ms)

    def released(self, group_id: str, until_ms: int, now_ms: int) -> None:
        """A message that was in flight until an instant is not any more; too late does nothing."""
        self._advance(now_ms)
        second = _second(until_ms)
        ends = self._ends.get(second)
        count = ends.get(group_id, 0) if ends else 0
        if not ends or not count:
            return
        if count > 1:
            ends[group_id] = count - 1
        elif len(ends) > 1:
            del ends[group_id]
        else:
            del self._ends[second]
        self._add(group_id, -1, now_ms)

    def _add(self, group_id: str, count: int, now_ms: int) -> None:
        self._everyone.add(count, now_ms)
        if group_id == NO_GROUP:
            return
        tenant = self._tenants.get(group_id)
        if tenant is None:
            if count < 0:
                return
            if len(self._tenants) >= TENANTS_MAX:
                self._drop_the_quietest(now_ms)
            tenant = self._tenants[group_id] = Tenant()
        tenant.add(count, now_ms)

    def _drop_the_quietest(self, now_ms: int) -> None:
        """Half of them go: those above a tenth of anything are among the busiest ten."""
        ranked = sorted(
            self._tenants.items(),
            key=lambda item: item[1].in_flight + item[1].busy_ms(now_ms) / RECENT_MS,
            reverse=True,
        )
        self._tenants = dict(ranked[: TENANTS_MAX // 2])

    def _advance(self, now_ms: int) -> None:
        """End the leases of the seconds that are over."""
        now_s = now_ms // 1000
        if now_s <= self._ended_s:
            return
        passed = range(self._ended_s + 1, now_s + 1)
        seconds = passed if len(passed) < len(self._ends) else sorted(self._ends)
        for second in seconds:
            if second > now_s:
                break
            for group_id, count in self._ends.pop(second, _NOBODY).items():
                self._add(group_id, -count, second * 1000)
        self._ended_s = now_s

    def sent(self, group_id: str, sent_at_ms: int) -> None:
        """A tenant has sent something; one that has nothing in flight need not be known."""
        tenant = self._tenants.get(group_id)
        if tenant is not None and sent_at_ms > tenant.last_sent_at_ms:
            tenant.last_sent_at_ms = sent_at_ms

    def last_sent_at_ms(self, group_id: str) -> int:
        tenant = self._tenants.get(group_id)
        return tenant.last_sent_at_ms if tenant else 0

    def in_flight(self, group_id: str, now_ms: int) -> int:
        self._advance(now_ms)
        tenant = self._tenants.get(group_id)
        return tenant.in_flight if tenant else 0

    def is_noisy(self, group_id: str, now_ms: int) -> bool:
        """Whether the tenant uses so much that the others have to be served first."""
        self._advance(now_ms)
        tenant = self._tenants.get(group_id)
        if tenant is None or tenant.last_sent_at_ms <= now_ms - SILENT_MS:
            return False
        if self._has_many_in_flight(tenant):
            return True
        busy_ms = tenant.busy_ms(now_ms)
        if busy_ms < NOISY_BUSY_MIN_MS:
            return False
        return busy_ms > NOISY_SHARE * self._everyone.busy_ms(now_ms)

    def _has_many_in_flight(self, tenant: Tenant) -> bool:
        in_flight = tenant.in_flight
        if in_flight < NOISY_IN_FLIGHT_MIN:
            return False
        return in_flight > NOISY_SHARE * self._everyone.in_flight

    def has_many_in_flight(self, group_id: str, now_ms: int) -> bool:
        """Whether what is in flight now makes the tenant noisy, whatever it sent and used."""
        self._advance(now_ms)
        tenant = self._tenants.get(group_id)
        return tenant is not None and self._has_many_in_flight(tenant)

    def forget_busy(self, group_id: str, now_ms: int) -> None:
        """The tenant's backlog is gone: the time that it took is not held against it."""
        tenant = self._tenants.get(group_id)
        if tenant is not None:
            tenant.forget_busy(now_ms)


_NOBODY: dict[str, int] = {}


def _second(until_ms: int) -> int:
    return -(-until_ms // 1000)


class NoisyTenant:
    __slots__ = ("group_id", "is_closing", "is_drained", "lane", "last_sent_at_ms", "written_ms")

    def __init__(self, lane: int, group_id: str, last_sent_at_ms: int) -> None:
        self.lane = lane
        self.group_id = group_id
        self.last_sent_at_ms = last_sent_at_ms
        self.written_ms = last_sent_at_ms
        self.is_drained = False
        """The last claim that came here found the end of what is visible."""
        self.is_closing = False
        """It is quiet again, but its lane is not yet empty."""


class Fairness:
    """What is known of one queue that has tenants."""

    __slots__ = ("backlog", "noisy", "tenants")

    def __init__(self, backlog: int, noisy: Iterable[NoisyTenant] = ()) -> None:
        self.backlog = backlog
        self.noisy = {tenant.group_id: tenant for tenant in noisy}
        self.tenants = Tenants()
