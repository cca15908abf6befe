"""Forms as trees, against the standard library's own reading of them."""

from urllib.parse import parse_qsl, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.model.errors import MalformedInput
from stanchion.wire.form import PARAMETERS_MAX, parse
from tests.wire.oracle import ANY_TEXT


def test_dots_make_a_tree() -> None:
    assert parse(b"A.1.Name=x&A.1.Value=y&B=z&C") == {
        "A": {"1": {"Name": "x", "Value": "y"}},
        "B": "z",
        "C": "",
    }


def test_the_last_of_equal_names_counts() -> None:
    assert parse(b"A=1&A=2") == {"A": "2"}


@given(ANY_TEXT)
def test_values_are_as_the_standard_library_reads_them(value: str) -> None:
    encoded = f"A={quote_plus(value)}"
    assert parse(encoded.encode()) == dict(parse_qsl(encoded, keep_blank_values=True))


@given(st.text("aA=%+4\r\n\t é", max_size=12).filter(lambda text: "&" not in text))
def test_raw_values_are_read_alike_or_refused(raw: str) -> None:
    encoded = f"A={raw}"
    try:
        parsed = parse(encoded.encode())
    except MalformedInput:
        return
    assert parsed == dict(parse_qsl(encoded, keep_blank_values=True))


def test_there_is_a_limit() -> None:
    most = b"&".join(b"A=1" for _ in range(PARAMETERS_MAX))
    assert parse(most) == {"A": "1"}
    with pytest.raises(MalformedInput):
        parse(most + b"&A=1")


def test_a_deep_name_does_not_make_a_deep_tree() -> None:
    tree = parse(b"A" + b".A" * 100_000 + b"=1")
    depth = 0
    while "A" in tree:
        tree = tree["A"]
        depth += 1
    assert depth == 8


def test_a_plain_equals_sign_is_no_escape() -> None:
    assert parse(b"A=x=41%41=%3D42") == {"A": "x=41A==42"}
