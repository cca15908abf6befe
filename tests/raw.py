"""Requests as bytes on a socket, for what no client library would send."""

import contextlib
import json
import socket
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests import server


def signed(url: str, target: str, body: bytes, **headers: str) -> bytes:
    """A request with these bytes, signed as botocore signs."""
    request = AWSRequest(
        "POST",
        url + "/",
        data=body,
        headers={
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{target}",
            **headers,
        },
    )
    SigV4Auth(Credentials(*server.KEY), "sqs", "us-east-1").add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    lines += [f"Host: {urlsplit(url).netloc}", f"Content-Length: {len(body)}"]
    return "\r\n".join(["POST / HTTP/1.1", *lines, "", ""]).encode() + body


def exchange(url: str, data: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes, read one reply: its status and JSON body. (0, {}) if the connection closed."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        # Refused before we are done, perhaps; the reply is there to read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return read_reply(connection)


def read_reply(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return 0, {}
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1]), json.loads(body) if body else {}
