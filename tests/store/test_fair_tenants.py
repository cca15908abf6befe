"""Who is noisy, by what is in flight and by recent consumer time; no database."""

import pytest

from stanchion.store.sqlite import tenants
from stanchion.store.sqlite.tenants import NO_GROUP, RECENT_MS, SILENT_MS, TENANTS_MAX, Tenants

START_MS = 1_700_000_000_000
FAR_MS = START_MS + 10_000_000


def _leased(messages: dict[str, int], now_ms: int = START_MS) -> Tenants:
    found = Tenants()
    found.leased(messages, FAR_MS, now_ms)
    for group_id in messages:
        found.sent(group_id, now_ms)
    return found


@pytest.mark.parametrize(
    ("mine", "others", "noisy"),
    [(29, 0, False), (30, 0, True), (30, 269, True), (30, 270, False), (31, 270, True)],
)
def test_more_than_a_tenth_of_what_is_in_flight_and_at_least_thirty(
    mine: int, others: int, noisy: bool
) -> None:
    found = _leased({"mine": mine, NO_GROUP: others})
    assert found.is_noisy("mine", START_MS) is noisy
    assert found.has_many_in_flight("mine", START_MS) is noisy


def test_messages_without_a_group_are_never_noisy() -> None:
    found = _leased({NO_GROUP: 1000})
    assert not found.is_noisy(NO_GROUP, START_MS)


def test_a_tenant_that_holds_consumers_for_long_is_noisy_with_few_messages() -> None:
    found = _leased({"slow": 5, NO_GROUP: 40})
    assert not found.is_noisy("slow", START_MS)
    assert not found.is_noisy("slow", START_MS + 6_000)
    assert found.is_noisy("slow", START_MS + 8_000)


def test_a_tenth_of_the_time_is_needed_too() -> None:
    found = _leased({"slow": 5, NO_GROUP: 45})
    assert not found.is_noisy("slow", START_MS + RECENT_MS)


def test_consumer_time_fades() -> None:
    found = _leased({"slow": 5})
    for _ in range(5):
        found.released("slow", FAR_MS, START_MS + 20_000)
    assert found.is_noisy("slow", START_MS + 20_000)
    assert not found.is_noisy("slow", START_MS + 20_000 + 2 * RECENT_MS)


def test_a_nearly_idle_queue_has_no_noisy_tenant() -> None:
    found = _leased({})
    for n in range(1000):
        now_ms = START_MS + 1000 * n
        found.leased({"only": 1}, now_ms + 30_000, now_ms)
        found.sent("only", now_ms)
        found.released("only", now_ms + 30_000, now_ms + 400)
        assert not found.is_noisy("only", now_ms + 999)


def test_whoever_sends_nothing_for_five_minutes_is_not_noisy() -> None:
    found = _leased({"silent": 100})
    assert found.is_noisy("silent", START_MS + SILENT_MS - 1)
    assert not found.is_noisy("silent", START_MS + SILENT_MS)
    found.sent("silent", START_MS + SILENT_MS)
    assert found.is_noisy("silent", START_MS + SILENT_MS)


def test_leases_that_run_out_are_not_in_flight() -> None:
    found = Tenants()
    found.leased({"a": 40}, START_MS + 30_000, START_MS)
    found.leased({"a": 2}, START_MS + 90_000, START_MS)
    assert found.in_flight("a", START_MS + 29_999) == 42
    assert found.in_flight("a", START_MS + 30_000) == 2
    # Too late: that lease is not counted any more.
    found.released("a", START_MS + 30_000, START_MS + 31_000)
    assert found.in_flight("a", START_MS + 31_000) == 2
    found.released("a", START_MS + 90_000, START_MS + 31_000)
    assert found.in_flight("a", START_MS + 31_000) == 1
    # The clock is far ahead: more seconds have passed than there are leases.
    assert found.in_flight("a", START_MS + 5_000_000) == 0


def test_consumer_time_ends_with_the_lease_whenever_that_is_noticed() -> None:
    found = Tenants()
    found.leased({"a": 10}, START_MS + 2_000, START_MS)
    found.sent("a", START_MS)
    assert not found.is_noisy("a", START_MS + 60_000)


def test_no_more_tenants_are_known_than_the_limit() -> None:
    found = Tenants()
    found.leased({"busy": 50}, FAR_MS, START_MS)
    found.sent("busy", START_MS)
    for n in range(TENANTS_MAX * 3):
        found.leased({f"t{n}": 1}, START_MS + 30_000, START_MS)
    assert len(found._tenants) <= TENANTS_MAX
    assert found.in_flight("busy", START_MS) == 50
    # Those that were dropped count in the total, until they end.
    assert not found.is_noisy("busy", START_MS)
    assert found.is_noisy("busy", START_MS + 30_000)
    found.leased({"t0": 1}, FAR_MS, START_MS + 30_000)
    assert found.in_flight("t0", START_MS + 30_000) == 1


def test_nothing_is_kept_of_leases_that_ended() -> None:
    found = Tenants()
    for n in range(1000):
        found.leased({"a": 1, "b": 2}, START_MS + n * 1000 + 30_000, START_MS + n * 1000)
    assert len(found._ends) <= 31
    for _ in range(2):
        found.released("b", START_MS + 999_000 + 30_000, START_MS + 999_000)
    found.released("a", START_MS + 999_000 + 30_000, START_MS + 999_000)
    assert START_MS // 1000 + 999 + 30 not in found._ends


def test_the_thresholds_are_those_of_the_service() -> None:
    assert (tenants.NOISY_SHARE, tenants.NOISY_IN_FLIGHT_MIN) == (0.1, 30)
    assert tenants.SILENT_MS == 300_000
