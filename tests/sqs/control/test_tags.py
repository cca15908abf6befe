"""TagQueue, UntagQueue and ListQueueTags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.model.errors import InvalidParameterValue, MissingParameter
from stanchion.model.sqs import (
    CreateQueueRequest,
    ListQueueTagsRequest,
    QueueDoesNotExist,
    TagQueueRequest,
    UntagQueueRequest,
)
from stanchion.store.contract import UpdateQueue
from tests.sqs.harness import Service

KEY_LENGTH = "Tag keys must be between 1 and 128 characters in length."
SYMBOLS = "may only contain unicode letters, digits, whitespace, or one of these symbols"


def with_queue(**tags: str) -> Service:
    service = Service()
    service.do(CreateQueueRequest(queue_name="q", tags=tags))
    return service


def tag(service: Service, tags: dict[str, str]) -> None:
    assert service.do(TagQueueRequest(queue_url="q", tags=tags)) is None


def untag(service: Service, *keys: str) -> None:
    assert service.do(UntagQueueRequest(queue_url="q", tag_keys=list(keys))) is None


def tags_of(service: Service) -> dict[str, str] | None:
    found: dict[str, str] | None = service.do(ListQueueTagsRequest(queue_url="q")).tags
    return found


def test_a_queue_without_tags_lists_none() -> None:
    assert tags_of(with_queue()) is None


def test_a_tag_that_is_there_gets_the_new_value() -> None:
    service = with_queue(team="a", cost="1")
    tag(service, {"team": "b", "stage": ""})
    assert tags_of(service) == {"team": "b", "cost": "1", "stage": ""}


KEYS = st.text("aZ9 é_.:/=+-@", min_size=1, max_size=128).filter(
    lambda key: not key.lower().startswith("aws:")
)
TAGS = st.dictionaries(KEYS, st.text("aZ9 é_.:/=+-@", max_size=256), min_size=1, max_size=10)


@given(tags=TAGS)
def test_untagging_undoes_tagging(tags: dict[str, str]) -> None:
    service = with_queue(kept="1")
    tag(service, tags)
    assert tags_of(service) == {"kept": "1", **tags}
    untag(service, *tags)
    assert tags_of(service) == (None if "kept" in tags else {"kept": "1"})


def test_untagging_what_is_absent_succeeds_and_changes_nothing() -> None:
    service = with_queue(a="1")
    service.store.commands.clear()
    untag(service, "b")
    assert tags_of(service) == {"a": "1"}
    assert not any(isinstance(command, UpdateQueue) for command in service.store.commands)


@pytest.mark.parametrize("tags", [None, {}])
def test_tagging_with_nothing_is_refused(tags: dict[str, str] | None) -> None:
    error = with_queue().refuses(TagQueueRequest(queue_url="q", tags=tags))
    assert isinstance(error, MissingParameter)
    assert error.message == "The request must contain the parameter Tags."


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"": "v"}, KEY_LENGTH),
        ({"k" * 129: "v"}, KEY_LENGTH),
        ({"k": "v" * 257}, "Tag values must be between 0 and 256 characters in length."),
        ({"aws:x": "v"}, "Tag keys must not start with the reserved prefix aws:"),
        ({"AWS:x": "v"}, "Tag keys must not start with the reserved prefix aws:"),
        ({"a#b": "v"}, f"Tag keys {SYMBOLS}: _ . : / = + - @'"),
        ({"k": "a#b"}, f"Tag values {SYMBOLS}: _ . : / = + - @'"),
        ({f"k{n}": "" for n in range(51)}, "Too many tags added for queue q."),
    ],
    ids=str,
)
def test_a_bad_tag_is_refused_on_tagging_and_on_creating(
    tags: dict[str, str], message: str
) -> None:
    for error in (
        with_queue().refuses(TagQueueRequest(queue_url="q", tags=tags)),
        Service().refuses(CreateQueueRequest(queue_name="q", tags=tags)),
    ):
        assert isinstance(error, InvalidParameterValue)
        assert error.message == message


@pytest.mark.parametrize("tags", [{"Team": "b"}, {"a": "1", "A": "2"}])
def test_tags_that_policies_could_not_tell_apart_are_refused(tags: dict[str, str]) -> None:
    service = Service()
    url = service.do(CreateQueueRequest(queue_name="q", tags={"team": "a"})).queue_url
    error = service.refuses(TagQueueRequest(queue_url=url, tags=tags))
    assert isinstance(error, InvalidParameterValue)
    assert error.message.endswith(" differ only in case.")
    assert service.do(ListQueueTagsRequest(queue_url=url)).tags == {"team": "a"}


def test_the_limit_counts_the_tags_that_are_there() -> None:
    service = with_queue(**{f"k{n}": "" for n in range(49)})
    tag(service, {"fiftieth": ""})
    tag(service, {"k0": "again"})
    error = service.refuses(TagQueueRequest(queue_url="q", tags={"k50": ""}))
    assert error.message == "Too many tags added for queue q."


def test_untagging_without_keys_is_refused() -> None:
    error = with_queue().refuses(UntagQueueRequest(queue_url="q"))
    assert isinstance(error, MissingParameter)
    assert error.message == "The request must contain the parameter TagKeys."


@pytest.mark.parametrize("keys", [[], [""], ["a", "k" * 129]])
def test_untagging_with_a_bad_key_is_refused(keys: list[str]) -> None:
    error = with_queue().refuses(UntagQueueRequest(queue_url="q", tag_keys=keys))
    assert isinstance(error, InvalidParameterValue)
    assert error.message == KEY_LENGTH


@pytest.mark.parametrize("request_type", [TagQueueRequest, UntagQueueRequest, ListQueueTagsRequest])
def test_a_missing_queue_is_found_before_any_other_fault(request_type: type) -> None:
    assert isinstance(Service().refuses(request_type(queue_url="q")), QueueDoesNotExist)
    assert isinstance(Service().refuses(request_type()), QueueDoesNotExist)
