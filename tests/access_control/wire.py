"""Requests below boto3: signed in ways that no client would, from any address of this machine."""

import http.client
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.serialize import create_serializer

from tests.access_control.stage import REGION, Key
from tests.wire.oracle import WIRES, operation_model

SERVICES = {wire: "sqs" if wire in ("json", "query") else wire for wire in WIRES}
"""Which service each of the ways in belongs to."""


class Reply(NamedTuple):
    """What came back, without what differs from one reply to the next."""

    status: int
    code: str
    text: str
    """Of the error; else the body."""


class Wire:
    """A connection to a server, from `source_ip` if that is given."""

    def __init__(self, url: str, source_ip: str = "") -> None:
        self.url = url
        source = (source_ip, 0) if source_ip else None
        self._connection = http.client.HTTPConnection(
            urlsplit(url).netloc, timeout=10, source_address=source
        )

    def close(self) -> None:
        self._connection.close()

    def send(self, request: AWSRequest, **headers: str) -> Reply:
        """Send a request as it is, with further headers that a proxy could have added."""
        parts = urlsplit(request.url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        added = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(
            request.method, target, request.data or b"", {**dict(request.headers), **added}
        )
        response = self._connection.getresponse()
        return _reply(response.status, response.headers, response.read().decode())


def _reply(status: int, headers: Any, body: str) -> Reply:
    body = body.replace(headers["x-amzn-requestid"], "")
    if status < 300:
        return Reply(status, "", body)
    if body.startswith("<"):
        code, text = (
            re.search(f"<{name}>(.*?)</{name}>", body, re.DOTALL) for name in ("Code", "Message")
        )
        return Reply(status, code[1] if code else "", unescape(text[1]) if text else "")
    found = json.loads(body)
    if "Error" in found:
        return Reply(status, found["Error"]["Code"], found["Error"]["Message"])
    code = headers.get("x-amzn-query-error", found["__type"]).partition(";")[0]
    return Reply(status, code, found.get("message", found.get("Message", "")))


def request(url: str, wire: str, operation: str, parameters: Mapping[str, Any]) -> AWSRequest:
    """A call as botocore writes it, not signed."""
    serializer = create_serializer(WIRES[wire].kind, include_validation=False)
    model = operation_model(wire, operation)
    written = serializer.serialize_to_request(dict(parameters), model)
    body = written["body"]
    data = urlencode(body).encode() if isinstance(body, dict) else body
    return AWSRequest("POST", f"{url}/", headers=written["headers"], data=data)


def as_get(written: AWSRequest) -> AWSRequest:
    """A Query call with its parameters in the URL."""
    return AWSRequest("GET", f"{written.url}?{written.data.decode()}")


def signed(written: AWSRequest, key: Key, service: str, region: str = REGION) -> AWSRequest:
    """Signed in its headers."""
    SigV4Auth(Credentials(*key), service, region).add_auth(written)
    return written


def presigned(
    written: AWSRequest, key: Key, service: str, expires_s: int = 60, age_s: int = 0
) -> AWSRequest:
    """A Query call that anybody may make who has its URL, for a while; signed some time ago."""
    found = as_get(written)
    _Earlier(Credentials(*key), service, REGION, expires_s, age_s).add_auth(found)
    return found


class _Earlier(SigV4QueryAuth):  # type: ignore[misc]
    """Signs as if it were some time ago."""

    def __init__(
        self, credentials: Credentials, service: str, region: str, expires_s: int, age_s: int
    ) -> None:
        super().__init__(credentials, service, region, expires=expires_s)
        self._signed_at = datetime.now(UTC) - timedelta(seconds=age_s)

    def add_auth(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self._signed_at.strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)
        to_sign = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(to_sign, request))
