"""Requests signed by botocore, whose signatures have to verify, and what becomes of them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from stanchion.access import sigv4
from stanchion.access.sigv4 import Expectations
from stanchion.http.message import HttpRequest
from stanchion.model.errors import ServiceError

ACCESS_KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "sqs.us-east-1.amazonaws.com"
SIGNED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIGNED_AT_S = int(SIGNED_AT.timestamp())
JSON_HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "AmazonSQS.ListQueues",
}
QUEUE_URL = f"https://{HOST}/123456789012/MyQueue"
MISMATCH = "The request signature we calculated does not match the signature you provided."
BODY = b'{"QueueNamePrefix":"a"}'


def signed(
    method: str = "POST",
    url: str = f"https://{HOST}/",
    *,
    body: bytes = BODY,
    headers: Mapping[str, str] = JSON_HEADERS,
    access_key_id: str = ACCESS_KEY_ID,
    secret: str = SECRET,
    token: str | None = None,
    service: str = "sqs",
    region: str = "us-east-1",
    at: datetime = SIGNED_AT,
) -> HttpRequest:
    """A request with an Authorization header, as it comes off the wire."""
    request = AWSRequest(method, url, data=body, headers=dict(headers))
    _sign(SigV4Auth(Credentials(access_key_id, secret, token), service, region), request, at)
    return _received(request, body)


def presigned(url: str, expires_s: int = 60, token: str | None = None) -> HttpRequest:
    """A GET request whose query string carries the signature."""
    request = AWSRequest("GET", url)
    credentials = Credentials(ACCESS_KEY_ID, SECRET, token)
    _sign(SigV4QueryAuth(credentials, "sqs", "us-east-1", expires=expires_s), request, SIGNED_AT)
    return _received(request, b"")


def _sign(auth: SigV4Auth, request: AWSRequest, at: datetime) -> None:
    """What `add_auth` does, but at an instant of our choosing."""
    request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
    auth._modify_request_before_signing(request)
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(to_sign, request))


def _received(request: AWSRequest, body: bytes) -> HttpRequest:
    url = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers.setdefault("host", url.netloc)
    return HttpRequest(
        request.method, url.path or "/", url.query, headers, body, url.scheme == "https", "::1"
    )


def without(request: HttpRequest, part: str) -> HttpRequest:
    """The request without one named part of its Authorization header."""
    scheme, _, parts = request.headers["authorization"].partition(" ")
    kept = [p for p in parts.split(", ") if not p.startswith(f"{part}=")]
    request.headers["authorization"] = f"{scheme} {', '.join(kept)}"
    return request


def verify(
    request: HttpRequest,
    now_s: float = SIGNED_AT_S,
    regions: frozenset[str] = frozenset(),
    hosts: tuple[str, ...] = (),
) -> sigv4.Signature:
    signature = sigv4.read(request)
    assert signature is not None
    expectations = Expectations(regions, hosts)
    sigv4.verify(request, signature, SECRET, service="sqs", now_s=now_s, expectations=expectations)
    return signature


def refused(request: HttpRequest, **options: object) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        verify(request, **options)  # type: ignore[arg-type]
    return caught.value
