"""TagQueue, UntagQueue and ListQueueTags, and the rules for tags that CreateQueue shares."""

import re
from collections.abc import Mapping

from stanchion.model.errors import InvalidParameterValue, MissingParameter
from stanchion.model.sqs import (
    ListQueueTagsRequest,
    ListQueueTagsResult,
    TagQueueRequest,
    UntagQueueRequest,
)
from stanchion.service import Call
from stanchion.sqs import limits
from stanchion.sqs.edits import Edited, edit
from stanchion.sqs.service import Sqs, action
from stanchion.store.contract import QueueRecord


@action
async def tag_queue(sqs: Sqs, call: Call, request: TagQueueRequest) -> None:
    """A tag that the queue has already gets the new value."""
    supplied = request.tags

    def decide(record: QueueRecord) -> Edited:
        if not supplied:
            raise MissingParameter.named("Tags")
        tags = merged(record.tags, supplied, record.name.name)
        return Edited(record.attributes, tags)

    await edit(sqs, call, request.queue_url, decide)


def merged(
    current: Mapping[str, str], supplied: Mapping[str, str], queue_name: str
) -> dict[str, str]:
    """A queue's tags after `supplied` are set. Raises `InvalidParameterValue`."""
    for key, value in supplied.items():
        _check_key(key)
        _check_value(value)
    tags = {**current, **supplied}
    _check_case(tags)
    if len(tags) > limits.TAGS_MAX:
        raise InvalidParameterValue(f"Too many tags added for queue {queue_name}.")
    return tags


def _check_case(tags: Mapping[str, str]) -> None:
    # To `aws:ResourceTag/team` of a policy they would be one tag, with two values.
    seen: dict[str, str] = {}
    for key in tags:
        other = seen.setdefault(key.lower(), key)
        if other != key:
            raise InvalidParameterValue(f"Tag keys {other} and {key} differ only in case.")


# Letters, digits and spaces of every script, and these symbols.
_ALLOWED = re.compile(r"[\w\s.:/=+\-@]*")
_SYMBOLS = "may only contain unicode letters, digits, whitespace, or one of these symbols"


def _check_key(key: str) -> None:
    _check_key_length(key)
    if key.lower().startswith("aws:"):
        raise InvalidParameterValue("Tag keys must not start with the reserved prefix aws:")
    if not _ALLOWED.fullmatch(key):
        raise InvalidParameterValue(f"Tag keys {_SYMBOLS}: _ . : / = + - @'")


def _check_key_length(key: str) -> None:
    if not 1 <= len(key) <= limits.TAG_KEY_CHARS_MAX:
        raise _key_length()


def _key_length() -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Tag keys must be between 1 and {limits.TAG_KEY_CHARS_MAX} characters in length."
    )


def _check_value(value: str) -> None:
    if len(value) > limits.TAG_VALUE_CHARS_MAX:
        raise InvalidParameterValue(
            f"Tag values must be between 0 and {limits.TAG_VALUE_CHARS_MAX} characters in length."
        )
    if not _ALLOWED.fullmatch(value):
        raise InvalidParameterValue(f"Tag values {_SYMBOLS}: _ . : / = + - @'")


@action
async def untag_queue(sqs: Sqs, call: Call, request: UntagQueueRequest) -> None:
    """A key that the queue does not have is no error."""
    keys = request.tag_keys

    def decide(record: QueueRecord) -> Edited | None:
        if keys is None:
            raise MissingParameter.named("TagKeys")
        if not keys:
            raise _key_length()
        for key in keys:
            _check_key_length(key)
        tags = {key: value for key, value in record.tags.items() if key not in keys}
        return None if tags == record.tags else Edited(record.attributes, tags)

    await edit(sqs, call, request.queue_url, decide)


@action
async def list_queue_tags(
    sqs: Sqs, call: Call, request: ListQueueTagsRequest
) -> ListQueueTagsResult:
    queue = await sqs.catalogue.resolve_latest(call, request.queue_url)
    return ListQueueTagsResult(tags=dict(queue.record.tags) or None)
