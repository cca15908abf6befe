"""The data types that a service model is made of.

A generated module (`model/sqs.py` and its neighbours) holds one `msgspec.Struct` per shape, whose
encoded names are those of the JSON protocol, and a `ServiceModel` with an `Operation` per API. A
member's annotation carries a `QueryName` where the Query protocol writes it otherwise, and what the
model requires of its value. The codecs in `wire/` read the former and `model/required.py` the
latter; nothing here knows bytes, requests or rules.
"""

from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct


class Operation(Struct, frozen=True):
    """One API of a service."""

    name: str
    input: type[Struct]
    """Without members for an operation that takes nothing."""
    output: type[Struct] | None
    """None for an operation that answers with nothing at all."""
    result_wrapper: str | None
    """The element around the output in the Query protocol; None where there is none."""


class ServiceModel(Struct, frozen=True, eq=False):
    """One AWS service: how it is addressed and written, and what it can be asked."""

    name: str
    """As in credential scopes and the prefix of IAM's actions: `sqs`."""
    api_version: str
    target_prefix: str
    """What stands before the dot of `X-Amz-Target`; empty if it does not speak JSON."""
    json_version: str
    """`1.0` or `1.1`, as in its content type; empty if it does not speak JSON."""
    xml_namespace: str
    """Empty if it does not speak Query."""
    query_compatible: bool
    """Whether its JSON errors still have the codes and the statuses of the Query protocol."""
    operations: Mapping[str, Operation]
    """By name."""


class QueryName(Struct, frozen=True):
    """How the Query protocol writes a member. Lists and maps that have one are flattened."""

    member: str
    key: str = ""
    """Maps only: what an entry's key is called."""
    value: str = ""
    """Maps only: what an entry's value is called."""
    item: str = ""
    """Lists and maps only: the name between their own and the index; empty when flattened."""


class Required:
    """Marks a member that a request must have."""


class Limits(Struct, frozen=True):
    """What a value has to satisfy, in the terms of the model."""

    minimum: int | None = None
    """Of a number itself, of a text's characters, of a blob's bytes, of a list's items."""
    maximum: int | None = None
    pattern: str = ""
    """A regular expression of Java's for the whole of a text."""
    values: tuple[str, ...] = ()
    """All that a text may be; empty when it is free."""
    sensitive: bool = False
    """Whether the value may not be told to anybody, nor logged."""
    items: "Limits | None" = None
    """Of each item of a list that is not a structure."""


class Member(Struct, frozen=True):
    """One member of a structure, with everything that a codec or a check has to know about it."""

    field: str
    """The attribute of the struct."""
    name: str
    """The name in the JSON protocol."""
    query: QueryName
    type: Any
    """`str`, `int`, `bool`, `bytes`, `datetime`, a `Struct`, `list[...]` or `dict[str, ...]`."""
    required: bool
    limits: Limits | None


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
    traits = getattr(hint, "__metadata__", ())
    kind = _without_none(hint.__origin__ if traits else hint)
    query = next((trait for trait in traits if isinstance(trait, QueryName)), None)
    limits = next((trait for trait in traits if isinstance(trait, Limits)), None)
    return Member(field, name, query or _plain(name, kind), kind, Required in traits, limits)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, UnionType):
        return hint
    (kind,) = (arg for arg in get_args(hint) if arg is not NoneType)
    return kind


def _plain(name: str, kind: Any) -> QueryName:
    """How the Query protocol writes a member of which the model says nothing special."""
    if get_origin(kind) is list:
        return QueryName(name, item="member")
    if get_origin(kind) is dict:
        return QueryName(name, "key", "value", "entry")
    return QueryName(name)
