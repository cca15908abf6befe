"""What a run is asked to do, and what workers and the coordinator say to each other about it.

Each worker gets a `Plan` as the first line of its standard input and answers with lines that are
one of `WorkerEvent`; the end of its input tells it to stop. Secrets travel there and nowhere else.
"""

from typing import Literal

from msgspec import Struct

from stanchion.loadgen.procfs import ServerUse
from stanchion.loadgen.tally import Tally

Scenario = Literal["send", "receive-delete", "cycle", "long-poll", "raw"]


RUNS = 10_000


class BenchError(Exception):
    """A run cannot start or go on; the text is one line for the person who started it."""


class Credentials(Struct, frozen=True):
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r})"


class Endpoint(Struct, frozen=True):
    """Where the requests go."""

    host: str
    port: int
    tls: bool
    ca_bundle: str | None
    """A file of certificate authorities to trust instead of the system's."""
    region: str

    @property
    def authority(self) -> str:
        """The Host header: the port is left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Plan(Struct, frozen=True):
    """One worker's part of a run. Exactly one of `duration_s` and `requests` is given."""

    endpoint: Endpoint
    credentials: Credentials
    queue_url: str
    scenario: Scenario
    connections: int
    batch: int
    body_bytes: int
    duration_s: float | None
    requests: int | None
    warmup_s: float
    wait_s: int
    """WaitTimeSeconds of every ReceiveMessage."""
    wake_ups: int
    """How many messages the `long-poll` scenario sends while the polls wait."""
    server_pid: int | None
    worker: int = 0
    fifo: bool = False
    groups: int = 0
    """Messages take turns among so many groups; 0: they have none."""
    group_prefix: str = "g"
    """A group is named by this and a number."""
    content_based: bool = False
    """FIFO: whether the server tells duplicates by the body; else each message has an id."""
    run: int = 0
    """Below `RUNS`: serial numbers of runs with different numbers differ, and so do their ids."""
    sends_per_s: float = 0.0
    """At most, of all connections of a worker together; 0: as fast as replies come."""
    waking_endpoint: Endpoint | None = None
    """Where `long-poll` sends the messages that wake polls, if not where these wait."""


class Ready(Struct, frozen=True, tag="ready"):
    """Every connection is open; the worker waits for a line that tells it to go."""


class Progress(Struct, frozen=True, tag="progress"):
    """What the worker is doing, and how far it is."""

    phase: Literal["warm-up", "measuring", "waking"]
    requests: int
    elapsed_s: float


class Finished(Struct, frozen=True, tag="finished"):
    """The end of a worker's part. Times cover the measured stretch only."""

    tally: Tally
    elapsed_s: float
    cpu_s: float
    """CPU seconds that the worker itself used."""
    server: ServerUse | None


class Failed(Struct, frozen=True, tag="failed"):
    """The worker could not start."""

    message: str


WorkerEvent = Ready | Progress | Finished | Failed
