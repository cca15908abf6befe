"""The data types that a service model is made of.

A generated module (`model/sqs.py`) holds one `msgspec.Struct` per shape, whose encoded names are
those of the JSON protocol, and an `Operation` per API. Where the Query protocol calls a member
something else, the member's annotation carries a `QueryName`. Both codecs in `wire/` read these;
nothing here knows bytes, requests or rules.
"""

from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct


class Operation(Struct, frozen=True):
    """One API of a service."""

    name: str
    input: type[Struct]
    output: type[Struct] | None
    """None for an operation that answers with nothing at all."""
    result_wrapper: str | None
    """The element around the output in the Query protocol; None when there is no output."""


class QueryName(Struct, frozen=True):
    """What a member is called in the Query protocol. Lists and maps are flattened there."""

    member: str
    key: str = ""
    """Maps only: what an entry's key is called."""
    value: str = ""
    """Maps only: what an entry's value is called."""


class Member(Struct, frozen=True):
    """One member of a structure, with everything that a codec has to know about it."""

    field: str
    """The attribute of the struct."""
    name: str
    """The name in the JSON protocol."""
    query: QueryName
    type: Any
    """`str`, `int`, `bool`, `bytes`, a `Struct`, `list[...]` or `dict[str, ...]`."""


@cache
def members(structure: type[Struct]) -> tuple[Member, ...]:
    """The members of a structure, in the model's order."""
    hints = get_type_hints(structure, include_extras=True)
    return tuple(
        _member(field, name, hints[field])
        for field, name in zip(
            structure.__struct_fields__, structure.__struct_encode_fields__, strict=True
        )
    )


def _member(field: str, name: str, hint: Any) -> Member:
    query = next((x for x in getattr(hint, "__metadata__", ()) if isinstance(x, QueryName)), None)
    optional = getattr(hint, "__origin__", hint) if query else hint
    return Member(field, name, query or QueryName(name), _without_none(optional))


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, UnionType):
        return hint
    (kind,) = (arg for arg in get_args(hint) if arg is not NoneType)
    return kind
