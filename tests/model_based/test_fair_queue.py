"""Tenants that flood a queue: whoever is served first, each message is handed out as ever."""

import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.model_based.driver import in_postgres
from tests.model_based.profiles import share
from tests.model_based.test_standard_queue import StandardQueues

tenant = st.sampled_from(["loud", "louder", "quiet", None])


class FairQueues(StandardQueues):
    """The machine of standard queues, with enough in flight for tenants to become noisy."""

    in_flight_max = 300

    @rule(tenant=tenant, batches=st.integers(1, 5), delay=st.sampled_from([0, 0, 0, 1]))
    def flood(self, tenant: str | None, batches: int, delay: int) -> None:
        for _ in range(batches):
            self.send_batch(0, [delay] * 10, tenant)

    @rule(receives=st.integers(1, 6), visibility=st.sampled_from([2, 30, 600]))
    def receive_many(self, receives: int, visibility: int) -> None:
        for _ in range(receives):
            self.receive(0, 10, visibility)

    @rule(receives=st.integers(1, 6), left_ms=st.sampled_from([0, 1000, 61_000]))
    def work_off(self, receives: int, left_ms: int) -> None:
        """Consumers that take their time, and delete what they got."""
        for _ in range(receives):
            before = len(self.queues[0].handles)
            self.receive(0, 10, 600)
            self.driver.clock.advance(left_ms)
            for handle in self.queues[0].handles[before:]:
                self.remove(0, handle)

    @rule(receives=st.integers(1, 3))
    def receive_in_parallel(self, receives: int) -> None:
        self.receive_together(0, [10] * (receives + 1))


class InFiles(FairQueues):
    """On a SQLite file: which tenants are noisy is still known when a restart opens it again."""

    @initialize()
    def start(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.files = lambda: Path(self._temporary.name) / "data"
        super().start()

    def teardown(self) -> None:
        super().teardown()
        self._temporary.cleanup()


class InPostgres(FairQueues):
    """In PostgreSQL, where a restart forgets what a process has in memory."""

    files = staticmethod(in_postgres)


TestInMemory = FairQueues.TestCase
TestInMemory.settings = share(0.6)
TestInFiles = InFiles.TestCase
TestInFiles.settings = share(0.2)
TestInPostgres = InPostgres.TestCase
TestInPostgres.settings = share(0.3)
