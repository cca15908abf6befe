"""The tags of keys. They have a case, but condition keys do not: no two may differ in it alone.

What tags may be made of has been checked with the request. Called by CreateKey as well.
"""

from collections.abc import Iterable, Mapping

from msgspec import structs

from stanchion.kms import limits, paging
from stanchion.kms.entities import Key
from stanchion.kms.finding import edit, find, not_pending
from stanchion.kms.service import Kms, action
from stanchion.model.kms import (
    LimitExceededException,
    ListResourceTagsRequest,
    ListResourceTagsResponse,
    Tag,
    TagException,
    TagResourceRequest,
    UntagResourceRequest,
)
from stanchion.service import Call


@action
async def tag_resource(kms: Kms, call: Call, request: TagResourceRequest) -> None:
    """A tag that the key has already gets the new value."""

    def change(key: Key) -> Key:
        return structs.replace(not_pending(key), tags=merged(key.tags, request.tags))

    await edit(kms, call, request.key_id, change)


def merged(current: Mapping[str, str], given: Iterable[Tag] | None) -> dict[str, str]:
    """The tags after those of a request are set.

    Raises `TagException` and `LimitExceededException`.
    """
    tags = dict(current)
    spellings = {key.lower(): key for key in current}
    seen: set[str] = set()
    for tag in given or ():
        key = tag.tag_key or ""
        if key.lower().startswith("aws:"):
            raise TagException("Tag keys must not start with the reserved prefix aws:")
        if key in seen or spellings.setdefault(key.lower(), key) != key:
            raise TagException(f"Duplicate tag key: {key}")
        seen.add(key)
        tags[key] = tag.tag_value or ""
    if len(tags) > limits.TAGS_MAX:
        raise LimitExceededException(f"A key cannot have more than {limits.TAGS_MAX} tags")
    return tags


@action
async def untag_resource(kms: Kms, call: Call, request: UntagResourceRequest) -> None:
    """A key that is not there is no error."""
    gone = frozenset(request.tag_keys or ())

    def change(key: Key) -> Key:
        rest = {name: value for name, value in not_pending(key).tags.items() if name not in gone}
        return structs.replace(key, tags=rest)

    await edit(kms, call, request.key_id, change)


@action
async def list_resource_tags(
    kms: Kms, call: Call, request: ListResourceTagsRequest
) -> ListResourceTagsResponse:
    key = await find(kms, call, request.key_id, aliases=False)
    page = paging.page_of(key.tags.items(), lambda tag: tag[0], request, paging.TAGS)
    return ListResourceTagsResponse(
        tags=[Tag(tag_key=name, tag_value=value) for name, value in page.items],
        next_marker=page.next_marker,
        truncated=page.truncated,
    )
