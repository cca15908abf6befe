"""Writes stock levels from a queue into a SQLite table: `python consumer.py QUEUE_URL DATABASE`.

Runs until it is told to stop (SIGTERM or Ctrl-C). That is safe at any moment: a message is deleted
only after its row is committed, and one that was received but not deleted comes back after the
queue's visibility timeout and is written again, to no effect. Start as many as you like.
"""

import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import boto3
from stock import apply, from_message, open_table

LONG_POLL_S = 20


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
    messages = reply.get("Messages", [])
    if messages:
        apply(table, [from_message(message) for message in messages])
        delete(sqs, queue_url, messages)
    return len(messages)


def delete(sqs: Any, queue_url: str, messages: list[Any]) -> None:
    """Delete what has been written. What cannot be deleted now comes back, and is tried again."""
    entries = [
        {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
        for index, message in enumerate(messages)
    ]
    reply = sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)
    for failure in reply.get("Failed", []):
        print(f"not deleted, will come back: {failure}", file=sys.stderr)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    queue_url, database = sys.argv[1:]
    consume(boto3.client("sqs"), queue_url, open_table(Path(database)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
