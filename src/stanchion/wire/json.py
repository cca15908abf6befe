"""AWS JSON 1.0 and 1.1: `X-Amz-Target` names the operation, the body is its input.

This is the hot path: a request costs one table look-up and one call of a prebuilt msgspec decoder,
a reply one call of the encoder. Replies never hold a null, nor an empty list or map at the top of
one of SQS's. Instants are seconds since 1970; no request that we take holds one.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, get_args, get_origin

from msgspec import Struct, to_builtins
from msgspec.json import Decoder, Encoder
from msgspec.structs import replace

from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.model.errors import MalformedInput, ServiceError, UnknownOperation
from stanchion.model.shapes import Operation, ServiceModel, members

_encode = Encoder().encode


class JsonCodec:
    """The codec of one service that speaks JSON."""

    def __init__(self, service: ServiceModel) -> None:
        self._targets: dict[str | None, tuple[Operation, Callable[[bytes], Struct]]] = {
            f"{service.target_prefix}.{name}": (operation, Decoder(operation.input).decode)
            for name, operation in service.operations.items()
        }
        self._writers = {
            operation.output: _writer(service, operation.output)
            for operation in service.operations.values()
            if operation.output
        }
        self._content_type = ("Content-Type", f"application/x-amz-json-{service.json_version}")
        self._query_compatible = service.query_compatible

    def decode(self, request: HttpRequest) -> tuple[Operation, Struct]:
        """The operation and its input. Raises UnknownOperation and MalformedInput."""
        target = self._targets.get(request.headers.get("x-amz-target"))
        if target is None:
            raise UnknownOperation
        operation, decode = target
        try:
            return operation, decode(request.body)
        # msgspec's errors and those of bad UTF-8 are ValueErrors; deep nesting, RecursionError.
        except (ValueError, RecursionError) as error:
            raise MalformedInput(_explanation(str(error))) from None

    def encode(self, operation: Operation, output: Struct | None, request_id: str) -> HttpResponse:
        """The reply. An operation without output answers with no bytes at all, not with `{}`."""
        if operation.output is None:
            body = b""
        else:
            body = b"{}" if output is None else self._writers[operation.output](output)
        return HttpResponse(200, (("x-amzn-RequestId", request_id), self._content_type), body)

    def encode_error(self, error: ServiceError, request_id: str) -> HttpResponse:
        """The reply. SDKs take the shape from `__type` and the legacy code from the header."""
        status, json_type = error.http_status, error.json_type
        request_id_header = ("x-amzn-RequestId", request_id)
        headers: tuple[tuple[str, str], ...] = (request_id_header, self._content_type)
        if self._query_compatible:
            legacy = ("x-amzn-query-error", f"{error.query_code};{error.fault}")
            headers = (request_id_header, legacy, self._content_type)
        else:
            # A service that never spoke Query has no namespaces, and one status for all that the
            # client did wrong.
            json_type = json_type.rpartition("#")[2]
            status = 400 if status < 500 else status
        body = {"__type": json_type}
        if error.message:
            body[error.json_message_key] = error.message
        return HttpResponse(status, headers, _encode(body))


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


def _writer(service: ServiceModel, output: type[Struct]) -> Callable[[Any], bytes]:
    """What writes an output of this type."""
    if _holds_instants(output):
        return lambda value: _encode(_in_seconds(to_builtins(value, builtin_types=[datetime])))
    fields = [m.field for m in members(output) if get_origin(m.type) in (list, dict)]
    if service.query_compatible and fields:
        return lambda value: _encode(_without_empty(value, fields))
    return _encode


def _holds_instants(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, Struct):
        return any(_holds_instants(member.type) for member in members(kind))
    return kind is datetime or any(map(_holds_instants, get_args(kind)))


def _in_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_seconds(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_in_seconds(item) for item in value]
    return value.timestamp() if isinstance(value, datetime) else value


def _without_empty(output: Struct, fields: list[str]) -> Struct:
    for field in fields:
        if not getattr(output, field):
            # None for what is None already does no harm.
            return replace(output, **{name: getattr(output, name) or None for name in fields})
    return output
