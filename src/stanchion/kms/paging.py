"""Paging: Limit, and the Markers of lists that are in the order of a name.

A marker says after which name the next page starts. It is no secret and no proof: a list is always
one that the caller may see, so a marker that somebody made up shows nothing else. Called by the
list actions.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from stanchion.model.kms import InvalidMarkerException
from stanchion.store.documents import Document, Documents

Item = TypeVar("Item")
D = TypeVar("D", bound=Document)


class Paged(Protocol):
    """A request for a page."""

    @property
    def limit(self) -> int | None: ...
    @property
    def marker(self) -> str | None: ...


class Size(Struct, frozen=True):
    """How many items the pages of a list have. AWS's model has the same maximum for all."""

    default: int
    most: int


KEYS = Size(100, 1000)
"""Keys, policies and rotations."""
ALIASES = Size(50, 100)
"""Aliases and grants."""
TAGS = Size(50, 50)


class Page(Struct, Generic[Item], frozen=True):
    items: list[Item]
    truncated: bool
    next_marker: str | None
    """When there is another page."""


def page_of(
    items: Iterable[Item], name: Callable[[Item], str], request: Paged, size: Size
) -> Page[Item]:
    """The page asked for of a few things that are at hand, in the order of their names.

    Raises `InvalidMarkerException`.
    """
    after, most = _start(request), _limit(request, size)
    rest = sorted((item for item in items if name(item) > after), key=name)
    return _page(rest, most, name)


async def page_of_documents(
    documents: Documents, sort: type[D], account_id: str, prefix: str, request: Paged, size: Size
) -> Page[D]:
    """The page asked for of an account's documents of a sort whose names have that prefix.

    Raises `InvalidMarkerException`.
    """
    after, most = _start(request), _limit(request, size)
    found = await documents.list(
        sort, account_id, prefix=prefix, after=prefix + after if after else "", limit=most + 1
    )
    page = _page(found, most, lambda named: named[0].removeprefix(prefix))
    return Page([document for _, document in page.items], page.truncated, page.next_marker)


def _page(rest: Iterable[Item], most: int, name: Callable[[Item], str]) -> Page[Item]:
    """`rest` is one item longer than a page when there is another."""
    items = list(rest)
    if len(items) <= most:
        return Page(items, False, None)
    last = name(items[most - 1])
    return Page(items[:most], True, urlsafe_b64encode(last.encode()).decode())


def _limit(request: Paged, size: Size) -> int:
    return min(request.limit or size.default, size.most)


def _start(request: Paged) -> str:
    """The name after which the page starts. Raises `InvalidMarkerException`."""
    if request.marker is None:
        return ""
    try:
        return urlsafe_b64decode(request.marker.encode("ascii")).decode()
    except ValueError:
        raise InvalidMarkerException("The marker is not one of an earlier reply.") from None
