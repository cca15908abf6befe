"""A PKCS#11 token as the root of trust, against SoftHSM.

Needs the `softhsm2` package of the system and the `pkcs11` extra; without them these say so.
"""

import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from stanchion.keys.pkcs11 import Pkcs11Source, Token
from stanchion.keys.ring import keys_of, record_of
from stanchion.keys.root import RootUnusable, WrongRoot
from tests.keys.conftest import entropy_of

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
MODULE = next((module for module in MODULES if Path(module).exists()), "")
PIN = "1234"
LABEL = "stanchion-test"

pytestmark = [
    pytest.mark.skipif(
        not MODULE or not shutil.which("softhsm2-util"), reason="SoftHSM is not installed"
    ),
    pytest.mark.skipif(not find_spec("pkcs11"), reason="python-pkcs11 is not installed"),
]


@pytest.fixture(scope="module", autouse=True)
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A fresh token. The module reads its configuration once in a process, so there is one."""
    directory = tmp_path_factory.mktemp("softhsm")
    tokens = directory / "tokens"
    tokens.mkdir()
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        command = f"softhsm2-util --init-token --free --label {LABEL} --so-pin {PIN} --pin {PIN}"
        subprocess.run(command.split(), check=True, capture_output=True)
        yield


def source(key_label: str = "root", seed: int = 1, pin: str = PIN) -> Pkcs11Source:
    return Pkcs11Source(Token(MODULE, LABEL, pin), key_label, entropy_of(seed))


def test_it_opens_what_it_wrapped() -> None:
    root = source().first()
    wrapped = root.wrap(b"k" * 32, b"aad")
    assert b"k" * 32 not in wrapped
    again = source("configured-otherwise", 2).found(root.parameters)
    assert again.unwrap(wrapped, b"aad") == b"k" * 32
    assert source(seed=3).first().unwrap(wrapped, b"aad") == b"k" * 32
    for aad, blob in (
        (b"AAD", wrapped),
        (b"aad", wrapped[:-1] + bytes((wrapped[-1] ^ 1,))),
        (b"aad", wrapped[:8]),
    ):
        with pytest.raises(WrongRoot):
            root.unwrap(blob, aad)


def test_the_key_never_leaves_the_token() -> None:
    import pkcs11

    source("kept").first()
    key_token = Token(MODULE, LABEL, PIN)
    with key_token.session() as session:
        key = session.get_key(label="kept")
        assert key[pkcs11.Attribute.EXTRACTABLE] is False
        assert key[pkcs11.Attribute.SENSITIVE] is True
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]


def test_a_ring_moves_from_one_key_to_the_next() -> None:
    first = source("ring")
    keys = {1: b"1" * 32}
    record = record_of(first.first(), keys, {1: 0}, {1: 0})
    assert keys_of(record, first) == keys
    root = first.next()
    keys[2] = b"2" * 32
    moved = record_of(root, keys, {1: 0, 2: 1}, {1: 0, 2: 0})
    assert moved.root_parameters["key"] != record.root_parameters["key"]
    assert keys_of(moved, source("ring", 7)) == keys
    assert keys_of(record, first) == {1: b"1" * 32}


def test_faults_are_one_clear_line() -> None:
    parameters = {"token": LABEL, "key": "none"}
    with pytest.raises(RootUnusable, match="has no AES key 'none': the data was sealed under it"):
        source().found(parameters)
    with pytest.raises(RootUnusable, match=r"cannot use the PKCS#11 token .*PinIncorrect"):
        source(pin="4321").first()
    with pytest.raises(RootUnusable, match=r"'lost' of .*NoSuchToken"):
        Pkcs11Source(Token(MODULE, "lost", PIN), "root", entropy_of(1)).first()
    with pytest.raises(RootUnusable, match=r"cannot use the PKCS#11 token .* of /none\.so"):
        Pkcs11Source(Token("/none.so", LABEL, PIN), "root", entropy_of(1)).first()
