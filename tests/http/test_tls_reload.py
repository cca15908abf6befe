"""Certificates that are replaced while the server runs: by themselves, or when it is told."""

import asyncio
import logging
import socket
import ssl
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from stanchion.http.listener import Listener
from stanchion.http.tls import TlsFiles
from tests.http.certificates import CLIENT, DAY, Authority, watching
from tests.http.support import Client, SetClock, connected, echo_later, post, run, serving

REFUSED = (OSError, asyncio.IncompleteReadError)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="stanchion")
    return caplog


def replace(files: TlsFiles, other: TlsFiles) -> None:
    other.key.replace(files.key)
    other.certificate.replace(files.certificate)


async def name_shown(port: int, tls: ssl.SSLContext) -> str:
    """Whose certificate a new connection is shown; it is used for a request too."""
    async with connected(port, tls) as client:
        return await name_of(client)


async def name_of(client: Client) -> str:
    client.send(post())
    assert (await client.reply()).status == 200
    der = client.writer.get_extra_info("ssl_object").getpeercert(True)
    subject = x509.load_der_x509_certificate(der).subject
    return str(subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def test_new_connections_get_the_new_certificate_and_old_ones_live_on(
    authority: Authority, lines: pytest.LogCaptureFixture
) -> None:
    files = authority.issue("first")

    async def scenario() -> None:
        tls = authority.trusting()
        async with serving(echo_later, tls=watching(files)) as served:
            async with connected(served.port, tls) as early:
                assert await name_of(early) == "first"
                replace(files, authority.issue("second"))
                served.pass_s(5)
                assert await name_shown(served.port, tls) == "second"
                assert await name_of(early) == "first"
                # A key of another type: its certificate replaces, and is not offered beside.
                key = rsa.generate_private_key(65_537, 2048)
                replace(files, authority.issue("third", key=key))
                served.pass_s(5)
                assert await name_shown(served.port, tls) == "third"
                assert await name_of(early) == "first"
            served.pass_s(5)
        assert lines.messages == ["TLS files reloaded"] * 2

    run(scenario)


def test_broken_files_change_nothing_and_are_told_once(
    authority: Authority, lines: pytest.LogCaptureFixture
) -> None:
    files = authority.issue("first")
    good = files.certificate.read_bytes()

    async def scenario() -> None:
        tls = authority.trusting()
        async with serving(echo_later, tls=watching(files)) as served:
            for number, content in enumerate((b"nonsense", None, authority.path.read_bytes()), 1):
                files.certificate.unlink(missing_ok=True)
                if content is not None:
                    files.certificate.write_bytes(content)
                served.pass_s(30)
                assert await name_shown(served.port, tls) == "first"
                assert len(lines.records) == number
                assert lines.records[-1].levelno == logging.ERROR
            files.certificate.write_bytes(good)
            served.pass_s(5)
            assert lines.messages[-1] == "TLS files reloaded"
            assert await name_shown(served.port, tls) == "first"

    run(scenario)


def test_failed_reloads_are_counted_and_the_end_of_the_certificate_is_that_of_the_one_served(
    authority: Authority, lines: pytest.LogCaptureFixture
) -> None:
    files = authority.issue("first")
    watcher = watching(files)
    assert (watcher.failures, watcher.expires_at_s) == (0, ends_at_s(files))
    before = watcher.expires_at_s
    files.certificate.write_bytes(b"nonsense")
    watcher.check()
    files.key.unlink()
    watcher.check()
    assert (watcher.failures, watcher.expires_at_s) == (2, before)
    assert lines.records[-1].fields["error"] == (  # type: ignore[attr-defined]
        f"cannot read {files.key}: No such file or directory"
    )
    replace(files, authority.issue("second", begins=2 * -DAY / 3))
    watcher.check()
    assert (watcher.failures, watcher.expires_at_s) == (2, ends_at_s(files))
    assert watcher.expires_at_s != before


def ends_at_s(files: TlsFiles) -> float:
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    return certificate.not_valid_after_utc.timestamp()


def test_it_can_be_told_to_reload(authority: Authority) -> None:
    files = authority.issue("first")

    async def scenario() -> None:
        tls, watcher = authority.trusting(), watching(files)
        async with serving(echo_later, tls=watcher) as served:
            replace(files, authority.issue("second"))
            assert await name_shown(served.port, tls) == "first"
            watcher.reload()
            assert await name_shown(served.port, tls) == "second"

    run(scenario)


def test_a_new_client_ca_replaces_the_old_one(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue("server")
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    client_ca = tmp_path / "client-ca.pem"
    client_ca.write_bytes(old.path.read_bytes())

    async def scenario() -> None:
        of_old = authority.trusting(old.issue("of-old", CLIENT))
        of_new = authority.trusting(new.issue("of-new", CLIENT))
        async with serving(echo_later, tls=watching(files, client_ca)) as served:
            assert await name_shown(served.port, of_old) == "server"
            with pytest.raises(REFUSED):
                await name_shown(served.port, of_new)
            client_ca.write_bytes(new.path.read_bytes() + b"\n")
            served.pass_s(5)
            assert await name_shown(served.port, of_new) == "server"
            with pytest.raises(REFUSED):
                await name_shown(served.port, of_old)

    run(scenario)


def test_a_session_is_not_resumed_past_its_ca(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue("server")
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    client_ca = tmp_path / "client-ca.pem"
    client_ca.write_bytes(old.path.read_bytes())
    tls = authority.trusting(old.issue("of-old", CLIENT))
    tls.maximum_version = ssl.TLSVersion.TLSv1_2

    async def scenario() -> None:
        async with serving(echo_later, tls=watching(files, client_ca)) as served:
            session, reused = await asyncio.to_thread(resume, served.port, tls, None)
            assert not reused
            assert (await asyncio.to_thread(resume, served.port, tls, session))[1]
            client_ca.write_bytes(new.path.read_bytes() + b"\n")
            served.pass_s(5)
            with pytest.raises(REFUSED):
                await asyncio.to_thread(resume, served.port, tls, session)

    run(scenario)


def resume(
    port: int, tls: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool]:
    """A connection that offers a session: the one it ends up with, and whether it was reused."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        tls.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as connection,
    ):
        connection.sendall(post())
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        return connection.session, bool(connection.session_reused)


@pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_every_event_loop_asks_for_the_current_context(
    authority: Authority, loop_factory: type[asyncio.AbstractEventLoop]
) -> None:
    files = authority.issue("first")

    async def scenario() -> None:
        watcher = watching(files)
        listener = Listener(echo_later, SetClock())
        port = await listener.open("127.0.0.1", 0, watcher)
        try:
            replace(files, authority.issue("second"))
            watcher.check()
            assert await name_shown(port, authority.trusting()) == "second"
        finally:
            await listener.drain(0.5)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_a_turned_link_is_a_new_file(authority: Authority, tmp_path: Path) -> None:
    # As Kubernetes does it with secrets: one link to a folder, replaced in one step.
    for name in ("one", "two"):
        issued = authority.issue(name)
        (tmp_path / f"{name}.d").mkdir()
        issued.certificate.rename(tmp_path / f"{name}.d" / "tls.crt")
        issued.key.rename(tmp_path / f"{name}.d" / "tls.key")
    link, next_link = tmp_path / "current", tmp_path / "next"
    link.symlink_to("one.d")
    files = TlsFiles(link / "tls.crt", link / "tls.key")

    async def scenario() -> None:
        tls = authority.trusting()
        async with serving(echo_later, tls=watching(files)) as served:
            assert await name_shown(served.port, tls) == "one"
            next_link.symlink_to("two.d")
            next_link.replace(link)
            served.pass_s(5)
            assert await name_shown(served.port, tls) == "two"

    run(scenario)
