"""`stanchion` in processes of its own, where a test is about how they start or end."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

from tests.server import KEY

ROOT_KEY = {"root_access_key_id": KEY[0], "root_secret_access_key": KEY[1]}


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings, and nothing else of Stanchion's."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("STANCHION_")}
    return clean | {f"STANCHION_{name.upper()}": text for name, text in settings.items()}


def launch(
    settings: Mapping[str, str], verb: str = "serve", descriptors: Sequence[int] = ()
) -> subprocess.Popen[str]:
    """Start it, and do not wait."""
    return subprocess.Popen(
        [sys.executable, "-m", "stanchion", *verb.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({"port": "0", **settings} if verb == "serve" else settings),
        pass_fds=descriptors,
    )


def ready_url(process: subprocess.Popen[str]) -> str | None:
    """Where it serves; None when it has ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert not line or line.startswith("stanchion ready on "), line
    return line.split()[-1] if line else None


def refusal(process: subprocess.Popen[str]) -> str:
    """The one line of a process that does not start."""
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, ""), error
    lines = [line for line in error.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, error
    assert "Traceback" not in error
    return lines[0]


def end(*processes: subprocess.Popen[str]) -> None:
    """Whatever a test has left running."""
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def get(url: str) -> tuple[int, str]:
    """Status and text of a page."""
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
