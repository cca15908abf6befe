"""Everything that can happen to a message, on queues of one mode of encryption.

Every body has the same token in it. What can still be received afterwards is counted, so that a
search that finds nothing is not one among messages that were lost.
"""

import secrets
from typing import Any

from tests.access_control.stage import Stage, queue_arn
from tests.encryption.rig import receive

MODES: dict[str, dict[str, str]] = {
    "sse-sqs": {},
    "sse-kms": {"KmsMasterKeyId": "alias/aws/sqs"},
    "off": {"SqsManagedSseEnabled": "false"},
}
BATCH = 5
LARGE = "£" * 150_000
"""Fills pages of its own."""


class Story:
    """Told through one client, to whom all queues belong."""

    def __init__(self, stage: Stage, mode: str) -> None:
        self.mode = mode
        self.token = f"{mode}-{secrets.token_urlsafe(18)}"
        self.bodies: list[str] = []
        self.left: dict[str, int] = {}
        """By name of queue, how many messages can be received."""
        self._sqs = stage.client("sqs", secure=True)

    def standard(self) -> None:
        """In view, delayed, in flight, deleted, purged; one by one and in a batch."""
        url = self._queue("standard")
        entries = [{"Id": str(n), "MessageBody": self._body()} for n in range(BATCH)]
        self._sqs.send_message_batch(QueueUrl=url, Entries=entries)
        self._sqs.send_message(QueueUrl=url, MessageBody=self._body(LARGE))
        self._send(url, DelaySeconds=900)
        in_flight = receive(self._sqs, url, VisibilityTimeout=600, MaxNumberOfMessages=3)
        self._sqs.delete_message(QueueUrl=url, ReceiptHandle=in_flight[0]["ReceiptHandle"])
        self._expect("standard", BATCH + 1 - len(in_flight))
        purged = self._queue("purged")
        self._send(purged)
        self._sqs.purge_queue(QueueUrl=purged)
        self._expect("purged", 0)

    def dead_letters(self, suffix: str = "") -> None:
        """Some end in a dead-letter queue, and a task begins to move them elsewhere."""
        self._queue(f"dead{suffix}")
        self._queue(f"moved{suffix}")
        dead, moved = self._arn(f"dead{suffix}"), self._arn(f"moved{suffix}")
        policy = f'{{"deadLetterTargetArn": "{dead}", "maxReceiveCount": 1}}'
        live = self._queue(f"live{suffix}", RedrivePolicy=policy)
        self._exhaust(live, BATCH)
        self._sqs.start_message_move_task(SourceArn=dead, DestinationArn=moved)

    def more_dead_letters(self, suffix: str = "") -> None:
        """When the task has ended, another one, which stays where it is."""
        dead, live, moved = (self._url(f"{name}{suffix}") for name in ("dead", "live", "moved"))
        while self._is_moving(self._arn(f"dead{suffix}")):
            receive(self._sqs, dead, WaitTimeSeconds=1, VisibilityTimeout=0)
        assert receive(self._sqs, moved, VisibilityTimeout=0)
        self._exhaust(live, 1)
        assert len(receive(self._sqs, dead, VisibilityTimeout=0)) == 1
        self._expect(f"moved{suffix}", BATCH)
        self._expect(f"dead{suffix}", 1)

    def _arn(self, name: str) -> str:
        return queue_arn(f"{self.mode}-{name}")

    def _url(self, name: str) -> str:
        url: str = self._sqs.get_queue_url(QueueName=f"{self.mode}-{name}")["QueueUrl"]
        return url

    def _queue(self, name: str, **attributes: str) -> str:
        name = f"{self.mode}-{name}"
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        made = self._sqs.create_queue(QueueName=name, Attributes=MODES[self.mode] | attributes)
        url: str = made["QueueUrl"]
        return url

    def _body(self, tail: str = "") -> str:
        self.bodies.append(f"{self.token} {len(self.bodies)}{tail}")
        return self.bodies[-1]

    def _send(self, url: str, **more: Any) -> None:
        if url.endswith(".fifo"):
            unique = f"{len(self.bodies)}"
            more |= {"MessageGroupId": "g", "MessageDeduplicationId": unique}
        self._sqs.send_message(QueueUrl=url, MessageBody=self._body(), **more)

    def _exhaust(self, url: str, messages: int) -> None:
        """Send messages, and receive them until they are in the dead-letter queue."""
        for _ in range(messages):
            self._send(url)
        given = 0
        while given < messages:
            given += len(receive(self._sqs, url, VisibilityTimeout=0, WaitTimeSeconds=2))
        assert receive(self._sqs, url) == []

    def _is_moving(self, arn: str) -> bool:
        task = self._sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]
        assert task["Status"] in ("RUNNING", "COMPLETED"), task
        return bool(task["Status"] == "RUNNING")

    def _expect(self, name: str, messages: int) -> None:
        self.left[f"{self.mode}-{name}"] = messages
