"""AWS Query: a form or query string in, XML out, or JSON of the same tree where that is accepted.

The readers are built once per struct of the model, when it is first read. Lists and maps are
1-based; an index may be left out when there is one item, may leave holes, and orders by number.
Flattened ones stand directly below their names, as SQS has them, the others below one more: IAM's
`Tags.member.1.Key`. Parameters that the operation does not know are ignored, `Version` among them.
"""

import re
from binascii import a2b_base64
from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import Any, get_args, get_origin

from msgspec import Struct
from msgspec.json import encode as encode_json

from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.model.errors import MalformedInput, MissingAction, ServiceError, UnknownOperation
from stanchion.model.shapes import Member, Operation, QueryName, ServiceModel, members
from stanchion.model.sqs import QueueDoesNotExist
from stanchion.wire import xml
from stanchion.wire.form import Tree, parse

_Reader = Callable[[Any], Any]
"""From a part of the tree to a value; None stands for an absent member."""


class QueryCodec:
    """The codec of one service that speaks Query."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        # Where SQS's documents differ from those of services that have never spoken anything else.
        self._declaration = '<?xml version="1.0"?>' if service.query_compatible else ""
        self._detail = "<Detail/>" if service.query_compatible else ""

    def decode(self, request: HttpRequest) -> tuple[Operation, Struct]:
        """The operation and its input. Raises MissingAction, UnknownOperation, MalformedInput."""
        encoded = request.query.encode("utf-8", "replace")
        if request.method == "POST":
            encoded = encoded + b"&" + request.body if encoded else request.body
        tree = parse(encoded)
        action = tree.get("Action")
        if not action or not isinstance(action, str):
            raise MissingAction("The request must contain the parameter Action.")
        operation = self._service.operations.get(action)
        if operation is None:
            raise self._unknown(action)
        structure: Struct = _structure_reader(operation.input)(tree)
        return operation, structure

    def _unknown(self, action: str) -> UnknownOperation:
        if self._service.query_compatible:
            return UnknownOperation(f"The action {action} is not valid for this endpoint.")
        version = self._service.api_version
        return UnknownOperation(f"Could not find operation {action} for version {version}")

    def encode(self, operation: Operation, output: Struct | None, request_id: str) -> HttpResponse:
        """The reply as XML."""
        document = xml.response(self._service.xml_namespace, operation, output, request_id)
        return _reply(200, "text/xml", request_id, f"{self._declaration}{document}".encode())

    def encode_error(self, error: ServiceError, request_id: str) -> HttpResponse:
        """The reply as XML, under the error's legacy code."""
        document = xml.error_response(
            self._service.xml_namespace,
            error.fault,
            error.query_code,
            _message(error),
            self._detail,
            request_id,
        )
        body = f"{self._declaration}{document}".encode()
        return _reply(error.http_status, "text/xml", request_id, body)


@cache
def _structure_reader(structure: type[Struct]) -> _Reader:
    readers = [(m.query.member, m.field, _member_reader(m)) for m in members(structure)]

    def read(tree: Tree | str) -> Struct:
        if isinstance(tree, str):
            raise MalformedInput("STRING_VALUE can not be converted to a Structure or Map")
        values = {}
        for name, field, reader in readers:
            found = tree.get(name)
            if found is not None:
                values[field] = reader(found)
        return structure(**values)

    return read


def _member_reader(member: Member) -> _Reader:
    kind = get_origin(member.type)
    if kind is list:
        return _list_reader(member.query, _reader(get_args(member.type)[0]))
    if kind is dict:
        value = get_args(member.type)[1]
        return _map_reader(member.query, value, _reader(value))
    return _reader(member.type)


def _reader(kind: Any) -> _Reader:
    scalars: dict[Any, _Reader] = {
        str: _string,
        int: _integer,
        bool: _boolean,
        bytes: _blob,
    }
    return scalars.get(kind) or _structure_reader(kind)


def _string(value: Tree | str) -> str:
    if isinstance(value, dict):
        raise MalformedInput("Start of structure or map found where not expected.")
    return value


_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def _integer(value: Tree | str) -> int:
    text = _string(value)
    if not _INTEGER.fullmatch(text):
        raise MalformedInput("STRING_VALUE can not be converted to an Integer")
    return int(text)


_BOOLEANS = {"true": True, "false": False}


def _boolean(value: Tree | str) -> bool:
    found = _BOOLEANS.get(_string(value).lower())
    if found is None:
        raise MalformedInput("STRING_VALUE can not be converted to a Boolean")
    return found


def _blob(value: Tree | str) -> bytes:
    try:
        return a2b_base64(_string(value), strict_mode=True)
    except ValueError:
        raise MalformedInput("STRING_VALUE can not be converted to a Blob") from None


def _list_reader(query: QueryName, read_item: _Reader) -> _Reader:
    def read(tree: Tree | str) -> list[Any] | None:
        items = [read_item(item) for item in _found(tree, query.item)]
        return items or ([] if query.item else None)

    return read


def _map_reader(query: QueryName, kind: Any, read_value: _Reader) -> _Reader:
    # An entry without a value is for the action to complain about, which knows the words.
    absent: Tree | str = "" if kind is str else {}

    def read(tree: Tree | str) -> dict[str, Any] | None:
        entries = [item for item in _found(tree, query.item) if isinstance(item, dict)]
        values = {
            _string(entry.get(query.key, "")): read_value(entry.get(query.value, absent))
            for entry in entries
        }
        return values or ({} if query.item else None)

    return read


def _found(tree: Tree | str, name: str) -> list[Any]:
    """The items of a list or map; `name` stands before their numbers unless it is flattened."""
    if not name:
        return _items(tree)
    if not isinstance(tree, str):
        return _items(tree.get(name, ""))
    if tree:
        raise MalformedInput("STRING_VALUE can not be converted to a List or Map")
    return []


_INDEX_DIGITS_MAX = 10


def _items(tree: Tree | str) -> list[Any]:
    """What is numbered, in the order of the numbers; else the one thing that is there."""
    if isinstance(tree, str):
        # An SDK writes an empty list as an empty value.
        return [tree] if tree else []
    numbered = [
        (int(index), item)
        for index, item in tree.items()
        if index.isdecimal() and len(index) <= _INDEX_DIGITS_MAX
    ]
    if not numbered:
        return [tree]
    numbered.sort(key=itemgetter(0))
    return [item for _, item in numbered]


def encode_as_json(operation: Operation, output: Struct | None, request_id: str) -> HttpResponse:
    """The reply as JSON of the XML's tree, every absent member an explicit null."""
    response: dict[str, Any] = {"ResponseMetadata": {"RequestId": request_id}}
    if operation.output is not None and operation.result_wrapper is not None:
        response[operation.result_wrapper] = _with_nulls(output or operation.output())
    body = encode_json({f"{operation.name}Response": response}, order="deterministic")
    return _reply(200, "application/json", request_id, body)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, Struct):
        found = ((m.name, getattr(value, m.field)) for m in members(type(value)))
        return {name: _with_nulls(part) for name, part in found}
    if isinstance(value, list):
        return [_with_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_nulls(item) for key, item in value.items()}
    return value


def encode_error_as_json(error: ServiceError, request_id: str) -> HttpResponse:
    """The reply as JSON of the XML's tree."""
    details = {"Code": error.query_code, "Message": _message(error), "Type": error.fault}
    body = encode_json({"Error": details, "RequestId": request_id})
    return _reply(error.http_status, "application/json", request_id, body)


def _message(error: ServiceError) -> str:
    """The Query protocol has kept its own words for a queue that is missing."""
    if isinstance(error, QueueDoesNotExist):
        missing = "The specified queue does not exist"
        return error.message.replace(f"{missing}.", f"{missing} for this wsdl version.")
    return error.message


def _reply(status: int, content_type: str, request_id: str, body: bytes) -> HttpResponse:
    headers = (("x-amzn-RequestId", request_id), ("Content-Type", content_type))
    return HttpResponse(status, headers, body)
