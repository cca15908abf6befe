"""Applies price adjustments from a FIFO queue: `python price_consumer.py QUEUE_URL DATABASE`.

Start as many as you like: while one of them has messages of a warehouse, no other gets any of that
warehouse, so its adjustments are applied in order. Stopping is safe at any moment.
"""

import signal
import sqlite3
import sys
import uuid
from pathlib import Path
from typing import Any

from consumer import LONG_POLL_S, delete
from prices import apply, from_message, open_table
from service import connect


def consume_once(sqs: Any, queue_url: str, table: sqlite3.Connection, wait_s: int) -> int:
    """Take up to ten messages, in order within each warehouse; the number of them.

    Should the answer be lost, boto3 asks again with the same attempt id and gets the same messages;
    without it, their warehouses would have to wait for the visibility timeout.
    """
    reply = sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=10,
        WaitTimeSeconds=wait_s,
        MessageSystemAttributeNames=["SequenceNumber"],
        ReceiveRequestAttemptId=uuid.uuid4().hex,
    )
    messages = reply.get("Messages", [])
    if messages:
        apply(table, [from_message(message) for message in messages])
        delete(sqs, queue_url, messages)
    return len(messages)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    queue_url, database = sys.argv[1:]
    sqs, table = connect(), open_table(Path(database))
    while True:
        consume_once(sqs, queue_url, table, LONG_POLL_S)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
