"""What the three batch actions share: the checks on a whole request, and a failed entry."""

import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

from stanchion.model.errors import ServiceError
from stanchion.model.sqs import (
    BatchEntryIdsNotDistinct,
    BatchResultErrorEntry,
    EmptyBatchRequest,
    InvalidBatchEntryId,
    TooManyEntriesInBatchRequest,
)
from stanchion.sqs.limits import BATCH_ENTRIES_MAX, BATCH_ENTRY_ID_CHARS_MAX

_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{BATCH_ENTRY_ID_CHARS_MAX}}}")


class HasId(Protocol):
    @property
    def id(self) -> str | None: ...


Entry = TypeVar("Entry", bound=HasId)


def entries_of(entries: list[Entry] | None, action: str) -> list[Entry]:
    """The entries, if the request as a whole is acceptable: some, not too many, well named.

    `action` is the single action's name, such as `SendMessage`.
    """
    if not entries:
        raise EmptyBatchRequest(
            f"There should be at least one {action}BatchRequestEntry in the request."
        )
    if len(entries) > BATCH_ENTRIES_MAX:
        raise TooManyEntriesInBatchRequest(
            f"Maximum number of entries per request are {BATCH_ENTRIES_MAX}. "
            f"You have sent {len(entries)}."
        )
    _check_ids(entries)
    return entries


def _check_ids(entries: Sequence[HasId]) -> None:
    if not all(_ID.fullmatch(entry.id or "") for entry in entries):
        raise InvalidBatchEntryId(
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
            "It can be at most 80 letters long."
        )
    seen: set[str | None] = set()
    for entry in entries:
        if entry.id in seen:
            raise BatchEntryIdsNotDistinct(f"Id {entry.id} repeated.")
        seen.add(entry.id)


def failure(entry: HasId, error: ServiceError) -> BatchResultErrorEntry:
    """How one entry's error is told: with the code that the Query protocol has for it."""
    return BatchResultErrorEntry(
        id=entry.id,
        sender_fault=error.fault == "Sender",
        code=error.query_code,
        message=error.message,
    )
