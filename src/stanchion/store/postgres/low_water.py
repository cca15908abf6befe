"""Where looks for visible messages begin: past what has just been taken.

Every message that was leased or deleted leaves an entry at the head of the visibility index until
vacuum comes by, and a transaction elsewhere may keep it from coming for long. A look that reads all
of them again and again is what kills queues in tables. So each process remembers where its last
look found the first message, and begins a margin before that.

It is a hint: what a transaction that took longer than the margin commits behind it, or gives back,
is found by the next look from the start, of which there is one a second for each lane in use.
Never durable, never shared, and forgotten when a command moves messages between lanes. Groups of
FIFO queues, and the tally's changes, have marks of their own. Used by claims and by upkeep.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

MARGIN_MS = 2000
_LOOKED_FROM_START_EVERY_MS = 1000
_SUMMED_FROM_START_EVERY_MS = 60_000
_SLOW_S = 0.05
_REST_MAX_S = 1.0
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

    def forget_backlogs(self, backlogs: Collection[int]) -> None:
        """The same for all lanes of these."""
        if backlogs:
            self._marks = {key: m for key, m in self._marks.items() if key[0] not in backlogs}


class Look(NamedTuple):
    """For ready groups: where it began, the first it found or where it ended, and when it was."""

    since_ms: int
    first_ms: int
    start_s: float
    end_s: float


class SlowLooks:
    """The same for the groups of FIFO queues, fresh and returned ones apart.

    A delete makes a group ready at the instant at which its next message was sent, which may be
    long ago, so looks begin at the start, until one of them is slow. Then there is none from the
    start for ten times as long, a second at most. Groups that this process makes ready meanwhile
    lower the mark.
    """

    def __init__(self) -> None:
        self._rests: dict[tuple[int, bool], _Rest] = {}

    def of(self, backlog: int, is_returned: bool, now_s: float) -> int:
        """Where to begin."""
        rest = self._rests.get((backlog, is_returned))
        return rest.first_ms if rest and now_s < rest.until_s else 0

    def note(self, backlog: int, is_returned: bool, look: Look) -> None:
        key = (backlog, is_returned)
        first_ms = max(0, look.first_ms - MARGIN_MS)
        took_s = look.end_s - look.start_s
        if look.since_ms:
            if rest := self._rests.get(key):
                rest.first_ms = first_ms
        elif took_s < _SLOW_S:
            self._rests.pop(key, None)
        else:
            if len(self._rests) >= _LANES_MAX:
                self._rests.clear()
            self._rests[key] = _Rest(first_ms, look.end_s + min(_REST_MAX_S, 10 * took_s))

    def lower(self, backlog: int, is_returned: bool, ready_at_ms: int) -> None:
        """A group gets ready at this instant."""
        if rest := self._rests.get((backlog, is_returned)):
            rest.first_ms = min(rest.first_ms, ready_at_ms)


class _Rest:
    __slots__ = ("first_ms", "until_s")

    def __init__(self, first_ms: int, until_s: float) -> None:
        self.first_ms = first_ms
        self.until_s = until_s


class TallyHead:
    """The same for upkeep, which takes rows of `tally_change` in order: the first of last time.

    Numbers are drawn before they are committed, so once a minute it begins at the start.
    """

    def __init__(self) -> None:
        self.first = 0
        self._began_at_start_ms: int | None = None

    def begin(self, now_ms: int) -> int:
        last_ms = self._began_at_start_ms
        if last_ms is None or not 0 <= now_ms - last_ms < _SUMMED_FROM_START_EVERY_MS:
            self._began_at_start_ms = now_ms
            return 0
        return self.first


class _Mark:
    __slots__ = ("first_ms", "looked_from_start_ms")

    def __init__(self, now_ms: int) -> None:
        self.first_ms = 0
        self.looked_from_start_ms = now_ms
