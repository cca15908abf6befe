"""What the model requires of a request: members that must be there, and limits of their values.

IAM, STS and KMS call `check` on a decoded request, before anything else, and get AWS's own words
for what is wrong. SQS has its own order and words and never comes here. A value that the model
calls sensitive is never repeated.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from msgspec import Struct

from stanchion.model.errors import ValidationError
from stanchion.model.shapes import Limits, Member, members


def check(request: Struct) -> None:
    """Raises ValidationError, naming everything that is wrong."""
    faults = list(_faults(request, ""))
    if faults:
        detected = "error" if len(faults) == 1 else "errors"
        raise ValidationError(f"{len(faults)} validation {detected} detected: {'; '.join(faults)}")


def _faults(structure: Struct, path: str) -> Iterator[str]:
    for member in _checked_members(type(structure)):
        value = getattr(structure, member.field)
        # AWS writes all of a member's name as it is, but for the first letter.
        place = f"{path}{member.name[0].lower()}{member.name[1:]}"
        if value is not None:
            yield from _value_faults(value, member.limits, place)
        elif member.required:
            yield f"Value null at '{place}' failed to satisfy constraint: Member must not be null"


@cache
def _checked_members(structure: type[Struct]) -> tuple[Member, ...]:
    return tuple(member for member in members(structure) if _is_checked(member))


def _is_checked(member: Member) -> bool:
    return member.required or member.limits is not None or _holds_structure(member.type)


def _holds_structure(kind: Any) -> bool:
    parts = getattr(kind, "__args__", (kind,))
    return any(isinstance(part, type) and issubclass(part, Struct) for part in parts)


def _value_faults(value: Any, limits: Limits | None, place: str) -> Iterator[str]:
    if limits is not None:
        told = _told(value, limits)
        for constraint in _broken(value, limits):
            yield f"Value{told} at '{place}' failed to satisfy constraint: {constraint}"
    if isinstance(value, Struct):
        yield from _faults(value, f"{place}.")
    elif isinstance(value, list):
        for index, item in enumerate(value, 1):
            if isinstance(item, Struct):
                yield from _faults(item, f"{place}.{index}.member.")


def _told(value: Any, limits: Limits) -> str:
    """The value as the message has it; empty where it may not be told, or is no text."""
    if limits.sensitive or (limits.items is not None and limits.items.sensitive):
        return ""
    if isinstance(value, list):
        plain = all(isinstance(item, str) for item in value)
        return f" '[{', '.join(value)}]'" if plain else ""
    return f" '{value}'" if isinstance(value, str | int) else ""


def _broken(value: Any, limits: Limits) -> Iterator[str]:
    """The constraints that a value does not satisfy, in AWS's words."""
    for words, holds in _constraints(limits, isinstance(value, int)):
        if not holds(value):
            yield words
    items = limits.items
    if items is not None and any(any(_broken(item, items)) for item in value):
        # AWS does not say which item, nor which of what it demands of one.
        demands = ", ".join(words for words, _ in _constraints(items, False))
        yield f"Member must satisfy constraint: [{demands}]"


@cache
def _constraints(limits: Limits, number: bool) -> tuple[tuple[str, Callable[[Any], bool]], ...]:
    """What the limits say of a number, or else of something that has a length."""
    low, high, pattern, values = limits.minimum, limits.maximum, limits.pattern, limits.values
    size: Callable[[Any], int] = int if number else len
    noun = "value" if number else "length"
    found: list[tuple[str, Callable[[Any], bool]]] = []
    if high is not None:
        words = f"Member must have {noun} less than or equal to {high}"
        found.append((words, lambda value: size(value) <= high))
    if low is not None:
        words = f"Member must have {noun} greater than or equal to {low}"
        found.append((words, lambda value: size(value) >= low))
    if pattern:
        words = f"Member must satisfy regular expression pattern: {pattern}"
        matches = re.compile(*_in_python(pattern)).fullmatch
        found.append((words, lambda value: matches(value) is not None))
    if values:
        words = f"Member must satisfy enum value set: [{', '.join(values)}]"
        found.append((words, lambda value: value in values))
    return tuple(found)


_LETTERS_SEPARATORS_NUMBERS = r"\p{L}\p{Z}\p{N}_"


def _in_python(pattern: str) -> tuple[str, re.RegexFlag]:
    r"""A regular expression of Java's, where `\w` and `\d` are ASCII, as one of Python's."""
    if _LETTERS_SEPARATORS_NUMBERS not in pattern:
        return pattern, re.ASCII
    separators = r"\x20\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    return pattern.replace(_LETTERS_SEPARATORS_NUMBERS, rf"\w{separators}"), re.UNICODE
