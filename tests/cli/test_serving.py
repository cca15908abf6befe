"""Real servers in processes of their own: how they start, whom they serve, and how they end."""

import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from stanchion import __version__
from stanchion.server import EXIT_BROKEN
from tests.server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server, running

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("STANCHION_")}


def get(url: str, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10, context=context) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def call(url: str, access_key_id: str | None, secret: str = "any") -> tuple[int, dict[str, object]]:
    """CreateQueue, signed unless there is no key."""
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonSQS.CreateQueue",
    }
    request = AWSRequest("POST", f"{url}/", data=b'{"QueueName":"q"}', headers=headers)
    if access_key_id is not None:
        SigV4Auth(Credentials(access_key_id, secret), "sqs", "us-east-1").add_auth(request)
    plain = urllib.request.Request(
        request.url, request.data, dict(request.headers.items()), method="POST"
    )
    try:
        with urllib.request.urlopen(plain, timeout=10) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def refused(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """What a server that does not start says."""
    run = subprocess.run(
        [sys.executable, "-m", "stanchion", *arguments],
        env=ENVIRONMENT | (environment or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 2, run.stderr
    assert run.stdout == ""
    errors = [line for line in run.stderr.splitlines() if line.startswith("Error: ")]
    assert run.stderr.splitlines()[-1:] == errors, run.stderr
    return errors[0]


# --- A server that runs -------------------------------------------------------------------------


def test_serve_verifies_and_ends_well(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        assert call(server.url, ACCESS_KEY_ID, SECRET_ACCESS_KEY)[0] == 200
        for access_key_id, secret in (
            (ACCESS_KEY_ID, "wrong"),
            ("000000000000", "any"),
            (None, "any"),
        ):
            assert call(server.url, access_key_id, secret)[0] == 403
        assert get(f"{server.url}/health/live") == (200, "live\n")
        assert get(f"{server.url}/health/ready") == (200, "ready\n")
        metrics = get(f"{server.url}/metrics")[1]
        assert server.stop() == 0
    assert 'stanchion_requests_total{action="CreateQueue",code="OK"} 1.0' in metrics
    assert "stanchion_connections 1.0" in metrics
    assert f'stanchion_build_info{{version="{__version__}"}} 1.0' in metrics
    assert f"version={__version__}" in server.log.read_text()
    assert "stanchion_tls" not in metrics
    assert SECRET_ACCESS_KEY not in server.log.read_text()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_the_first_start_hands_over_a_key_that_works_and_keeps_working(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    file = data_dir / "root-credentials.env"
    without = {"ROOT_ACCESS_KEY_ID": "", "ROOT_SECRET_ACCESS_KEY": ""}
    with running(data_dir, settings=without) as server:
        values = dict(
            line.removeprefix("export ").split("=", 1)
            for line in file.read_text().splitlines()
            if line.startswith("export ")
        )
        key = (values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"])
        assert "AWS_ENDPOINT_URL" not in values
        assert call(server.url, *key)[0] == 200
        server.kill()
    assert f"root credentials written file={file}" in server.log.read_text()
    with running(data_dir, settings=without) as server:
        assert call(server.url, *key)[0] == 200
    with running(data_dir) as server:
        assert call(server.url, *key)[0] == 403
        assert call(server.url, ACCESS_KEY_ID, SECRET_ACCESS_KEY)[0] == 200
    assert key[1] not in server.log.read_text()


def test_dev_believes_anybody(tmp_path: Path) -> None:
    with running(tmp_path / "unused", verb="dev") as server:
        account_id = "123456789012"
        assert call(server.url, account_id)[1]["QueueUrl"] == f"{server.url}/{account_id}/q"
        assert call(server.url, None)[1]["QueueUrl"] == f"{server.url}/000000000000/q"
        assert server.stop() == 0
    assert not (tmp_path / "unused").exists()


def test_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 "
    make += f"-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key}"
    subprocess.run([*make.split(), "-out", certificate], check=True, capture_output=True)
    settings = {"tls_cert": str(certificate), "tls_key": str(key), "tls_port": "0"}
    with running(tmp_path / "data", settings=settings) as server:
        url = next(w[4:] for w in server.log.read_text().split() if w.startswith("url=https://"))
        context = ssl.create_default_context(cafile=str(certificate))
        assert get(f"{url}/health/live", context) == (200, "live\n")
        assert get(f"{server.url}/health/live") == (200, "live\n")
        metrics = get(f"{server.url}/metrics")[1]
    ends_at_s = float(_value(metrics, "stanchion_tls_certificate_expiry_timestamp_seconds"))
    assert 0 < ends_at_s - time.time() < 86_401
    assert _value(metrics, "stanchion_tls_reload_failures_total") == "0.0"


def _value(metrics: str, name: str) -> str:
    return next(line.split()[1] for line in metrics.splitlines() if line.startswith(f"{name} "))


def test_a_long_poll_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with running(tmp_path / "unused", verb="dev") as server:
        queue_url = call(server.url, None)[1]["QueueUrl"]
        body = json.dumps({"QueueUrl": queue_url, "WaitTimeSeconds": 20}).encode()
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as poll:
            poll.sendall(
                b"POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
                b"Content-Type: application/x-amz-json-1.0\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            _wait_for_long_poll(server)
            assert server.stop() == 0
            assert poll.recv(64).startswith(b"HTTP/1.1 200 OK\r\n")


def _wait_for_long_poll(server: Server) -> None:
    for _ in range(1000):
        if "\nstanchion_long_polls 1.0\n" in get(f"{server.url}/metrics")[1]:
            return
    raise AssertionError("the poll never waited")


# --- One that does not start --------------------------------------------------------------------


def test_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused("dev", "--port", str(port))
    assert error == f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use"


def test_the_host_is_no_name(tmp_path: Path) -> None:
    place = ("--port", "0", "--data-dir", str(tmp_path / "data"))
    error = refused("serve", "--host", "not..a..host", *place)
    assert error == "Error: cannot listen on not..a..host port 0: not a host name"


def test_the_data_directory_is_in_use(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running(data_dir):
        assert "in use by another server" in refused("serve", "--data-dir", str(data_dir))


def test_the_data_directory_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = refused("serve", "--port", "0", "--data-dir", str(tmp_path / "file"))
    assert error.startswith(f"Error: cannot use {tmp_path / 'file'}")


def test_the_data_directory_is_of_a_newer_release(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running(data_dir):
        pass
    with sqlite3.connect(data_dir / "stanchion.db") as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    assert "newer Stanchion" in refused("serve", "--port", "0", "--data-dir", str(data_dir))


def test_the_certificate_is_none(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nonsense")
    pem = str(tmp_path / "cert.pem")
    arguments = ("--tls-cert", pem, "--tls-key", pem, "--port", "0", "--tls-port", "0")
    error = refused("serve", "--data-dir", str(tmp_path / "data"), *arguments)
    assert error.startswith(f"Error: cannot use {pem} and {pem} for TLS")


def test_the_root_key_is_half_given(tmp_path: Path) -> None:
    error = refused(
        *("serve", "--data-dir", str(tmp_path / "data")),
        environment={"STANCHION_ROOT_SECRET_ACCESS_KEY": "hidden-secret"},
    )
    assert "both are needed" in error
    assert "hidden-secret" not in error
    assert not (tmp_path / "data").exists()


# --- What it costs to start ---------------------------------------------------------------------


@pytest.mark.parametrize("module", ["boto3", "botocore", "rich", "prometheus_client", "structlog"])
def test_what_a_server_has_no_use_for_is_not_imported(module: str) -> None:
    code = (
        "import sys, stanchion.cli.main, stanchion.cli.dev, stanchion.cli.serve, stanchion.server;"
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- One that fails under way -------------------------------------------------------------------


def test_a_broken_store_ends_the_process() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.broken_store"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().split()[-1]
        assert call(url, None)[0] == 500
        assert process.wait(20) == EXIT_BROKEN
        errors = process.stderr.read()
    assert "the store is broken and the server stops" in errors
    assert "the disk is gone" in errors
