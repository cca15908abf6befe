"""Session tokens: temporary credentials that carry all there is to know about them, sealed.

A token is sealed under the key ring, so any node can read it and nobody else can read or alter it;
nothing is stored. It holds the secret of its access key, so the two belong together. That a session
has expired is for the authenticator to say, after the signature has been verified. Made by STS.
"""

import os
from base64 import b32encode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from stanchion.keys.sealing import Sealer, Unsealable


class Session(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom temporary credentials stand for."""

    access_key_id: str
    """`ASIA...`"""
    secret: str
    kind: Literal["role", "user", "root", "federated"]
    """user and root: GetSessionToken."""
    account_id: str
    name: str = ""
    """Of the role, or of the user who asked; empty for root."""
    entity_id: str = ""
    """The unique id of the role or user; with another one of that name, the session is over."""
    session_name: str = ""
    """role: RoleSessionName. federated: the Name given."""
    issued_at_s: int
    expires_at_s: int
    policies: tuple[str, ...] = ()
    """Session policies as documents."""
    policy_arns: tuple[str, ...] = ()
    """Managed session policies."""
    tags: dict[str, str] = {}
    transitive_tag_keys: tuple[str, ...] = ()
    source_identity: str = ""
    has_mfa: bool = False
    claims: dict[str, tuple[str, ...]] = {}
    """Web identity: condition keys such as `oidc.example.com:sub`, which stay with the session."""
    provider: str = ""
    """Web identity: the ARN of the issuer."""


class Credentials(Struct, frozen=True):
    access_key_id: str
    secret: str
    token: str


_PURPOSE = "session-token"
_encode = msgspec.msgpack.encode
_decode: Callable[[bytes], Session] = msgspec.msgpack.Decoder(Session).decode

TOKEN_CHARS_MAX = 16_384


class NotASession(Exception):
    """A token that is not ours, was altered, or belongs to another access key."""


class Sessions:
    """Makes and reads session tokens."""

    def __init__(self, sealer: Sealer, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._sealer = sealer
        self._entropy = entropy

    def new_key(self) -> tuple[str, str]:
        """A fresh access key id and secret, to be put into a `Session`."""
        access_key_id = f"ASIA{b32encode(self._entropy(10)).decode()}"
        return access_key_id, b64encode(self._entropy(30)).decode()

    def issue(self, session: Session) -> Credentials:
        token = urlsafe_b64encode(self._sealer.seal(_PURPOSE, _encode(session))).decode()
        return Credentials(session.access_key_id, session.secret, token)

    def open(self, access_key_id: str, token: str) -> Session:
        """The session of a token, expired or not. Raises `NotASession`."""
        try:
            if len(token) > TOKEN_CHARS_MAX:
                raise ValueError("too long")
            sealed = urlsafe_b64decode(token.encode("ascii"))
            if urlsafe_b64encode(sealed).decode() != token:
                raise ValueError("written in another way than ours")
            session = _decode(self._sealer.open(_PURPOSE, sealed))
        except (ValueError, Unsealable, msgspec.MsgspecError) as error:
            raise NotASession from error
        if session.access_key_id != access_key_id:
            raise NotASession
        return session
