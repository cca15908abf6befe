"""Pages and markers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.access import entities
from stanchion.iam import limits
from stanchion.iam.paging import Page, page_of, page_of_documents
from stanchion.model import required
from stanchion.model.errors import ValidationError
from stanchion.model.iam import ListUsersRequest
from tests.iam.harness import ACCOUNT, Service
from tests.sqs.harness import finish


def asked(marker: str | None = None, max_items: int | None = None) -> ListUsersRequest:
    return ListUsersRequest(marker=marker, max_items=max_items)


def in_memory(items: list[str], marker: str | None, max_items: int | None) -> Page[str]:
    return page_of(items, str.lower, asked(marker, max_items))


def test_a_page_is_of_a_hundred_unless_asked_otherwise() -> None:
    page = in_memory([f"{number:04}" for number in range(101)], None, None)
    assert (len(page.items), page.is_truncated) == (100, True)


def test_the_last_page_has_no_marker() -> None:
    assert in_memory(["b", "a"], None, 2) == Page(["a", "b"], False, None)
    assert in_memory([], None, None) == Page([], False, None)


@given(st.sets(st.text("ab-Cö.", min_size=1, max_size=128)), st.integers(1, 7))
def test_pages_show_everything_once(names: set[str], size: int) -> None:
    lowered = sorted({name.lower() for name in names})
    found: list[str] = []
    marker = None
    while True:
        page = in_memory(lowered, marker, size)
        assert len(page.items) <= size
        found += page.items
        if not page.is_truncated:
            assert page.marker is None
            break
        marker = page.marker
        required.check(asked(marker))
    assert found == lowered


def test_what_comes_or_goes_between_pages_shifts_nothing() -> None:
    first = in_memory(["b", "d", "f"], None, 2)
    assert in_memory(["a", "d", "e", "f"], first.marker, 2).items == ["e", "f"]


@pytest.mark.parametrize("marker", ["a", "%%%=", "é", "/w=="])
def test_a_marker_that_is_not_ours(marker: str) -> None:
    with pytest.raises(ValidationError, match="Invalid Marker"):
        in_memory(["a"], marker, None)


# --- Documents ------------------------------------------------------------------------------------


@pytest.fixture
def service() -> Service:
    service = Service()
    for number in range(7):
        service.user(f"User{number}", path="/even/" if number % 2 == 0 else "/odd/")
    return service


def documents(service: Service, request: ListUsersRequest, path: str) -> Page[Any]:
    return finish(
        page_of_documents(
            service.documents,
            entities.User,
            ACCOUNT,
            request,
            lambda user: user.path.startswith(path),
        )
    )


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("path", ["/", "/even/", "/odd/", "/none/"])
def test_pages_of_documents_show_everything_once(service: Service, size: int, path: str) -> None:
    found: list[str] = []
    request = asked(max_items=size)
    while True:
        page = documents(service, request, path)
        assert len(page.items) <= size
        found += [user.name for user in page.items]
        if not page.is_truncated:
            break
        assert page.items
        request = asked(page.marker, size)
    paths = {"/": (0, 1, 2, 3, 4, 5, 6), "/even/": (0, 2, 4, 6), "/odd/": (1, 3, 5)}
    assert found == [f"User{number}" for number in paths.get(path, ())]


def test_a_list_that_filters_stops_looking(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXAMINED_PER_PAGE_MAX", 4)
    page = documents(service, asked(max_items=2), "/none/")
    assert (page.items, page.is_truncated) == ([], True)
    assert documents(service, asked(page.marker, 2), "/none/") == Page([], False, None)
