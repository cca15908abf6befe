"""Paging: MaxItems, and the Markers of lists that are in the order of a name.

A marker says after which name the next page starts. It is no secret and no proof: a list is always
one of the caller's own account, so a marker that somebody made up shows nothing else. A page may
hold less than was asked for, even nothing, and still not be the last: a list that filters stops
looking after a while. Called by the list actions.
"""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from stanchion.iam import limits
from stanchion.model.errors import ValidationError
from stanchion.store.documents import Document, Documents

Item = TypeVar("Item")
D = TypeVar("D", bound=Document)


class Paged(Protocol):
    """A request for a page."""

    @property
    def marker(self) -> str | None: ...
    @property
    def max_items(self) -> int | None: ...


class Page(Struct, Generic[Item], frozen=True):
    items: list[Item]
    is_truncated: bool
    marker: str | None
    """Of the next page, when there may be one."""


def _page(items: list[Item], rest_after: str | None) -> Page[Item]:
    return Page(items, rest_after is not None, None if rest_after is None else marker(rest_after))


def page_of(items: Iterable[Item], key: Callable[[Item], str], request: Paged) -> Page[Item]:
    """The page asked for of a few things that are at hand, in the order of their keys.

    Raises `ValidationError` for a marker that is not ours.
    """
    after, size = start(request), size_of(request)
    rest = sorted((item for item in items if key(item) > after), key=key)
    items = rest[:size]
    return _page(items, key(items[-1]) if len(rest) > size else None)


async def page_of_documents(
    documents: Documents,
    sort: type[D],
    account_id: str,
    request: Paged,
    wanted: Callable[[D], bool] = lambda _: True,
) -> Page[D]:
    """The page asked for of an account's documents of a sort, those that are wanted.

    Raises `ValidationError` for a marker that is not ours.
    """
    after, size = start(request), size_of(request)
    items: list[D] = []
    examined = 0
    while examined < limits.EXAMINED_PER_PAGE_MAX:
        found = await documents.list(sort, account_id, after=after, limit=size + 1)
        for name, document in found[:size]:
            if wanted(document):
                if len(items) == size:
                    return _page(items, after)
                items.append(document)
            after = name
        if len(found) <= size:
            return _page(items, None)
        examined += size
    return _page(items, after)


def size_of(request: Paged) -> int:
    return request.max_items or limits.PAGE_ITEMS_DEFAULT


def start(request: Paged) -> str:
    """The name after which the page starts. Raises `ValidationError`."""
    if request.marker is None:
        return ""
    try:
        return b64decode(request.marker, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise ValidationError("Invalid Marker.") from None


def marker(after: str) -> str:
    """The marker of the page that starts after a name."""
    return urlsafe_b64encode(after.encode()).decode()
