"""Servers as child processes: started, waited for, and ended by their own process ids."""

import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from stanchion.loadgen.plan import Credentials

CREDENTIALS = Credentials("AKIASTANCHIONBENCH00", "a-secret-for-benchmarks-only")
_READY_MAX_S = 30.0
_STOP_MAX_S = 60.0


class ServerProcess(Struct, frozen=True):
    url: str
    pid: int
    ready_s: float
    """From the start of the process to the line that says it is ready."""


def allow_many_connections() -> None:
    """Raise the limit on open files as far as it goes; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def null_server(log: Path) -> Iterator[ServerProcess]:
    """The listener alone, with a constant reply."""
    port = free_port()
    script = Path(__file__).with_name("null_server.py")
    with _started([script, "--port", port], "ready on ", log) as process:
        yield process


@contextmanager
def durable_server(data_dir: Path, *options: object) -> Iterator[ServerProcess]:
    """`stanchion serve` on a data directory, with `CREDENTIALS` as root's."""
    port = free_port()
    arguments = ["-m", "stanchion", "serve", "--data-dir", data_dir, "--port", port, *options]
    with _started(arguments, "stanchion ready on ", data_dir.with_suffix(".log")) as process:
        yield process


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    command = [sys.executable, "-m", "stanchion", "tls", "self-signed", "--dir", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "cert.pem", folder / "key.pem"


@contextmanager
def dev_server(log: Path) -> Iterator[ServerProcess]:
    arguments = ["-m", "stanchion", "dev", "--port", free_port()]
    with _started(arguments, "stanchion ready on ", log) as process:
        yield process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _started(arguments: Sequence[object], ready_prefix: str, log: Path) -> Iterator[ServerProcess]:
    environment = os.environ | {
        "STANCHION_ROOT_ACCESS_KEY_ID": CREDENTIALS.access_key_id,
        "STANCHION_ROOT_SECRET_ACCESS_KEY": CREDENTIALS.secret_access_key,
    }
    command = [sys.executable, *(str(argument) for argument in arguments)]
    started_s = time.monotonic()
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    try:
        url = _ready_url(process, " ".join(command), ready_prefix, log)
        yield ServerProcess(url, process.pid, time.monotonic() - started_s)
    finally:
        _stop(process)


def _ready_url(process: subprocess.Popen[str], command: str, prefix: str, log: Path) -> str:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], _READY_MAX_S)[0]:
        raise SystemExit(f"{command}: not ready after {_READY_MAX_S:.0f} s, see {log}")
    line = process.stdout.readline()
    if not line.startswith(prefix):
        raise SystemExit(f"{command}: said {line!r}:\n{log.read_text()[-2000:]}")
    return line[len(prefix) :].strip()


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_MAX_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
