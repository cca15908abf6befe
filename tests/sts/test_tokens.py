"""Session tokens: what was issued can be read, and nothing else can."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stanchion.access.sessions import TOKEN_CHARS_MAX, Credentials, NotASession, Session, Sessions
from stanchion.keys.ring import KeyRing

ENTROPY = Random(3).randbytes
SESSIONS = Sessions(KeyRing.ephemeral(ENTROPY), ENTROPY)


def _issued(**more: Any) -> tuple[Session, Credentials]:
    access_key_id, secret = SESSIONS.new_key()
    session = Session(
        access_key_id=access_key_id,
        secret=secret,
        kind="role",
        account_id="111111111111",
        issued_at_s=1,
        expires_at_s=2,
        **more,
    )
    return session, SESSIONS.issue(session)


SESSION, ISSUED = _issued(claims={"host:amr": ("a", "b")}, tags={"team": "a"})
SEALED = urlsafe_b64decode(ISSUED.token)


def test_what_was_issued() -> None:
    assert SESSIONS.open(ISSUED.access_key_id, ISSUED.token) == SESSION


@given(at=st.integers(0, len(ISSUED.token) - 1), letter=st.characters(), added=st.booleans())
def test_any_altered_character(at: int, letter: str, added: bool) -> None:
    """Decoders of Base64 are lenient; the token is one text and no other."""
    altered = ISSUED.token[:at] + letter + ISSUED.token[at if added else at + 1 :]
    assume(altered != ISSUED.token)
    with pytest.raises(NotASession):
        SESSIONS.open(ISSUED.access_key_id, altered)


@given(at=st.integers(0, len(SEALED) - 1), change=st.integers(1, 255))
def test_any_altered_byte(at: int, change: int) -> None:
    altered = bytearray(SEALED)
    altered[at] ^= change
    with pytest.raises(NotASession):
        SESSIONS.open(ISSUED.access_key_id, urlsafe_b64encode(altered).decode())


@given(st.integers(0, len(SEALED) - 1))
def test_any_piece(length: int) -> None:
    for piece in (SEALED[:length], SEALED[length + 1 :]):
        with pytest.raises(NotASession):
            SESSIONS.open(ISSUED.access_key_id, urlsafe_b64encode(piece).decode())


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: urlsafe_b64encode(b).decode()))
def test_anything_else(text: str) -> None:
    with pytest.raises(NotASession):
        SESSIONS.open(ISSUED.access_key_id, text)


def test_foreign_tokens() -> None:
    _, other = _issued()
    foreign = Sessions(KeyRing.ephemeral(ENTROPY), ENTROPY)
    for sessions, key_id, token in (
        (SESSIONS, other.access_key_id, ISSUED.token),
        (SESSIONS, "", ISSUED.token),
        (foreign, ISSUED.access_key_id, ISSUED.token),
        (SESSIONS, ISSUED.access_key_id, "A" * (TOKEN_CHARS_MAX + 4)),
    ):
        with pytest.raises(NotASession):
            sessions.open(key_id, token)
