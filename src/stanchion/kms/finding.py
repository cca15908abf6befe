"""From what a request calls a key to the key: by id, ARN, alias, or the ARN of an alias.

A key whose time to be deleted has come is not there any more, even while its record is. Another
account's key goes by an ARN only; whether the caller may know of it is decided by `authorisation`,
before an action looks here again. Called by every action that is about a key.
"""

import re
from collections.abc import Callable

from msgspec import Struct

from stanchion.access.policy_principals import Reader
from stanchion.kms.entities import Alias, Key, alias_arn, key_arn
from stanchion.kms.service import Kms
from stanchion.model.kms import (
    DisabledException,
    InvalidArnException,
    KMSInvalidStateException,
    NotFoundException,
)
from stanchion.service import Call
from stanchion.store.documents import Draft


async def find(
    kms: Kms,
    call: Call,
    key_id: str | None,
    *,
    reader: Reader | None = None,
    aliases: bool = True,
) -> Key:
    """The key of a KeyId parameter, in any state. `reader` is the draft of an edit.

    Raises `NotFoundException` and `InvalidArnException`. Without `aliases` only the key's own id
    and ARN name it.
    """
    name = read_name(call, key_id or "", aliases=aliases)
    return await find_named(kms, name, reader=reader)


async def find_named(kms: Kms, name: "Name", *, reader: Reader | None = None) -> Key:
    """The key of a name. Raises `NotFoundException`."""
    reader = reader or kms.documents
    key_id = name.key_id
    if name.alias:
        alias = await reader.get(Alias, name.account_id, record_name(name.region, name.alias))
        if alias is None:
            raise no_alias(name)
        key_id = alias.key_id
    key = await reader.get(Key, name.account_id, record_name(name.region, key_id))
    if key is None or is_gone(key, kms.clock.now_ms()):
        if name.alias:
            raise no_alias(name)
        raise no_key(name)
    return key


def no_key(name: "Name") -> NotFoundException:
    return NotFoundException(f"Key '{name.arn}' does not exist")


def no_alias(name: "Name") -> NotFoundException:
    return NotFoundException(f"Alias {name.arn} is not found.")


def is_gone(key: Key, now_ms: int) -> bool:
    """Whether the time to be deleted has come."""
    return key.state == "PendingDeletion" and key.deletion_at_ms <= now_ms


def record_name(region: str, name: str) -> str:
    """What the record of a key or alias is named in its account."""
    return f"{region}/{name}"


class Name(Struct, frozen=True):
    """What a request calls a key."""

    region: str
    account_id: str
    key_id: str = ""
    """Or else there is an alias."""
    alias: str = ""
    """With `alias/`."""

    @property
    def arn(self) -> str:
        if self.alias:
            return alias_arn(self.region, self.account_id, self.alias)
        return key_arn(self.region, self.account_id, self.key_id)


_KEY_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ARN_PARTS = 6


def read_name(call: Call, text: str, *, aliases: bool = True) -> Name:
    """What a KeyId parameter says. Raises `NotFoundException` and `InvalidArnException`."""
    if text.startswith("arn:"):
        return _read_arn(call, text, aliases=aliases)
    if aliases and text.startswith("alias/"):
        return Name(call.region, call.caller.account_id, alias=text)
    if _KEY_ID.fullmatch(text) is None:
        raise NotFoundException(f"Invalid keyId '{text}'")
    return Name(call.region, call.caller.account_id, key_id=text.lower())


def _read_arn(call: Call, text: str, *, aliases: bool) -> Name:
    parts = text.split(":", _ARN_PARTS - 1)
    sort, _, rest = parts[-1].partition("/")
    is_key = sort == "key" or (aliases and sort == "alias")
    if len(parts) != _ARN_PARTS or parts[1:3] != ["aws", "kms"] or not is_key or not rest:
        raise InvalidArnException(f"Invalid arn {text}")
    _, _, _, region, account_id, resource = parts
    if region != call.region:
        raise NotFoundException(f"Invalid arn {region}")
    if sort == "alias":
        return Name(region, account_id, alias=resource)
    return Name(region, account_id, key_id=rest.lower())


def arn_of(key: Key) -> str:
    """What replies call the key."""
    return key_arn(key.region, key.account_id, key.id)


def usable(key: Key) -> Key:
    """The key, if cryptography may be done with it.

    Raises `DisabledException` and `KMSInvalidStateException`.
    """
    if key.state == "Disabled":
        raise DisabledException(f"{arn_of(key)} is disabled.")
    return not_pending(key)


def not_pending(key: Key) -> Key:
    """The key, unless it waits for its deletion. Raises `KMSInvalidStateException`."""
    if key.state == "PendingDeletion":
        raise KMSInvalidStateException(f"{arn_of(key)} is pending deletion.")
    return key


async def edit(
    kms: Kms, call: Call, key_id: str | None, change: Callable[[Key], Key], *, aliases: bool = False
) -> Key:
    """Put what `change` makes of a key in its place. Answer: that.

    Raises `NotFoundException`, `InvalidArnException`, and whatever `change` raises.
    """

    async def work(draft: Draft) -> Key:
        old = await find(kms, call, key_id, reader=draft, aliases=aliases)
        new = change(old)
        if new != old:
            put(draft, new)
        return new

    return await kms.documents.change(work)


def put(draft: Draft, key: Key) -> None:
    """Write a key in its place."""
    draft.put(key, key.account_id, record_name(key.region, key.id))
