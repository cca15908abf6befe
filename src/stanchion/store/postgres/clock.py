"""Queue time as the database has it, in flushes and between them.

Every flush reads the database's clock, so that nodes agree whatever their own clocks say. Queue
time never goes back: where the database's clock has been stepped back, or a standby with a slow
clock was promoted, it creeps on at half speed until the database has caught up: leases still end.
Between flushes it follows at the speed of the monotonic clock, for deadlines and timers.
"""

import time
from collections.abc import Callable

_WINDOW_S = 10.0
_CREEP = 0.5


class DatabaseClock:
    """A `Clock`. Told by the store what time the database has; before that it has its own guess."""

    def __init__(
        self,
        floor_ms: int = 0,
        monotonic_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """Never answers less than `floor_ms`: what was found in the database."""
        self._monotonic_s = monotonic_s
        self.wall_s = wall_s
        self._queue_ms = float(floor_ms)
        self._observed_s = monotonic_s()
        self._offset_s = max(wall_s(), floor_ms / 1000) - self._observed_s
        self._previous_s: float | None = None
        self._recent_s: float | None = None
        self._window_ends_s = 0.0
        self._latest_ms = floor_ms

    def observe(self, database_ms: int) -> int:
        """The database had this time not long ago. Answers the queue time for that."""
        now_s = self._monotonic_s()
        self._queue_ms = max(database_ms, self._crept_ms(now_s))
        self._observed_s = now_s
        self._follow(self._queue_ms / 1000 - now_s, now_s)
        return int(self._queue_ms)

    def floor_ms(self) -> int:
        """What `observe` would answer at least."""
        return int(self._crept_ms(self._monotonic_s()))

    def _crept_ms(self, now_s: float) -> float:
        return self._queue_ms + (now_s - self._observed_s) * 1000 * _CREEP

    def _follow(self, offset_s: float, now_s: float) -> None:
        """Take account of an answer of the database.

        Answers take a while to get here, so the one that makes its clock look furthest ahead is the
        most exact; those of the last ten to twenty seconds count.
        """
        if now_s >= self._window_ends_s:
            self._window_ends_s = now_s + _WINDOW_S
            self._previous_s, self._recent_s = self._recent_s, None
        if self._recent_s is None or offset_s > self._recent_s:
            self._recent_s = offset_s
        known = [offset for offset in (self._previous_s, self._recent_s) if offset is not None]
        self._offset_s = max(known)

    def now_ms(self) -> int:
        now_ms = int((self._monotonic_s() + self._offset_s) * 1000)
        if now_ms > self._latest_ms:
            self._latest_ms = now_ms
        return self._latest_ms
