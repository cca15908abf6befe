"""Queue time between the flushes that read it from the database."""

from stanchion.store.postgres.clock import DatabaseClock

DATABASE_MS = 1_700_000_000_000


class Machine:
    """The clocks of a machine whose wall clock is ten seconds slow."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.clock = DatabaseClock(0, self.monotonic_s, self.wall_s)

    def monotonic_s(self) -> float:
        return 5000 + self.passed_s

    def wall_s(self) -> float:
        return DATABASE_MS / 1000 - 10 + self.passed_s

    def observe(self, latency_ms: int, drift_ms: int = 0) -> int:
        passed_ms = round(self.passed_s * 1000)
        return self.clock.observe(DATABASE_MS + passed_ms - latency_ms + drift_ms)


def test_it_has_the_database_time_and_goes_on_by_itself() -> None:
    machine = Machine()
    assert machine.clock.now_ms() == DATABASE_MS - 10_000
    machine.observe(latency_ms=0)
    assert machine.clock.now_ms() == DATABASE_MS
    machine.passed_s = 1.5
    assert machine.clock.now_ms() == DATABASE_MS + 1500


def test_an_answer_that_took_long_does_not_set_it_back() -> None:
    machine = Machine()
    machine.observe(latency_ms=1)
    machine.passed_s = 0.5
    machine.observe(latency_ms=400)
    assert machine.clock.now_ms() == DATABASE_MS + 499


def test_it_follows_a_database_whose_clock_is_slower() -> None:
    machine = Machine()
    machine.observe(latency_ms=0)
    for n in range(1, 6):
        machine.passed_s += 10
        machine.observe(latency_ms=0, drift_ms=-20 * n)
    machine.passed_s += 1
    assert machine.clock.now_ms() == DATABASE_MS + 51_000 - 80


def test_a_flush_has_the_time_of_the_database() -> None:
    machine = Machine()
    assert machine.observe(latency_ms=0) == DATABASE_MS
    machine.passed_s = 0.1
    assert machine.observe(latency_ms=3) == DATABASE_MS + 97


def test_a_step_back_is_crept_over_at_half_speed() -> None:
    machine = Machine()
    machine.observe(latency_ms=0)
    found = []
    for _ in range(8):
        machine.passed_s += 10
        found.append(machine.observe(latency_ms=0, drift_ms=-30_000) - DATABASE_MS)
    assert found == [5000, 10_000, 15_000, 20_000, 25_000, 30_000, 40_000, 50_000]


def test_creeping_does_not_stop_however_often_it_is_asked() -> None:
    machine = Machine()
    machine.observe(latency_ms=0)
    for _ in range(1000):
        machine.passed_s += 0.001
        latest_ms = machine.observe(latency_ms=0, drift_ms=-3_600_000)
    assert 495 <= latest_ms - DATABASE_MS <= 500


def test_it_never_goes_back() -> None:
    machine = Machine()
    instants = [machine.clock.now_ms()]
    for drift_ms in (0, 500, -60_000, -60_000, 0, -10_000):
        machine.passed_s += 7
        machine.observe(latency_ms=0, drift_ms=drift_ms)
        instants.append(machine.clock.now_ms())
    assert instants == sorted(instants)


def test_it_begins_at_what_was_found_in_the_database() -> None:
    machine = Machine()
    floor_ms = DATABASE_MS + 1_000_000
    clock = DatabaseClock(floor_ms, machine.monotonic_s, machine.wall_s)
    assert clock.now_ms() == floor_ms
    assert clock.observe(DATABASE_MS) == floor_ms
    machine.passed_s = 4
    assert clock.observe(DATABASE_MS + 4000) == floor_ms + 2000
