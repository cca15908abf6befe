"""Commands about records: small documents that change seldom and are read all the time.

Accounts, users, policies, keys and whatever else is not a queue or a message. A record is bytes
under a key, with a version; what it means is the business of the layers above. Edits are optimistic
and atomic: they name the versions they were decided on, and happen all or not at all.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from stanchion.store.contract import Command


class RecordKey(NamedTuple):
    """What a record is known by."""

    kind: str
    account_id: str
    """Empty for what belongs to no account."""
    name: str
    """Unique inside kind and account. Records are listed in the order of their names, by bytes."""


class Record(Struct, frozen=True, gc=False):
    key: RecordKey
    version: int
    """Grows with every change of the record; never 0, and never used again for that key."""
    value: bytes


class Change(NamedTuple):
    """What becomes of one record; None deletes it."""

    key: RecordKey
    value: bytes | None


class Expected(NamedTuple):
    """The version at which a record was read; 0 when there was none."""

    key: RecordKey
    version: int


class GetRecords(Command[tuple[Record | None, ...]], frozen=True, gc=False):
    """Answer: for each key its `Record`, or None."""

    keys: tuple[RecordKey, ...]


class ListRecords(Command[Sequence[Record]], frozen=True, gc=False):
    """Answer: at most `limit` `Record`s of a kind and account with names after `after`."""

    kind: str
    account_id: str
    prefix: str = ""
    """Of the names."""
    after: str = ""
    limit: int = 1000


class EditRecords(Command[bool], frozen=True, gc=False):
    """Change records if all those expected are as they were read. Answer: whether they were.

    `is_quiet` edits do not count as a change of the store's records: `LatestEdit` stays as it is,
    so nobody drops what they remember. For what nobody remembers, such as when a key was last used.
    """

    expected: tuple[Expected, ...]
    changes: tuple[Change, ...]
    is_quiet: bool = False


class LatestEdit(Command[int], frozen=True, gc=False):
    """Answer: a number that grows with every edit, whichever process made it."""
