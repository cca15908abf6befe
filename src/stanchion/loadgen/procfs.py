"""What a server process has used, as Linux's /proc tells it.

Only the process itself is read, not its children: give the id of the process that answers.
"""

import os
from pathlib import Path

from msgspec import Struct


class ServerUse(Struct, frozen=True):
    """CPU seconds used over a stretch, and the highest resident memory since the process began."""

    cpu_s: float
    peak_rss_bytes: int


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of all threads so far. Raises OSError when it is gone."""
    return _cpu_s(pid, 11)


def ended_children_cpu_s(pid: int) -> float:
    """The same of its children that have ended. Raises OSError when it is gone itself."""
    return _cpu_s(pid, 13)


def _cpu_s(pid: int, first: int) -> float:
    # The command's name, in parentheses, may hold spaces: count fields from its end.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[first]) + int(fields[first + 1])) / os.sysconf("SC_CLK_TCK")


def peak_rss_bytes(pid: int) -> int:
    """The process's high-water mark of resident memory. Raises OSError when it is gone."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has ended")


def use_since(pid: int, cpu_before_s: float) -> ServerUse:
    return ServerUse(cpu_s(pid) - cpu_before_s, peak_rss_bytes(pid))
