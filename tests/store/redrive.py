"""Queues with dead-letter queues, standard and FIFO ones alike, for the tests of both."""

from typing import Any

import msgspec

from stanchion.store.contract import (
    Claimed,
    GetQueue,
    Lease,
    QueueName,
    QueueRecord,
    QueueRules,
    UpdateQueue,
)
from stanchion.store.moves import ListMoves, MoveTask, StartMove
from tests.store.driver import RETENTION_MS, Driver, texts

VISIBILITY_MS = 30_000


def queue_name(name: str) -> QueueName:
    return QueueName("000000000000", "eu-west-1", name)


class Queues:
    """Queues of one type by short names, whose rules can be changed at any time."""

    def __init__(self, driver: Driver, is_fifo: bool) -> None:
        self.driver = driver
        self.is_fifo = is_fifo
        self.ids: dict[str, int] = {}

    def name(self, name: str) -> QueueName:
        return queue_name(name + ".fifo" if self.is_fifo else name)

    def create(self, name: str, retention_ms: int = RETENTION_MS) -> int:
        create = self.driver.create_fifo if self.is_fifo else self.driver.create
        self.ids[name] = create(self.name(name).name, retention_ms).id
        return self.ids[name]

    def set(
        self,
        name: str,
        dead_letters: str | None = None,
        receive_count_max: int = 0,
        retention_ms: int = RETENTION_MS,
    ) -> None:
        """Replace a queue's rules."""
        record = self.record(name)
        target = self.name(dead_letters) if dead_letters else None
        rules = QueueRules(retention_ms, self.is_fifo, 0, target, receive_count_max)
        updated = self.driver.run(UpdateQueue(record.id, record.version, {}, {}, rules))
        assert updated is not None

    def record(self, name: str) -> QueueRecord:
        record = self.driver.run(GetQueue(self.name(name)))
        assert record is not None
        return record

    def send(self, name: str, *bodies: str) -> None:
        if self.is_fifo:
            self.driver.send_fifo(self.ids[name], *bodies)
        else:
            self.driver.send(self.ids[name], *bodies)

    def claim(self, name: str, limit: int = 10, visibility_ms: int = VISIBILITY_MS) -> Claimed:
        take = self.driver.take if self.is_fifo else self.driver.claim
        return take(self.ids[name], limit, visibility_ms)

    def bodies(self, name: str, limit: int = 10, visibility_ms: int = VISIBILITY_MS) -> list[str]:
        return texts(self.claim(name, limit, visibility_ms))

    def exhaust(self, name: str, times: int, limit: int = 10) -> list[Lease]:
        """Receive what there is so many times, always letting it come back into view."""
        for _ in range(times):
            claimed = self.claim(name, limit)
            assert claimed.messages
            self.driver.wait(VISIBILITY_MS)
        return [message.lease for message in claimed.messages]

    def counts(self, name: str) -> tuple[int, int, int]:
        return self.driver.counts(self.ids[name])

    def delete(self, name: str, *leases: Lease) -> Any:
        return self.driver.delete(self.ids[name], *leases)


def same_but_for(message: Any, **changes: object) -> Any:
    return msgspec.structs.replace(message, **changes)


# --- Move tasks ----------------------------------------------------------------------------------


def set_up(driver: Driver, is_fifo: bool) -> Queues:
    queues = Queues(driver, is_fifo)
    for name in ("dead", "work", "other", "archive"):
        queues.create(name)
    queues.set("work", "dead", 1)
    queues.set("other", "dead", 1)
    return queues


def bury(queues: Queues, name: str, *bodies: str) -> None:
    """Make dead letters of new messages."""
    queues.send(name, *bodies)
    while queues.claim(name, limit=1000).messages:
        queues.driver.wait(VISIBILITY_MS)
    queues.driver.upkeep()


def start(
    queues: Queues,
    destination: str | None = None,
    rate: int | None = None,
    task_id: str = "task",
    tasks_max: int = 100,
    source: str = "dead",
) -> object:
    target = queues.name(destination) if destination else None
    return queues.driver.run(StartMove(task_id, queues.ids[source], target, rate, tasks_max))


def task(queues: Queues) -> MoveTask:
    """The latest task."""
    return queues.driver.run(ListMoves(queues.name("dead"), 1))[0]


def state(queues: Queues) -> tuple[str, int, int]:
    latest = task(queues)
    return latest.status, latest.moved, latest.to_move
