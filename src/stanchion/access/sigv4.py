"""Signature Version 4: reading what a request says about its signer, and proving it.

`read` is about form alone; `verify` needs the secret that the caller's access key stands for. They
are apart because the look-up of that key lies between them: the order parse, key, scope, date,
signature is what AWS's clients see. Nothing here reads a clock, a store or a socket, and nothing
skips a check because of how a key or a header looks. Called by `authenticator.py` only.

Every request of one client carries the same Authorization header up to the signature until the day
ends, so that part is parsed once and remembered, as are the signing key and the date's instant.
"""

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from msgspec import Struct

from stanchion.access.canonical import (
    SignedRequest,
    canonical_hash,
    canonical_query,
    query_pairs,
)
from stanchion.model.errors import IncompleteSignature, SignatureDoesNotMatch

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_MAX_S = 15 * 60
PRESIGNED_MAX_S = 7 * 24 * 3600

_TERMINATOR = "aws4_request"
_REMEMBERED = 1024
_REMEMBERED_CHARS_MAX = 1024


class Scope(Struct, frozen=True, gc=False):
    """Who signs, and for what; and which headers the signature covers."""

    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str
    text: str
    """The scope as the string to sign has it: everything after the access key id."""
    signed_headers: tuple[str, ...]
    """In lower case."""


class Signature(Struct, gc=False):
    """What one request says about its signer. Nothing in it has been proved."""

    scope: Scope
    digest: str
    signed_at: str
    """`yyyymmddThhmmssZ`"""
    signed_at_s: int
    """The same, in seconds since the epoch."""
    query: str
    """The canonical query string, without the signature itself."""
    token: str | None
    """The session token, if one was given. It is never ignored."""
    expires_s: int | None = None
    """How long a presigned request is good for; None when the signature is in a header."""


# --- Reading ------------------------------------------------------------------------------------


def read(request: SignedRequest) -> Signature | None:
    """The signature of a request, from its Authorization header or its query string.

    None when there is none at all. Raises `IncompleteSignature` when it cannot be read.
    """
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return _read_header(request, authorization)
    if "X-Amz-" in request.query:
        names = dict(query_pairs(request.query))
        if any(name in names for name in _PRESIGNED_PARAMETERS):
            return _read_query(request, names)
    return None


def _read_header(request: SignedRequest, authorization: str) -> Signature:
    headers = request.headers
    prefix, _, digest = authorization.rpartition("Signature=")
    if len(digest) == 64 and len(prefix) <= _REMEMBERED_CHARS_MAX:
        scope = _remembered_scope(prefix)
    else:
        scope = None
    if scope is None or "x-amz-date" not in headers:
        scope, digest = _read_parts(request, authorization)
    signed_at, signed_at_s = _date_of(request)
    token = headers.get("x-amz-security-token")
    query = ""
    if request.query:
        pairs = query_pairs(request.query)
        query = canonical_query(pairs)
        token = _token(request, dict(pairs))
    return Signature(scope, digest, signed_at, signed_at_s, query, token)


def _token(request: SignedRequest, named: dict[bytes, bytes]) -> str | None:
    """The session token: a header's, or else a parameter's of the query string."""
    token = request.headers.get("x-amz-security-token")
    in_query = named.get(b"X-Amz-Security-Token")
    if token is None and in_query is not None:
        return in_query.decode("utf-8", "replace")
    return token


@lru_cache(_REMEMBERED)
def _remembered_scope(prefix: str) -> Scope | None:
    """What stands before the signature, or None when it is not just the two parts in order."""
    parts = _parts(prefix)
    if parts.keys() != {"Credential", "SignedHeaders"}:
        return None
    return _scope(parts["Credential"], parts["SignedHeaders"])


def _parts(authorization: str) -> dict[str, str]:
    """The named parts of an Authorization header of our algorithm; empty for any other."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        return {}
    pairs = (part.strip().partition("=") for part in rest.split(","))
    return {name: value for name, _, value in pairs if value}


def _read_parts(request: SignedRequest, authorization: str) -> tuple[Scope, str]:
    algorithm, _, _ = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise IncompleteSignature(f"Unsupported AWS 'algorithm': '{algorithm}'.")
    parts = _parts(authorization)
    sentences = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if name not in parts
    ]
    if "x-amz-date" not in request.headers and "date" not in request.headers:
        sentences.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    if sentences:
        raise IncompleteSignature(f"{' '.join(sentences)} Authorization={authorization}")
    return _scope(parts["Credential"], parts["SignedHeaders"]), parts["Signature"]


def _scope(credential: str, signed_headers: str) -> Scope:
    # From the right: an access key id may hold a slash, the rest of the scope may not.
    elements = credential.rsplit("/", 4)
    if len(elements) != 5 or not elements[0]:
        raise IncompleteSignature(
            "Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got '{credential}'"
        )
    access_key_id, date, region, service, terminator = elements
    text = credential[len(access_key_id) + 1 :]
    names = tuple(signed_headers.lower().split(";"))
    return Scope(access_key_id, date, region, service, terminator, text, names)


def _date_of(request: SignedRequest) -> tuple[str, int]:
    """The instant of signing, as signed and in seconds: from X-Amz-Date, or else from Date."""
    signed_at = request.headers.get("x-amz-date")
    if signed_at is not None:
        return signed_at, _instant_s(signed_at)
    date = request.headers.get("date", "")
    if date[8:9] == "T":
        return date, _instant_s(date)
    try:
        instant = parsedate_to_datetime(date).astimezone(UTC)
    except (ValueError, OverflowError):
        raise IncompleteSignature(_BAD_DATE.format(date)) from None
    return _basic_format(int(instant.timestamp())), int(instant.timestamp())


_BAD_DATE = (
    "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601"
)


@lru_cache(_REMEMBERED)
def _instant_s(text: str) -> int:
    """Seconds since the epoch of `yyyymmddThhmmssZ`."""
    digits = text[:8] + text[9:15]
    if len(text) == 16 and text[8] == "T" and text[15] == "Z" and digits.isdecimal():
        iso = f"{text[:4]}-{text[4:6]}-{text[6:11]}:{text[11:13]}:{text[13:15]}+00:00"
        try:
            return int(datetime.fromisoformat(iso).timestamp())
        except ValueError:
            pass
    raise IncompleteSignature(_BAD_DATE.format(text))


# --- Reading a presigned request ----------------------------------------------------------------

_PRESIGNED_PARAMETERS = (
    b"X-Amz-Algorithm",
    b"X-Amz-Credential",
    b"X-Amz-Date",
    b"X-Amz-Expires",
    b"X-Amz-SignedHeaders",
    b"X-Amz-Signature",
)


def _read_query(request: SignedRequest, named: dict[bytes, bytes]) -> Signature:
    missing = [name.decode() for name in _PRESIGNED_PARAMETERS if not named.get(name)]
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        raise IncompleteSignature(
            f"AWS query-string parameters must include {names}. "
            "Re-examine the query-string parameters."
        )
    algorithm, credential, signed_at, expires, signed_headers, digest = (
        named[name].decode("utf-8", "replace") for name in _PRESIGNED_PARAMETERS
    )
    if algorithm != ALGORITHM:
        raise IncompleteSignature(f"Unsupported AWS 'algorithm': '{algorithm}'.")
    pairs = [pair for pair in query_pairs(request.query) if pair[0] != b"X-Amz-Signature"]
    return Signature(
        _scope(credential, signed_headers),
        digest,
        signed_at,
        _instant_s(signed_at),
        canonical_query(pairs),
        _token(request, named),
        _expires_s(expires),
    )


def _expires_s(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= PRESIGNED_MAX_S:
        return int(text)
    raise IncompleteSignature(
        f"X-Amz-Expires must be a number of seconds from 1 to {PRESIGNED_MAX_S}, got '{text}'."
    )


# --- Proving ------------------------------------------------------------------------------------


class Expectations(Struct, frozen=True):
    """What this server demands of a signature, whoever made it."""

    regions: frozenset[str] = frozenset()
    """The regions that may be called; any when empty."""
    hosts: tuple[str, ...] = ()
    """Hosts that a client may have signed although a proxy put another one in the Host header."""


def verify(
    request: SignedRequest,
    signature: Signature,
    secret: str,
    *,
    service: str,
    now_s: float,
    expectations: Expectations,
) -> None:
    """Return if the request was signed with `secret`, for this service, region and hour.

    Raises `SignatureDoesNotMatch`, whose text says what was wrong in the order scope, date,
    signature.
    """
    _check_scope(signature.scope, service, expectations.regions)
    _check_date(signature, int(now_s))
    scope = signature.scope
    if "host" not in scope.signed_headers:
        raise SignatureDoesNotMatch(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        )
    if "x-amz-target" in request.headers and "x-amz-target" not in scope.signed_headers:
        # It says what is to be done: a signature for one operation must not do for another.
        raise SignatureDoesNotMatch(
            "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."
        )
    key = signing_key(secret, scope.date, scope.region, scope.service)
    host = request.headers.get("host", "")
    if _matches(request, signature, key, host):
        return
    for other in (*_with_other_port(host), *expectations.hosts):
        if _matches(request, signature, key, other):
            return
    raise SignatureDoesNotMatch(
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method. "
        "Consult the service documentation for details."
    )


def _check_scope(scope: Scope, service: str, regions: frozenset[str]) -> None:
    region = scope.region
    if (regions and region not in regions) or not _is_region(region):
        raise SignatureDoesNotMatch(
            f"Credential should be scoped to a valid region, not '{region}'."
        )
    if scope.service != service:
        raise SignatureDoesNotMatch(f"Credential should be scoped to correct service: '{service}'.")
    if scope.terminator != _TERMINATOR:
        raise SignatureDoesNotMatch(
            "Credential should be scoped with a valid terminator: "
            f"'{_TERMINATOR}', not '{scope.terminator}'."
        )


@lru_cache(_REMEMBERED)
def _is_region(region: str) -> bool:
    """A region is part of ARNs and of the store's keys, so it is a short name and nothing else."""
    plain = region.replace("-", "")
    return len(region) <= 32 and plain.isascii() and plain.isalnum() and plain.islower()


def _check_date(signature: Signature, now_s: int) -> None:
    scope_date, signed_at = signature.scope.date, signature.signed_at
    if scope_date != signed_at[:8]:
        raise SignatureDoesNotMatch(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
            f"from HTTP: '{scope_date}' != '{signed_at[:8]}', from '{signed_at}'."
        )
    age_s = now_s - signature.signed_at_s
    expires_s = signature.expires_s
    if age_s > (SKEW_MAX_S if expires_s is None else expires_s):
        allowed = "15 min" if expires_s is None else f"{expires_s} sec"
        earliest = _basic_format(now_s - (expires_s or SKEW_MAX_S))
        raise SignatureDoesNotMatch(
            f"Signature expired: {signed_at} is now earlier than {earliest} "
            f"({_basic_format(now_s)} - {allowed}.)"
        )
    if age_s < -SKEW_MAX_S:
        latest = _basic_format(now_s + SKEW_MAX_S)
        raise SignatureDoesNotMatch(
            f"Signature not yet current: {signed_at} is still later than {latest} "
            f"({_basic_format(now_s)} + 15 min.)"
        )


def _basic_format(instant_s: int) -> str:
    return datetime.fromtimestamp(instant_s, UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(_REMEMBERED)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, _TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _matches(request: SignedRequest, signature: Signature, key: bytes, host: str) -> bool:
    scope = signature.scope
    hashed = canonical_hash(request, signature.query, host, scope.signed_headers)
    to_sign = f"{ALGORITHM}\n{signature.signed_at}\n{scope.text}\n{hashed}"
    expected = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return hmac.compare_digest(expected.encode(), signature.digest.encode("utf-8", "replace"))


def _with_other_port(host: str) -> Sequence[str]:
    """The host with the default port taken away or added: clients differ in what they sign."""
    name, _, port = host.rpartition(":")
    if port in ("80", "443") and name:
        return (name,)
    return (f"{host}:443", f"{host}:80")
