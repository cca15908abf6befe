"""Producers and consumers that write down what they saw, and survive their server's death.

They speak through boto3, so that what is judged is what a client is told. Retries are off: a retry
would blur which call had which outcome.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from hashlib import md5
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.crash.history import Delivery, Event, History, Outcome

VISIBILITY_S = 2
COUNTS = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


def client(endpoint_url: str, key: tuple[str, str]) -> Any:
    return boto3.client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=endpoint_url,
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        config=Config(
            retries={"total_max_attempts": 1},
            connect_timeout=2,
            read_timeout=5,
            max_pool_connections=1,
        ),
    )


def now_ms() -> float:
    return time.time() * 1000


class Worker(threading.Thread):
    """One client in a loop. `step` does one operation and records it."""

    def __init__(self, name: str, sqs: Any, queue_url: str, history: History) -> None:
        super().__init__(name=name, daemon=True)
        self._sqs, self._queue_url, self._history = sqs, queue_url, history
        self._stopping = threading.Event()
        self._serial = 0

    def run(self) -> None:
        while not self._stopping.is_set():
            self.step()

    def stop(self) -> None:
        self._stopping.set()

    def step(self) -> None:
        raise NotImplementedError

    def record(self, op: Any, call: Callable[[], Any], **facts: Any) -> Any:
        """Run one operation; its reply, or None when it failed or its outcome is unknown."""
        called_ms = now_ms()
        try:
            reply = call()
            outcome = "ok"
        except ClientError as error:
            reply = None
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            outcome = "unknown" if status >= 500 else "fail"
        except BotoCoreError:
            reply, outcome = None, "unknown"
            self._stopping.wait(0.02)  # the server is down; do not spin
        if reply and op == "receive":
            facts["deliveries"] = tuple(map(delivery_of, reply.get("Messages", ())))
        if reply and op == "send":
            facts["message_id"] = reply["MessageId"]
            facts["sequence"] = int(reply.get("SequenceNumber", 0))
        facts["queue"] = self._queue_url.rpartition("/")[2]
        self._history.events.append(
            Event(self.name, op, called_ms, now_ms(), outcome, **facts)  # type: ignore[arg-type]
        )
        return reply


class Producer(Worker):
    """Sends a message with a body and an attribute that nobody else sends; one in five delayed."""

    delays_one_in = 5

    def step(self) -> None:
        self._serial += 1
        token = f"{self.name}-{self._serial}"
        is_delayed = self.delays_one_in and self._serial % self.delays_one_in == 0
        delay_s = 1 if is_delayed else 0
        self.record(
            "send",
            lambda: self._sqs.send_message(
                QueueUrl=self._queue_url,
                MessageBody=_body(token),
                DelaySeconds=delay_s,
                MessageAttributes={"token": {"DataType": "String", "StringValue": token}},
            ),
            token=token,
            delay_ms=delay_s * 1000,
        )


class Consumer(Worker):
    """Receives up to ten, deletes all but one of `keeps_one_in`, and lets those come back."""

    visibility_s = VISIBILITY_S
    keeps_one_in = 10

    def step(self) -> None:
        for message in self.receive():
            self._serial += 1
            if self._serial % self.keeps_one_in:
                self.delete(delivery_of(message))

    def receive(self, wait_s: int = 1, attempt_id: str = "") -> Sequence[dict[str, Any]]:
        """The messages of one receive; none when it failed."""
        extra = {"ReceiveRequestAttemptId": attempt_id} if attempt_id else {}
        reply = self.record(
            "receive",
            lambda: self._sqs.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=self.visibility_s,
                WaitTimeSeconds=wait_s,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
                **extra,
            ),
            visibility_ms=self.visibility_s * 1000,
            attempt_id=attempt_id,
        )
        messages: Sequence[dict[str, Any]] = (reply or {}).get("Messages", ())
        return messages

    def empty(self) -> bool:
        """Receive and delete what there is; whether something is left that is not visible yet."""
        while messages := self.receive(wait_s=0):
            self._delete_all([delivery_of(message) for message in messages])
        counts = self._sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=COUNTS)
        return any(int(count) for count in counts["Attributes"].values())

    def _delete_all(self, deliveries: Sequence[Delivery]) -> None:
        called_ms = now_ms()
        reply = self._sqs.delete_message_batch(
            QueueUrl=self._queue_url,
            Entries=[
                {"Id": str(n), "ReceiptHandle": delivery.handle}
                for n, delivery in enumerate(deliveries)
            ],
        )
        done = {int(entry["Id"]) for entry in reply.get("Successful", ())}
        queue = self._queue_url.rpartition("/")[2]
        for n, delivery in enumerate(deliveries):
            outcome: Outcome = "ok" if n in done else "fail"
            self._history.events.append(
                Event(
                    *(self.name, "delete", called_ms, now_ms(), outcome),
                    token=delivery.token,
                    queue=queue,
                )
            )

    def delete(self, delivery: Delivery) -> None:
        self.record(
            "delete",
            lambda: self._sqs.delete_message(
                QueueUrl=self._queue_url, ReceiptHandle=delivery.handle
            ),
            token=delivery.token,
        )


class FifoProducer(Worker):
    """Sends to a few groups that all producers share.

    What has no answer is sent again until it has one, and so is one in seven that has: with the
    deduplication id of the first.
    """

    groups = 4

    def step(self) -> None:
        self._serial += 1
        token = f"{self.name}-{self._serial}"
        group = f"g{self._serial % self.groups}"
        reply = self._send(token, group)
        while reply is None and not self._stopping.is_set():
            reply = self._send(token, group)
        if self._serial % 7 == 0:
            self._send(token, group)

    def _send(self, token: str, group: str) -> Any:
        return self.record(
            "send",
            lambda: self._sqs.send_message(
                QueueUrl=self._queue_url,
                MessageBody=_body(token),
                MessageGroupId=group,
                MessageDeduplicationId=token,
                MessageAttributes={"token": {"DataType": "String", "StringValue": token}},
            ),
            token=token,
            group=group,
            deduplication_id=token,
        )


class FifoConsumer(Consumer):
    """As a `Consumer`; makes every third attempt twice, as clients do that got no answer."""

    visibility_s = 1
    keeps_one_in = 40

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._attempts = 0

    def receive(self, wait_s: int = 1, attempt_id: str = "") -> Sequence[dict[str, Any]]:
        self._attempts += 1
        attempt_id = f"{self.name}-{self._attempts}"
        messages = super().receive(wait_s, attempt_id)
        if self._attempts % 3 == 0:
            return super().receive(0, attempt_id)
        return messages


def drain(*consumers: Consumer, limit_s: float = 60) -> None:
    """Receive and delete everything; done when no queue has any message in any state."""
    deadline = time.monotonic() + limit_s
    while any(consumer.empty() for consumer in consumers):
        assert time.monotonic() < deadline, "the queues did not drain"
        time.sleep(0.1)


def _body(token: str) -> str:
    return json.dumps({"token": token, "padding": "£" * 400})


def delivery_of(message: dict[str, Any]) -> Delivery:
    """A message as a reply has it, compared with what a producer sent under its token."""
    body = message["Body"]
    token = json.loads(body)["token"]
    intact = (
        body == _body(token)
        and message["MD5OfBody"] == md5(body.encode()).hexdigest()
        and message["MessageAttributes"]["token"]["StringValue"] == token
    )
    attributes = message["Attributes"]
    return Delivery(
        token,
        int(attributes["ApproximateReceiveCount"]),
        message["ReceiptHandle"],
        intact,
        message["MessageId"],
        attributes.get("MessageGroupId", ""),
        attributes.get("MessageDeduplicationId", ""),
        int(attributes.get("SequenceNumber", 0)),
    )
