"""AWS Signature Version 4 for AWS JSON requests to `/`, at four hashes a request.

Theory of operation: everything but the date and the body is known beforehand, and the date changes
once a second. So an operation keeps its canonical request, string to sign and head ready up to the
place where the digest goes, renews them when the second changes, and a request adds the digests.
The headers are those a current AWS SDK sends, so that a server has as much to read. This is the
generator's own signer; it must never import the server's.
"""

import hmac
from binascii import hexlify
from hashlib import sha256
from time import gmtime, strftime

from stanchion.clock import Clock
from stanchion.loadgen.plan import Credentials, Endpoint

_CONTENT_TYPE = "application/x-amz-json-1.0"
_SERVICE = "sqs"


class SignedOperation:
    """Makes whole, signed HTTP requests for one operation of the service."""

    __slots__ = (
        "_canonical",
        "_clock",
        "_credentials",
        "_endpoint",
        "_head",
        "_key",
        "_second",
        "_target",
        "_to_sign",
    )

    def __init__(
        self, endpoint: Endpoint, credentials: Credentials, operation: str, clock: Clock
    ) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._target = f"AmazonSQS.{operation}"
        self._clock = clock
        self._second = -1
        self._canonical = self._to_sign = self._head = self._key = b""

    def request(self, body: bytes, body_digest: bytes | None = None) -> bytes:
        """The request's bytes, signed now. `body_digest` is the body's SHA-256 if it is known."""
        second = int(self._clock.wall_s())
        if second != self._second:
            self._renew(second)
        digest = body_digest or sha256(body).digest()
        canonical = sha256(self._canonical + hexlify(digest)).digest()
        signature = hmac.digest(self._key, self._to_sign + hexlify(canonical), "sha256")
        return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (
            self._head,
            hexlify(signature),
            len(body),
            body,
        )

    def _renew(self, second: int) -> None:
        timestamp = strftime("%Y%m%dT%H%M%SZ", gmtime(second))
        scope = f"{timestamp[:8]}/{self._endpoint.region}/{_SERVICE}/aws4_request"
        signed = self._signed_headers(timestamp)
        names = ";".join(signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
        self._canonical = f"POST\n/\n\n{lines}\n{names}\n".encode()
        self._to_sign = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n".encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        self._head = (
            f"POST / HTTP/1.1\r\nUser-Agent: stanchion-bench\r\nAccept-Encoding: identity\r\n{head}"
            f"Authorization: AWS4-HMAC-SHA256 Credential={self._credentials.access_key_id}/{scope},"
            f" SignedHeaders={names}, Signature="
        ).encode()
        self._key = _signing_key(self._credentials.secret_access_key, scope)
        self._second = second

    def _signed_headers(self, timestamp: str) -> dict[str, str]:
        """Lower-case names in the order of the canonical request."""
        headers = {
            "content-type": _CONTENT_TYPE,
            "host": self._endpoint.authority,
            "x-amz-date": timestamp,
        }
        if self._credentials.session_token:
            headers["x-amz-security-token"] = self._credentials.session_token
        headers["x-amz-target"] = self._target
        headers["x-amzn-query-mode"] = "true"
        return headers


def _signing_key(secret: str, scope: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
