"""A passphrase as the root of trust."""

import os

import pytest

from stanchion.keys.passphrase import Cost, PassphraseSource, passphrase_from
from stanchion.keys.root import RootUnusable, WrongRoot
from tests.keys.conftest import entropy_of

CHEAP = Cost(n=2**4)


def source(passphrase: str) -> PassphraseSource:
    return PassphraseSource(passphrase, entropy_of(1), CHEAP)


def test_it_opens_what_it_wrapped_with_the_stored_parameters() -> None:
    root = source("correct horse battery").first()
    wrapped = root.wrap(b"secret", b"aad")
    again = PassphraseSource("correct horse battery", entropy_of(2)).found(root.parameters)
    assert again.unwrap(wrapped, b"aad") == b"secret"
    assert "correct" not in f"{root.description} {root.loss} {root.parameters}"
    assert "nobody can reset it" in root.loss


def test_another_passphrase_or_salt_opens_nothing() -> None:
    first = source("correct horse battery")
    root = first.first()
    wrapped = root.wrap(b"secret", b"aad")
    for other in (source("correct horse batterY").found(root.parameters), first.next()):
        with pytest.raises(WrongRoot):
            other.unwrap(wrapped, b"aad")


def test_a_short_one_is_refused_when_it_is_chosen() -> None:
    with pytest.raises(RootUnusable, match="at least 12 characters"):
        source("eleven char").next()


@pytest.mark.parametrize(
    "damage",
    [{"n": "1073741824"}, {"n": "0"}, {"n": "100"}, {"r": "99"}, {"p": "x"}, {"salt": "z"}],
)
def test_parameters_out_of_bounds_take_no_memory(damage: dict[str, str]) -> None:
    parameters = {**source("correct horse battery").first().parameters, **damage}
    with pytest.raises(RootUnusable, match="the parameters of the root passphrase"):
        source("correct horse battery").found(parameters)


def read(text: bytes) -> str:
    reader, writer = os.pipe()
    os.write(writer, text)
    os.close(writer)
    try:
        return passphrase_from(reader)
    finally:
        os.close(reader)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_it_is_read_from_a_file_descriptor(end: bytes) -> None:
    assert read(b" with spaces " + end) == " with spaces "


def test_file_descriptors_that_are_of_no_use() -> None:
    with pytest.raises(RootUnusable, match="there is no passphrase on file descriptor"):
        read(b"\n")
    with pytest.raises(RootUnusable, match="longer than 4096 bytes"):
        read(b"x" * 4097)
    with pytest.raises(RootUnusable, match="file descriptor 9999: Bad file descriptor"):
        passphrase_from(9999)
