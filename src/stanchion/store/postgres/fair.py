"""Fair queues: quiet tenants are served before noisy ones, on standard queues with groups.

Theory of operation: the visibility index begins with a lane. Quiet tenants, and messages without a
group, are in lane 0; each noisy tenant has a lane of its own, so no claim reads past its backlog.
What a tenant had in lane 0 when it became noisy stays there until a claim meets it at the head:
then the head is sorted, a bounded number of rows at a time, so each row is moved once. A tenant
that is quiet again has its lane closed: its rows go back in bounded steps, and then the lane is
forgotten. Who uses how much is estimated by each process for itself, in memory (`tenants`). Queues
without groups have no `Fairness`, and pay nothing.

`noisy_tenant` is what all processes share, and each flush reads it anew. Whoever puts rows into a
lane holds a shared lock on its row there, and who closes it an exclusive one: so no row is left
behind in a lane that nobody looks at. Called by `messages`.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Place, Row, Transaction
from stanchion.store.sqlite.tenants import NO_GROUP, SILENT_MS, Fairness, NoisyTenant

_NOISY_TENANTS = statement("noisy_tenants")
_HOLD_NOISY_TENANTS = statement("hold_noisy_tenants")
_TRY_NOISY_TENANTS = statement("try_noisy_tenants")
_LOCK_NOISY_TENANT = statement("lock_noisy_tenant")
_INSERT_NOISY_TENANT = statement("insert_noisy_tenant")
_SET_LAST_SENT_AT = statement("set_noisy_tenant_last_sent_at")
_DELETE_NOISY_TENANT = statement("delete_noisy_tenant")
_DELETE_NOISY_TENANTS = statement("delete_noisy_tenants")
_GROUPS_AT_HEAD = statement("groups_at_head")
_GROUPS_BY_SEQUENCE = statement("groups_by_sequence")
_SET_LANE = statement("set_lane")
_EMPTY_LANE = statement("empty_lane")
_IS_LANE_USED = statement("is_lane_used")

ORDINARY_LANE = 0
_FIRST_LANE = 2
_LANES_MAX = 64
"""At most so many tenants of one queue are noisy; any further one is treated as quiet."""
_QUEUES_MAX = 500
_MOVED_MAX = 1000
"""Rows that one claim may move from lane to lane, on top of those it hands out."""
_LAST_SENT_WRITTEN_EVERY_MS = 30_000

_SEQUENCE, _SENT_AT, _GROUP = 0, 3, 6
"""Columns of a candidate: see the statement `claim_candidates`."""

Fetch = Callable[[int, int], Awaitable[tuple[list[Row], bool]]]
"""Given a lane and a limit: the oldest visible rows, and whether these are all."""


async def views(
    tx: Transaction, places: Iterable[Place], *, is_sending: bool = False
) -> dict[int, Fairness]:
    """By backlog: the tenants of queues, where any is noisy or known, as this flush sees them.

    What is known lives on in it; who is noisy does not. For a flush that sends, their lanes stay.
    """
    backlogs = {place.backlog: place.has_noisy_tenants for place in places}
    rows: dict[int, list[NoisyTenant]] = {}
    if listed := [backlog for backlog, has_noisy in backlogs.items() if has_noisy]:
        text = _HOLD_NOISY_TENANTS if is_sending else _NOISY_TENANTS
        for backlog, *tenant in await tx.fetch(text, listed):
            rows.setdefault(backlog, []).append(NoisyTenant(*tenant))
    known = tx.resources.fairness
    found = {}
    for backlog in backlogs:
        if backlog in rows or backlog in known:
            shared = known.get(backlog) or _remember(tx, Fairness(backlog))
            found[backlog] = _view(shared, rows.get(backlog, ()))
    return found


def _remember(tx: Transaction, fairness: Fairness) -> Fairness:
    known = tx.resources.fairness
    if len(known) >= _QUEUES_MAX:
        del known[next(iter(known))]
    known[fairness.backlog] = fairness
    return fairness


def _view(shared: Fairness, noisy: Iterable[NoisyTenant]) -> Fairness:
    """The same estimates, with those noisy tenants that there are now."""
    view = Fairness(shared.backlog)
    view.tenants = shared.tenants
    for tenant in noisy:
        known = shared.noisy.get(tenant.group_id)
        if known is None or known.lane != tenant.lane:
            known = shared.noisy[tenant.group_id] = tenant
        known.last_sent_at_ms = max(known.last_sent_at_ms, tenant.last_sent_at_ms)
        view.noisy[tenant.group_id] = known
    for group_id in shared.noisy.keys() - view.noisy.keys():
        del shared.noisy[group_id]
    return view


async def forget(tx: Transaction, backlog: int) -> None:
    """A backlog is gone, and its lanes with it."""
    tx.resources.fairness.pop(backlog, None)
    await tx.run(_DELETE_NOISY_TENANTS, backlog)


class Lanes:
    """The lanes for the messages that a flush sends."""

    def __init__(self, fairness: Mapping[int, Fairness]) -> None:
        self._fairness = fairness
        self._last_sent: dict[tuple[int, int], int] = {}

    def lane_for(self, place: Place, group_id: str, now_ms: int) -> int:
        """The lane for a message that a tenant sends now."""
        fairness = self._fairness.get(place.backlog)
        if fairness is None:
            return ORDINARY_LANE
        fairness.tenants.sent(group_id, now_ms)
        tenant = fairness.noisy.get(group_id)
        if tenant is None:
            return ORDINARY_LANE
        if tenant.last_sent_at_ms <= now_ms - SILENT_MS:
            tenant.is_closing = True
        tenant.last_sent_at_ms = now_ms
        if now_ms >= tenant.written_ms + _LAST_SENT_WRITTEN_EVERY_MS:
            tenant.written_ms = now_ms
            self._last_sent[place.backlog, tenant.lane] = now_ms
        if tenant.is_closing:
            return ORDINARY_LANE
        tenant.is_drained = False
        return tenant.lane

    async def write(self, tx: Transaction) -> None:
        """Note, now and then, when noisy tenants sent something last."""
        for (backlog, lane), sent_at_ms in sorted(self._last_sent.items()):
            await tx.run(_SET_LAST_SENT_AT, backlog, lane, sent_at_ms)


async def candidates(
    tx: Transaction, fairness: Fairness, wanted: int, fetch: Fetch
) -> tuple[list[Row], bool]:
    """At most `wanted` visible rows, quiet tenants' first; and whether that is all there is.

    After them come those of the noisy tenants with the fewest messages in flight. Rows of noisy
    tenants that are met in lane 0 are moved to their lanes on the way.
    """
    await _settle(tx, fairness)
    rows, is_rest = await fetch(ORDINARY_LANE, wanted)
    if not fairness.noisy:
        return rows, is_rest
    quiet = await _without_strays(tx, fairness, rows)
    if len(quiet) < len(rows):
        await _sort_head(tx, fairness)
        rows, is_rest = await fetch(ORDINARY_LANE, wanted)
        quiet = await _without_strays(tx, fairness, rows)
    is_cut_short = not is_rest and len(rows) < wanted
    if len(quiet) == wanted or (is_cut_short and quiet):
        return quiet, False
    noisy, is_rest_of_lanes = await _from_lanes(tx, fairness, wanted - len(quiet), fetch)
    return quiet + noisy, is_rest and is_rest_of_lanes


async def _settle(tx: Transaction, fairness: Fairness) -> None:
    """Let tenants be quiet that have sent nothing for long or whose backlog is gone."""
    tenants = fairness.tenants
    for tenant in list(fairness.noisy.values()):
        if tenant.last_sent_at_ms <= tx.now_ms - SILENT_MS:
            tenant.is_closing = True
        elif tenant.is_drained and not tenants.has_many_in_flight(tenant.group_id, tx.now_ms):
            tenant.is_closing = True
            tenants.forget_busy(tenant.group_id, tx.now_ms)
        if tenant.is_closing and await _is_emptied(tx, fairness, tenant):
            del fairness.noisy[tenant.group_id]
            # The next one of that name begins anew.
            if shared := tx.resources.fairness.get(fairness.backlog):
                shared.noisy.pop(tenant.group_id, None)


async def _is_emptied(tx: Transaction, fairness: Fairness, tenant: NoisyTenant) -> bool:
    """Move rows of a lane back to where the quiet ones are. Answers whether that were all."""
    backlog, lane = fairness.backlog, tenant.lane
    if not await tx.fetch(_LOCK_NOISY_TENANT, backlog, lane):
        return False
    moved = await tx.run(_EMPTY_LANE, backlog, lane, _MOVED_MAX)
    tx.resources.low_water.forget(backlog, (ORDINARY_LANE,))
    if moved == _MOVED_MAX:
        return False
    if await tx.fetch(_IS_LANE_USED, backlog, lane):
        # Other claims hold some of its rows.
        return False
    await tx.run(_DELETE_NOISY_TENANT, backlog, lane)
    return True


async def _without_strays(tx: Transaction, fairness: Fairness, rows: list[Row]) -> list[Row]:
    """The rows of quiet tenants; those of noisy ones go to their lanes."""
    quiet = []
    strays: list[tuple[int, str]] = []
    noisy = fairness.noisy
    for row in rows:
        tenant = noisy.get(row[_GROUP])
        if tenant is None or tenant.is_closing:
            quiet.append(row)
        else:
            strays.append((row[_SEQUENCE], row[_GROUP]))
    if strays:
        await _move(tx, fairness, strays)
    return quiet


async def _sort_head(tx: Transaction, fairness: Fairness) -> None:
    noisy = fairness.noisy
    rows = await tx.fetch(_GROUPS_AT_HEAD, fairness.backlog, tx.now_ms, _MOVED_MAX)
    strays = [(row[0], row[1]) for row in rows if row[1] in noisy]
    await _move(tx, fairness, [row for row in strays if not noisy[row[1]].is_closing])


async def _move(tx: Transaction, fairness: Fairness, strays: Sequence[tuple[int, str]]) -> None:
    """Rows of sequence number and group go to the lanes of their tenants, if these still exist."""
    if not strays:
        return
    held = await tx.fetch(_TRY_NOISY_TENANTS, fairness.backlog)
    lanes = {row[1]: row[0] for row in held}
    moved: dict[int, list[int]] = {}
    for sequence, group_id in strays:
        tenant = fairness.noisy[group_id]
        tenant.is_drained = False
        if group_id in lanes:
            moved.setdefault(lanes[group_id], []).append(sequence)
        else:
            tenant.is_closing = True
    for lane, sequences in moved.items():
        await tx.run(_SET_LANE, fairness.backlog, lane, sequences)
    tx.resources.low_water.forget(fairness.backlog, moved)


async def _from_lanes(
    tx: Transaction, fairness: Fairness, wanted: int, fetch: Fetch
) -> tuple[list[Row], bool]:
    """Rows of noisy tenants, so that what each has in flight becomes as even as can be."""
    ranked = sorted(
        (_rank(tx, fairness, tenant), tenant.lane, tenant) for tenant in fairness.noisy.values()
    )
    found: list[Row] = []
    missing = 0
    not_drained: list[tuple[int, int]] = []
    for (_, lane, tenant), quota in zip(
        ranked, _quotas([in_flight for in_flight, _, _ in ranked], wanted), strict=True
    ):
        asked = quota + missing
        if not asked:
            return found, False
        rows, tenant.is_drained = await fetch(lane, asked)
        found += rows
        missing = asked - len(rows)
        if not tenant.is_drained:
            if missing:
                return found, False
            not_drained.append((lane, asked))
    for lane, taken in not_drained:
        if missing:
            rows, _ = await fetch(lane, taken + missing)
            found += rows[taken:]
            missing -= len(rows) - taken
    return found, missing > 0


def _rank(tx: Transaction, fairness: Fairness, tenant: NoisyTenant) -> int:
    """How many messages in flight count against a tenant: none if it is quiet again."""
    return 0 if tenant.is_closing else fairness.tenants.in_flight(tenant.group_id, tx.now_ms)


def _quotas(in_flight: list[int], wanted: int) -> list[int]:
    """How many to take of each, given what each has in flight, the fewest first."""
    count = len(in_flight)
    while count > 1 and wanted + sum(in_flight[:count]) <= in_flight[count - 1] * count:
        count -= 1
    level, extra = divmod(wanted + sum(in_flight[:count]), count) if count else (0, 0)
    quotas = [level + (n < extra) - in_flight[n] for n in range(count)]
    return quotas + [0] * (len(in_flight) - count)


async def note_leases(
    tx: Transaction,
    place: Place,
    view: Fairness | None,
    leases: Iterable[tuple[int, list[Row]]],
) -> None:
    """Rows are handed out, each list for a visibility in ms; their tenants may be noisy now."""
    fairness = view or _remember(tx, Fairness(place.backlog))
    tenants = fairness.tenants
    groups: set[str] = set()
    for visibility_ms, rows in leases:
        messages: dict[str, int] = {}
        for row in rows:
            group_id = row[_GROUP] or NO_GROUP
            messages[group_id] = messages.get(group_id, 0) + 1
        tenants.leased(messages, tx.now_ms + visibility_ms, tx.now_ms)
        for row in rows:
            if row[_GROUP] is not None:
                tenants.sent(row[_GROUP], row[_SENT_AT])
        groups.update(messages)
    groups.discard(NO_GROUP)
    for group_id in sorted(groups):
        await _judge(tx, fairness, group_id)


async def _judge(tx: Transaction, fairness: Fairness, group_id: str) -> None:
    """Give a tenant a lane of its own if it is noisy now."""
    tenant = fairness.noisy.get(group_id)
    if (tenant is not None and not tenant.is_closing) or len(fairness.noisy) >= _LANES_MAX:
        return
    if not fairness.tenants.is_noisy(group_id, tx.now_ms):
        return
    if tenant is not None:
        tenant.is_closing = tenant.is_drained = False
        return
    taken = {other.lane for other in fairness.noisy.values()}
    lane = next(lane for lane in range(_FIRST_LANE, _FIRST_LANE + _LANES_MAX) if lane not in taken)
    last_sent_at_ms = fairness.tenants.last_sent_at_ms(group_id)
    backlog = fairness.backlog
    # If another flush gives a lane away at the same time, this tenant's turn comes later.
    if await tx.run(_INSERT_NOISY_TENANT, backlog, lane, group_id, last_sent_at_ms):
        fairness.noisy[group_id] = NoisyTenant(lane, group_id, last_sent_at_ms)


async def note_leases_ended(
    tx: Transaction, place: Place, messages: Iterable[tuple[int, int, int | None]]
) -> None:
    """Leases end early. Triples of a sequence number, until when, and until when instead, in ms.

    None for messages that are deleted, which must be still there.
    """
    fairness = tx.resources.fairness.get(place.backlog)
    if fairness is None:
        return
    current = [message for message in messages if message[1] > tx.now_ms or message[2]]
    listed = [sequence for sequence, _, _ in current]
    groups = {row[0]: row[1] for row in await tx.fetch(_GROUPS_BY_SEQUENCE, listed)}
    for sequence, until_ms, new_until_ms in current:
        group_id = groups.get(sequence) or NO_GROUP
        fairness.tenants.released(group_id, until_ms, tx.now_ms)
        if new_until_ms is not None:
            fairness.tenants.leased({group_id: 1}, new_until_ms, tx.now_ms)
