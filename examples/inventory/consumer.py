"""Writes stock levels from a queue into a SQLite table: `python consumer.py QUEUE_URL DATABASE`.

Runs until it is told to stop (SIGTERM or Ctrl-C). That is safe at any moment: a message is deleted
only after its row is committed, and one that was received but not deleted comes back after the
queue's visibility timeout and is written again, to no effect. Start as many as you like.

A level that cannot be right is left in the queue and tried again a little later. When it has been
received three times, the queue's redrive policy moves it to the dead-letter queue.
"""

import signal
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service import connect
from stock import StockLevel, apply, check, from_message, open_table, quantities_min

LONG_POLL_S = 20
RETRY_S = 1


def consume(sqs: Any, queue_url: str, table: sqlite3.Connection) -> None:
    while True:
        consume_once(sqs, queue_url, table, LONG_POLL_S)


def consume_once(sqs: Any, queue_url: str, table: sqlite3.Connection, wait_s: int) -> int:
    """Take up to ten messages; the number of them."""
    reply = sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=10,
        WaitTimeSeconds=wait_s,
        MessageAttributeNames=["All"],
    )
    levels, done, refused = read(table, reply.get("Messages", []))
    if done:
        apply(table, levels)
        delete(sqs, queue_url, done)
    if refused:
        try_again_later(sqs, queue_url, refused)
    return len(done) + len(refused)


def read(
    table: sqlite3.Connection, messages: Sequence[Any]
) -> tuple[list[StockLevel], list[Any], list[Any]]:
    """The levels that can be written, their messages, and the messages of the others."""
    known = quantities_min(table)
    levels, done, refused = [], [], []
    for message in messages:
        try:
            level = from_message(message)
            check(level, known)
        except ValueError:
            refused.append(message)
        else:
            levels.append(level)
            done.append(message)
    return levels, done, refused


def delete(sqs: Any, queue_url: str, messages: Sequence[Any]) -> None:
    """Delete what has been written. What cannot be deleted now comes back, and is tried again."""
    reply = sqs.delete_message_batch(QueueUrl=queue_url, Entries=handles(messages))
    for failure in reply.get("Failed", []):
        print(f"not deleted, will come back: {failure}", file=sys.stderr)


def try_again_later(sqs: Any, queue_url: str, messages: Sequence[Any]) -> None:
    """Give messages back before their visibility timeout, but not at once: that would spin.

    A failure to do so does no harm: the message comes back when its timeout ends.
    """
    entries = [{**entry, "VisibilityTimeout": RETRY_S} for entry in handles(messages)]
    sqs.change_message_visibility_batch(QueueUrl=queue_url, Entries=entries)


def handles(messages: Sequence[Any]) -> list[dict[str, str]]:
    """Entries of a batch that is about these messages."""
    return [
        {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
        for index, message in enumerate(messages)
    ]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    queue_url, database = sys.argv[1:]
    consume(connect(), queue_url, open_table(Path(database)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
