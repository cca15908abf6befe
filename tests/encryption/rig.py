"""A data directory and the servers that run on it, one after another, on the same ports.

A test sends through official clients, ends the server this way or that, and then looks at the files
or changes them, as somebody would who has the disk.
"""

import os
import re
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests import server
from tests.access_control.stage import Stage
from tests.http.certificates import Authority

NOT_DATA = ("stanchion.lock", "stanchion.db-shm")
"""What says who is running, and nothing else."""


class Installation:
    """The data directory of one server at a time."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.authority = Authority(folder, "authority")
        files = self.authority.issue("server")
        self._port = 0
        self._settings = {
            "tls_cert": str(files.certificate),
            "tls_key": str(files.key),
            "tls_port": "0",
            "purge_interval_s": "0",
            **settings,
        }
        self._logs: list[Path] = []
        self._running: server.Server | None = None

    @contextmanager
    def serving(self, *, descriptors: Sequence[int] = (), **settings: str) -> Iterator[Stage]:
        """A server for the length of a block, with these settings beside the usual ones."""
        stage = self.start(descriptors=descriptors, **settings)
        try:
            yield stage
        finally:
            stage.close()
            self.stop()

    def start(self, *, descriptors: Sequence[int] = (), **settings: str) -> Stage:
        log = self.folder / "data.log"
        if log.exists():
            # A stage reads its own ports there.
            kept = self.folder / f"data.{len(self._logs)}.log"
            self._logs.append(log.rename(kept))
        given = {**self._settings, **settings}
        self._running = server.start(self.data_dir, self._port, given, descriptors=descriptors)
        stage = Stage(self._running, self.data_dir, self.authority)
        self._port = _port(stage.http)
        self._settings["tls_port"] = str(_port(stage.https))
        return stage

    def stop(self) -> None:
        if self._running is not None and self._running.process.poll() is None:
            assert self._running.stop() == 0

    def kill(self) -> None:
        """SIGKILL."""
        assert self._running is not None
        self._running.kill()

    @property
    def log(self) -> str:
        """Of the last server."""
        return (self.folder / "data.log").read_text()

    # --- What is on the disk ----------------------------------------------------------------------

    def bytes_by_file(self) -> dict[str, bytes]:
        """Everything in the data directory."""
        return {
            str(path.relative_to(self.data_dir)): path.read_bytes()
            for path in self.data_dir.rglob("*")
            if path.is_file()
        }

    def digests(self) -> dict[str, tuple[str, int]]:
        """Digest and mode of everything in the data directory that is data."""
        return {
            name: (sha256(_uncounted(data)).hexdigest(), (self.data_dir / name).stat().st_mode)
            for name, data in self.bytes_by_file().items()
            if name not in NOT_DATA
        }

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """The database of a server that was stopped, to be changed by hand."""
        path = self.data_dir / "stanchion.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            yield connection

    # --- The command line -------------------------------------------------------------------------

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """`stanchion` on the data directory, and with nothing of this environment's settings."""
        clean = {
            name: text for name, text in os.environ.items() if not name.startswith("STANCHION_")
        }
        return subprocess.run(
            [sys.executable, "-m", "stanchion", *arguments, "--data-dir", str(self.data_dir)],
            env=clean | dict(environment or {}),
            pass_fds=descriptors,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def _uncounted(data: bytes) -> bytes:
    """A file, without SQLite's own count of those who had it open."""
    if not data.startswith(b"SQLite format 3\0"):
        return data
    counts = bytes(4)
    return data[:24] + counts + data[28:92] + counts + data[96:]


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def metric(stage: Stage, name: str) -> float:
    with urllib.request.urlopen(f"{stage.http}/metrics", timeout=10) as reply:
        found = re.search(rf"^{name} (\S+)$", reply.read().decode(), re.MULTILINE)
    assert found, f"there is no metric {name}"
    return float(found[1])


def receive(sqs: Any, url: str, **more: Any) -> list[dict[str, Any]]:
    """What one receive gives, with all there is to know of each message."""
    asked = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"]} | more
    found: list[dict[str, Any]] = sqs.receive_message(QueueUrl=url, **asked).get("Messages", [])
    return found


def drained(sqs: Any, url: str, wanted: int, receives_max: int = 100) -> list[str]:
    """Receive and delete until that many bodies were received, or there are no more."""
    bodies: list[str] = []
    for _ in range(receives_max):
        messages = receive(sqs, url, WaitTimeSeconds=2 if len(bodies) < wanted else 0)
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        bodies += [message["Body"] for message in messages]
        if not messages:
            break
    return bodies
