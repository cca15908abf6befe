"""Which shard is asked for what: creation, spread queues, groups, dead letters and move tasks."""

import asyncio
from typing import Any

import msgspec
import pytest

pytest.importorskip("asyncpg")

from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    Claimed,
    ClaimFifo,
    CountMessages,
    Delete,
    DeleteQueue,
    GetQueue,
    MessageCounts,
    PurgeQueue,
    QueueCreated,
    QueueName,
    QueueRules,
    Send,
    SendFifo,
    StoreBusy,
    UpdateQueue,
    Upkeep,
)
from stanchion.store.moves import CancelMove, ListMoves, MoveTask, StartMove
from stanchion.store.shards.chores import Watch
from stanchion.store.shards.cluster import Cluster
from stanchion.store.shards.commands import (
    SHARDS_MAX,
    AddPart,
    AdoptPart,
    DropPart,
    GetOwed,
    Placement,
)
from tests.shards.fleet import cluster, over
from tests.store.driver import RETENTION_MS, create_queue, fifo_message, message

BY_GROUP = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}


async def create(made: Cluster, name: str = "orders", spread: str = "", **changes: Any) -> int:
    tags = {"stanchion:spread": spread} if spread else {}
    command = msgspec.structs.replace(create_queue(name), **{"tags": tags, **changes})
    created = await made.router.run(command)
    assert isinstance(created, QueueCreated), created
    return created.record.id


async def create_fifo(made: Cluster, name: str = "orders.fifo", spread: str = "all") -> int:
    rules = QueueRules(RETENTION_MS, is_fifo=True)
    return await create(made, name, spread, rules=rules, attributes=BY_GROUP)


async def placement(made: Cluster, queue_id: int) -> Placement:
    found = await made.fleet.placements.read(queue_id)
    assert found is not None
    return found


async def shards(made: Cluster, queue_id: int) -> list[int]:
    return [part.shard for part in (await placement(made, queue_id)).parts]


async def name_of(made: Cluster, queue_id: int) -> QueueName:
    return (await placement(made, queue_id)).name


async def send(made: Cluster, queue_id: int, *bodies: str) -> None:
    for body in bodies:
        assert await made.router.run(Send(queue_id, (message(body, 0, f"id-{body}"),)))


async def claim(made: Cluster, queue_id: int, limit: int = 10, visibility_ms: int = 30_000) -> Any:
    claimed = await made.router.run(Claim(queue_id, limit, visibility_ms, 120_000))
    assert isinstance(claimed, Claimed)
    return claimed.messages


@over("a", "b")
async def test_new_queues_go_where_there_are_fewest(made: Cluster) -> None:
    placed = [await shards(made, await create(made, f"q{n}")) for n in range(6)]
    assert sorted(placed) == [[0], [0], [1], [1], [2], [2]]


@over("a", "b")
async def test_a_queue_is_spread_as_its_tag_says(made: Cluster) -> None:
    assert await shards(made, await create(made, "all", "all")) == [0, 1, 2]
    assert len(await shards(made, await create(made, "two", "2"))) == 2
    assert len(await shards(made, await create(made, "more", "9"))) == 3
    assert len(await shards(made, await create(made, "none", "many"))) == 1
    plain = await create(made, "p.fifo", "all", rules=QueueRules(RETENTION_MS, is_fifo=True))
    assert len(await shards(made, plain)) == 1


@over("a", "b")
async def test_a_spread_queue_works_as_one(made: Cluster) -> None:
    queue_id = await create(made, spread="all")
    await send(made, queue_id, *map(str, range(12)))
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(12, 0, 0)
    first = await claim(made, queue_id, 10)
    rest = await claim(made, queue_id, 10)
    found = [*first, *rest]
    assert sorted(int(m.body) for m in found) == list(range(12))
    assert len(first) == 10, "one claim takes from several shards"
    assert {m.lease.sequence % SHARDS_MAX for m in found} == {0, 1, 2}
    assert await claim(made, queue_id) == ()
    shown = ChangeVisibility(queue_id, tuple((m.lease, 0) for m in found[:5]))
    assert await made.router.run(shown) == (True,) * 5
    leases = tuple(m.lease for m in found[5:])
    assert await made.router.run(Delete(queue_id, leases)) == ("deleted",) * 7
    assert await made.router.run(Delete(queue_id, leases)) == ("absent",) * 7
    assert await made.router.run(CountMessages(queue_id)) == MessageCounts(5, 0, 0)


@over("a", "b")
async def test_an_empty_spread_queue_tells_when_to_look_again(made: Cluster) -> None:
    queue_id = await create(made, spread="all")
    later, soon = message("later", 60_000), message("soon", 20_000)
    for one in (later, later, soon):
        assert await made.router.run(Send(queue_id, (one,)))
    claimed = await made.router.run(Claim(queue_id, 10, 30_000, 120_000))
    assert claimed is not None
    assert claimed.next_visible_at_ms is not None
    assert 15_000 < claimed.next_visible_at_ms - claimed.received_at_ms <= 20_500


@over("a", "b")
async def test_a_send_wakes_who_waits_whichever_shard_it_goes_to(made: Cluster) -> None:
    queue_id = await create(made, spread="all")
    await claim(made, queue_id)
    for n in range(3):
        with made.signals.waiter(queue_id) as waiter:
            await send(made, queue_id, str(n))
            # It may be for the next millisecond: the shard's clock is not that of the home.
            async with asyncio.timeout(1):
                await waiter.sleep(1 << 50, None)


@over("a", "b")
async def test_groups_are_pinned_and_in_order(made: Cluster) -> None:
    queue_id = await create_fifo(made)
    groups = [f"g{n}" for n in range(9)]
    for n in range(3):
        batch = tuple(fifo_message(f"{g}:{n}", g, f"{g}-{n}", f"{g}-{n}") for g in groups)
        sent = await made.router.run(SendFifo(queue_id, batch, by_group=True))
        assert sent is not None
        assert [one.message_id for one in sent] == [f"{g}-{n}" for g in groups]
    again = (fifo_message("again", "g1", "g1-0", "other"),)
    repeated = await made.router.run(SendFifo(queue_id, again, by_group=True))
    assert repeated is not None
    assert repeated[0].message_id == "g1-0"
    seen: dict[str, list[str]] = {}
    origins: dict[str, set[int]] = {}
    while True:
        claimed = await made.router.run(ClaimFifo(queue_id, 10, 30_000, 120_000))
        assert claimed is not None
        if not claimed.messages:
            break
        for one in claimed.messages:
            seen.setdefault(one.group_id or "", []).append(one.body.decode())
            origins.setdefault(one.group_id or "", set()).add(one.lease.sequence % SHARDS_MAX)
        leases = tuple(one.lease for one in claimed.messages)
        assert await made.router.run(Delete(queue_id, leases)) == ("deleted",) * len(leases)
    assert seen == {g: [f"{g}:{n}" for n in range(3)] for g in groups}
    assert all(len(origin) == 1 for origin in origins.values())
    assert len(set.union(*origins.values())) == 3


@over("a", "b")
async def test_an_attempt_is_repeated_where_it_was_served(made: Cluster) -> None:
    queue_id = await create_fifo(made)
    for n in range(9):
        one = fifo_message(str(n), f"g{n}", f"d{n}", f"id{n}")
        assert await made.router.run(SendFifo(queue_id, (one,), by_group=True))
    for attempt in ("one", "two", "three"):
        command = ClaimFifo(queue_id, 2, 30_000, 120_000, attempt)
        first, second = await made.router.run(command), await made.router.run(command)
        assert first is not None
        assert second is not None
        assert first.messages
        assert first.messages == second.messages


async def with_dead_letters(made: Cluster, spread: str = "all") -> tuple[int, int]:
    dead_id = await create(made, "dead")
    name = create_queue("dead").name
    rules = QueueRules(RETENTION_MS, dead_letter_queue=name, receive_count_max=1)
    return await create(made, "work", spread, rules=rules), dead_id


@over("a", "b")
async def test_dead_letters_stay_on_their_shard_and_are_found(made: Cluster) -> None:
    work_id, dead_id = await with_dead_letters(made)
    assert sorted(await shards(made, dead_id)) == [0, 1, 2]
    await send(made, work_id, *map(str, range(6)))
    assert len(await claim(made, work_id, visibility_ms=0)) == 6
    assert await claim(made, work_id) == ()
    dead = await claim(made, dead_id)
    assert sorted(int(m.body) for m in dead) == list(range(6))
    assert {m.dead_letter_source for m in dead} == {create_queue("work").name}


@over("a", "b")
async def test_a_redrive_policy_that_is_set_later_gives_the_target_its_parts(made: Cluster) -> None:
    work_id = await create(made, "work", "all")
    dead_id = await create(made, "dead")
    record = await made.router.run(GetQueue(create_queue("work").name))
    assert record is not None
    rules = QueueRules(RETENTION_MS, False, 0, create_queue("dead").name, 1)
    update = UpdateQueue(work_id, record.version, {}, record.tags, rules)
    assert await made.router.run(update) is not None
    assert sorted(await shards(made, dead_id)) == [0, 1, 2]
    await send(made, work_id, "1", "2", "3")
    assert len(await claim(made, work_id, visibility_ms=0)) == 3
    assert await claim(made, work_id) == ()
    assert len(await claim(made, dead_id)) == 3


async def bury(made: Cluster, work_id: int) -> None:
    await send(made, work_id, *map(str, range(6)))
    assert len(await claim(made, work_id, visibility_ms=0)) == 6
    assert await claim(made, work_id) == ()


async def ended(made: Cluster, source: QueueName) -> MoveTask:
    for _ in range(200):
        await made.router.run(Upkeep())
        (task,) = await made.router.run(ListMoves(source, 1))
        if task.status != "RUNNING":
            return task
    raise AssertionError(task)


@over("a", "b")
async def test_a_move_task_runs_on_every_shard(made: Cluster) -> None:
    await check_move_task(made, "archive")


@over("a", "b")
async def test_a_move_task_to_where_messages_came_from_runs_on_every_shard(made: Cluster) -> None:
    await check_move_task(made, None)


async def check_move_task(made: Cluster, to: str | None) -> None:
    work_id, dead_id = await with_dead_letters(made)
    archive_id = await create(made, "archive")
    await bury(made, work_id)
    target = create_queue(to).name if to else None
    started = await made.router.run(StartMove("task", dead_id, target, None, 10))
    assert isinstance(started, MoveTask)
    assert started.to_move == 6
    assert await made.router.run(StartMove("second", dead_id, target, None, 10)) == "running"
    task = await ended(made, create_queue("dead").name)
    assert (task.status, task.moved, task.to_move) == ("COMPLETED", 6, 6)
    assert len(await claim(made, archive_id if to else work_id)) == 6
    assert await made.router.run(CancelMove("task", task.source)) is None


@over("a", "b")
async def test_a_rate_is_that_of_all_shards_together(made: Cluster) -> None:
    source_id, target_id = await create(made, "dead", "all"), await create(made, "target", "all")
    source, target = await name_of(made, source_id), await name_of(made, target_id)
    for asked, rates in ((11, [3, 4, 4]), (1, [1, 1, 1])):
        started = await made.router.run(StartMove(f"at {asked}", source_id, target, asked, 10))
        assert isinstance(started, MoveTask)
        found = [await link.run(ListMoves(source, 1)) for link in made.fleet.links.values()]
        assert sorted(task.messages_per_s for (task,) in found) == rates
        assert started.messages_per_s == sum(rates)
        assert (await ended(made, source)).status == "COMPLETED"


@over("a", "b")
async def test_a_move_task_is_cancelled_while_a_shard_of_others_is_down(made: Cluster) -> None:
    source_id, target_id = await create(made, "dead"), await create(made, "target")
    source, target = await name_of(made, source_id), await name_of(made, target_id)
    await send(made, source_id, "1", "2")
    assert isinstance(await made.router.run(StartMove("task", source_id, target, 1, 10)), MoveTask)
    concerned = await shards(made, source_id)
    down = [link for link in made.fleet.links.values() if link.number not in (0, *concerned)]
    batchers = [link.batcher for link in down]
    for link in down:
        link.batcher = None
    cancelled = await made.router.run(CancelMove("task", source))
    assert cancelled is not None
    assert cancelled.status == "CANCELLING"
    assert await made.router.run(CancelMove("task", source)) is None
    for link, batcher in zip(down, batchers, strict=True):
        link.batcher = batcher


@over("a", "b")
async def test_a_fifo_destination_on_another_shard_is_refused(made: Cluster) -> None:
    rules = QueueRules(RETENTION_MS, is_fifo=True)
    ids = [await create(made, f"q{n}.fifo", rules=rules) for n in range(2)]
    assert await shards(made, ids[0]) != await shards(made, ids[1])
    target = create_queue("q1.fifo").name
    assert await made.router.run(StartMove("t", ids[0], target, None, 9)) == "elsewhere"


@over("a", "b")
async def test_a_purge_leaves_nothing_and_takes_nothing_that_comes_later(made: Cluster) -> None:
    queue_id = await create(made, spread="all")
    await send(made, queue_id, *map(str, range(9)))
    assert await made.router.run(PurgeQueue(queue_id, 60_000)) == "purged"
    assert await claim(made, queue_id) == ()
    await send(made, queue_id, "a", "b", "c")
    await made.router.run(Upkeep())
    assert sorted(m.body for m in await claim(made, queue_id)) == [b"a", b"b", b"c"]
    assert await made.router.run(PurgeQueue(queue_id, 60_000)) == "in_progress"


@over("a", "b")
async def test_a_deleted_queue_is_gone_everywhere(made: Cluster) -> None:
    queue_id = await create(made, spread="all")
    await send(made, queue_id, "1", "2", "3")
    async with cluster("a", "b") as other:
        assert len(await claim(other, queue_id, visibility_ms=0)) == 3
        assert await made.router.run(DeleteQueue(queue_id)) is True
        assert await other.router.run(Claim(queue_id, 1, 0, 9)) is None
        assert await other.router.run(Send(queue_id, (message(),))) is False


@over("a", "b")
async def test_a_shard_that_was_not_told_of_a_part_is_told_when_it_is_asked(made: Cluster) -> None:
    queue_id = await create(made)
    (shard,) = await shards(made, queue_id)
    await made.fleet.home.run(AddPart(queue_id, 2 if shard != 2 else 1))
    await made.fleet.placements.read(queue_id)
    await send(made, queue_id, "1", "2")
    assert {m.lease.sequence % SHARDS_MAX for m in await claim(made, queue_id)} == set(
        await shards(made, queue_id)
    )


@over("a", "b")
async def test_what_a_shard_was_not_told_is_owed_until_it_is(made: Cluster) -> None:
    queue_id = await create(made)
    (shard,) = await shards(made, queue_id)
    added = 2 if shard != 2 else 1
    await made.fleet.home.run(AddPart(queue_id, added))
    assert (await made.fleet.home.run(GetOwed(added))).queue_ids == (queue_id,)
    await made.router.run(Upkeep())
    assert await made.fleet.home.run(GetOwed(added)) == ((), ())


@over("a", "b")
async def test_what_was_dropped_never_comes_back(made: Cluster) -> None:
    queue_id = await create(made, spread="all")
    placed = await placement(made, queue_id)
    await made.fleet.links[1].run(DropPart(placed.parts[1].id, queue_id))
    adopted = AdoptPart(placed.parts[1].id, queue_id, placed.name, 9, placed.rules)
    assert await made.fleet.links[1].run(adopted) is False


@over("a", "b")
async def test_a_part_that_another_node_has_added_is_noticed(made: Cluster) -> None:
    queue_id = await create(made)
    (shard,) = await shards(made, queue_id)
    async with cluster("a", "b") as other:
        watch = Watch(other.fleet)
        await watch.look()
        assert await claim(other, queue_id) == ()
        await made.router.run(AddPart(queue_id, 2 if shard != 2 else 1))
        await made.fleet.placements.read(queue_id)
        await send(made, queue_id, "1", "2")
        await watch.look()
        assert len(await claim(other, queue_id)) == 2


@over("a")
async def test_a_queue_on_a_shard_that_a_node_does_not_know_is_refused_for_now(
    made: Cluster,
) -> None:
    queue_id = await create(made, spread="all")
    async with cluster() as other:
        with pytest.raises(StoreBusy, match="does not know"):
            await other.router.run(CountMessages(queue_id))
