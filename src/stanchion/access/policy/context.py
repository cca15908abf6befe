"""The condition keys of one request: what `${aws:username}` and `aws:SourceIp` stand for.

Names are lower-case here, whatever a policy wrote. Keys come from several mappings, looked at in
turn; those that differ between two requests which are otherwise the same (the time, the user agent,
the tags asked for) are kept apart, and a context remembers whether one of those was asked for,
so that a decision which depended on none of them can be remembered too.
"""

from collections.abc import Mapping
from typing import Protocol

Values = tuple[str, ...]
"""Of a condition key: one for most, any number for those that hold a set. As policies write them:
`true`, `2026-01-31T12:00:00Z`, `42`."""

NO_KEYS: Mapping[str, Values] = {}


class Keys(Protocol):
    """What conditions and variables ask."""

    def values(self, key: str) -> Values | None: ...


class Context:
    """What is known of a request. A key that is in no mapping is absent."""

    __slots__ = ("_lasting", "_passing", "is_passing")

    def __init__(
        self, *lasting: Mapping[str, Values], passing: Mapping[str, Values] = NO_KEYS
    ) -> None:
        self._lasting = lasting
        self._passing = passing
        self.is_passing = False
        """Whether a key was asked for that the next request of this kind may have otherwise."""

    def values(self, key: str) -> Values | None:
        """The values of a key, or None when the request does not have it. `key` is lower-case."""
        for mapping in self._lasting:
            found = mapping.get(key)
            if found is not None:
                return found
        if key.startswith(PASSING_PREFIXES):
            self.is_passing = True
            return self._passing.get(key)
        return None


PASSING_PREFIXES = (
    "aws:currenttime",
    "aws:epochtime",
    "aws:multifactorauthage",
    "aws:useragent",
    "aws:referer",
    "aws:requesttag/",
    "aws:tagkeys",
    "iam:",
    "kms:",
    "sts:",
)
"""Keys that a remembered decision must not depend on; those of a service are all among them."""


class WithoutResourceTags:
    """The same keys without the tags of the resource, for policies that do not see them."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def values(self, key: str) -> Values | None:
        if key.startswith("aws:resourcetag/"):
            return None
        return self._context.values(key)
