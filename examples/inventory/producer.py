"""Sends every row of the CSV file to a queue: `python producer.py QUEUE_URL`."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from service import connect
from stock import StockLevel, read_csv, to_entry

BATCH = 10
ATTEMPTS = 5


def produce(
    sqs: Any,
    queue_url: str,
    levels: Sequence[StockLevel],
    sent: Callable[[int], None] = lambda count: None,
) -> None:
    for start in range(0, len(levels), BATCH):
        batch = levels[start : start + BATCH]
        send(sqs, queue_url, [to_entry(str(index), level) for index, level in enumerate(batch)])
        sent(len(batch))


def send(
    sqs: Any,
    queue_url: str,
    entries: Sequence[dict[str, Any]],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Send one batch. A batch can fail in part: what failed is sent again, a little later."""
    for attempt in range(ATTEMPTS):
        failed = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries).get("Failed", [])
        if not failed:
            return
        if any(entry["SenderFault"] for entry in failed):
            raise RuntimeError(f"the queue refuses a message: {failed}")
        ids = {entry["Id"] for entry in failed}
        entries = [entry for entry in entries if entry["Id"] in ids]
        pause(0.1 * 2**attempt)
    raise RuntimeError(f"{len(entries)} messages could not be sent in {ATTEMPTS} attempts")


if __name__ == "__main__":
    produce(connect(), sys.argv[1], read_csv())
