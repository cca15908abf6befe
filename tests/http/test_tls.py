"""TLS beside the plain port: what is served, and who is not."""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.http.tls import TlsFiles, server_context
from tests.http.certificates import CLIENT, DAY, Authority, key_pem, watching
from tests.http.support import connected, echo_later, post, run, serving, until

REFUSED = (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def files(authority: Authority) -> TlsFiles:
    return authority.issue("server")


async def served_to(port: int, tls: ssl.SSLContext | None) -> bool:
    """Whether one who comes this way is answered."""
    try:
        async with connected(port, tls) as client:
            client.send(post())
            return (await client.reply()).status == 200
    except REFUSED:
        return False


def test_both_ports_serve_and_say_which_they_are(authority: Authority, files: TlsFiles) -> None:
    async def scenario() -> None:
        seen: list[bool] = []

        async def handler(request: HttpRequest) -> HttpResponse:
            seen.append(request.secure)
            return await echo_later(request)

        async with serving(handler, tls=watching(files)) as served:
            plain_port = await served.listener.open("127.0.0.1", 0)
            async with connected(served.port, authority.trusting()) as client:
                for body in (b"small", b"x" * 500_000):
                    client.send(post(body))
                    assert (await client.reply()).body == b"POST / " + body
            async with connected(plain_port) as client:
                client.send(post())
                await client.reply()
        assert seen == [True, True, False]

    run(scenario)


def test_refusals_are_readable_over_tls(authority: Authority, files: TlsFiles) -> None:
    async def scenario() -> None:
        async with (
            serving(echo_later, tls=watching(files)) as served,
            connected(served.port, authority.trusting()) as client,
        ):
            client.send(b"nonsense\r\n\r\n" + b"x" * 200_000)
            assert (await client.reply()).status == 400
            served.pass_s(10)
            await until(lambda: served.listener.connection_count == 0)

    run(scenario)


def test_a_client_that_leaves_cancels_the_handler_over_tls(
    authority: Authority, files: TlsFiles
) -> None:
    async def scenario() -> None:
        started, cancelled = asyncio.Event(), asyncio.Event()

        async def handler(request: HttpRequest) -> HttpResponse:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return await echo_later(request)

        async with serving(handler, tls=watching(files)) as served:
            async with connected(served.port, authority.trusting()) as client:
                client.send(post())
                await started.wait()
            await cancelled.wait()

    run(scenario)


def test_a_handshake_that_ends_after_the_drain_is_not_served(
    authority: Authority, files: TlsFiles
) -> None:
    async def scenario() -> None:
        async with serving(echo_later, tls=watching(files)) as served:
            async with connected(served.port) as client:
                await asyncio.sleep(0)
                await served.listener.drain(0)
                with suppress(ConnectionError):
                    await client.writer.start_tls(authority.trusting())
                assert await client.closed()
            await until(lambda: served.listener.connection_count == 0)

    run(scenario)


# --- Versions and ciphers -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_1_2_is_the_oldest(authority: Authority, files: TlsFiles) -> None:
    # Clients too refuse what is older, unless they are told not to care.
    careless = authority.trusting()
    careless.set_ciphers("ALL@SECLEVEL=0")
    careless.minimum_version = ssl.TLSVersion.TLSv1_1

    async def scenario() -> None:
        async with serving(echo_later, tls=watching(files)) as served:
            for version, answered in (
                (ssl.TLSVersion.TLSv1_1, False),
                (ssl.TLSVersion.TLSv1_2, True),
                (ssl.TLSVersion.TLSv1_3, True),
            ):
                careless.maximum_version = version
                assert await served_to(served.port, careless) is answered

    run(scenario)


@pytest.mark.parametrize(
    ("ciphers", "answered"),
    [("ECDHE+AESGCM", True), ("ECDHE+CHACHA20", True), ("ECDHE+AES:!AESGCM:!AESCCM", False)],
)
def test_ciphers(authority: Authority, files: TlsFiles, ciphers: str, answered: bool) -> None:
    client = authority.trusting()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(ciphers)

    async def scenario() -> None:
        async with serving(echo_later, tls=watching(files)) as served:
            assert await served_to(served.port, client) is answered

    run(scenario)


def test_http_1_1_is_agreed_on(authority: Authority, files: TlsFiles) -> None:
    client = authority.trusting()
    client.set_alpn_protocols(["h2", "http/1.1"])

    async def scenario() -> None:
        async with (
            serving(echo_later, tls=watching(files)) as served,
            connected(served.port, client) as connection,
        ):
            session = connection.writer.get_extra_info("ssl_object")
            assert session.selected_alpn_protocol() == "http/1.1"

    run(scenario)


# --- Clients that need a certificate ------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_clients_need_a_certificate_of_the_right_ca(
    authority: Authority, files: TlsFiles, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    own, other = Authority(tmp_path, "own"), Authority(tmp_path, "other")
    cases: list[tuple[TlsFiles | None, bool]] = [
        (own.issue("good", CLIENT), True),
        (None, False),
        (other.issue("stranger", CLIENT), False),
        (own.issue("expired", CLIENT, begins=-3 * DAY), False),
        (own.issue("tomorrow", CLIENT, begins=DAY), False),
        (own.issue("somebody's-server"), False),
    ]

    async def scenario() -> None:
        asked: list[HttpRequest] = []

        async def handler(request: HttpRequest) -> HttpResponse:
            asked.append(request)
            return await echo_later(request)

        async with serving(handler, tls=watching(files, own.path)) as served:
            for certificate, answered in cases:
                context = authority.trusting(certificate)
                context.maximum_version = version
                assert await served_to(served.port, context) is answered, certificate
        assert len(asked) == 1

    run(scenario)


# --- The wrong port -----------------------------------------------------------------------------


def test_http_on_the_tls_port_is_closed_without_a_word(
    files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with serving(echo_later, tls=watching(files)) as served:
            for data in (post(), b"\x16\x03\x01", b"\x00" * 100):
                async with connected(served.port) as client:
                    client.send(data)
                    client.writer.write_eof()
                    answer = await client.reader.read()
                    assert not answer.startswith(b"HTTP")
            assert served.listener.connection_count == 0

    run(scenario)
    assert caplog.records == []


def test_tls_on_the_plain_port_is_refused(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with serving(echo_later) as served:
            assert not await served_to(served.port, authority.trusting())
            served.pass_s(10)
            await until(lambda: served.listener.connection_count == 0)

    run(scenario)
    assert caplog.records == []


# --- Files --------------------------------------------------------------------------------------


def test_files_that_cannot_be_used(authority: Authority, files: TlsFiles, tmp_path: Path) -> None:
    absent, other = tmp_path / "absent.pem", authority.issue("other")
    for missing in (
        TlsFiles(absent, files.key),
        TlsFiles(files.certificate, absent),
        TlsFiles(files.certificate, files.key, absent),
    ):
        with pytest.raises(FileNotFoundError):
            server_context(missing)
    for wrong in (
        TlsFiles(files.key, files.key),
        TlsFiles(files.certificate, other.key),
        TlsFiles(files.certificate, files.key, files.key),
    ):
        with pytest.raises(ssl.SSLError):
            server_context(wrong)


def test_nobody_is_asked_for_a_passphrase(files: TlsFiles, tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    locked.write_bytes(key_pem(key, serialization.BestAvailableEncryption(b"secret")))
    with pytest.raises(ValueError, match="the key is encrypted"):
        server_context(TlsFiles(files.certificate, locked))
