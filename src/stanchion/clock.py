"""Time and identifiers, the two things that must never be read from anywhere else.

Everything that needs the time or a fresh id is handed a `Clock` or an `Ids`, so that tests decide
both. Queue time (`Clock.now_ms`) never goes backwards: when the wall clock is stepped back, queue
time goes on at the speed of the monotonic clock. Signatures are checked against wall time, because
the client's clock is the other party to that check.
"""

import os
import time
from collections.abc import Iterator
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now_ms(self) -> int:
        """Queue time: milliseconds since the epoch, never less than at any earlier call."""
        ...

    def wall_s(self) -> float:
        """Wall time: seconds since the epoch, as the operating system has it now."""
        ...


class SystemClock:
    """The machine's clocks. Queue time follows the wall clock forward, but never back."""

    def __init__(self, floor_ms: int = 0) -> None:
        self._offset_s = 0.0
        self.raise_floor(floor_ms)

    def raise_floor(self, floor_ms: int) -> None:
        """Never answer less than `floor_ms` again: what a restarted server found on its disk."""
        self._offset_s = max(self._offset_s, floor_ms / 1000 - time.monotonic())

    def now_ms(self) -> int:
        monotonic_s = time.monotonic()
        offset_s = time.time() - monotonic_s
        if offset_s > self._offset_s:
            self._offset_s = offset_s
        return int((monotonic_s + self._offset_s) * 1000)

    def wall_s(self) -> float:
        return time.time()


class Ids(Protocol):
    """Where identifiers and other entropy come from."""

    def uuid(self) -> str:
        """A fresh random UUID in its 36-character text form."""
        ...


class RandomIds:
    """Identifiers from the operating system's entropy, fetched in blocks to spare system calls."""

    def __init__(self) -> None:
        self._next = _uuids().__next__

    def uuid(self) -> str:
        return self._next()


_BLOCK_BYTES = 4096
_UUID_DIGITS = 32
# Variant 10 of RFC 9562: the two high bits of this digit are given, the low ones random.
_VARIANT = {digit: "89ab"[value & 3] for value, digit in enumerate("0123456789abcdef")}


def _uuids() -> Iterator[str]:
    """Random UUIDs, version 4."""
    while True:
        digits = os.urandom(_BLOCK_BYTES).hex()
        for start in range(0, len(digits), _UUID_DIGITS):
            h = digits[start : start + _UUID_DIGITS]
            yield f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}"
