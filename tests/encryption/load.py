"""Threads that send and receive all the time, and what they saw."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.encryption.rig import receive

WAIT_S = 20


class Load:
    """Producers and consumers of some queues. No call may fail."""

    def __init__(self, sqs: Any, urls: Sequence[str]) -> None:
        self.sent: set[str] = set()
        """What was acknowledged."""
        self.received: list[str] = []
        """What was received, and deleted."""
        self.errors: list[Exception] = []
        self._sqs = sqs
        self._progress = threading.Condition()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(step, url), daemon=True)
            for url in urls
            for step in (self._send, self._receive)
        ]

    def _repeat(self, step: Any, url: str) -> None:
        serial = 0
        while not self._stopping.is_set() and not self.errors:
            try:
                step(url, serial)
            except Exception as error:
                self.errors.append(error)
            serial += 1
            with self._progress:
                self._progress.notify_all()

    def _send(self, url: str, serial: int) -> None:
        body = f"{url} {serial}"
        self._sqs.send_message(QueueUrl=url, MessageBody=body)
        self.sent.add(body)

    def _receive(self, url: str, serial: int) -> None:
        """Half of them, so that there are old ones, too."""
        for message in receive(self._sqs, url, WaitTimeSeconds=1, VisibilityTimeout=1)[::2]:
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            self.received.append(message["Body"])

    def go_on(self, messages: int) -> None:
        """Wait until so many more were sent, and as many received."""
        sent, received = len(self.sent) + messages, len(self.received) + messages

        def is_enough() -> bool:
            both = len(self.sent) >= sent and len(self.received) >= received
            return bool(both or self.errors)

        with self._progress:
            assert self._progress.wait_for(is_enough, WAIT_S), "the load does not get on"
        assert self.errors == []

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """For the length of a block, at whose end everything under way is through."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            for thread in self._threads:
                thread.join(WAIT_S)
        assert self.errors == []
