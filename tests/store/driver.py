"""Drives a store by hand: a clock that stands still until told otherwise, and short names."""

import re
from collections.abc import Callable
from importlib import import_module
from itertools import count
from types import ModuleType
from typing import Any, TypeVar, cast

import msgspec

from stanchion.store.contract import (
    ChangeVisibility,
    Claim,
    Claimed,
    ClaimFifo,
    Command,
    CountMessages,
    CreateQueue,
    Delete,
    DeleteOutcome,
    Flush,
    Lease,
    MessageCounts,
    NewMessage,
    PurgeQueue,
    QueueCreated,
    QueueName,
    QueueRecord,
    QueueRules,
    Send,
    SendFifo,
    SentFifo,
    Store,
    Upkeep,
)
from stanchion.store.sqlite import SqliteStore

Answer = TypeVar("Answer")

START_MS = 1_700_000_000_123
RETENTION_MS = 345_600_000
SEALED = "\x01"
"""What a sealed body begins with."""


class Driver:
    def __init__(self, store: Store, now_ms: int = START_MS) -> None:
        self.store = store
        self.now_ms = now_ms
        self.sent = 0

    def flush(self, *commands: Command[Any]) -> Flush:
        flush = self.store.execute(commands, self.now_ms)
        self.store.maintain()
        return flush

    def run(self, command: Command[Answer]) -> Answer:
        (answer,) = self.flush(command).answers
        if isinstance(answer, Exception):
            raise answer
        return cast(Answer, answer)

    def query(self, text: str, *parameters: object) -> list[Any]:
        """Rows as they are in the store; tables have the same names in each."""
        if isinstance(self.store, SqliteStore):
            return self.store._connection.execute(text, parameters).fetchall()
        numbers = count(1)
        numbered = re.sub(r"\?", lambda _: f"${next(numbers)}", text)
        query: Callable[..., list[Any]] = self.store.database.query  # type: ignore[attr-defined]
        return query(numbered, *parameters)

    def module(self, name: str, attribute: str = "") -> ModuleType:
        """The store's module of that name, for tests that make its limits smaller.

        PostgreSQL's store has two of some: then the one with this attribute.
        """
        folder = "sqlite" if isinstance(self.store, SqliteStore) else "postgres"
        found = import_module(f"stanchion.store.{folder}.{name}")
        if attribute and not hasattr(found, attribute):
            return import_module(f"stanchion.store.{folder}.{name}_claims")
        return found

    def wait(self, ms: int) -> None:
        self.now_ms += ms

    def create(self, name: str = "orders", retention_ms: int = RETENTION_MS) -> QueueRecord:
        created = self.run(create_queue(name, retention_ms))
        assert isinstance(created, QueueCreated)
        return created.record

    def create_fifo(
        self, name: str = "orders.fifo", retention_ms: int = RETENTION_MS, delay_ms: int = 0
    ) -> QueueRecord:
        rules = QueueRules(retention_ms, is_fifo=True, delay_ms=delay_ms)
        created = self.run(msgspec.structs.replace(create_queue(name), rules=rules))
        assert isinstance(created, QueueCreated)
        return created.record

    def send_fifo(self, queue_id: int, *bodies: str, by_group: bool = False) -> list[SentFifo]:
        """Each body's first letter is its group, that after the mark of a sealed one."""
        sent = self.run(self.sending(queue_id, *bodies, by_group=by_group))
        assert sent is not None
        return list(sent)

    def sending(self, queue_id: int, *bodies: str, by_group: bool = False) -> SendFifo:
        return SendFifo(queue_id, tuple(map(self.fifo_message, bodies)), by_group)

    def fifo_message(self, body: str) -> NewMessage:
        self.sent += 1
        group_id = body.removeprefix(SEALED)[0]
        return fifo_message(body, group_id, f"deduplication-{self.sent}", f"id-{self.sent}")

    def take(
        self,
        queue_id: int,
        limit: int = 10,
        visibility_ms: int = 30_000,
        attempt: str | None = None,
    ) -> Claimed:
        claimed = self.run(claim_fifo(queue_id, limit, visibility_ms, attempt))
        assert claimed is not None
        return claimed

    def send(self, queue_id: int, *bodies: str, delay_ms: int = 0) -> bool:
        return self.run(Send(queue_id, tuple(self.message(body, delay_ms) for body in bodies)))

    def message(self, body: str = "hello", delay_ms: int = 0) -> NewMessage:
        self.sent += 1
        return message(body, delay_ms, f"id-{self.sent}")

    def claim(self, queue_id: int, limit: int = 10, visibility_ms: int = 30_000) -> Claimed:
        claimed = self.run(claim(queue_id, limit, visibility_ms))
        assert claimed is not None
        return claimed

    def bodies(self, queue_id: int, limit: int = 10, visibility_ms: int = 30_000) -> list[str]:
        return texts(self.claim(queue_id, limit, visibility_ms))

    def delete(self, queue_id: int, *leases: Lease) -> tuple[DeleteOutcome, ...] | None:
        return self.run(Delete(queue_id, leases))

    def show(self, queue_id: int, visibility_ms: int, *leases: Lease) -> tuple[bool, ...] | None:
        changes = tuple((lease, visibility_ms) for lease in leases)
        return self.run(ChangeVisibility(queue_id, changes))

    def counts(self, queue_id: int) -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        counts = self.run(CountMessages(queue_id))
        assert isinstance(counts, MessageCounts)
        return counts.visible, counts.in_flight, counts.delayed

    def purge(self, queue_id: int, interval_ms: int = 60_000) -> str:
        return self.run(PurgeQueue(queue_id, interval_ms))

    def upkeep(self, limit: int = 1000) -> int:
        """Runs steps until there is nothing more to do; answers how many there were."""
        steps = 1
        while self.run(Upkeep(limit)) == 0:
            steps += 1
            assert steps < 10_000
        return steps


def create_queue(name: str = "orders", retention_ms: int = RETENTION_MS) -> CreateQueue:
    queue_name = QueueName("000000000000", "eu-west-1", name)
    return CreateQueue(queue_name, {}, {}, QueueRules(retention_ms), quarantine_ms=60_000)


def message(body: str = "hello", delay_ms: int = 0, message_id: str = "id") -> NewMessage:
    return NewMessage(
        message_id=message_id,
        body=body.encode(),
        attributes=b"",
        sender_id="000000000000",
        delay_ms=delay_ms,
    )


def fifo_message(
    body: str, group_id: str, deduplication_id: str, message_id: str = "id"
) -> NewMessage:
    return msgspec.structs.replace(
        message(body, 0, message_id), group_id=group_id, deduplication_id=deduplication_id
    )


def claim_fifo(
    queue_id: int, limit: int = 10, visibility_ms: int = 30_000, attempt_id: str | None = None
) -> ClaimFifo:
    return ClaimFifo(queue_id, limit, visibility_ms, 120_000, attempt_id)


def claim(queue_id: int, limit: int = 10, visibility_ms: int = 30_000) -> Claim:
    return Claim(queue_id, limit, visibility_ms, in_flight_max=120_000)


def texts(claimed: object) -> list[str]:
    assert isinstance(claimed, Claimed)
    return [message.body.decode() for message in claimed.messages]
