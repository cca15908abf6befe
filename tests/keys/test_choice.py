"""Which root of trust is chosen."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from stanchion.keys.choice import (
    KINDS,
    NEW_PASSPHRASE_VARIABLE,
    PASSPHRASE_VARIABLE,
    PIN_VARIABLE,
    next_root_of_kind,
    root_of,
    root_of_kind,
)
from stanchion.keys.root import RootUnusable


class Settings(Struct):
    store: str = "sqlite"
    root_key_file: str = ""
    root_passphrase_fd: int = -1
    root_pkcs11_module: str = ""
    root_pkcs11_token: str = ""
    root_pkcs11_key: str = ""


HSM = {
    "root_pkcs11_module": "/m.so",
    "root_pkcs11_token": "token",
    "root_pkcs11_key": "key",
}
PHRASE = {PASSPHRASE_VARIABLE: "correct horse battery"}


def test_a_key_file_in_the_data_directory_is_the_default(tmp_path: Path) -> None:
    source = root_of(Settings(), tmp_path, {})
    assert source.kind == "file"
    source.first()
    assert (tmp_path / "root.key").exists()


def test_a_key_file_may_be_elsewhere(tmp_path: Path) -> None:
    root_of(Settings(root_key_file=str(tmp_path / "my.key")), tmp_path / "d", {}).first()
    assert (tmp_path / "my.key").exists()


def test_a_key_file_that_servers_of_a_database_share_is_brought_to_them(tmp_path: Path) -> None:
    path = tmp_path / "my.key"
    settings = Settings(store="postgresql://db", root_key_file=str(path))
    with pytest.raises(RootUnusable, match="is missing") as refused:
        root_of(settings, tmp_path, {}).first()
    assert not path.exists()
    how = re.search(r"\((umask .*)\)", str(refused.value))
    assert how is not None
    subprocess.run(["sh", "-c", how[1]], check=True)
    root_of(settings, tmp_path, {}).first()


def test_without_a_name_the_first_server_of_a_database_makes_its_key_file(tmp_path: Path) -> None:
    root_of(Settings(store="postgresql://db"), tmp_path, {}).first()
    assert (tmp_path / "root.key").exists()


@pytest.mark.parametrize(
    ("settings", "environment", "kind"),
    [
        ({}, PHRASE, "passphrase"),
        (HSM, {PIN_VARIABLE: "1234"}, "pkcs11"),
        ({}, {PIN_VARIABLE: "1234", NEW_PASSPHRASE_VARIABLE: "x"}, "file"),
    ],
)
def test_the_others_are_chosen_by_what_they_need(
    tmp_path: Path, settings: dict[str, Any], environment: dict[str, str], kind: str
) -> None:
    assert root_of(Settings(**settings), tmp_path, environment).kind == kind
    assert kind in KINDS


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RootUnusable, match="file and passphrase and pkcs11 are given"):
        root_of(Settings(root_key_file="k", **HSM), tmp_path, PHRASE)


def test_an_empty_passphrase_is_none(tmp_path: Path) -> None:
    with pytest.raises(RootUnusable, match="a passphrase is needed: in STANCHION_ROOT_PASSPHRASE"):
        root_of(Settings(), tmp_path, {PASSPHRASE_VARIABLE: ""})


@pytest.mark.parametrize("missing", ["root_pkcs11_token", "root_pkcs11_key", PIN_VARIABLE])
def test_what_pkcs11_needs_is_named(tmp_path: Path, missing: str) -> None:
    settings = {name: value for name, value in HSM.items() if name != missing}
    environment = {} if missing == PIN_VARIABLE else {PIN_VARIABLE: "1234"}
    with pytest.raises(RootUnusable, match=f"a PKCS#11 root needs {missing}$"):
        root_of(Settings(**settings), tmp_path, environment)


def test_a_passphrase_comes_from_a_file_descriptor(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"correct horse battery\n")
    os.close(writer)
    root = root_of(Settings(root_passphrase_fd=reader), tmp_path, {}).first()
    os.close(reader)
    wrapped = root.wrap(b"1", b"")
    again = root_of(Settings(), tmp_path, PHRASE).found(root.parameters)
    assert again.unwrap(wrapped, b"") == b"1"


def test_a_rotation_takes_the_new_passphrase(tmp_path: Path) -> None:
    old = root_of_kind("passphrase", Settings(), tmp_path, PHRASE)
    environment = {**PHRASE, NEW_PASSPHRASE_VARIABLE: "another passphrase"}
    root = next_root_of_kind("passphrase", Settings(), tmp_path, environment).next()
    assert root.parameters != old.next().parameters
    with pytest.raises(RootUnusable, match=NEW_PASSPHRASE_VARIABLE):
        next_root_of_kind("passphrase", Settings(), tmp_path, PHRASE)
    assert next_root_of_kind("file", Settings(), tmp_path, PHRASE).kind == "file"
