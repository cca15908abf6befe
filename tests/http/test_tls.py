"""TLS beside the plain port."""

import asyncio
import datetime
import ssl
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stanchion.http.listener import tls_context
from stanchion.http.message import HttpRequest, HttpResponse
from tests.http.support import connected, echo_later, post, run, serving, until


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    certificate_path, key_path = folder / "certificate.pem", folder / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_path, key_path


def test_both_ports_serve_and_say_which_they_are(files: tuple[Path, Path]) -> None:
    async def scenario() -> None:
        seen: list[bool] = []

        async def handler(request: HttpRequest) -> HttpResponse:
            seen.append(request.secure)
            return await echo_later(request)

        trusting = ssl.create_default_context(cafile=str(files[0]))
        async with serving(handler, tls=tls_context(*files)) as served:
            plain_port = await served.listener.open("127.0.0.1", 0)
            async with connected(served.port, trusting) as client:
                for body in (b"small", b"x" * 500_000):
                    client.send(post(body))
                    assert (await client.reply()).body == b"POST / " + body
            async with connected(plain_port) as client:
                client.send(post())
                await client.reply()
        assert seen == [True, True, False]

    run(scenario)


def test_refusals_are_readable_over_tls(files: tuple[Path, Path]) -> None:
    async def scenario() -> None:
        trusting = ssl.create_default_context(cafile=str(files[0]))
        async with (
            serving(echo_later, tls=tls_context(*files)) as served,
            connected(served.port, trusting) as client,
        ):
            client.send(b"nonsense\r\n\r\n" + b"x" * 200_000)
            assert (await client.reply()).status == 400
            served.pass_s(10)
            await until(lambda: served.listener.connection_count == 0)

    run(scenario)


def test_a_client_that_leaves_cancels_the_handler_over_tls(files: tuple[Path, Path]) -> None:
    async def scenario() -> None:
        started, cancelled = asyncio.Event(), asyncio.Event()

        async def handler(request: HttpRequest) -> HttpResponse:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return await echo_later(request)

        trusting = ssl.create_default_context(cafile=str(files[0]))
        async with serving(handler, tls=tls_context(*files)) as served:
            async with connected(served.port, trusting) as client:
                client.send(post())
                await started.wait()
            await cancelled.wait()

    run(scenario)


def test_a_handshake_that_ends_after_the_drain_is_not_served(files: tuple[Path, Path]) -> None:
    async def scenario() -> None:
        trusting = ssl.create_default_context(cafile=str(files[0]))
        async with serving(echo_later, tls=tls_context(*files)) as served:
            async with connected(served.port) as client:
                await asyncio.sleep(0)
                await served.listener.drain(0)
                with suppress(ConnectionError):
                    await client.writer.start_tls(trusting)
                assert await client.closed()
            await until(lambda: served.listener.connection_count == 0)

    run(scenario)


def test_old_tls_is_refused(files: tuple[Path, Path]) -> None:
    assert tls_context(*files).minimum_version == ssl.TLSVersion.TLSv1_2


def test_files_that_cannot_be_used(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        tls_context(tmp_path / "absent.pem", files[1])
    with pytest.raises(ssl.SSLError):
        tls_context(files[1], files[1])
