"""Which characters a message may contain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.model.sqs import InvalidMessageContents
from stanchion.sqs import text

ALLOWED = (
    "the set of allowed characters is "
    "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
)


@pytest.mark.parametrize(
    "good",
    ["\t\n\r", " ", "~", "\x7f\x80\x9f", "\ud7ff", "\ue000", "\ufffd", "\U00010000", "\U0010ffff"],
)
def test_the_ends_of_the_ranges_are_allowed(good: str) -> None:
    assert text.encoded(good) == good.encode()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("\x00", "0"),
        ("a\x08b", "8"),
        ("\x0b", "B"),
        ("\x0c", "C"),
        ("\x0e", "E"),
        ("\x1f", "1F"),
        ("\ud800", "D800"),
        ("\udfff", "DFFF"),
        ("\ufffe", "FFFE"),
        ("é\uffff", "FFFF"),
        ("ok\x01\x02", "1"),
    ],
)
def test_the_first_character_that_is_not_allowed_is_named(bad: str, code: str) -> None:
    with pytest.raises(InvalidMessageContents) as refusal:
        text.encoded(bad)
    assert refusal.value.message == (
        f"Invalid binary character '#x{code}' was found in the message body, {ALLOWED}"
    )


def _is_allowed(character: str) -> bool:
    code = ord(character)
    ranges = ((0x20, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF))
    return code in (9, 10, 13) or any(low <= code <= high for low, high in ranges)


@given(st.text(st.characters()))
def test_a_text_is_encoded_unless_a_character_is_not_allowed(body: str) -> None:
    if all(map(_is_allowed, body)):
        assert text.encoded(body).decode() == body
    else:
        with pytest.raises(InvalidMessageContents):
            text.encoded(body)
