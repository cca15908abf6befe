"""Fair queues in the store: quiet tenants first, then the noisy with the fewest in flight."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stanchion.store.contract import Claim, Claimed, ClaimedMessage, Delete, Send
from stanchion.store.sqlite import SqliteStore, fair
from stanchion.store.sqlite.tenants import SILENT_MS, Fairness
from tests.store.conftest import RESERVE_BYTES
from tests.store.driver import Driver, claim

LONG_MS = 12 * 3600 * 1000


class Tenants:
    """A queue whose messages say in their bodies whose they are."""

    def __init__(self, driver: Driver, queue_id: int | None = None) -> None:
        self.driver = driver
        self.queue_id = driver.create().id if queue_id is None else queue_id
        self.taken: list[ClaimedMessage] = []

    def send(self, group_id: str | None, count: int = 1, delay_ms: int = 0) -> None:
        messages = [self.driver.message(group_id or "-", delay_ms) for _ in range(count)]
        grouped = tuple(msgspec.structs.replace(m, group_id=group_id) for m in messages)
        self.driver.run(Send(self.queue_id, grouped))

    def take(self, limit: int = 10, visibility_ms: int = LONG_MS) -> str:
        """Claims; answers whose messages there were, in order."""
        claimed = self.driver.claim(self.queue_id, limit, visibility_ms)
        self.taken += claimed.messages
        return "".join(message.body.decode() for message in claimed.messages)

    def delete(self, group_id: str, count: int = 1_000_000) -> None:
        mine = [message for message in self.taken if message.group_id == group_id][:count]
        self.driver.delete(self.queue_id, *(message.lease for message in mine))
        self.taken = [message for message in self.taken if message not in mine]

    def flood(self, group_id: str = "F", count: int = 200, in_flight: int = 40) -> None:
        """A tenant with a backlog becomes noisy."""
        self.send(group_id, count)
        for _ in range(in_flight // 10):
            self.take(10)
        assert group_id in self.noisy()

    def noisy(self) -> dict[str, int]:
        """Lanes by group, as they would survive."""
        rows = self._rows("SELECT group_id, lane FROM noisy_tenant")
        return dict(rows)

    def lanes(self) -> Counter[int]:
        return Counter(lane for (lane,) in self._rows("SELECT lane FROM message"))

    def _rows(self, query: str) -> list[Any]:
        return self.driver.query(query)


@pytest.fixture
def queue(driver: Driver) -> Tenants:
    return Tenants(driver)


def test_who_has_many_in_flight_is_served_after_the_others(queue: Tenants) -> None:
    queue.flood()
    queue.send("q")
    queue.send(None)
    assert queue.take() == "q-FFFFFFFF"
    assert queue.take() == "F" * 10


def test_twenty_nine_in_flight_are_not_noisy(queue: Tenants) -> None:
    queue.send("F", 100)
    queue.take(10)
    queue.take(10)
    queue.take(9)
    queue.send("q")
    assert queue.noisy() == {}
    assert queue.take(1) == "F"
    assert queue.noisy() == {"F": 2}
    assert queue.take(1) == "q"


def test_a_tenth_of_all_in_flight_is_not_noisy(queue: Tenants) -> None:
    # A claim of one group is what makes the store look at tenants at all.
    queue.send("q")
    queue.take()
    queue.send(None, 289)
    while queue.take():
        pass
    queue.send("F", 40)
    for _ in range(3):
        queue.take()
    assert queue.noisy() == {}
    queue.send("F", 10)
    queue.take(10)
    assert queue.noisy() == {"F": 2}


def test_messages_without_a_group_are_never_noisy(queue: Tenants) -> None:
    queue.send(None, 200)
    for _ in range(10):
        queue.take()
    queue.send("q")
    assert queue.noisy() == {}
    assert queue.take() == "-" * 10


def test_new_messages_of_a_noisy_tenant_go_to_its_lane_at_once(queue: Tenants) -> None:
    queue.flood(count=50)
    queue.send("F", 7)
    queue.send("q", 3)
    # It was noisy with thirty in flight: the rest was moved by the claim after that.
    assert queue.lanes() == {0: 33, 2: 27}
    assert queue.take() == "qqqFFFFFFF"


def test_the_tenant_with_the_fewest_in_flight_is_first_among_the_noisy(queue: Tenants) -> None:
    queue.flood("A", count=60, in_flight=60)
    queue.flood("B", count=50, in_flight=40)
    queue.send("A", 30)
    # Until it has as many: A has 60, B 40.
    assert queue.take() == "B" * 10
    assert queue.take() == "A" * 10
    queue.delete("A", 60)
    queue.send("B", 100)
    assert queue.take() == "A" * 10


def test_what_several_noisy_tenants_have_in_flight_becomes_even(queue: Tenants) -> None:
    queue.flood("A", count=200, in_flight=60)
    queue.flood("B", count=200, in_flight=40)
    queue.send("A", 100)
    queue.send("B", 100)
    claims = [claim(queue.queue_id, 10, LONG_MS) for _ in range(6)]
    answers = queue.driver.flush(*claims).answers
    taken = Counter(
        message.group_id
        for claimed in answers
        if isinstance(claimed, Claimed)
        for message in claimed.messages
    )
    # 60 and 40 in flight become 80 and 80.
    assert taken == {"A": 20, "B": 40}


def test_what_the_first_lacks_the_others_give(queue: Tenants) -> None:
    queue.flood("A", count=200, in_flight=60)
    queue.flood("B", count=200, in_flight=40)
    queue.send("C", 43)
    for _ in range(4):
        queue.take()
    assert set(queue.noisy()) == {"A", "B", "C"}
    answers = queue.driver.flush(*(claim(queue.queue_id, 10, LONG_MS) for _ in range(30))).answers
    sizes = [len(claimed.messages) for claimed in answers if isinstance(claimed, Claimed)]
    assert sizes == [10] * 30


def test_a_claim_that_finds_everything_finds_all_lanes(queue: Tenants) -> None:
    queue.flood(count=45, in_flight=40)
    queue.send("F", 3)
    queue.send("q", 2)
    flush = queue.driver.flush(claim(queue.queue_id, 10), claim(queue.queue_id, 10))
    sizes = [len(c.messages) for c in flush.answers if isinstance(c, Claimed)]
    assert sizes == [10, 0]
    # Nobody is woken for what is in flight again.
    assert [wake.visible_at_ms > queue.driver.now_ms for wake in flush.wakes] == [True]


def test_a_tenant_is_quiet_again_when_its_backlog_is_gone(queue: Tenants) -> None:
    queue.flood(count=45, in_flight=40)
    assert queue.take() == "FFFFF"
    queue.delete("F")
    assert queue.take() == ""
    assert queue.noisy() == {}
    queue.send("F", 3)
    queue.send("q", 1)
    assert queue.take() == "FFFq"


def test_a_tenant_with_too_much_in_flight_stays_noisy(queue: Tenants) -> None:
    queue.flood(count=45, in_flight=40)
    assert queue.take() == "FFFFF"
    assert queue.take() == ""
    assert queue.noisy() == {"F": 2}
    queue.send("F")
    queue.send("q")
    assert queue.take() == "qF"


def test_messages_in_flight_come_back_from_a_closed_lane(queue: Tenants) -> None:
    queue.flood(count=40, in_flight=40)
    queue.send("F", 20)
    queue.take(10, 60_000)
    queue.take(10, 60_000)
    queue.delete("F", 40)
    assert queue.lanes() == {2: 20}
    assert queue.take() == queue.take() == ""
    assert queue.noisy() == {}
    assert queue.lanes() == {0: 20}
    queue.driver.wait(60_000)
    assert queue.take(10) + queue.take(10) + queue.take(10) == "F" * 20


def test_a_tenant_is_quiet_when_it_has_sent_nothing_for_five_minutes(queue: Tenants) -> None:
    queue.flood(count=3000, in_flight=60)
    queue.send("q", 5)
    assert queue.take() == "qqqqqFFFFF"
    queue.send("r", 5)
    queue.driver.wait(SILENT_MS - 1)
    assert queue.take() == "rrrrrFFFFF"
    queue.send("s")
    queue.driver.wait(1)
    # What is in its lane goes back, in order of visibility, in bounded steps.
    assert queue.take(1) == "F"
    assert queue.lanes()[0] >= 1000
    for _ in range(3):
        queue.take(1)
    assert queue.noisy() == {}
    assert set(queue.lanes()) == {0}


def test_whoever_sends_after_five_minutes_is_quiet_until_judged_anew(queue: Tenants) -> None:
    queue.flood(count=100)
    queue.take()
    queue.driver.wait(SILENT_MS)
    queue.send("F")
    assert queue.lanes() == {0: 31, 2: 70}
    # The claim empties its lane, and finds it noisy again.
    queue.take(1)
    assert queue.noisy() == {"F": 2}
    queue.send("q")
    assert queue.take(1) == "q"


def test_sends_keep_a_tenant_noisy(queue: Tenants) -> None:
    queue.flood(count=100)
    for _ in range(10):
        queue.driver.wait(SILENT_MS // 2)
        queue.send("F")
        queue.send("q")
        assert queue.take(1) == "q"


def test_a_deep_backlog_is_passed_in_bounded_steps(queue: Tenants) -> None:
    for _ in range(5):
        queue.send("F", 1000)
    queue.send("q", 2)
    for _ in range(3):
        queue.take()
    assert queue.noisy()
    for moved in range(1, 5):
        assert queue.take(1) == "F"
        in_lane = queue.lanes()[2]
        # Besides the step, what the claim meets before and after it.
        assert fair._MOVED_MAX * moved <= in_lane <= (fair._MOVED_MAX + 2) * moved
    assert queue.take(3) == "qqF"
    assert queue.lanes() == {0: 32, 2: 4970}


def test_lanes_survive_a_restart(tmp_path: Path) -> None:
    def opened(now_ms: int) -> Driver:
        store = SqliteStore.open(tmp_path / "data", reserve_bytes=RESERVE_BYTES)
        return Driver(store, now_ms)

    queue = Tenants(opened(1_700_000_000_000))
    queue.flood(count=60)
    queue.send("F", 5)
    queue.send("q")
    queue.driver.store.close()
    driver = opened(queue.driver.now_ms + 1)
    again = Tenants(driver, queue.queue_id)
    again.send("F", 2)
    again.send("q")
    assert again.noisy() == {"F": 2}
    assert again.take(3) == "qqF"
    driver.wait(LONG_MS)
    left = ""
    while found := again.take():
        left += found
    assert Counter(left) == {"F": 67, "q": 2}
    driver.store.close()


def test_a_failed_transaction_leaves_no_tenant_noisy_without_its_lane(queue: Tenants) -> None:
    queue.send("F", 100)
    for _ in range(2):
        queue.take()

    class Unknown(Claim, frozen=True, gc=False):
        pass

    unknown = Unknown(queue.queue_id, 1, LONG_MS, 120_000)
    claims = [claim(queue.queue_id, 10, LONG_MS) for _ in range(3)]
    answers = queue.driver.flush(*claims, unknown).answers
    assert isinstance(answers[-1], Exception)
    queue.send("F", 10)
    assert set(queue.lanes()) <= {0, *queue.noisy().values()}
    for _ in range(5):
        queue.take()
    queue.send("q")
    assert queue.take(1) == "q"


def test_an_empty_claim_knows_when_a_noisy_message_comes_back(queue: Tenants) -> None:
    queue.flood(count=40, in_flight=40)
    queue.send("F", 1)
    queue.take(1, 5_000)
    claimed = queue.driver.claim(queue.queue_id)
    assert claimed.messages == ()
    assert claimed.next_visible_at_ms == queue.driver.now_ms + 5_000


def test_counts_do_not_care_about_lanes(queue: Tenants) -> None:
    queue.flood(count=100)
    queue.send("F", 5, delay_ms=400)
    queue.send("F", 6, delay_ms=90_000)
    queue.take(10, 500)
    assert queue.driver.counts(queue.queue_id) == (50, 50, 11)
    queue.driver.wait(450)
    assert queue.driver.counts(queue.queue_id) == (55, 50, 6)
    queue.driver.wait(50)
    assert queue.driver.counts(queue.queue_id) == (65, 40, 6)


def test_dead_messages_of_every_lane_expire(driver: Driver) -> None:
    queue = Tenants(driver, driver.create(retention_ms=60_000).id)
    queue.flood(count=100)
    queue.send("F", 50)
    queue.take()
    driver.wait(59_999)
    queue.send("F", 3)
    driver.wait(1)
    assert queue.take(10) == "FFF"
    driver.upkeep()
    assert sum(queue.lanes().values()) == 3


def test_a_purge_forgets_lanes(queue: Tenants) -> None:
    queue.flood(count=100)
    queue.send("F", 5)
    assert queue.driver.purge(queue.queue_id) == "purged"
    queue.driver.upkeep()
    queue.driver.wait(120_000)
    queue.driver.upkeep()
    assert queue.noisy() == {}
    queue.send("F", 2)
    queue.send("q")
    assert queue.take() == "FFq"


def test_visibility_changes_keep_the_lane_and_what_is_known(queue: Tenants) -> None:
    queue.flood(count=60, in_flight=60)
    queue.send("F", 20)
    assert queue.take() == "F" * 10
    mine = queue.taken[-10:]
    queue.driver.show(queue.queue_id, 0, *(message.lease for message in mine))
    queue.send("q")
    assert queue.lanes() == {0: 31, 2: 50}
    assert queue.take() == "qFFFFFFFFF"
    # Everything it has in flight is given back: quiet, as soon as nothing waits.
    queue.driver.show(queue.queue_id, 0, *(m.lease for m in queue.taken if m.group_id == "F"))
    assert queue.driver.counts(queue.queue_id)[1] == 1


def test_no_more_lanes_than_the_limit(queue: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue.driver.module("fair"), "_LANES_MAX", 2)
    for group_id in "ABC":
        queue.send(group_id, 40)
        while queue.take():
            pass
    assert queue.noisy() == {"A": 2, "B": 3}
    queue.send("C")
    queue.send("A")
    assert queue.take() == "CA"


def test_no_more_queues_are_known_than_the_limit(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver.module("fair"), "_QUEUES_MAX", 3)
    for n in range(5):
        queue = Tenants(driver, driver.create(f"queue-{n}").id)
        queue.send("a")
        queue.take()
    assert len(known(driver)) == 3


def test_nothing_is_known_of_queues_without_groups(driver: Driver) -> None:
    queue = Tenants(driver)
    queue.send(None, 50)
    queue.take()
    driver.run(Delete(queue.queue_id, tuple(message.lease for message in queue.taken)))
    assert known(driver) == {}


def known(driver: Driver) -> dict[int, Fairness]:
    """What the store remembers of tenants, by backlog."""
    store: Any = driver.store
    if not isinstance(store, SqliteStore):
        store = store.store
    found: dict[int, Fairness] = store._resources.fairness
    return found
