"""Whose signature on a web identity token is believed, and under which algorithm."""

import hmac
import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.warnings import InsecureKeyLengthWarning

from tests.sts.cluster import CLAIMS, NO_KEY, Cluster
from tests.sts.issuer import URL, ec_key, jwk_of, rsa_key, signed


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384"])
def test_algorithms(cluster: Cluster, algorithm: str) -> None:
    curve = {"ES256": "P-256", "ES384": "P-384"}.get(algorithm)
    key = ec_key(curve) if curve else rsa_key()
    cluster.issuer.keys = [jwk_of(key, "k")]
    cluster.ask(signed(CLAIMS, key, algorithm, "k"))


def test_a_key_of_another_type_or_for_something_else_is_no_key(cluster: Cluster) -> None:
    good = jwk_of(rsa_key(), "rsa")
    token = signed(CLAIMS)
    for keys in (
        [],
        [jwk_of(ec_key(), "rsa")],
        [good | {"use": "enc"}],
        [good | {"alg": "RS512"}],
        [good | {"key_ops": ["sign"]}],
        [good | {"kid": "other"}],
        [{"kty": "oct", "k": "AAAA", "kid": "rsa"}],
        ["text", None, 4],
    ):
        fresh = Cluster()
        fresh.issuer.keys = keys  # type: ignore[assignment]
        assert fresh.refuses(token) == ("InvalidIdentityToken", NO_KEY)


NOT_SIGNED = ("InvalidIdentityToken", "The signature of the ID Token is not valid")


@pytest.mark.parametrize(
    "key",
    [
        jwk_of(rsa_key("another"), "rsa"),
        {"kty": "RSA", "kid": "rsa"},
        {"kty": "RSA", "kid": "rsa", "n": 4, "e": []},
        {"kty": "RSA", "kid": "rsa", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "kid": "rsa", "n": "", "e": ""},
    ],
)
def test_keys_that_have_not_signed(cluster: Cluster, key: dict[str, Any]) -> None:
    cluster.issuer.keys = [key]
    assert cluster.refuses(signed(CLAIMS)) == NOT_SIGNED


def test_short_keys_count_for_nothing(cluster: Cluster) -> None:
    short = rsa_key("short", 1024)
    cluster.issuer.keys = [jwk_of(short, "rsa")]
    with pytest.warns(InsecureKeyLengthWarning):
        token = signed(CLAIMS, short)
    assert cluster.refuses(token) == NOT_SIGNED


def _forged(header: dict[str, Any], key: bytes = b"", claims: dict[str, Any] = CLAIMS) -> str:
    """A token with any header, signed by HMAC."""
    head, body = (
        urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)
    )
    signature = hmac.new(key, head + b"." + body, sha256).digest() if key else b""
    return b".".join((head, body, urlsafe_b64encode(signature).rstrip(b"="))).decode()


def test_the_public_key_is_no_secret_to_sign_with(cluster: Cluster) -> None:
    public = rsa_key().public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    modulus = jwk_of(rsa_key(), None)["n"].encode()
    for key in (pem, pem.strip(), modulus):
        code, text = cluster.refuses(_forged({"alg": "HS256", "kid": "rsa"}, key))
        assert (code, "not supported" in text) == ("InvalidIdentityToken", True)
        # Nor does it help to lie about the algorithm.
        code, text = cluster.refuses(_forged({"alg": "RS256", "kid": "rsa"}, key))
        assert (code, "signature" in text) == ("InvalidIdentityToken", True)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None", "kid": "rsa"},
        {"alg": "nOnE"},
        {"alg": ""},
        {"alg": None},
        {"alg": ["RS256"]},
        {"alg": 4},
        {},
        {"alg": "HS512", "kid": "rsa"},
        {"alg": "ES256K", "kid": "rsa"},
        {"alg": "EdDSA", "kid": "rsa"},
        {"alg": "RS256", "kid": 4},
        {"alg": "RS256", "kid": ["rsa"]},
        {"alg": "RS256", "kid": {"$ne": 1}},
        {"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": False},
        {"alg": "RS256", "kid": "rsa", "crit": ["exp"]},
        {"alg": "RS256", "kid": "rsa", "b64": False},
    ],
)
def test_headers_that_are_refused_without_asking_for_keys(
    cluster: Cluster, header: dict[str, Any]
) -> None:
    assert cluster.refuses(_forged(header))[0] == "InvalidIdentityToken"
    assert cluster.issuer.asked == []


def test_what_a_token_says_of_its_keys_is_not_looked_at(cluster: Cluster) -> None:
    mine = rsa_key("another")
    for headers in (
        {"jku": "https://evil.example.com/keys"},
        {"jwk": jwk_of(mine, "rsa")},
        {"x5u": "https://evil.example.com/cert"},
    ):
        code, _ = cluster.refuses(signed(CLAIMS, mine, **headers))
        assert code == "InvalidIdentityToken"
    for kid in ("../../etc/passwd", "https://evil.example.com/keys", "' OR 1=1", ""):
        code, text = cluster.refuses(signed(CLAIMS, mine, kid=kid))
        assert (code, text) == ("InvalidIdentityToken", NO_KEY)
    assert all(url.startswith(f"{URL}/") for url in cluster.issuer.asked)


def test_a_token_need_not_name_the_only_key(cluster: Cluster) -> None:
    cluster.ask(signed(CLAIMS, kid=None))
    two = Cluster()
    two.issuer.keys.append(jwk_of(rsa_key("another"), "another"))
    assert two.refuses(signed(CLAIMS, kid=None))[0] == "InvalidIdentityToken"


def test_what_is_no_token(cluster: Cluster) -> None:
    for text in ("text", "a.b.c", "....", "e30.e30.", _forged({"alg": "RS256"})[:-5] + "\u20ac"):
        code, message = cluster.refuses(text)
        assert code == "InvalidIdentityToken"
        assert "is not a valid JWT" in message or "not supported" in message
    deep = urlsafe_b64encode(b"[" * 9000).decode()
    head = urlsafe_b64encode(b'{"alg":"RS256"}').rstrip(b"=").decode()
    assert cluster.refuses(f"{head}.{deep}.")[0] == "InvalidIdentityToken"


_TOKEN = signed(CLAIMS)


@settings(max_examples=60)
@given(at=st.integers(0, len(_TOKEN) - 1), letter=st.sampled_from("ABCxyz019-_."))
def test_an_altered_token_is_refused(at: int, letter: str) -> None:
    altered = _TOKEN[:at] + letter + _TOKEN[at + 1 :]
    # The last character has bits that mean nothing.
    if altered != _TOKEN and at < len(_TOKEN) - 1:
        assert Cluster().refuses(altered)[0] == "InvalidIdentityToken"
