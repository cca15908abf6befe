"""Producers and consumers that write down what they saw, and survive their server's death.

They speak through boto3, so that what is judged is what a client is told. Retries are off: a retry
would blur which call had which outcome.
"""

import json
import threading
import time
from collections.abc import Callable
from hashlib import md5
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.crash.history import Delivery, Event, History

VISIBILITY_S = 2


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
            facts["deliveries"] = tuple(map(_delivery, reply.get("Messages", ())))
        self._history.events.append(
            Event(self.name, op, called_ms, now_ms(), outcome, **facts)  # type: ignore[arg-type]
        )
        return reply


class Producer(Worker):
    """Sends a message with a body and an attribute that nobody else sends; one in five delayed."""

    def step(self) -> None:
        self._serial += 1
        token = f"{self.name}-{self._serial}"
        delay_s = 1 if self._serial % 5 == 0 else 0
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
    """Receives up to ten, deletes nine of ten, and lets the rest come back."""

    def step(self) -> None:
        reply = self.record("receive", self.receive, visibility_ms=VISIBILITY_S * 1000)
        for message in (reply or {}).get("Messages", ()):
            self._serial += 1
            if self._serial % 10:
                self.delete(_delivery(message))

    def receive(self) -> Any:
        return self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=VISIBILITY_S,
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )

    def delete(self, delivery: Delivery) -> None:
        self.record(
            "delete",
            lambda: self._sqs.delete_message(
                QueueUrl=self._queue_url, ReceiptHandle=delivery.handle
            ),
            token=delivery.token,
        )


def drain(consumer: Consumer, quiet_s: float, limit_s: float = 60) -> None:
    """Receive and delete everything; done when nothing has come for `quiet_s`."""
    deadline = time.monotonic() + limit_s
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < quiet_s:
        assert time.monotonic() < deadline, "the queue did not drain"
        reply = consumer.record("receive", consumer.receive, visibility_ms=VISIBILITY_S * 1000)
        for message in (reply or {}).get("Messages", ()):
            consumer.delete(_delivery(message))
            quiet_since = time.monotonic()


def _body(token: str) -> str:
    return json.dumps({"token": token, "padding": "£" * 400})


def _delivery(message: dict[str, Any]) -> Delivery:
    body = message["Body"]
    token = json.loads(body)["token"]
    intact = (
        body == _body(token)
        and message["MD5OfBody"] == md5(body.encode()).hexdigest()
        and message["MessageAttributes"]["token"]["StringValue"] == token
    )
    count = int(message["Attributes"]["ApproximateReceiveCount"])
    return Delivery(token, count, message["ReceiptHandle"], intact)
