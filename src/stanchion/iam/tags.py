"""The rules for tags, which users, roles, policies and providers share.

Keys keep their case but are the same whatever it is: setting `team` replaces `Team`. What a key or
value may be made of has been checked with the request. Called by the tag actions and by whatever
creates something with tags.
"""

from collections.abc import Iterable, Mapping

from stanchion.access.entities import Tags
from stanchion.access.policy.context import Values
from stanchion.iam.limits import TAGS_MAX
from stanchion.model.iam import InvalidInputException, LimitExceededException, Tag


def given(tags: Iterable[Tag] | None) -> Tags:
    """The tags of a request. Raises `InvalidInputException`."""
    found: Tags = {}
    keys: set[str] = set()
    for tag in tags or ():
        key = tag.key or ""
        if key.lower().startswith("aws:"):
            raise InvalidInputException("Tag keys must not start with the reserved prefix aws:")
        if key.lower() in keys:
            raise InvalidInputException(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive."
            )
        keys.add(key.lower())
        found[key] = tag.value or ""
    return found


def merged(current: Mapping[str, str], tags: Iterable[Tag] | None) -> Tags:
    """The tags after those of a request are set.

    Raises `InvalidInputException` and `LimitExceededException`.
    """
    added = given(tags)
    result = without(current, added) | added
    if len(result) > TAGS_MAX:
        raise LimitExceededException(
            f"The number of tags has reached the maximum limit. Cannot exceed quota for "
            f"TagsPerResource: {TAGS_MAX}"
        )
    return result


def without(current: Mapping[str, str], keys: Iterable[str] | None) -> Tags:
    """The tags after some are taken away. A key that is not there is no error."""
    gone = {key.lower() for key in keys or ()}
    return {key: value for key, value in current.items() if key.lower() not in gone}


def told(tags: Mapping[str, str]) -> list[Tag]:
    """The tags as replies have them."""
    return [Tag(key=key, value=value) for key, value in tags.items()]


def condition_keys(prefix: str, tags: Mapping[str, str]) -> dict[str, Values]:
    """The tags as condition keys: `aws:resourcetag/team`."""
    return {f"{prefix}/{key.lower()}": (value,) for key, value in tags.items()}
