"""Tags of keys."""

import pytest

from stanchion.model.errors import ServiceError, ValidationError
from stanchion.model.kms import (
    CreateKeyRequest,
    KMSInvalidStateException,
    LimitExceededException,
    ListResourceTagsRequest,
    ScheduleKeyDeletionRequest,
    Tag,
    TagException,
    TagResourceRequest,
    UntagResourceRequest,
)
from tests.kms.harness import Service


def tags(**named: str) -> list[Tag]:
    return [Tag(tag_key=key, tag_value=value) for key, value in named.items()]


def test_tags_are_set_replaced_and_taken_away() -> None:
    service = Service()
    key_id = service.ask(CreateKeyRequest(tags=tags(a="1", b="2"))).key_metadata.key_id
    service.ask(TagResourceRequest(key_id=key_id, tags=tags(b="3", c="")))
    listed = service.ask(ListResourceTagsRequest(key_id=key_id))
    assert listed.tags == tags(a="1", b="3", c="")
    assert listed.truncated is False
    service.ask(UntagResourceRequest(key_id=key_id, tag_keys=["a", "nothing"]))
    assert service.found(key_id).tags == {"b": "3", "c": ""}


def test_tags_are_listed_page_by_page() -> None:
    service = Service()
    key_id = service.key(tags=tags(c="", a="", b=""))
    first = service.ask(ListResourceTagsRequest(key_id=key_id, limit=2))
    rest = service.ask(ListResourceTagsRequest(key_id=key_id, limit=2, marker=first.next_marker))
    assert [tag.tag_key for tag in first.tags] == ["a", "b"]
    assert [tag.tag_key for tag in rest.tags] == ["c"]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (tags(a="1") * 2, TagException),
        (tags(a="1", A="2"), TagException),
        (tags(TEAM="2"), TagException),
        ([Tag(tag_key="AWS:x", tag_value="")], TagException),
        ([Tag(tag_key="", tag_value="")], ValidationError),
        ([Tag(tag_key="x" * 129, tag_value="")], ValidationError),
        ([Tag(tag_key="x", tag_value="x" * 257)], ValidationError),
        (tags(**{f"t{number}": "" for number in range(50)}), LimitExceededException),
    ],
)
def test_tags_that_are_refused(given: list[Tag], error: type[ServiceError]) -> None:
    service = Service()
    key_id = service.key(tags=tags(team="a"))
    assert type(service.refuses(TagResourceRequest(key_id=key_id, tags=given))) is error
    assert service.found(key_id).tags == {"team": "a"}


def test_a_key_has_fifty() -> None:
    service = Service()
    key_id = service.key(tags=tags(**{f"t{number}": "" for number in range(50)}))
    service.ask(TagResourceRequest(key_id=key_id, tags=tags(t0="new")))
    assert service.found(key_id).tags["t0"] == "new"


def test_a_key_that_waits_for_its_end_keeps_its_tags() -> None:
    service = Service()
    key_id = service.key(tags=tags(a="1"))
    service.do(ScheduleKeyDeletionRequest(key_id=key_id))
    for request in (
        TagResourceRequest(key_id=key_id, tags=tags(b="")),
        UntagResourceRequest(key_id=key_id, tag_keys=["a"]),
    ):
        assert isinstance(service.refuses(request), KMSInvalidStateException)
    assert service.ask(ListResourceTagsRequest(key_id=key_id)).tags == tags(a="1")
