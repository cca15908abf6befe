"""A queue with a dead-letter queue: looks into that, and moves what is there back.

    python dead_letters.py create QUEUE_NAME
    python dead_letters.py show DEAD_LETTER_QUEUE_URL
    python dead_letters.py redrive DEAD_LETTER_QUEUE_URL

Looking is receiving: it hides the messages from others for a moment and counts. Moving is done by
the service, in a task; it makes new messages of them, which are received zero times again.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from consumer import handles
from service import connect

RECEIVE_COUNT_MAX = 3
HIDDEN_S = 30


def create_queues(sqs: Any, name: str) -> tuple[str, str]:
    """The URLs of a queue and of its dead-letter queue; creates what is not there."""
    encrypted = {"SqsManagedSseEnabled": "true"}
    reply = sqs.create_queue(QueueName=f"{name}-dead-letters", Attributes=encrypted)
    dead_letter_url = reply["QueueUrl"]
    policy = {
        "deadLetterTargetArn": queue_arn(sqs, dead_letter_url),
        "maxReceiveCount": RECEIVE_COUNT_MAX,
    }
    attributes = {"RedrivePolicy": json.dumps(policy), **encrypted}
    return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"], dead_letter_url


def queue_arn(sqs: Any, queue_url: str) -> str:
    reply = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    return str(reply["Attributes"]["QueueArn"])


def look(sqs: Any, queue_url: str) -> list[Any]:
    """All visible messages of a queue. They are given back before this returns."""
    found: list[Any] = []
    while messages := receive(sqs, queue_url):
        found += messages
    for start in range(0, len(found), 10):
        entries = [
            {**entry, "VisibilityTimeout": 0} for entry in handles(found[start : start + 10])
        ]
        sqs.change_message_visibility_batch(QueueUrl=queue_url, Entries=entries)
    return found


def receive(sqs: Any, queue_url: str) -> list[Any]:
    reply = sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=HIDDEN_S,
        WaitTimeSeconds=1,
        MessageSystemAttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    messages: list[Any] = reply.get("Messages", [])
    return messages


def redrive(
    sqs: Any,
    queue_url: str,
    moved: Callable[[int], None] = lambda count: None,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Move everything back, and wait until it is done; the number of messages moved.

    `moved` is told the number so far. Raises `RuntimeError` if the task comes to another end.
    """
    source = queue_arn(sqs, queue_url)
    sqs.start_message_move_task(SourceArn=source)
    while True:
        # The newest task comes first, and a queue has one at a time: this is ours.
        (task,) = sqs.list_message_move_tasks(SourceArn=source, MaxResults=1)["Results"]
        count = int(task["ApproximateNumberOfMessagesMoved"])
        moved(count)
        if task["Status"] == "COMPLETED":
            return count
        if task["Status"] != "RUNNING":
            reason = task.get("FailureReason", "somebody cancelled it")
            raise RuntimeError(f"the move task is {task['Status']} after {count}: {reason}")
        pause(0.2)


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    verb, target = sys.argv[1:]
    sqs = connect()
    if verb == "create":
        print(*create_queues(sqs, target), sep="\n")
    elif verb == "show":
        for message in look(sqs, target):
            print(message["Attributes"]["ApproximateReceiveCount"], message["Body"])
    elif verb == "redrive":
        print(f"{redrive(sqs, target)} messages moved")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
