"""Flushes that are one statement: which these are, and what sends a flush the long way.

What either way does to rows is what the tests of every store are about; they take both ways.
"""

from typing import Any

import pytest

pytest.importorskip("asyncpg")

import msgspec

from stanchion.store.contract import (
    Claim,
    Claimed,
    Command,
    Delete,
    DeleteQueue,
    Lease,
    QueueCreated,
    QueueRules,
    Send,
)
from tests.postgres import BlockingPostgresStore
from tests.store.driver import Driver, claim, create_queue, message, texts

HIDDEN_MS = 30_000


class Node(Driver):
    """A process with caches of its own."""

    def statements_of(self, *commands: Command[Any]) -> tuple[int, list[object]]:
        """How many statements a flush took, and its answers."""
        store = self.store.store  # type: ignore[attr-defined]
        before = store.statements
        flush = self.flush(*commands)
        return store.statements - before, list(flush.answers)


@pytest.fixture
def node() -> Node:
    return Node(BlockingPostgresStore.open_empty())


@pytest.fixture
def other(node: Node) -> Node:
    return Node(BlockingPostgresStore())


def known(node: Node, queue_id: int) -> None:
    """Have a node meet a queue: what it remembers of it is what the short way begins with."""
    assert node.bodies(queue_id) == []


def test_sends_are_one_statement_whatever_the_queues(node: Node) -> None:
    queues = [node.create("a"), node.create("b")]
    sends = [Send(queue.id, (message("x"), message("y", delay_ms=5))) for queue in queues]
    assert node.statements_of(*sends, Send(99, (message(),))) == (1, [True, True, False])
    assert [node.counts(queue.id) for queue in queues] == [(1, 0, 1)] * 2


def test_claims_are_one_statement_as_long_as_there_are_messages(node: Node) -> None:
    queue = node.create()
    known(node, queue.id)
    node.send(queue.id, *"abcdef")
    statements, answers = node.statements_of(claim(queue.id, 2), claim(queue.id, 3))
    assert statements == 1
    assert [texts(answer) for answer in answers] == [["a", "b"], ["c", "d", "e"]]
    assert node.counts(queue.id) == (1, 5, 0)


def test_a_claim_in_vain_asks_when_to_come_back(node: Node) -> None:
    queue = node.create()
    known(node, queue.id)
    node.send(queue.id, "later", delay_ms=700)
    statements, (answer,) = node.statements_of(claim(queue.id))
    assert statements == 2
    assert isinstance(answer, Claimed)
    assert (answer.messages, answer.next_visible_at_ms) == ((), node.now_ms + 700)


def test_deletes_are_one_statement(node: Node) -> None:
    queue = node.create()
    node.send(queue.id, *"abc")
    first, second, third = (found.lease for found in node.claim(queue.id).messages)
    stale = Lease(second.sequence, second.receive_count + 1)
    statements, answers = node.statements_of(
        Delete(queue.id, (third, Lease(7, 1))), Delete(queue.id, (first, stale))
    )
    assert statements == 1
    assert answers == [("deleted", "absent"), ("deleted", "superseded")]
    assert node.counts(queue.id) == (0, 1, 0)


def test_a_lease_that_is_named_twice_is_deleted_once(node: Node) -> None:
    queue = node.create()
    node.send(queue.id, "a")
    (found,) = node.claim(queue.id).messages
    node.delete(queue.id, found.lease, found.lease)
    node.wait(HIDDEN_MS)
    node.send(queue.id, "b")
    assert node.counts(queue.id) == (1, 0, 0)


def test_visibilities_that_differ_are_kept_apart(node: Node) -> None:
    queue = node.create()
    known(node, queue.id)
    node.send(queue.id, "a", "b")
    node.flush(claim(queue.id, 1, 5_000), claim(queue.id, 1, 50_000))
    node.wait(5_000)
    assert node.bodies(queue.id) == ["a"]


def test_a_queue_purged_by_another_node_has_nothing_left(node: Node, other: Node) -> None:
    queue = node.create()
    node.send(queue.id, "old", "in flight")
    (found,) = node.claim(queue.id, 1).messages
    assert other.purge(queue.id) == "purged"
    assert node.bodies(queue.id) == []
    assert node.delete(queue.id, found.lease) == ("absent",)
    node.send(queue.id, "new")
    assert node.bodies(queue.id) == ["new"]
    assert node.counts(queue.id) == other.counts(queue.id) == (0, 1, 0)


def test_a_queue_deleted_by_another_node_is_gone(node: Node, other: Node) -> None:
    queue = node.create()
    known(node, queue.id)
    assert other.run(DeleteQueue(queue.id)) is True
    assert node.flush(claim(queue.id)).answers == [None]
    assert node.delete(queue.id, Lease(1, 1)) is None
    assert node.send(queue.id, "late") is False


def test_a_message_that_is_dead_is_not_handed_out(node: Node) -> None:
    queue = node.create(retention_ms=60_000)
    known(node, queue.id)
    node.send(queue.id, "dead")
    node.wait(60_000)
    node.send(queue.id, "alive")
    assert node.bodies(queue.id) == ["alive"]
    assert node.counts(queue.id) == (0, 1, 0)


def test_a_look_from_the_start_that_meets_a_dead_message_is_made_anew(
    node: Node, other: Node
) -> None:
    """What another node commits late is behind where looks begin, except for one a second."""
    queue = node.create(retention_ms=60_000)
    known(node, queue.id)
    other.now_ms = node.now_ms - 60_000
    other.send(queue.id, "dead")
    other.wait(50_000)
    other.send(queue.id, "late")
    node.wait(1000)
    assert node.bodies(queue.id) == ["late"]


def test_a_message_that_comes_into_view_exhausted_goes_to_the_dead_letter_queue(
    node: Node,
) -> None:
    """Also when its lane was looked at only a moment ago."""
    source, target = create_queue("source"), node.create("target")
    rules = QueueRules(600_000, dead_letter_queue=target.name, receive_count_max=1)
    created = node.run(msgspec.structs.replace(source, rules=rules))
    assert isinstance(created, QueueCreated)
    queue_id = created.record.id
    known(node, queue_id)
    node.send(queue_id, "poison")
    statements, (answer,) = node.statements_of(claim(queue_id))
    assert (statements, texts(answer)) == (1, ["poison"])
    node.wait(HIDDEN_MS - 1)
    assert node.bodies(queue_id) == []
    node.wait(1)
    assert node.bodies(queue_id) == []
    assert node.bodies(target.id) == ["poison"]


def test_messages_of_tenants_take_the_long_way(node: Node) -> None:
    queue = node.create()
    known(node, queue.id)
    tenants = tuple(msgspec.structs.replace(message(name), group_id=name) for name in "ab")
    statements, _ = node.statements_of(Send(queue.id, tenants))
    assert statements > 1
    assert node.bodies(queue.id, limit=1) == ["a"]
    statements, (answer,) = node.statements_of(claim(queue.id))
    assert statements > 1
    assert texts(answer) == ["b"]


def test_no_more_are_in_flight_than_may_be(node: Node) -> None:
    queue = node.create()
    known(node, queue.id)
    node.send(queue.id, *"abc")
    claims = [Claim(queue.id, 2, HIDDEN_MS, in_flight_max=2) for _ in range(2)]
    first, second = node.flush(*claims).answers
    assert texts(first) == ["a", "b"]
    assert isinstance(second, Claimed)
    assert (second.messages, second.at_capacity) == ((), True)
