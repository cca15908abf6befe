"""Which messages the claims of a flush get: one look for all queues, more where that is in vain.

What is found is locked; what others have locked is passed over. Dead and exhausted messages that
are met go first, in bounded steps. Called by `messages`.
"""

from collections.abc import Sequence

from stanchion.store.contract import Claim, Claimed
from stanchion.store.postgres import dead_letters, expiry, fair
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction
from stanchion.store.sqlite.tenants import Fairness

_CLAIM_CANDIDATES = statement("claim_candidates")

_ORDINARY, _EXHAUSTED = fair.ORDINARY_LANE, dead_letters.EXHAUSTED_LANE
_SWEEPS_MAX = 10
_SWEEP_MESSAGES_MAX = 1000
CLAIM_BYTES_MAX = 16 * 1024 * 1024

_RECEIVE_COUNT, _SENT_AT, _BODY, _SOURCE, _NUMBER, _VISIBLE_AT = 1, 3, 9, 10, 12, 13


class Turn:
    """The claims of one queue in this flush."""

    __slots__ = (
        "answers",
        "claims",
        "fairness",
        "indexes",
        "is_rest",
        "limits",
        "place",
        "rows",
        "wanted",
    )

    def __init__(
        self, place: Place, indexes: list[int], claims: Sequence[Claim], limits: list[int]
    ) -> None:
        self.place = place
        self.indexes = indexes
        self.claims = claims
        self.limits = limits
        self.wanted = sum(limits)
        self.rows: list[Row] = []
        """What they get, the first to serve first: at most `wanted`."""
        self.is_rest = False
        """Whether that is all there is."""
        self.fairness: Fairness | None = None
        self.answers: list[Claimed] = []


async def find(tx: Transaction, turns: Sequence[Turn]) -> None:
    """Visible messages for each turn: one look for all, and more only where that is in vain."""
    if not turns:
        return
    looks = [(turn.place.backlog, _ORDINARY, turn.wanted, len(turn.claims)) for turn in turns]
    # One of the exhausted ones is enough to know that there are some to be moved.
    looks += [(turn.place.backlog, _EXHAUSTED, 1, 1) for turn in turns]
    found = await _look(tx, looks)
    for turn, rows, exhausted in zip(turns, found, found[len(turns) :], strict=False):
        is_more = bool(exhausted) and await dead_letters.settle(tx, turn.place)
        if not turn.wanted:
            continue
        if turn.fairness is None:
            turn.rows, turn.is_rest = await _from_lane(tx, turn, _ORDINARY, turn.wanted, rows)
        if turn.fairness is not None or (turn.is_rest and is_more):
            turn.rows, turn.is_rest = await _from_lanes(tx, turn)
        if turn.is_rest:
            tx.drop_wake(turn.place.queue_id)


async def _look(tx: Transaction, looks: Sequence[tuple[int, int, int, int]]) -> list[list[Row]]:
    """The oldest visible rows for each: a backlog, a lane, how many, and how many at least.

    Between the latter two come only as many as are not too large; the next one has no body then.
    """
    found: list[list[Row]] = [[] for _ in looks]
    columns = zip(*looks, strict=True)
    low_water = tx.resources.low_water
    since_ms = [low_water.of(backlog, lane, tx.now_ms) for backlog, lane, _, _ in looks]
    for row in await tx.fetch(_CLAIM_CANDIDATES, *columns, tx.now_ms, CLAIM_BYTES_MAX, since_ms):
        found[row[_NUMBER] - 1].append(row)
    for (backlog, lane, wanted, _), rows in zip(looks, found, strict=True):
        if wanted:
            low_water.note(backlog, lane, rows[0][_VISIBLE_AT] if rows else tx.now_ms)
    return found


async def _from_lanes(tx: Transaction, turn: Turn) -> tuple[list[Row], bool]:
    async def fetch(lane: int, limit: int) -> tuple[list[Row], bool]:
        return await _from_lane(tx, turn, lane, limit)

    if turn.fairness is None:
        return await fetch(_ORDINARY, turn.wanted)
    return await fair.candidates(tx, turn.fairness, turn.wanted, fetch)


async def _from_lane(
    tx: Transaction, turn: Turn, lane: int, wanted: int, rows: list[Row] | None = None
) -> tuple[list[Row], bool]:
    """The oldest visible messages, at most `wanted`, none of them dead; and whether that is all.

    Fewer when they are large, yet not less than one for each claim for that. When one is dead or
    exhausted, such ones go first, in bounded steps. `rows` were read already.
    """
    place = turn.place
    dead_ms = tx.now_ms - place.retention_ms
    exhausted_at = place.exhausted_at
    for _ in range(_SWEEPS_MAX):
        if rows is None:
            (rows,) = await _look(tx, [(place.backlog, lane, wanted, len(turn.claims))])
        if dead := [row for row in rows if row[_SENT_AT] <= dead_ms]:
            # Where messages of another shard have come in, they are not the first by number.
            gone = [(row[0], row[_RECEIVE_COUNT], row[_VISIBLE_AT], None) for row in dead]
            await expiry.remove(tx, place, gone)
            await expiry.sweep(tx, place, _SWEEP_MESSAGES_MAX)
            rows = None
            continue
        for number, row in enumerate(rows):
            if row[_RECEIVE_COUNT] >= exhausted_at and row[_SOURCE] is None:
                await dead_letters.set_aside(tx, place, lane)
                break
            if row[_BODY] is None:
                return rows[:number], False
        else:
            return rows, len(rows) < wanted
        rows = None
    return [], False
