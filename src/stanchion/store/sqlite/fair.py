"""Fair queues: quiet tenants are served before noisy ones, on standard queues with groups.

Theory of operation: the visibility index begins with a lane. Quiet tenants, and messages without a
group, are in lane 0; each noisy tenant has a lane of its own, so no claim reads past its backlog.
What a tenant had in lane 0 when it became noisy stays there until a claim meets it at the head:
then the head is sorted, a bounded number of rows at a time, so each row is moved once. A tenant
that is quiet again has its lane closed: its rows go back in bounded steps, and then the lane is
forgotten. `noisy_tenant` is durable, because rows are in those lanes; who uses how much is
estimated in memory (`tenants`). Queues without groups have no `Fairness`, and pay nothing.
Called by `messages`; an undone transaction drops every `Fairness`, see the engine.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from stanchion.store.sqlite.statements import statement
from stanchion.store.sqlite.tenants import NO_GROUP, SILENT_MS, Fairness, NoisyTenant
from stanchion.store.sqlite.transaction import Place, Transaction

_NOISY_TENANTS = statement("noisy_tenants")
_INSERT_NOISY_TENANT = statement("insert_noisy_tenant")
_SET_LAST_SENT_AT = statement("set_noisy_tenant_last_sent_at")
_DELETE_NOISY_TENANT = statement("delete_noisy_tenant")
_DELETE_NOISY_TENANTS = statement("delete_noisy_tenants")
_GROUPS_AT_HEAD = statement("groups_at_head")
_GROUPS_BY_SEQUENCE = statement("groups_by_sequence")
_SET_LANE = statement("set_lane")
_EMPTY_LANE = statement("empty_lane")

ORDINARY_LANE = 0
_FIRST_LANE = 2
_LANES_MAX = 64
"""At most so many tenants of one queue are noisy; any further one is treated as quiet."""
_QUEUES_MAX = 500
_MOVED_MAX = 1000
"""Rows that one claim may move from lane to lane, on top of those it hands out."""
_LAST_SENT_WRITTEN_EVERY_MS = 30_000

_SEQUENCE, _SENT_AT, _GROUP = 0, 3, 6

Row = tuple[Any, ...]
"""A candidate: see the statement `claim_candidates`."""
Fetch = Callable[[int, int], tuple[list[Row], bool]]
"""Given a lane and a limit: the oldest visible rows, and whether these are all."""


def of(tx: Transaction, place: Place) -> Fairness | None:
    """What is known of a queue's tenants; None when nobody is noisy and nothing is known."""
    fairness = tx.resources.fairness.get(place.backlog)
    if fairness is None and place.has_noisy_tenants:
        rows = tx.execute(_NOISY_TENANTS, (place.backlog,))
        fairness = _remember(tx, Fairness(place.backlog, (NoisyTenant(*row) for row in rows)))
    return fairness


def _remember(tx: Transaction, fairness: Fairness) -> Fairness:
    known = tx.resources.fairness
    if len(known) >= _QUEUES_MAX:
        del known[next(iter(known))]
    known[fairness.backlog] = fairness
    return fairness


def forget(tx: Transaction, backlog: int) -> None:
    """A backlog is gone, and its lanes with it."""
    tx.resources.fairness.pop(backlog, None)
    tx.execute(_DELETE_NOISY_TENANTS, (backlog,))


def lane_for(tx: Transaction, place: Place, group_id: str) -> int:
    """The lane for a message that a tenant sends now."""
    fairness = of(tx, place)
    if fairness is None:
        return ORDINARY_LANE
    fairness.tenants.sent(group_id, tx.now_ms)
    tenant = fairness.noisy.get(group_id)
    if tenant is None:
        return ORDINARY_LANE
    if tenant.last_sent_at_ms <= tx.now_ms - SILENT_MS:
        tenant.is_closing = True
    tenant.last_sent_at_ms = tx.now_ms
    if tx.now_ms >= tenant.written_ms + _LAST_SENT_WRITTEN_EVERY_MS:
        tenant.written_ms = tx.now_ms
        tx.execute(_SET_LAST_SENT_AT, (place.backlog, tenant.lane, tx.now_ms))
    if tenant.is_closing:
        return ORDINARY_LANE
    tenant.is_drained = False
    return tenant.lane


def candidates(
    tx: Transaction, fairness: Fairness, wanted: int, fetch: Fetch
) -> tuple[list[Row], bool]:
    """At most `wanted` visible rows, quiet tenants' first; and whether that is all there is.

    After them come those of the noisy tenants with the fewest messages in flight. Rows of noisy
    tenants that are met in lane 0 are moved to their lanes on the way.
    """
    _settle(tx, fairness)
    rows, is_rest = fetch(ORDINARY_LANE, wanted)
    if not fairness.noisy:
        return rows, is_rest
    quiet = _without_strays(tx, fairness, rows)
    if len(quiet) < len(rows):
        _sort_head(tx, fairness)
        rows, is_rest = fetch(ORDINARY_LANE, wanted)
        quiet = _without_strays(tx, fairness, rows)
    is_cut_short = not is_rest and len(rows) < wanted
    if len(quiet) == wanted or (is_cut_short and quiet):
        return quiet, False
    noisy, is_rest_of_lanes = _from_lanes(tx, fairness, wanted - len(quiet), fetch)
    return quiet + noisy, is_rest and is_rest_of_lanes


def _settle(tx: Transaction, fairness: Fairness) -> None:
    """Let tenants be quiet that have sent nothing for long or whose backlog is gone."""
    tenants = fairness.tenants
    for tenant in list(fairness.noisy.values()):
        if tenant.last_sent_at_ms <= tx.now_ms - SILENT_MS:
            tenant.is_closing = True
        elif tenant.is_drained and not tenants.has_many_in_flight(tenant.group_id, tx.now_ms):
            tenant.is_closing = True
            tenants.forget_busy(tenant.group_id, tx.now_ms)
        if tenant.is_closing and _is_emptied(tx, fairness, tenant):
            del fairness.noisy[tenant.group_id]


def _is_emptied(tx: Transaction, fairness: Fairness, tenant: NoisyTenant) -> bool:
    """Move rows of a lane back to where the quiet ones are. Answers whether that were all."""
    parameters = (fairness.backlog, tenant.lane, _MOVED_MAX)
    if tx.execute(_EMPTY_LANE, parameters).rowcount == _MOVED_MAX:
        return False
    tx.execute(_DELETE_NOISY_TENANT, (fairness.backlog, tenant.lane))
    return True


def _without_strays(tx: Transaction, fairness: Fairness, rows: list[Row]) -> list[Row]:
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
        _move(tx, fairness, strays)
    return quiet


def _sort_head(tx: Transaction, fairness: Fairness) -> None:
    parameters = (fairness.backlog, tx.now_ms, _MOVED_MAX)
    noisy = fairness.noisy
    strays = [row for row in tx.execute(_GROUPS_AT_HEAD, parameters) if row[1] in noisy]
    _move(tx, fairness, [row for row in strays if not noisy[row[1]].is_closing])


def _move(tx: Transaction, fairness: Fairness, strays: Sequence[tuple[int, str]]) -> None:
    """Rows of sequence number and group go to the lanes of their tenants."""
    lanes: dict[int, list[int]] = {}
    for sequence, group_id in strays:
        tenant = fairness.noisy[group_id]
        tenant.is_drained = False
        lanes.setdefault(tenant.lane, []).append(sequence)
    for lane, sequences in lanes.items():
        tx.execute(_SET_LANE, (fairness.backlog, lane, str(sequences)))


def _from_lanes(
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
        rows, tenant.is_drained = fetch(lane, asked)
        found += rows
        missing = asked - len(rows)
        if not tenant.is_drained:
            if missing:
                return found, False
            not_drained.append((lane, asked))
    for lane, taken in not_drained:
        if missing:
            rows, _ = fetch(lane, taken + missing)
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


def note_leases(tx: Transaction, place: Place, leases: Iterable[tuple[int, list[Row]]]) -> None:
    """Rows are handed out, each list for a visibility in ms; their tenants may be noisy now."""
    fairness = of(tx, place) or _remember(tx, Fairness(place.backlog))
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
    for group_id in groups:
        _judge(tx, fairness, group_id)


def _judge(tx: Transaction, fairness: Fairness, group_id: str) -> None:
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
    fairness.noisy[group_id] = NoisyTenant(lane, group_id, last_sent_at_ms)
    tx.execute(_INSERT_NOISY_TENANT, (fairness.backlog, lane, group_id, last_sent_at_ms))


def note_leases_ended(
    tx: Transaction, place: Place, messages: Iterable[tuple[int, int, int | None]]
) -> None:
    """Leases end early. Triples of a sequence number, until when, and until when instead, in ms.

    None for messages that are deleted, which must be still there.
    """
    fairness = tx.resources.fairness.get(place.backlog)
    if fairness is None:
        return
    current = [message for message in messages if message[1] > tx.now_ms or message[2]]
    listed = str([sequence for sequence, _, _ in current])
    groups = dict(tx.execute(_GROUPS_BY_SEQUENCE, (listed,)).fetchall())
    for sequence, until_ms, new_until_ms in current:
        group_id = groups.get(sequence) or NO_GROUP
        fairness.tenants.released(group_id, until_ms, tx.now_ms)
        if new_until_ms is not None:
            fairness.tenants.leased({group_id: 1}, new_until_ms, tx.now_ms)
