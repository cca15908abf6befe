"""An OIDC issuer for tests: its keys, the tokens it signs, and what it answers when it is asked."""

import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from stanchion.sts.https import FetchFailed

URL = "https://oidc.example.com/cluster"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str = "rsa", bits: int = 2048) -> rsa.RSAPrivateKey:
    """One for each name."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve: str = "P-256") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[curve])


def jwk_of(key: PrivateKey, kid: str | None, **more: Any) -> dict[str, Any]:
    """The public half as a JWK."""
    algorithm = (
        jwt.algorithms.RSAAlgorithm
        if isinstance(key, rsa.RSAPrivateKey)
        else (jwt.algorithms.ECAlgorithm)
    )
    found = algorithm.to_jwk(key.public_key(), as_dict=True)  # type: ignore[arg-type]
    return found | ({} if kid is None else {"kid": kid}) | more


class Issuer:
    """`answers` is what it says at which URL; an exception there is raised instead."""

    def __init__(self, url: str = URL) -> None:
        self.url = url
        self.keys: list[dict[str, Any]] = [jwk_of(rsa_key(), "rsa")]
        self.asked: list[str] = []
        self.answers: dict[str, bytes | Exception] = {
            f"{url}/.well-known/openid-configuration": json.dumps(
                {"issuer": url, "jwks_uri": f"{url}/keys"}
            ).encode()
        }

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url == f"{self.url}/keys" and url not in self.answers:
            return json.dumps({"keys": self.keys}).encode()
        answer = self.answers.get(url, FetchFailed(f"{url}: nothing"))
        if isinstance(answer, Exception):
            raise answer
        return answer


def signed(
    claims: dict[str, Any],
    key: PrivateKey | None = None,
    algorithm: str = "RS256",
    kid: str | None = "rsa",
    **headers: Any,
) -> str:
    headers = headers | ({} if kid is None else {"kid": kid})
    return jwt.encode(claims, key or rsa_key(), algorithm, headers)
