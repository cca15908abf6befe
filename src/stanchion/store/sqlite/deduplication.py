"""What FIFO queues accepted in the last minutes, so that a repeated send is sent once.

An entry belongs to the queue, not to its messages: it outlives them, purges and restarts. It is
never changed by repeats; when its window has ended the next acceptance replaces it, and upkeep
deletes what nobody replaced.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stanchion.store.contract import NewMessage, SendFifo, SentFifo
from stanchion.store.sqlite.statements import RowsStatement
from stanchion.store.sqlite.transaction import Transaction

_ACCEPTED = RowsStatement("accepted")
_REMEMBER_ACCEPTED = RowsStatement("remember_accepted")

_NO_GROUP = ""
"""The scope of a queue whose groups have no deduplication ids of their own."""

Key = tuple[int, str, str]
"""Queue id, group id or `_NO_GROUP`, deduplication id."""


class Accepted(NamedTuple):
    accepted_at_ms: int
    sent: SentFifo


def key_of(command: SendFifo, message: NewMessage) -> Key:
    group_id = message.group_id if command.by_group else None
    return command.queue_id, group_id or _NO_GROUP, message.deduplication_id or ""


def find(tx: Transaction, commands: Sequence[SendFifo]) -> dict[Key, Accepted]:
    """What is remembered of the messages of these commands, whether still in its window or not."""
    values: list[object] = []
    for command in commands:
        for message in command.messages:
            values += key_of(command, message)
    found = {}
    for text, batch in _ACCEPTED.batches(values):
        for *key, accepted_at_ms, message_id, sequence in tx.execute(text, batch):
            found[tuple(key)] = Accepted(accepted_at_ms, SentFifo(message_id, sequence))
    return found


def remember(tx: Transaction, accepted: Iterable[tuple[Key, SentFifo]]) -> None:
    """These messages were accepted now. Names each key once."""
    values: list[object] = []
    for key, (message_id, sequence) in accepted:
        values += (*key, tx.now_ms, message_id, sequence)
    for text, batch in _REMEMBER_ACCEPTED.batches(values):
        tx.execute(text, batch)
