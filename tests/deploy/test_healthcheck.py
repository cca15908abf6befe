"""The container's health check, against a server that answers and against none."""

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stanchion.cli.tls import make
from tests.deploy import files

SCRIPT = files.DEPLOY / "healthcheck.py"


class Answers(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def serve(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def port() -> Iterator[int]:
    yield from serve()


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    certificate, key = make(("sqs.example.com",), datetime.now(UTC))
    (tmp_path / "both.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    yield from serve(context)


def check(port: int, **settings: str) -> int:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STANCHION_")}
    environment |= {"STANCHION_PORT": str(port), "STANCHION_TLS_PORT": str(port), **settings}
    command = [sys.executable, "-W", "error", str(SCRIPT)]
    return subprocess.run(command, env=environment, capture_output=True, timeout=10).returncode


def test_a_server_that_answers_is_alive(port: int) -> None:
    # A proxy in the environment is for other hosts.
    assert check(port, http_proxy="http://127.0.0.1:9") == 0


def test_a_server_that_answers_with_an_error_is_not(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "status", 503)
    assert check(port) == 1


def test_nobody_there_is_not_alive(port: int) -> None:
    assert check(1) == 1


def test_a_server_with_tls_only_is_asked_by_tls(tls_port: int) -> None:
    assert check(tls_port, STANCHION_PLAIN_HTTP="false") == 0
    assert check(tls_port) == 1
