"""`stanchion tls`: a certificate for a laptop or a test suite.

It vouches for itself, so whoever is to trust it is given the file. Never meant for a server that
others use: they have a CA for that.
"""

import os
import re
import shlex
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from stanchion.cli.settings import Fault
from stanchion.clock import SystemClock

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
VALID_FOR = timedelta(days=825)
"""Longer is refused on Apple's systems."""
_BEGINS_EARLIER_BY = timedelta(hours=1)  # for clients whose clocks are behind
_DNS_NAME = re.compile(r"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.|$))+")


@click.group()
def tls() -> None:
    """Make certificates."""


@tls.command("self-signed")
@click.option("--dir", "folder", required=True, metavar="DIR", help="Where the files go.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="One more name or address.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def self_signed(folder: str, hosts: tuple[str, ...], force: bool) -> None:
    """Make a certificate that vouches for itself, and its key, for 825 days.

    It is for localhost, 127.0.0.1, ::1 and each --host. DIR gets cert.pem, which clients need too,
    and key.pem, which only its owner can read. A server that uses them already takes new ones
    within seconds.
    """
    names = tuple(dict.fromkeys((*LOCAL_NAMES, *hosts)))
    certificate, key = make(names, datetime.fromtimestamp(SystemClock().wall_s(), UTC))
    certificate_path, key_path = Path(folder, "cert.pem"), Path(folder, "key.pem")
    if not force:
        _refuse_to_overwrite(certificate_path, key_path)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _write(key_path, key, 0o600)
        _write(certificate_path, certificate, 0o644)
    except OSError as error:
        raise Fault(f"cannot write to {folder}: {error.strerror}") from None
    click.echo(_how_to_use(names, certificate_path.absolute(), key_path.absolute()))


def make(names: tuple[str, ...], now: datetime) -> tuple[bytes, bytes]:
    """A certificate and its key in PEM, for DNS names and addresses. Raises `Fault`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Stanchion, self-signed")])
    begins = now - _BEGINS_EARLIER_BY
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(identifier, critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        if len(name) > 253 or not _DNS_NAME.fullmatch(name):
            raise Fault(f"--host: {name!r} is neither a host name nor an address") from None
        return x509.DNSName(name)


def _refuse_to_overwrite(*paths: Path) -> None:
    for path in paths:
        if os.path.lexists(path):
            raise Fault(f"{path} is there already; --force overwrites it")


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never for a moment with a wider mode."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        beside.replace(path)
    except OSError:
        beside.unlink()
        raise


def _how_to_use(names: tuple[str, ...], certificate: Path, key: Path) -> str:
    certificate_text, key_text = shlex.quote(str(certificate)), shlex.quote(str(key))
    return f"""\
Made a certificate for {", ".join(names)}: valid for {VALID_FOR.days} days.

The server:
  stanchion serve --data-dir DIR --tls-cert {certificate_text} --tls-key {key_text}
Its clients:
  export AWS_CA_BUNDLE={certificate_text}
  export AWS_ENDPOINT_URL=https://localhost:9325"""
