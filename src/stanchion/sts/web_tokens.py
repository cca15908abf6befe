"""The tokens of OIDC issuers: reading them, and verifying them with the issuer's keys.

What a token says of its keys (`jku`, `jwk`, `x5u`, `x5c`) is never looked at, and of its algorithm
only whether it is one of the list here and one of the key's. PyJWT does the rest; it is imported
when the first token comes, as most servers never see one. Called by `web_identity.py`.
"""

import math
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from stanchion.model.sts import (
    ExpiredTokenException,
    IDPRejectedClaimException,
    InvalidIdentityTokenException,
)
from stanchion.sts.issuers import Jwk

LEEWAY_S = 60
"""How far the clocks of an issuer may be from ours."""

_KEY_TYPES: dict[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
}
"""By algorithm: the type and curve of its keys. There is no algorithm but these."""

_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")
RSA_BITS_MIN = 2048
RSA_BITS_MAX = 8192


class WebToken(Struct, frozen=True):
    """A token as it says; nothing of it is true before `verify`."""

    text: str
    algorithm: str
    key_id: str | None
    issuer: str
    claims: dict[str, Any]


def read(text: str) -> WebToken:
    """Raises `InvalidIdentityTokenException`."""
    import jwt

    try:
        decoded = jwt.decode_complete(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidIdentityTokenException(
            "The ID Token provided is not a valid JWT. "
            "(You may see this error if you sent an Access Token)"
        ) from None
    header, claims = decoded["header"], decoded["payload"]
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _KEY_TYPES:
        raise InvalidIdentityTokenException("The ID Token is signed in a way that is not supported")
    if key_id is not None and not isinstance(key_id, str):
        raise InvalidIdentityTokenException("The ID Token does not name its key by text")
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not issuer.startswith("https://"):
        raise InvalidIdentityTokenException("Issuer must be a valid URL")
    return WebToken(text, algorithm, key_id, issuer, claims)


def verify(token: WebToken, keys: Iterable[Jwk]) -> None:
    """That one of the issuer's keys has signed it. Raises `InvalidIdentityTokenException`."""
    usable = [key for key in keys if _is_for(key, token.algorithm)]
    if not usable:
        raise no_key()
    # Without its name a key may be looked for only where there is just one.
    is_one = token.key_id is not None or len(usable) == 1
    if not (is_one and any(_has_signed(key, token) for key in usable)):
        raise InvalidIdentityTokenException("The signature of the ID Token is not valid")


def no_key() -> InvalidIdentityTokenException:
    return InvalidIdentityTokenException(
        "Couldn't retrieve verification key from your identity provider,  please reference "
        "AssumeRoleWithWebIdentity documentation for requirements"
    )


def _is_for(key: Jwk, algorithm: str) -> bool:
    key_type, curve = _KEY_TYPES[algorithm]
    operations = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == key_type
        and (curve is None or key.get("crv") == curve)
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )


def _has_signed(key: Jwk, token: WebToken) -> bool:
    import jwt

    public = {name: key[name] for name in _PUBLIC_MEMBERS if name in key}
    try:
        jwk = jwt.PyJWK(public, token.algorithm)
        if public["kty"] == "RSA" and not RSA_BITS_MIN <= jwk.key.key_size <= RSA_BITS_MAX:
            return False
        jwt.api_jws.decode(token.text, jwk, algorithms=list(_KEY_TYPES))
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        # The last three: what a key is made of is not checked by everything that takes it.
        return False
    return True


# --- Claims ---------------------------------------------------------------------------------------


class Identified(Struct, frozen=True):
    """Whom a token is about, and for whom it is."""

    subject: str
    audiences: tuple[str, ...]
    """Those under which we are known to the issuer."""


def check_times(claims: dict[str, Any], now_s: float) -> None:
    """Raises `ExpiredTokenException`, and the errors of other faults of `exp`, `iat`, `nbf`."""
    for name in ("exp", "iat"):
        if name not in claims:
            raise _missing(name)
    expires_s, issued_s = _instant(claims, "exp"), _instant(claims, "iat")
    if now_s >= expires_s + LEEWAY_S:
        raise ExpiredTokenException(
            f"Token expired: current date/time {int(now_s)} must be before the expiration "
            f"date/time{int(expires_s)}"
        )
    begins_s = _instant(claims, "nbf") if "nbf" in claims else issued_s
    if now_s < max(issued_s, begins_s) - LEEWAY_S:
        raise IDPRejectedClaimException("The ID Token is not valid yet")


def _missing(name: str) -> InvalidIdentityTokenException:
    return InvalidIdentityTokenException(f"Missing a required claim: {name}")


def _instant(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    # An integer may be too large for a float, and of the floats not all are instants.
    if type(value) not in (int, float) or abs(value) > 1e12 or not math.isfinite(value):
        raise InvalidIdentityTokenException(f"The claim {name} is not an instant")
    return float(value)


SUBJECT_CHARS_MAX = 255


def identified(claims: dict[str, Any], client_ids: Iterable[str]) -> Identified:
    """Raises `InvalidIdentityTokenException`."""
    subject = claims.get("sub")
    if not subject:
        raise _missing("sub")
    if not isinstance(subject, str) or len(subject) > SUBJECT_CHARS_MAX:
        raise InvalidIdentityTokenException(
            f"The claim sub is not a text of at most {SUBJECT_CHARS_MAX} characters"
        )
    known = set(client_ids)
    audiences = tuple(name for name in _audiences(claims) if name in known)
    if not audiences:
        raise InvalidIdentityTokenException("Incorrect token audience")
    return Identified(subject, audiences)


def _audiences(claims: dict[str, Any]) -> tuple[str, ...]:
    """Of the authorised party, where a token names one: it is whom it was issued to."""
    given = claims.get("azp") or claims.get("aud")
    if not given:
        raise _missing("aud")
    found = given if isinstance(given, list) else [given]
    if not all(isinstance(name, str) for name in found):
        raise InvalidIdentityTokenException("Incorrect token audience")
    return tuple(dict.fromkeys(found))
