"""A real `stanchion serve` in a process of its own, for tests that need one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY_ID = "AKIATESTTESTTESTTEST"
SECRET_ACCESS_KEY = "a-secret-of-the-tests/with+odd=characters"
KEY = (ACCESS_KEY_ID, SECRET_ACCESS_KEY)


def root_key_file(directory: Path) -> str:
    """A new root key, for all servers on a database."""
    path = directory / "root.key"
    path.touch(mode=0o600)
    path.write_text(os.urandom(32).hex())
    return str(path)


@dataclass(slots=True)
class Server:
    """A running server. `url` is its plain endpoint, as its ready line gave it."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.process.kill()
        self._ended(10)

    def stop(self) -> int:
        """SIGTERM: drain and go. The exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended(20)

    def _ended(self, timeout_s: float) -> int:
        status = self.process.wait(timeout_s)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


def start(
    data_dir: Path,
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    verb: str = "serve",
    descriptors: Sequence[int] = (),
) -> Server:
    """Start a server and wait for its ready line. Its standard error is appended to a file."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STANCHION_")}
    environment.pop("PYTHONPATH", None)  # the client under test may be an old one; the server not
    environment |= {
        "STANCHION_ROOT_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "STANCHION_ROOT_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        **{f"STANCHION_{name.upper()}": value for name, value in (settings or {}).items()},
    }
    log = data_dir.parent / f"{data_dir.name}.log"
    arguments = ["--data-dir", str(data_dir)] if verb == "serve" else []
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "stanchion", verb, "--port", str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment,
            pass_fds=descriptors,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("stanchion ready on "):
        process.kill()
        raise AssertionError(f"no ready line but {line!r}; log: {log.read_text()}")
    return Server(process, line.split()[-1], log)


@contextmanager
def running(data_dir: Path, **options: object) -> Iterator[Server]:
    """A server for the length of a block."""
    server = start(data_dir, **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
