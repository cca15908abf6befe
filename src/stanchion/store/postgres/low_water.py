"""Where looks for visible messages begin: past what has just been taken.

Every message that was leased or deleted leaves an entry at the head of the visibility index until
vacuum comes by, and a transaction elsewhere may keep it from coming for long. A look that reads all
of them again and again is what kills queues in tables. So each process remembers where its last
look found the first message, and begins a margin before that.

It is a hint: what a transaction that took longer than the margin commits behind it, or gives back,
is found by the next look from the start, of which there is one a second for each lane in use.
Never durable, never shared, and forgotten when a command moves messages between lanes.
"""

from collections.abc import Iterable

MARGIN_MS = 2000
_LOOKED_FROM_START_EVERY_MS = 1000
_LANES_MAX = 20_000


class LowWater:
    """By backlog and lane: the instant behind which nothing is in view, most likely."""

    def __init__(self) -> None:
        self._marks: dict[tuple[int, int], _Mark] = {}

    def of(self, backlog: int, lane: int, now_ms: int) -> int:
        """Where to begin; 0 when a look from the start is due, which is taken to be done then."""
        mark = self._marks.get((backlog, lane))
        if mark is None:
            if len(self._marks) >= _LANES_MAX:
                self._marks.clear()
            self._marks[backlog, lane] = _Mark(now_ms)
            return 0
        if not 0 <= now_ms - mark.looked_from_start_ms < _LOOKED_FROM_START_EVERY_MS:
            mark.looked_from_start_ms = now_ms
            return 0
        return max(0, mark.first_ms - MARGIN_MS)

    def peek(self, backlog: int, lane: int) -> int:
        """The same for whoever looked just now."""
        mark = self._marks.get((backlog, lane))
        return max(0, mark.first_ms - MARGIN_MS) if mark else 0

    def note(self, backlog: int, lane: int, first_ms: int) -> None:
        """A look has found the first message there; if it found none, that is when it was."""
        if mark := self._marks.get((backlog, lane)):
            mark.first_ms = first_ms

    def forget(self, backlog: int, lanes: Iterable[int]) -> None:
        """Messages come into these lanes that have been in view for a while."""
        for lane in lanes:
            self._marks.pop((backlog, lane), None)

    def clear(self) -> None:
        self._marks.clear()


class _Mark:
    __slots__ = ("first_ms", "looked_from_start_ms")

    def __init__(self, now_ms: int) -> None:
        self.first_ms = 0
        self.looked_from_start_ms = now_ms
