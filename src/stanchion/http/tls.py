"""TLS: what the server accepts of its clients, and certificates that are replaced while it runs.

A context is never changed once it has served. New files make a new context, which the handshakes
from then on begin with; connections that are open keep theirs. So nothing of the old files lingers:
not a certificate of another key type, nor a client that the old CA vouched for and the new does
not, nor a session ticket. Files that cannot be used leave everything as it was. This must never
ask a terminal for a passphrase, nor let a failed reload end the server. `server.py` makes the one
watcher of a process, and the listener has it look at its files every few seconds.
"""

import math
import ssl
from pathlib import Path
from typing import Never

from msgspec import Struct

from stanchion.observe import logs

# Forward secrecy and authenticated encryption; TLS 1.3 has nothing else and is not affected.
_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

Stamp = tuple[int, ...] | None


class TlsFiles(Struct, frozen=True):
    """PEM files. With `client_ca`, clients need a certificate that one of its CAs has issued."""

    certificate: Path
    """The chain, the server's own certificate first."""
    key: Path
    client_ca: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path)


class CertificateWatcher:
    """Keeps `context` as the files say. Raises as `server_context` when they cannot be used."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        # Before they are read: a change in between is one more reload, not one that is missed.
        self._stamps = _stamps(files)
        self._context = _CurrentContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.current = server_context(files)
        self.expires_at_s = _expires_at_s(files)
        """When the certificate that is served ends to be valid, in seconds since the epoch."""
        self.failures = 0
        """How many reloads came to nothing."""

    @property
    def context(self) -> ssl.SSLContext:
        """To listen with, for good: each handshake is by the files that were good last."""
        return self._context

    def check(self) -> None:
        """Reload if a file is another one, or was written to, since it was last looked at."""
        if _stamps(self._files) != self._stamps:
            self.reload()

    def reload(self) -> None:
        """Read the files again. One line in the log says what became of it."""
        files = self._files
        names = ", ".join(map(str, files.paths()))
        self._stamps = _stamps(files)
        try:
            context, self.expires_at_s = server_context(files), _expires_at_s(files)
        except (OSError, ValueError) as error:
            self.failures += 1
            logs.event(
                "the TLS files cannot be used and the earlier ones stay",
                logs.ERROR,
                files=names,
                error=words_of(error),
            )
        else:
            self._context.current = context
            logs.event("TLS files reloaded", files=names)


class _CurrentContext(ssl.SSLContext):
    """Hands every handshake to the context that is current.

    Event loops take a context when they begin to listen, and begin each handshake with its
    `wrap_bio`. Loading other files into that very context would not do: a certificate of another
    key type is added to the first one, and CAs are only ever added. This context has no certificate
    of its own, so a loop that went around `wrap_bio` would serve nobody.
    """

    current: ssl.SSLContext

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self.current.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _stamps(files: TlsFiles) -> tuple[Stamp, ...]:
    """What changes when a file is written to, replaced, or its symbolic link is turned."""
    return tuple(_stamp(path) for path in files.paths())


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For TLS 1.2 and later.

    Raises OSError when a file cannot be read, ssl.SSLError when it is not what it should be or
    the key is not the certificate's, ValueError when the key is encrypted.
    """
    for path in files.paths():
        # OpenSSL does not say which one it cannot read.
        path.open("rb").close()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(files.certificate, files.key, _no_passphrase)
    if files.client_ca:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_passphrase() -> Never:
    """Called for an encrypted key; without it OpenSSL would ask the terminal, and wait."""
    raise ValueError("the key is encrypted, and there is no way to give its passphrase")


def words_of(error: OSError | ValueError) -> str:
    """What is wrong with the files, of an error of `server_context`."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot read {error.filename}: {error.strerror}"
    return str(error)


def _expires_at_s(files: TlsFiles) -> float:
    """Of the first certificate in the chain, which is the server's; not a number for one that only
    OpenSSL can read.
    """
    # Takes a moment to import, and most servers have no certificate.
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    except ValueError:
        return math.nan
    return certificate.not_valid_after_utc.timestamp()
