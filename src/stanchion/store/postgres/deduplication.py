"""What FIFO queues accepted in the last minutes, so that a repeated send is sent once.

An entry belongs to the queue, not to its messages: it outlives them, purges and restarts. It is
never changed by repeats; when its window has ended the next acceptance replaces it, and upkeep
deletes what nobody replaced. Two flushes that accept the same id meet at the entry's row: the
second waits for the first, and finds that it has lost.
"""

from collections.abc import Sequence
from typing import NamedTuple

from stanchion.store.contract import NewMessage, SendFifo, SentFifo
from stanchion.store.postgres.statements import statement
from stanchion.store.postgres.transaction import Transaction

_ACCEPTED = statement("accepted")
_REMEMBER_ACCEPTED = statement("remember_accepted")

_NO_GROUP = ""
"""The scope of a queue whose groups have no deduplication ids of their own."""

Key = tuple[int, str, str]
"""Queue id, group id or `_NO_GROUP`, deduplication id."""


class Accepted(NamedTuple):
    accepted_at_ms: int
    sent: SentFifo


class Fresh(NamedTuple):
    """A message that is about to be accepted now."""

    key: Key
    since_ms: int
    """It is a repeat of one that was accepted after this."""
    sent: SentFifo


def key_of(command: SendFifo, message: NewMessage) -> Key:
    group_id = message.group_id if command.by_group else None
    return command.queue_id, group_id or _NO_GROUP, message.deduplication_id or ""


async def find(tx: Transaction, keys: Sequence[Key]) -> dict[Key, Accepted]:
    """What is remembered of these keys, whether still in its window or not."""
    found: dict[Key, Accepted] = {}
    if keys:
        for *key, accepted_at_ms, message_id, sequence in await tx.fetch(
            _ACCEPTED, *zip(*keys, strict=True)
        ):
            queue_id, group_id, deduplication_id = key
            sent = SentFifo(message_id, sequence)
            found[queue_id, group_id, deduplication_id] = Accepted(accepted_at_ms, sent)
    return found


async def remember(tx: Transaction, messages: Sequence[Fresh]) -> set[Key]:
    """These messages are accepted now, each key once. Answers those that are not.

    Another flush was faster there; what it accepted is to be found from now on.
    """
    lost = {message.key for message in messages}
    by_window: dict[int, list[tuple[object, ...]]] = {}
    for message in messages:
        by_window.setdefault(message.since_ms, []).append((*message.key, *message.sent))
    for since_ms, rows in by_window.items():
        columns = zip(*rows, strict=True)
        for row in await tx.fetch(_REMEMBER_ACCEPTED, *columns, tx.now_ms, since_ms):
            lost.discard(tuple(row))
    return lost
