"""Pages and markers."""

import pytest

from stanchion.kms import paging
from stanchion.model.kms import InvalidMarkerException, ListAliasesRequest, ListKeysRequest
from tests.kms.harness import Service


def pages(items: list[str], size: paging.Size, limit: int | None) -> list[list[str]]:
    found, marker = [], None
    while True:
        request = ListKeysRequest(limit=limit, marker=marker)
        page = paging.page_of(items, str, request, size)
        found.append(page.items)
        assert page.truncated is (page.next_marker is not None)
        if page.next_marker is None:
            return found
        marker = page.next_marker


@pytest.mark.parametrize(
    ("count", "limit", "sizes"),
    [
        (0, None, [0]),
        (3, None, [3]),
        (4, None, [3, 1]),
        (4, 2, [2, 2]),
        (9, 9, [4, 4, 1]),
    ],
)
def test_every_item_is_on_one_page(count: int, limit: int | None, sizes: list[int]) -> None:
    items = [f"{number:03d}" for number in range(count)]
    found = pages(items[::-1], paging.Size(3, 4), limit)
    assert [len(page) for page in found] == sizes
    assert [item for page in found for item in page] == items


def test_names_may_be_of_any_letters() -> None:
    assert pages(["ä", "é", "漢"], paging.Size(1, 1), 1) == [["ä"], ["é"], ["漢"]]


@pytest.mark.parametrize("marker", ["x", "é", "_w==", "ab=c"])
def test_a_marker_that_nobody_gave(marker: str) -> None:
    service = Service()
    for request in (ListKeysRequest(marker=marker), ListAliasesRequest(marker=marker)):
        assert isinstance(service.refuses(request), InvalidMarkerException)


def test_a_marker_shows_nothing_of_others() -> None:
    service = Service()
    key_id = service.key()
    elsewhere = paging.page_of(["../us-east-1", "x"], str, ListKeysRequest(limit=1), paging.KEYS)
    listed = service.ask(ListKeysRequest(marker=elsewhere.next_marker))
    assert {key.key_id for key in listed.keys} <= {key_id}
