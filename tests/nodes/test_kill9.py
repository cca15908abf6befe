"""kill -9 of nodes under load, with all the state in one PostgreSQL: the others carry on.

Every round kills one of three nodes at another moment of the load and starts it again. Some clients
keep to one node, others go to all in turn, repeating at one node what another did not answer.
"""

from pathlib import Path
from typing import Any

from tools.postgres_server import PostgresServer

from tests.crash.checker import violations
from tests.crash.history import Delivery, Event, History, Operation, Outcome
from tests.crash.rig import Downtime, Rig, at_work, rounds
from tests.crash.workload import (
    Consumer,
    FifoConsumer,
    FifoProducer,
    Producer,
    Worker,
    drain,
)
from tests.nodes.rig import at_node, failures_without_cause, nodes_on, refusals

NODES = 3
ROUNDS = rounds(8)


def test_nodes_that_are_killed_in_turn(postgres: PostgresServer, tmp_path: Path) -> None:
    with nodes_on(postgres.url, tmp_path, NODES) as running:
        standard, fifo = running.queue("crash"), running.queue("crash.fifo")
        with at_work(_workers(running, standard, fifo)):
            running.kill_under_load(ROUNDS, 0.1, 0.6)
        drains = [running.worker(Consumer, "drain", url) for url in (standard, fifo)]
        drain(*drains)
        assert [server.stop() for server in running.servers] == [0] * NODES
        assert violations(running.history) == []
        assert failures_without_cause(running.history, running.downtimes) == []
        _was_worth_it(running)


def _workers(running: Rig, standard: str, fifo: str) -> list[Worker]:
    kinds = ((Producer, standard), (Consumer, standard), (FifoConsumer, fifo))
    pinned = [
        running.worker(kind, at_node(f"{kind.__name__}", node), url, node)
        for node in range(NODES)
        for kind, url in kinds
    ]
    roaming = [
        running.worker(kind, f"{kind.__name__}-{n}", url, None)
        for n in range(2)
        for kind, url in (*kinds, (FifoProducer, fifo))
    ]
    return [*pinned, *roaming]


def _was_worth_it(running: Rig) -> None:
    history = running.history
    assert len(history.of("send", "ok")) > ROUNDS * 20, "too little load to show anything"
    assert len(history.of("delete", "ok")) > ROUNDS * 10, "too little load to show anything"
    assert history.of("send", "unknown"), "no call was under way at any kill"
    received = [event for event in history.of("receive", "ok") if event.deliveries]
    for down in running.downtimes:
        assert any(_is_elsewhere(event, down) for event in received), "the others stood still"


def _is_elsewhere(event: Event, down: Downtime) -> bool:
    """A receive at another node, all of it while this one was down."""
    return (
        "@" in event.client
        and not event.client.endswith(f"@{down.node}")
        and down.killed_ms < event.call_ms
        and event.return_ms < down.ready_ms
    )


# --- The judge ----------------------------------------------------------------------------------


def _event(op: Operation, outcome: Outcome, ms: tuple[float, float], **facts: Any) -> Event:
    return Event(at_node("c", 1), op, *ms, outcome, token="t", queue="q.fifo", **facts)


def test_a_failure_is_excused_only_while_its_own_node_is_down() -> None:
    downtimes = [Downtime(1, 100, 200), Downtime(0, 300, 400)]
    excused = _event("send", "unknown", (90, 110))
    too_early, too_late, other_node = (
        _event("send", "unknown", ms) for ms in ((50, 99), (201, 210), (310, 320))
    )
    history = History([excused, too_early, too_late, other_node])
    assert failures_without_cause(history, downtimes) == [too_early, too_late, other_node]


def test_a_refusal_is_excused_only_when_the_lease_may_have_ended() -> None:
    delivery = Delivery("t", 1, "handle", True)
    first, repeated = (
        _event("receive", "ok", ms, attempt_id="a", visibility_ms=100, deliveries=(delivery,))
        for ms in ((0, 10), (50, 60))
    )
    in_time, late = (_event("delete", "fail", (70, ms)) for ms in (100, 101))
    refused_send = _event("send", "fail", (500, 600))
    history = History([first, repeated, in_time, late, refused_send])
    assert refusals(history) == [in_time, refused_send]
