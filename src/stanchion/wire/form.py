"""`application/x-www-form-urlencoded` bytes as a tree of the Query protocol's dotted names.

`A.1.Name=x&A.1.Value=y&B=z` is `{"A": {"1": {"Name": "x", "Value": "y"}}, "B": "z"}`. Only the
shape is understood here: `query.py` knows what the names mean. Indices stay text, so that a huge
one costs nothing. Decoding is strict: a bad escape or bad UTF-8 is an error, never a replacement.
"""

import re
from binascii import a2b_qp
from typing import Any

from stanchion.model.errors import MalformedInput

PARAMETERS_MAX = 10_000
"""Twice what ten entries of everything could need, with room for a batch that is too long."""

_DEPTH_MAX = 8
"""One more than the deepest name of any model; what is deeper still is nothing we know."""

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

Tree = dict[str, Any]
"""A parameter's text, or a `Tree` of what is below its name."""


def parse(encoded: bytes) -> Tree:
    """The tree of all parameters; the last of equal names counts. Raises MalformedInput."""
    if encoded.count(b"&") >= PARAMETERS_MAX:
        raise MalformedInput(f"A request can not have more than {PARAMETERS_MAX} parameters.")
    if _BAD_ESCAPE.search(encoded):
        raise MalformedInput("Invalid percent-encoding in the request.")
    tree: Tree = {}
    try:
        for parameter in encoded.split(b"&"):
            name, _, value = parameter.partition(b"=")
            _insert(tree, _text(name), _text(value))
    except UnicodeDecodeError:
        raise MalformedInput("The request is not valid UTF-8.") from None
    return tree


def _text(encoded: bytes) -> str:
    spaced = encoded.replace(b"+", b" ")
    if b"%" in spaced:
        # Quoted-printable has the same escapes under another sign, and is decoded in C: a megabyte
        # of escapes must not hold up everybody else.
        spaced = a2b_qp(spaced.replace(b"=", b"=3D").replace(b"%", b"="))
    return spaced.decode()


def _insert(tree: Tree, name: str, value: str) -> None:
    *path, last = name.split(".", _DEPTH_MAX)
    for step in path:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            raise MalformedInput(f"The parameter {name} is below one that has a value.")
    if isinstance(tree.get(last), dict):
        raise MalformedInput(f"The parameter {name} has a value and others below it.")
    tree[last] = value
