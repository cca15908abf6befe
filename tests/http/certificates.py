"""Certificates for the tests of TLS, made on the spot."""

import datetime
import ssl
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stanchion.http.tls import CertificateWatcher, TlsFiles

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
DAY = datetime.timedelta(days=1)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """A CA with a file of its certificate, and files of those that it issues."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(name)
        self.path = folder / f"{name}.pem"
        usage = x509.KeyUsage(*(False,) * 5, True, True, False, False)
        builder = _builder(name, self._key.public_key(), -DAY)
        certificate = (
            builder.issuer_name(self._name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        usage: x509.ObjectIdentifier = SERVER,
        key: PrivateKey | None = None,
        begins: datetime.timedelta = -DAY,
    ) -> TlsFiles:
        """A certificate for 127.0.0.1, from `begins` for two days; files by its name."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ip_address("127.0.0.1"))
        certificate = (
            _builder(name, key.public_key(), begins)
            .issuer_name(self._name)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        files = TlsFiles(self._folder / f"{name}.cert", self._folder / f"{name}.key")
        files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(key_pem(key, serialization.NoEncryption()))
        return files

    def trusting(self, client: TlsFiles | None = None) -> ssl.SSLContext:
        """A client's context that trusts this CA, with a certificate of its own if given one."""
        context = ssl.create_default_context(cafile=str(self.path))
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context


def watching(files: TlsFiles, client_ca: Path | None = None) -> CertificateWatcher:
    return CertificateWatcher(TlsFiles(files.certificate, files.key, client_ca))


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    name: str, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, begins: datetime.timedelta
) -> x509.CertificateBuilder:
    not_before = datetime.datetime.now(datetime.UTC) + begins
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + 2 * DAY)
    )


def key_pem(key: PrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
