"""The XML of the Query protocol's replies.

The writers are built once from the model's structs. Whatever the text, the document is
well-formed: what XML 1.0 cannot hold becomes U+FFFD, and a carriage return is written as `&#xD;`,
because a parser would turn a bare one into a line feed and the body's MD5 would no longer match.
"""

import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any, get_args, get_origin

from msgspec import Struct

from stanchion.model.shapes import Member, Operation, members
from stanchion.model.sqs import OPERATIONS, XML_NAMESPACE

_DECLARATION = '<?xml version="1.0"?>'

_Writer = Callable[[Any], str]


def response(operation: Operation, output: Struct | None, request_id: str) -> bytes:
    """The document for an operation that succeeded."""
    head, foot = f"{operation.name}Response", f"<RequestId>{request_id}</RequestId>"
    result = ""
    if operation.output is not None:
        wrapper = operation.result_wrapper
        inner = "" if output is None else _WRITERS[operation.output](output)
        result = f"<{wrapper}>{inner}</{wrapper}>"
    return (
        f'{_DECLARATION}<{head} xmlns="{XML_NAMESPACE}">{result}'
        f"<ResponseMetadata>{foot}</ResponseMetadata></{head}>"
    ).encode()


def error_response(fault: str, code: str, message: str, request_id: str) -> bytes:
    """The document for an error, with the empty `Detail` that AWS puts there."""
    return (
        f'{_DECLARATION}<ErrorResponse xmlns="{XML_NAMESPACE}"><Error><Type>{fault}</Type>'
        f"<Code>{code}</Code><Message>{escape(message)}</Message><Detail/></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


_SPECIAL = re.compile(
    r"[^\t\n !#-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # all that may not stand as it is
)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}


def escape(text: str) -> str:
    """Text as XML character data."""
    return _SPECIAL.sub(_entity, text)


def _entity(special: re.Match[str]) -> str:
    return _ENTITIES.get(special[0], "\ufffd")


def _structure_writer(structure: type[Struct]) -> _Writer:
    writers = [(m.field, _member_writer(m)) for m in members(structure)]

    def write(value: Struct) -> str:
        parts = ((writer, getattr(value, field)) for field, writer in writers)
        return "".join([writer(part) for writer, part in parts if part is not None])

    return write


def _member_writer(member: Member) -> _Writer:
    name = member.query.member
    kind = get_origin(member.type)
    if kind is list:
        write_item = _element_writer(name, get_args(member.type)[0])
        return lambda items: "".join(map(write_item, items))
    if kind is dict:
        return _map_writer(member)
    return _element_writer(name, member.type)


def _map_writer(member: Member) -> _Writer:
    name = member.query.member
    write_key = _element_writer(member.query.key, str)
    write_value = _element_writer(member.query.value, get_args(member.type)[1])

    def write(entries: dict[str, Any]) -> str:
        return "".join(
            f"<{name}>{write_key(key)}{write_value(value)}</{name}>"
            for key, value in entries.items()
        )

    return write


def _element_writer(name: str, kind: Any) -> _Writer:
    scalars: dict[Any, _Writer] = {str: escape, int: str, bool: _boolean, bytes: _base64}
    write_content = scalars.get(kind) or _structure_writer(kind)
    return lambda value: f"<{name}>{write_content(value)}</{name}>"


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


_WRITERS = {
    operation.output: _structure_writer(operation.output)
    for operation in OPERATIONS.values()
    if operation.output
}
