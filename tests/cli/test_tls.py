"""`stanchion tls self-signed`, and a real server with TLS: settings, ports, and reloading."""

import http.client
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError
from click.testing import CliRunner, Result
from cryptography import x509

from stanchion.cli.main import main
from stanchion.config import ConfigError, configure
from tests.server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server, running


def make(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["tls", "self-signed", "--dir", str(folder), *arguments])


def made(folder: Path, *arguments: str) -> dict[str, str]:
    """Files made in `folder`, as settings that serve TLS on any port."""
    result = make(folder, *arguments)
    assert result.exit_code == 0, result.output
    pair = {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}
    return {**pair, "tls_port": "0"}


# --- The files ----------------------------------------------------------------------------------


def test_what_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "new one"
    result = make(folder, "--host", "sqs.example.com", "--host", "10.0.0.9", "--host", "*.test")
    assert result.exit_code == 0
    assert f"--tls-cert '{folder}/cert.pem' --tls-key '{folder}/key.pem'" in result.output
    assert f"export AWS_CA_BUNDLE='{folder}/cert.pem'" in result.output
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    assert {path.name for path in folder.iterdir()} == {"cert.pem", "key.pem"}
    certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "sqs.example.com", "*.test"]
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    assert list(addresses) == ["127.0.0.1", "::1", "10.0.0.9"]
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime.days == 825


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    assert make(tmp_path).exit_code == 0
    before = (tmp_path / "key.pem").read_bytes()
    (tmp_path / "cert.pem").unlink()
    result = make(tmp_path)
    assert result.exit_code == 2
    assert result.output == f"Error: {tmp_path}/key.pem is there already; --force overwrites it\n"
    assert (tmp_path / "key.pem").read_bytes() == before
    assert not (tmp_path / "cert.pem").exists()
    (tmp_path / "key.pem").chmod(0o644)
    assert make(tmp_path, "--force").exit_code == 0
    assert (tmp_path / "key.pem").read_bytes() != before
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("host", ["", "a b", "-a", "http://a", "a..b", "é", "a" * 64, "10.0.0.0/8"])
def test_hosts_that_are_none(tmp_path: Path, host: str) -> None:
    result = make(tmp_path, "--host", host)
    assert result.exit_code == 2
    assert result.output == f"Error: --host: {host!r} is neither a host name nor an address\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = make(tmp_path / "file")
    assert result.exit_code == 2
    assert result.output.startswith(f"Error: cannot write to {tmp_path}/file: ")


# --- The settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"plain_http": False}, "plain_http: without it, tls_cert and tls_key are needed"),
        ({"tls_client_ca": "a"}, "tls_client_ca: of no use without tls_cert and tls_key"),
        ({"trusted_proxies": "10.0.0.1/8"}, "trusted_proxies: 10.0.0.1/8 has host bits set"),
        ({"trusted_proxies": "10.0.0.0/8,lb"}, "trusted_proxies: 'lb' does not appear to be"),
    ],
)
def test_settings_that_do_not_go_together(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(flags, {})
    assert str(caught.value).startswith(message)


def test_settings_from_the_environment() -> None:
    environment = {
        "STANCHION_TLS_CERT": "c",
        "STANCHION_TLS_KEY": "k",
        "STANCHION_PLAIN_HTTP": "false",
        "STANCHION_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::1",
    }
    settings = configure({}, environment).settings
    assert settings.plain_http is False
    assert settings.trusted_proxies == ("10.0.0.0/8", "2001:db8::1")
    with pytest.raises(ConfigError, match="STANCHION_PLAIN_HTTP: "):
        configure({}, environment | {"STANCHION_PLAIN_HTTP": "maybe"})


def test_flags() -> None:
    arguments = ["config", "show", "--tls-cert", "c", "--tls-key", "k", "--no-plain-http"]
    output = CliRunner().invoke(main, [*arguments, "--trusted-proxies", "10.0.0.0/8,::1"]).output
    assert 'trusted_proxies = ["10.0.0.0/8", "::1"]' in output
    assert "plain_http = false" in output


# --- A server -----------------------------------------------------------------------------------


def test_boto3_without_plain_http(tmp_path: Path) -> None:
    settings = made(tmp_path) | {"plain_http": "false"}
    with running(tmp_path / "data", settings=settings) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert "url=http://" not in server.log.read_text()

        def sqs(verify: str | None):  # type: ignore[no-untyped-def]
            return boto3.client(
                "sqs",
                endpoint_url=server.url,
                region_name="eu-west-1",
                aws_access_key_id=ACCESS_KEY_ID,
                aws_secret_access_key=SECRET_ACCESS_KEY,
                verify=verify,
                config=Config(retries={"total_max_attempts": 1}),
            )

        client = sqs(settings["tls_cert"])
        queue_url = client.create_queue(QueueName="q")["QueueUrl"]
        assert queue_url == f"{server.url}/000000000000/q"
        client.send_message(QueueUrl=queue_url, MessageBody="hello")
        (message,) = client.receive_message(QueueUrl=queue_url)["Messages"]
        assert message["Body"] == "hello"
        stranger = sqs(None)
        with pytest.raises(SSLError):
            stranger.list_queues()
        client.close()
        stranger.close()


def strict(certificate: str) -> ssl.SSLContext:
    """As demanding as the clients of Python 3.13 and later are."""
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def connect(server: Server, certificate: str) -> http.client.HTTPSConnection:
    port = urlsplit(https_url(server)).port
    context = strict(certificate)
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    connection.connect()
    return connection


def https_url(server: Server) -> str:
    return next(w[4:] for w in server.log.read_text().split() if w.startswith("url=https://"))


def live(connection: http.client.HTTPSConnection) -> bool:
    connection.request("GET", "/health/live")
    return connection.getresponse().read() == b"live\n"


def test_sighup_reloads_under_live_connections(tmp_path: Path) -> None:
    settings = made(tmp_path)
    certificate = settings["tls_cert"]
    old = tmp_path / "old.pem"
    old.write_bytes(Path(certificate).read_bytes())
    with running(tmp_path / "data", settings=settings) as server:
        early = connect(server, certificate)
        assert live(early)
        made(tmp_path, "--force")
        os.kill(server.process.pid, signal.SIGHUP)
        wait_for(server, "TLS files reloaded")
        late = connect(server, certificate)
        assert live(late)
        assert live(early)
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(server, str(old))
        early.close()
        late.close()
        assert server.stop() == 0


def wait_for(server: Server, text: str) -> None:
    for _ in range(200):
        if text in server.log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"never said {text!r}: {server.log.read_text()}")


def test_the_wrong_port_costs_a_line_at_most(tmp_path: Path) -> None:
    settings = made(tmp_path)
    with running(tmp_path / "data", settings=settings) as server:
        tls_port, plain_port = (urlsplit(url).port for url in (https_url(server), server.url))
        before = server.log.read_text()
        assert tls_port is not None
        with socket.create_connection(("127.0.0.1", tls_port), timeout=10) as plain:
            plain.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert not plain.recv(1000).startswith(b"HTTP")
        with (
            socket.create_connection(("127.0.0.1", plain_port), timeout=10) as raw,
            pytest.raises(ssl.SSLError),
        ):
            strict(settings["tls_cert"]).wrap_socket(raw, server_hostname="localhost")
        connection = connect(server, settings["tls_cert"])
        assert live(connection)
        connection.close()
        lines = server.log.read_text().removeprefix(before).splitlines()
    assert len(lines) == 1
    assert "MalformedHttpRequestException" in lines[0]


def test_a_server_says_what_is_wrong_with_the_client_ca(tmp_path: Path) -> None:
    settings = made(tmp_path) | {"tls_client_ca": str(tmp_path / "none.pem")}
    environment = {f"STANCHION_{name.upper()}": value for name, value in settings.items()}
    arguments = ["-m", "stanchion", "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    run = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith("Error: cannot use ")
    none = tmp_path / "none.pem"
    assert f"{none} for TLS: cannot read {none}: No such file or directory" in run.stderr
