"""Patterns with `*` and `?`, compiled to functions that take the text to be matched.

A pattern is a row of atoms: literal text, and wildcards apart from it, so that text which was put
in for a policy variable never becomes a wildcard. Matching takes time in proportion to the text for
each run between two stars, and never backtracks further. Pure; called by `operators` and `rules`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum


class Wild(Enum):
    """A wildcard, where an atom is not literal text."""

    MANY = "*"
    ONE = "?"


Atoms = tuple[str | Wild, ...]
Matcher = Callable[[str], bool]

ARN_PARTS = 6
_WILDCARD = re.compile(r"([*?])")


def atoms(text: str) -> Atoms:
    """The atoms of a pattern as it is written, without policy variables."""
    pieces = _WILDCARD.split(text)
    # Every second piece is a wildcard.
    found = (Wild(piece) if at % 2 else piece for at, piece in enumerate(pieces))
    return tuple(atom for atom in found if atom != "")


def plain(pattern: Iterable[str | Wild]) -> str:
    """The text of a pattern where wildcards mean nothing."""
    return "".join(atom if isinstance(atom, str) else atom.value for atom in pattern)


def any_of(patterns: Sequence[Atoms]) -> Matcher:
    """Whether a text matches one of them."""
    if all(isinstance(atom, str) for pattern in patterns for atom in pattern):
        literals = frozenset(plain(pattern) for pattern in patterns)
        return literals.__contains__
    matchers = [glob(pattern) for pattern in patterns]
    if anything in matchers:
        return anything
    if len(matchers) == 1:
        return matchers[0]

    def one_of(text: str) -> bool:
        for matches in matchers:  # noqa: SIM110 - this is half the price of any()
            if matches(text):
                return True
        return False

    return one_of


def anything(text: str) -> bool:
    return True


def glob(pattern: Atoms) -> Matcher:
    """Whether the whole of a text matches the pattern, in the same case."""
    runs = _runs(pattern)
    if len(runs) == 1:
        return _fixed(runs[0])
    first, *middle, last = runs
    if not middle and not last:
        if not first:
            return anything
        if Wild.ONE not in first:
            return _starting_with(plain(first))
    return _starred(Run(first), [Run(run) for run in middle if run], Run(last))


def _runs(pattern: Atoms) -> list[list[str | Wild]]:
    """What stands between the stars; one more than there are stars."""
    runs: list[list[str | Wild]] = [[]]
    for atom in pattern:
        if atom is Wild.MANY:
            runs.append([])
        else:
            runs[-1].append(atom)
    return runs


def _fixed(run: list[str | Wild]) -> Matcher:
    if Wild.ONE not in run:
        return plain(run).__eq__
    whole = Run(run)
    return lambda text: len(text) == whole.length and whole.is_at(text, 0)


def _starting_with(prefix: str) -> Matcher:
    return lambda text: text.startswith(prefix)


def _starred(first: "Run", middle: list["Run"], last: "Run") -> Matcher:
    length_min = first.length + sum(run.length for run in middle) + last.length

    def matches(text: str) -> bool:
        if len(text) < length_min:
            return False
        end = len(text) - last.length
        if not (first.is_at(text, 0) and last.is_at(text, end)):
            return False
        at = first.length
        # The leftmost place is always good enough: it leaves the most to the runs that follow.
        for run in middle:
            found = run.find(text, at, end)
            if found < 0:
                return False
            at = found + run.length
        return True

    return matches


class Run:
    """Literals and single wildcards in a row: something of a fixed length."""

    __slots__ = ("_literals", "length")

    def __init__(self, run: Iterable[str | Wild]) -> None:
        self._literals: list[tuple[int, str]] = []
        self.length = 0
        for atom in _joined(run):
            if isinstance(atom, str):
                self._literals.append((self.length, atom))
            self.length += len(atom) if isinstance(atom, str) else 1

    def is_at(self, text: str, at: int) -> bool:
        """Whether it matches the text from `at` on; there are at least `length` characters."""
        return all(text.startswith(literal, at + offset) for offset, literal in self._literals)

    def find(self, text: str, start: int, end: int) -> int:
        """The first place at which it matches inside `start:end`, or -1."""
        if not self._literals:
            return start if end - start >= self.length else -1
        offset, literal = self._literals[0]
        after = self.length - offset
        at = start
        # It is looked for by its first literal, so that the search is not by character.
        while at + self.length <= end:
            found = text.find(literal, at + offset, end - after + len(literal))
            if found < 0:
                return -1
            at = found - offset
            if self.is_at(text, at):
                return at
            at += 1
        return -1


def _joined(run: Iterable[str | Wild]) -> list[str | Wild]:
    """The same with neighbouring literals as one."""
    joined: list[str | Wild] = []
    for atom in run:
        if isinstance(atom, str) and joined and isinstance(joined[-1], str):
            joined[-1] += atom
        else:
            joined.append(atom)
    return joined


# --- ARNs -----------------------------------------------------------------------------------------


def arn_parts(text: str) -> tuple[str, ...]:
    """The six parts of an ARN; raises `ValueError` for anything else."""
    parts = tuple(text.split(":", ARN_PARTS - 1))
    if len(parts) < ARN_PARTS or parts[0] != "arn":
        raise ValueError("must be an ARN of six parts")
    return parts


def arn_glob(pattern: Atoms) -> Callable[[Sequence[str]], bool]:
    """Whether the parts of an ARN match those of the pattern, each by itself: no wildcard reaches
    beyond the first five colons. Raises `ValueError` for a pattern without six parts."""
    matchers = [glob(tuple(part)) for part in _pattern_parts(pattern)]
    if len(matchers) < ARN_PARTS:
        raise ValueError("must be an ARN of six parts")
    return lambda parts: all(matches(part) for matches, part in zip(matchers, parts, strict=True))


def _pattern_parts(pattern: Atoms) -> list[list[str | Wild]]:
    parts: list[list[str | Wild]] = [[]]
    for atom in pattern:
        if not isinstance(atom, str):
            parts[-1].append(atom)
            continue
        first, *others = atom.split(":", ARN_PARTS - len(parts))
        parts[-1].append(first)
        parts.extend([other] for other in others)
    return parts
