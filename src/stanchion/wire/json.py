"""AWS JSON 1.0: `X-Amz-Target` names the operation, the body is its input.

This is the hot path: a request costs one table look-up and one call of a prebuilt msgspec decoder,
a reply one call of the encoder. Replies never hold a null, nor an empty list or map at the top.
"""

import re

from msgspec import Struct
from msgspec.json import Decoder, Encoder
from msgspec.structs import replace

from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.model.errors import MalformedInput, ServiceError, UnknownOperation
from stanchion.model.shapes import Operation, members
from stanchion.model.sqs import OPERATIONS, TARGET_PREFIX

_CONTENT_TYPE = ("Content-Type", "application/x-amz-json-1.0")

_TARGETS: dict[str | None, tuple[Operation, Decoder[Struct]]] = {
    f"{TARGET_PREFIX}.{name}": (operation, Decoder(operation.input))
    for name, operation in OPERATIONS.items()
}

_COLLECTIONS: dict[type[Struct], tuple[str, ...]] = {
    operation.output: tuple(
        member.field
        for member in members(operation.output)
        if getattr(member.type, "__origin__", None) in (list, dict)
    )
    for operation in OPERATIONS.values()
    if operation.output
}

_encode = Encoder().encode


def decode(request: HttpRequest) -> tuple[Operation, Struct]:
    """The operation and its input. Raises UnknownOperation and MalformedInput."""
    target = _TARGETS.get(request.headers.get("x-amz-target"))
    if target is None:
        raise UnknownOperation
    operation, decoder = target
    try:
        return operation, decoder.decode(request.body)
    # msgspec's errors and those of bad UTF-8 are ValueErrors; deep nesting is a RecursionError.
    except (ValueError, RecursionError) as error:
        raise MalformedInput(_explanation(str(error))) from None


_MISMATCH = re.compile(r"Expected `(\w+)(?: \| null)?`, got `(\w+)`")
_STARTS = {
    "object": "Start of structure or map found where not expected.",
    "array": "Start of list found where not expected",
}
_TOKENS = {
    "str": "STRING_VALUE",
    "int": "NUMBER_VALUE",
    "float": "NUMBER_VALUE",
    "bool": "BOOLEAN_VALUE",
    "null": "NULL_VALUE",
}
_TARGET_TYPES = {
    "str": "a String",
    "int": "an Integer",
    "bool": "a Boolean",
    "bytes": "a Blob",
    "array": "a List",
    "object": "a Structure or Map",
}


def _explanation(complaint: str) -> str:
    """AWS's words for what msgspec says about a value; empty when the body is no JSON at all."""
    mismatch = _MISMATCH.match(complaint)
    if mismatch:
        expected, got = mismatch.groups()
        return _STARTS.get(got) or (
            f"{_TOKENS[got]} can not be converted to {_TARGET_TYPES[expected]}"
        )
    if "out of range" in complaint:
        return "NUMBER_VALUE can not be converted to an Integer"
    if "base64" in complaint:
        return "STRING_VALUE can not be converted to a Blob"
    return ""


def encode(operation: Operation, output: Struct | None, request_id: str) -> HttpResponse:
    """The reply. An operation without output answers with no bytes at all, not with `{}`."""
    if operation.output is None:
        body = b""
    else:
        body = b"{}" if output is None else _encode(_without_empty(output))
    return HttpResponse(200, (("x-amzn-RequestId", request_id), _CONTENT_TYPE), body)


def _without_empty(output: Struct) -> Struct:
    empty = [field for field in _COLLECTIONS[type(output)] if getattr(output, field) in ([], {})]
    return replace(output, **dict.fromkeys(empty)) if empty else output


def encode_error(error: ServiceError, request_id: str) -> HttpResponse:
    """The reply. SDKs take the shape from `__type` and the legacy code from the header."""
    body = {"__type": error.json_type}
    if error.message:
        body[error.json_message_key] = error.message
    headers = (
        ("x-amzn-RequestId", request_id),
        ("x-amzn-query-error", f"{error.query_code};{error.fault}"),
        _CONTENT_TYPE,
    )
    return HttpResponse(error.http_status, headers, _encode(body))
