"""Which service a request is for and which of AWS's protocols it speaks, with the codec for that.

All are served on every path, so only headers and parameters tell them apart. Nothing is verified
here: whoever authenticates must see that the signature is for the service that was chosen. The
gateway calls `choose` once per request and does everything else through what it gets; no codec ever
raises anything but a `ServiceError` for what a client sent.
"""

import re
from collections.abc import Callable

from msgspec import Struct

from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.model import iam, kms, sqs, sts
from stanchion.model.errors import ServiceError
from stanchion.model.shapes import Operation, ServiceModel
from stanchion.wire.json import JsonCodec
from stanchion.wire.query import QueryCodec, encode_as_json, encode_error_as_json


class Protocol(Struct, frozen=True, eq=False):
    """One way of writing the requests and replies of one service."""

    name: str
    """For metrics: `json`, `query` or `query-json`."""
    service: ServiceModel
    decode: Callable[[HttpRequest], tuple[Operation, Struct]]
    """The operation and its input. Raises MalformedInput, UnknownOperation and MissingAction."""
    encode: Callable[[Operation, Struct | None, str], HttpResponse]
    """The reply to an operation that succeeded, from its output and the request id."""
    encode_error: Callable[[ServiceError, str], HttpResponse]
    """The reply to one that did not, from the error and the request id."""


def _json(service: ServiceModel) -> Protocol:
    codec = JsonCodec(service)
    return Protocol("json", service, codec.decode, codec.encode, codec.encode_error)


def _query(service: ServiceModel) -> Protocol:
    codec = QueryCodec(service)
    return Protocol("query", service, codec.decode, codec.encode, codec.encode_error)


SQS_JSON = _json(sqs.SERVICE)
SQS_QUERY = _query(sqs.SERVICE)
SQS_QUERY_JSON = Protocol(
    "query-json", sqs.SERVICE, SQS_QUERY.decode, encode_as_json, encode_error_as_json
)
IAM_QUERY = _query(iam.SERVICE)
STS_QUERY = _query(sts.SERVICE)
KMS_JSON = _json(kms.SERVICE)

PROTOCOLS = (SQS_JSON, SQS_QUERY, SQS_QUERY_JSON, IAM_QUERY, STS_QUERY, KMS_JSON)

_BY_TARGET = {
    f"{protocol.service.target_prefix}.{name}": protocol
    for protocol in (SQS_JSON, KMS_JSON)
    for name in protocol.service.operations
}
_BY_TARGET_PREFIX = {protocol.service.target_prefix: protocol for protocol in (SQS_JSON, KMS_JSON)}
# Who asks KMS without naming a target hears from KMS that there is no such operation.
_BY_SCOPE = {protocol.service.name: protocol for protocol in (IAM_QUERY, STS_QUERY, KMS_JSON)}
_BY_VERSION = {protocol.service.api_version: protocol for protocol in (IAM_QUERY, STS_QUERY)}


def choose(request: HttpRequest) -> Protocol:
    """What the request is to be read and answered with; SQS's where it names nothing we know."""
    headers = request.headers
    target = headers.get("x-amz-target")
    if target is not None:
        known = _BY_TARGET.get(target)
        return known or _BY_TARGET_PREFIX.get(target.partition(".")[0], SQS_JSON)
    if headers.get("content-type", "").lower().startswith("application/x-amz-json"):
        return SQS_JSON
    other = _other_than_sqs(request)
    if other is not None:
        return other
    # API Gateway's integrations send Query requests and read JSON replies.
    if "application/json" in headers.get("accept", ""):
        return SQS_QUERY_JSON
    return SQS_QUERY


def _other_than_sqs(request: HttpRequest) -> Protocol | None:
    """The service that the signature is for; without one, that whose API version is asked for."""
    credential = request.headers.get("authorization", "")
    if not credential and "X-Amz-Credential=" in request.query:
        credential = request.query.partition("X-Amz-Credential=")[2]
        credential = credential.replace("%2F", "/").replace("%2f", "/")
    if credential:
        return _BY_SCOPE.get(_scoped_service(credential))
    version = _version(request)
    return _BY_VERSION.get(version) if version else None


def _scoped_service(credential: str) -> str:
    """What stands before the end of a scope, as in `AKID/20260131/us-east-1/iam/aws4_request`."""
    scope, end, _ = credential.partition("/aws4_request")
    return scope.rpartition("/")[2] if end else ""


_VERSION = re.compile(rb"(?:^|&)Version=([0-9-]{10})(?:&|$)")


def _version(request: HttpRequest) -> str:
    found = _VERSION.search(request.query.encode("utf-8", "replace"))
    if found is None and request.method == "POST":
        found = _VERSION.search(request.body)
    return found[1].decode() if found else ""
