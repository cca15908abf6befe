"""What no well-behaved client sends, over real sockets to a real server.

Each gets its modelled error or a closed connection, one line in the log and no traceback, while
another client goes on undisturbed.
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from tests import server
from tests.raw import exchange, read_reply, signed


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    settings = {"header_timeout_s": "1", "log_format": "json"}
    with server.running(tmp_path_factory.mktemp("bad") / "data", settings=settings) as started:
        yield started


@pytest.fixture
def log(running: server.Server) -> "Log":
    return Log(running.log)


class Log:
    """The lines that the server has written since the test began."""

    def __init__(self, path: Path) -> None:
        self._path, self._start = path, path.stat().st_size

    def lines(self) -> list[dict[str, Any]]:
        with self._path.open("rb") as file:
            file.seek(self._start)
            return [json.loads(line) for line in file.read().splitlines()]


@pytest.fixture(autouse=True)
def bystander(running: server.Server) -> Iterator[None]:
    """Another client, whose calls succeed before and after whatever the test does."""
    sqs = boto3.client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=running.url,
        aws_access_key_id=server.ACCESS_KEY_ID,
        aws_secret_access_key=server.SECRET_ACCESS_KEY,
        config=Config(retries={"total_max_attempts": 1}),
    )
    queue = sqs.create_queue(QueueName="bystander")["QueueUrl"]
    yield
    sqs.send_message(QueueUrl=queue, MessageBody="still here")
    sqs.close()


@pytest.mark.parametrize(
    ("target", "body", "error"),
    [
        ("SendMessage", b"{not json", "SerializationException"),
        ("SendMessage", b"", "SerializationException"),
        ("SendMessage", b"[]", "SerializationException"),
        ("SendMessage", b'"text"', "SerializationException"),
        ("SendMessage", b'{"QueueUrl": 5}', "SerializationException"),
        ("SendMessage", b'{"DelaySeconds": "soon"}', "SerializationException"),
        ("SendMessage", b'{"DelaySeconds": 1e99}', "SerializationException"),
        ("SendMessage", b'{"MessageBody": "\xff\xfe"}', "SerializationException"),
        ("SendMessage", b'{"MessageAttributes": ' + b'{"a":' * 100_000, "SerializationException"),
        ("SendMessage", b"{}", "QueueDoesNotExist"),
        ("Nonsense", b"{}", "UnknownOperationException"),
        ("", b"{}", "UnknownOperationException"),
    ],
)
def test_bad_bodies(running: server.Server, log: Log, target: str, body: bytes, error: str) -> None:
    status, reply = exchange(running.url, signed(running.url, target, body))
    assert status == 400
    assert reply["__type"].endswith(f"#{error}")
    assert len(log.lines()) == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"POST / HTTP/9.9\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X-Flood: y\r\n" * 5000 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 1_000_000 + b"\r\n\r\n", 431),
    ],
)
def test_bad_requests(running: server.Server, log: Log, data: bytes, status: int) -> None:
    got, reply = exchange(running.url, data)
    assert got == status
    assert "__type" in reply
    assert len(log.lines()) == 1


def test_a_truncated_request_is_dropped(running: server.Server, log: Log) -> None:
    whole = signed(running.url, "SendMessage", b'{"MessageBody": "x"}')
    parts = urlsplit(running.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(whole[:-5])
        connection.shutdown(socket.SHUT_WR)
        assert read_reply(connection)[0] in (0, 400)
    assert len(log.lines()) <= 1


def test_a_bare_connection_is_not_kept(running: server.Server, log: Log) -> None:
    parts = urlsplit(running.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        status, _ = read_reply(connection)
        assert status in (0, 408)
    assert len(log.lines()) <= 1


def test_no_credentials(running: server.Server, log: Log) -> None:
    data = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.0\r\n"
        b"X-Amz-Target: AmazonSQS.ListQueues\r\nContent-Length: 2\r\n\r\n{}"
    )
    status, reply = exchange(running.url, data)
    assert status == 403
    assert reply["__type"].endswith("#AccessDeniedException")
    assert reply["Message"].endswith("is denied.")
    assert len(log.lines()) == 1


def test_no_secret_and_no_traceback_is_ever_logged(running: server.Server) -> None:
    """Runs last in this file: looks at everything that the tests above have caused."""
    text = running.log.read_text()
    assert server.SECRET_ACCESS_KEY not in text
    assert "Traceback" not in text
