"""The rules for tags."""

import pytest

from stanchion.iam import tags
from stanchion.model.iam import InvalidInputException, LimitExceededException, Tag


def of(**pairs: str) -> list[Tag]:
    return [Tag(key=key, value=value) for key, value in pairs.items()]


def test_without_any() -> None:
    assert tags.given(None) == {}
    assert tags.merged({"a": "1"}, []) == {"a": "1"}


def test_new_and_changed() -> None:
    assert tags.merged({"a": "1", "b": "2"}, of(b="3", c="")) == {"a": "1", "b": "3", "c": ""}


def test_a_key_is_the_same_whatever_its_case() -> None:
    assert tags.merged({"Team": "x"}, of(team="y")) == {"team": "y"}
    assert tags.without({"Team": "x", "b": "1"}, ["TEAM", "c"]) == {"b": "1"}


def test_a_key_twice() -> None:
    with pytest.raises(InvalidInputException, match="Duplicate tag keys found"):
        tags.given(of(team="x", Team="y"))


@pytest.mark.parametrize("key", ["aws:x", "AWS:x"])
def test_a_reserved_key(key: str) -> None:
    with pytest.raises(InvalidInputException, match="reserved prefix"):
        tags.given([Tag(key=key, value="")])


def test_fifty_at_most() -> None:
    fifty = {str(number): "" for number in range(50)}
    assert len(tags.merged({}, [Tag(key=key, value="") for key in fifty])) == 50
    assert tags.merged(fifty, of(**{"7": "x"}))["7"] == "x"
    with pytest.raises(LimitExceededException):
        tags.merged(fifty, of(more=""))


def test_as_replies_and_conditions_have_them() -> None:
    assert tags.told({"Team": "x"}) == [Tag(key="Team", value="x")]
    assert tags.condition_keys("aws:resourcetag", {"Team": "x"}) == {"aws:resourcetag/team": ("x",)}
