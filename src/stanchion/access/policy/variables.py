"""Policy variables: `${aws:username}`, `${aws:PrincipalTag/team, 'none'}`, `${*}`, `${?}`, `${$}`.

Text with variables is a template; with the keys of a request it becomes a pattern, in which what
was put in is literal. A variable whose key the request does not have, or has several values of,
and that has no default, makes the whole template unusable for that request. Variables mean
something in version 2012-10-17 only. Called by `document` to check, and by `rules`.
"""

import re

from msgspec import Struct

from stanchion.access.policy.context import Keys
from stanchion.access.policy.patterns import Atoms, Wild, atoms


class Variable(Struct, frozen=True):
    key: str
    """Lower-case."""
    written: str
    """The key as the policy has it."""
    default: str | None


Template = tuple[str | Wild | Variable, ...]

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_DEFAULT = re.compile(r"\s*'([^']*)'\s*")
_LITERALS = ("*", "?", "$")


def template(text: str, version: str) -> Template:
    """A pattern of a policy of that version. Raises `ValueError` for a variable it cannot read."""
    if version != "2012-10-17" or "${" not in text:
        return atoms(text)
    found: list[str | Wild | Variable] = []
    pieces = _VARIABLE.split(text)
    for at, piece in enumerate(pieces):
        if at % 2:
            # Every second piece is what was inside the braces.
            found.append(piece if piece in _LITERALS else _variable(piece))
        elif "${" in piece:
            raise ValueError("has a policy variable that does not end, or one inside another")
        else:
            found.extend(atoms(piece))
    return tuple(found)


def _variable(inside: str) -> Variable:
    name, comma, rest = inside.partition(",")
    default = _DEFAULT.fullmatch(rest)
    if comma and default is None:
        raise ValueError("has a policy variable whose default is not in single quotes")
    key = name.strip()
    if not key:
        raise ValueError("has a policy variable without a name")
    return Variable(key.lower(), key, default[1] if default else None)


def outline(text: str) -> str:
    """The text with every variable replaced by one letter: its shape, whatever they stand for."""
    return _VARIABLE.sub("x", text)


def variables(parts: Template) -> list[Variable]:
    return [part for part in parts if isinstance(part, Variable)]


def fixed(parts: Template) -> Atoms | None:
    """The pattern of a template without variables; None for one with."""
    found = tuple(part for part in parts if not isinstance(part, Variable))
    return found if len(found) == len(parts) else None


def expand(parts: Template, keys: Keys) -> Atoms | None:
    """The pattern for this request, or None when a variable stands for nothing."""
    found: list[str | Wild] = []
    for part in parts:
        if not isinstance(part, Variable):
            found.append(part)
            continue
        value = _value(part, keys)
        if value is None:
            return None
        found.append(value)
    return tuple(found)


def _value(variable: Variable, keys: Keys) -> str | None:
    values = keys.values(variable.key)
    if not values:
        return variable.default
    # Which of several is meant, nobody can say.
    return values[0] if len(values) == 1 else None
