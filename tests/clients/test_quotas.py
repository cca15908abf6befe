"""AWS's FIFO quotas, for those who want to meet them before they move to AWS."""

import json
import socket
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from tests import server
from tests.raw import exchange, signed

CALLS = 700
"""More than a second's allowance of 300; pipelined, so that they arrive well within a second."""


def test_fifo_sends_are_throttled_when_asked_for(tmp_path: Path) -> None:
    with server.running(tmp_path / "data", settings={"fifo_quotas": "true"}) as running:
        creation = {"QueueName": "q.fifo", "Attributes": {"FifoQueue": "true"}}
        exchange(running.url, signed(running.url, "CreateQueue", json.dumps(creation).encode()))
        outcomes = _pipelined(running.url, [_send(running.url, n) for n in range(CALLS)])
    assert set(outcomes) == {b"200", b"403 RequestThrottled"}
    assert 300 <= outcomes[b"200"] < CALLS


def _send(url: str, n: int) -> bytes:
    message = {
        "QueueUrl": "q.fifo",
        "MessageBody": "x",
        "MessageGroupId": "g",
        "MessageDeduplicationId": str(n),
    }
    return signed(url, "SendMessage", json.dumps(message).encode())


def _pipelined(url: str, requests: list[bytes]) -> Counter[bytes]:
    """How often each status, with the error's code, came back."""
    parts = urlsplit(url)
    outcomes: Counter[bytes] = Counter()
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        replies = connection.makefile("rb")
        connection.sendall(b"".join(requests))
        for _ in requests:
            status = replies.readline().split()[1]
            headers = dict(line.lower().split(b": ", 1) for line in iter(replies.readline, b"\r\n"))
            body = replies.read(int(headers[b"content-length"]))
            throttled = b" RequestThrottled" if b"#RequestThrottled" in body else b""
            outcomes[status + throttled] += 1
        replies.close()
    return outcomes
