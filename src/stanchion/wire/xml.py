"""The XML of the Query protocol's replies.

The writers are built once per struct of the model, when it is first written. Whatever the text, the
document is well-formed: what XML 1.0 cannot hold becomes U+FFFD, and a carriage return is written
as `&#xD;`, because a parser would turn a bare one into a line feed and the body's MD5 would no
longer match.
"""

import re
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, get_args, get_origin

from msgspec import Struct

from stanchion.model.shapes import Member, Operation, QueryName, members

_Writer = Callable[[Any], str]


def response(namespace: str, operation: Operation, output: Struct | None, request_id: str) -> str:
    """The document for an operation that succeeded."""
    head, wrapper = f"{operation.name}Response", operation.result_wrapper
    result = ""
    if operation.output is not None:
        inner = "" if output is None else _structure_writer(operation.output)(output)
        result = f"<{wrapper}>{inner}</{wrapper}>"
    return (
        f'<{head} xmlns="{namespace}">{result}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{head}>"
    )


def error_response(
    namespace: str, fault: str, code: str, message: str, detail: str, request_id: str
) -> str:
    """The document for an error. `detail` is an element, or nothing."""
    return (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type>'
        f"<Code>{code}</Code><Message>{escape(message)}</Message>{detail}</Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )


_SPECIAL = re.compile(
    r"[^\t\n !#-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # all that may not stand as it is
)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}


def escape(text: str) -> str:
    """Text as XML character data."""
    return _SPECIAL.sub(_entity, text)


def _entity(special: re.Match[str]) -> str:
    return _ENTITIES.get(special[0], "\ufffd")


@cache
def _structure_writer(structure: type[Struct]) -> _Writer:
    writers = [(m.field, _member_writer(m)) for m in members(structure)]

    def write(value: Struct) -> str:
        parts = ((writer, getattr(value, field)) for field, writer in writers)
        return "".join([writer(part) for writer, part in parts if part is not None])

    return write


def _member_writer(member: Member) -> _Writer:
    query = member.query
    kind = get_origin(member.type)
    if kind is list:
        write_item = _element_writer(query.item or query.member, get_args(member.type)[0])
        return _wrapped(query, lambda items: "".join(map(write_item, items)))
    if kind is dict:
        return _wrapped(query, _map_writer(query, get_args(member.type)[1]))
    return _element_writer(query.member, member.type)


def _wrapped(query: QueryName, write_items: _Writer) -> _Writer:
    """Around the items of what is not flattened stands an element of its own."""
    if not query.item:
        return write_items
    name = query.member
    return lambda items: f"<{name}>{write_items(items)}</{name}>"


def _map_writer(query: QueryName, kind: Any) -> _Writer:
    name = query.item or query.member
    write_key = _element_writer(query.key, str)
    write_value = _element_writer(query.value, kind)

    def write(entries: dict[str, Any]) -> str:
        return "".join(
            f"<{name}>{write_key(key)}{write_value(value)}</{name}>"
            for key, value in entries.items()
        )

    return write


def _element_writer(name: str, kind: Any) -> _Writer:
    scalars: dict[Any, _Writer] = {
        str: escape,
        int: str,
        bool: _boolean,
        bytes: _base64,
        datetime: _instant,
    }
    write_content = scalars.get(kind) or _structure_writer(kind)
    return lambda value: f"<{name}>{write_content(value)}</{name}>"


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _instant(value: datetime) -> str:
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
