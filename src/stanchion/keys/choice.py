"""Which root of trust the operator has chosen, out of settings and the environment.

A key file in the data directory unless a passphrase or a PKCS#11 token is configured. Passphrases
and PINs are no settings: they come from the environment or a file descriptor and are never shown.
Called by the server and by `stanchion keys`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from stanchion.config import SQLITE
from stanchion.keys.key_file import FILE_NAME, FileSource
from stanchion.keys.passphrase import PassphraseSource, passphrase_from
from stanchion.keys.pkcs11 import Pkcs11Source, Token
from stanchion.keys.root import Entropy, RootSource, RootUnusable

PASSPHRASE_VARIABLE = "STANCHION_ROOT_PASSPHRASE"  # noqa: S105 - a name
NEW_PASSPHRASE_VARIABLE = "STANCHION_NEW_ROOT_PASSPHRASE"  # noqa: S105 - a name
PIN_VARIABLE = "STANCHION_ROOT_PKCS11_PIN"

KINDS = ("file", "passphrase", "pkcs11")
NO_FILE = -1


class RootSettings(Protocol):
    """What of the settings is about the root of trust."""

    @property
    def store(self) -> str:
        """`sqlite`, or a database that many servers share."""
        ...

    @property
    def root_key_file(self) -> str:
        """Empty: `root.key` in the data directory."""
        ...

    @property
    def root_passphrase_fd(self) -> int:
        """A file descriptor to read a passphrase from; `NO_FILE` for none."""
        ...

    @property
    def root_pkcs11_module(self) -> str:
        """Path of the vendor's library; empty: no PKCS#11."""
        ...

    @property
    def root_pkcs11_token(self) -> str:
        """Its label."""
        ...

    @property
    def root_pkcs11_key(self) -> str:
        """The key's label."""
        ...


def root_of(
    settings: RootSettings,
    data_dir: Path | None,
    environment: Mapping[str, str],
    entropy: Entropy = os.urandom,
) -> RootSource:
    """The root that is configured. Raises `RootUnusable`, also when more than one is.

    Without a `data_dir` there is no place for a key file but the one that the settings name.
    """
    has_passphrase = settings.root_passphrase_fd != NO_FILE or PASSPHRASE_VARIABLE in environment
    chosen = [
        kind
        for kind, is_chosen in (
            ("file", bool(settings.root_key_file)),
            ("passphrase", has_passphrase),
            ("pkcs11", bool(settings.root_pkcs11_module)),
        )
        if is_chosen
    ]
    if len(chosen) > 1:
        raise RootUnusable(f"one root of trust is needed, and {' and '.join(chosen)} are given")
    kind = chosen[0] if chosen else "file"
    return root_of_kind(kind, settings, data_dir, environment, entropy)


def root_of_kind(
    kind: str,
    settings: RootSettings,
    data_dir: Path | None,
    environment: Mapping[str, str],
    entropy: Entropy = os.urandom,
) -> RootSource:
    """The root of one of `KINDS`, whatever else is configured. Raises `RootUnusable`."""
    if kind == "passphrase":
        passphrase = _passphrase(settings.root_passphrase_fd, PASSPHRASE_VARIABLE, environment)
        return PassphraseSource(passphrase, entropy)
    if kind == "pkcs11":
        return _pkcs11(settings, environment, entropy)
    # Many servers need the same file: one that is named, and not there, was not brought there.
    is_brought = bool(settings.root_key_file) and settings.store != SQLITE
    return FileSource(key_file_of(settings, data_dir), entropy, is_made=not is_brought)


def key_file_of(settings: RootSettings, data_dir: Path | None) -> Path:
    """Where the key file is to be. Raises `RootUnusable`."""
    if settings.root_key_file:
        return Path(settings.root_key_file)
    if data_dir is None:
        raise RootUnusable(
            "no root of trust: name a key file that all servers have with --root-key-file, or give "
            "them a passphrase or a PKCS#11 token"
        )
    return data_dir / FILE_NAME


def next_root_of_kind(
    kind: str,
    settings: RootSettings,
    data_dir: Path | None,
    environment: Mapping[str, str],
    new_passphrase_fd: int = NO_FILE,
    entropy: Entropy = os.urandom,
) -> RootSource:
    """Where a rotation takes its new root from. Raises `RootUnusable`."""
    if kind == "passphrase":
        passphrase = _passphrase(new_passphrase_fd, NEW_PASSPHRASE_VARIABLE, environment)
        return PassphraseSource(passphrase, entropy)
    return root_of_kind(kind, settings, data_dir, environment, entropy)


def _passphrase(file: int, variable: str, environment: Mapping[str, str]) -> str:
    if file != NO_FILE:
        return passphrase_from(file)
    passphrase = environment.get(variable, "")
    if not passphrase:
        raise RootUnusable(f"a passphrase is needed: in {variable}, or from a file descriptor")
    return passphrase


def _pkcs11(
    settings: RootSettings, environment: Mapping[str, str], entropy: Entropy
) -> Pkcs11Source:
    missing = [
        name
        for name, value in (
            ("root_pkcs11_module", settings.root_pkcs11_module),
            ("root_pkcs11_token", settings.root_pkcs11_token),
            ("root_pkcs11_key", settings.root_pkcs11_key),
            (PIN_VARIABLE, environment.get(PIN_VARIABLE)),
        )
        if not value
    ]
    if missing:
        raise RootUnusable(f"a PKCS#11 root needs {', '.join(missing)}")
    token = Token(
        settings.root_pkcs11_module, settings.root_pkcs11_token, environment[PIN_VARIABLE]
    )
    return Pkcs11Source(token, settings.root_pkcs11_key, entropy)
