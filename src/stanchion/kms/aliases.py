"""Aliases: names for keys, which a caller may give in place of an id, and may give to another key.

An alias is a document, and the key lists its aliases: both are written in one draft. Aliases under
`alias/aws/` are made by `managed_keys` alone.
"""

from msgspec import structs

from stanchion.kms import limits, managed_keys, paging
from stanchion.kms.authorisation import check_alias_name
from stanchion.kms.entities import Alias, Key, alias_arn
from stanchion.kms.finding import (
    Name,
    find,
    find_named,
    is_gone,
    no_alias,
    no_key,
    not_pending,
    put,
    read_name,
    record_name,
)
from stanchion.kms.rotation import instant
from stanchion.kms.service import Kms, action
from stanchion.model.errors import ValidationError
from stanchion.model.kms import (
    AliasListEntry,
    AlreadyExistsException,
    CreateAliasRequest,
    DeleteAliasRequest,
    InvalidAliasNameException,
    LimitExceededException,
    ListAliasesRequest,
    ListAliasesResponse,
    UpdateAliasRequest,
)
from stanchion.service import Call
from stanchion.store.documents import Draft


def _name(call: Call, alias: str | None) -> Name:
    """The name of an alias that customers may edit."""
    name = check_alias_name(alias)
    if name.startswith(managed_keys.PREFIX):
        raise InvalidAliasNameException(f"Aliases that begin with {managed_keys.PREFIX} are AWS's")
    return Name(call.region, call.caller.account_id, alias=name)


@action
async def create_alias(kms: Kms, call: Call, request: CreateAliasRequest) -> None:
    name = _name(call, request.alias_name)

    async def work(draft: Draft) -> None:
        key = await find(kms, call, request.target_key_id, reader=draft, aliases=False)
        not_pending(key)
        old = await _find(draft, name)
        if old is not None:
            if await _is_living(kms, draft, name, old):
                raise AlreadyExistsException(f"An alias with the name {name.arn} already exists")
            await _take(draft, name, old.key_id)
        _add(draft, key, name)
        now_ms = kms.clock.now_ms()
        _put(
            draft,
            name,
            Alias(name=name.alias, key_id=key.id, created_at_ms=now_ms, updated_at_ms=now_ms),
        )

    await kms.documents.change(work)


async def _find(draft: Draft, name: Name) -> Alias | None:
    return await draft.get(Alias, name.account_id, record_name(name.region, name.alias))


async def _is_living(kms: Kms, draft: Draft, name: Name, alias: Alias) -> bool:
    """Whether the alias's key is there: else it is gone with the key, though its record is not."""
    key = await draft.get(Key, name.account_id, record_name(name.region, alias.key_id))
    return key is not None and not is_gone(key, kms.clock.now_ms())


async def _living(kms: Kms, draft: Draft, name: Name) -> Alias:
    """Raises `NotFoundException`."""
    alias = await _find(draft, name)
    if alias is None or not await _is_living(kms, draft, name, alias):
        raise no_alias(name)
    return alias


def _put(draft: Draft, name: Name, alias: Alias) -> None:
    draft.put(alias, name.account_id, record_name(name.region, name.alias))


def _add(draft: Draft, key: Key, name: Name) -> None:
    """Raises `LimitExceededException`."""
    if len(key.aliases) >= limits.ALIASES_PER_KEY_MAX:
        raise LimitExceededException(
            f"A key cannot have more than {limits.ALIASES_PER_KEY_MAX} aliases"
        )
    put(draft, structs.replace(key, aliases=tuple(sorted((*key.aliases, name.alias)))))


async def _take(draft: Draft, name: Name, key_id: str) -> Key:
    """Take the alias from the key it is of. Answer: the key as it was."""
    key = await draft.get(Key, name.account_id, record_name(name.region, key_id))
    assert key is not None
    put(draft, structs.replace(key, aliases=tuple(a for a in key.aliases if a != name.alias)))
    return key


@action
async def update_alias(kms: Kms, call: Call, request: UpdateAliasRequest) -> None:
    """Both keys must be for the same use, or what uses the alias would fail."""
    name = _name(call, request.alias_name)

    async def work(draft: Draft) -> None:
        alias = await _living(kms, draft, name)
        old = await _take(draft, name, alias.key_id)
        new = await find(kms, call, request.target_key_id, reader=draft, aliases=False)
        not_pending(new)
        if (old.usage, old.spec) != (new.usage, new.spec):
            raise ValidationError(
                f"Alias {name.arn} is of a {old.spec} key for {old.usage} and cannot be changed"
                f" to a {new.spec} key for {new.usage}"
            )
        _add(draft, new, name)
        now_ms = kms.clock.now_ms()
        _put(draft, name, structs.replace(alias, key_id=new.id, updated_at_ms=now_ms))

    await kms.documents.change(work)


@action
async def delete_alias(kms: Kms, call: Call, request: DeleteAliasRequest) -> None:
    """The key stays, whatever state it is in."""
    name = _name(call, request.alias_name)

    async def work(draft: Draft) -> None:
        alias = await _living(kms, draft, name)
        await _take(draft, name, alias.key_id)
        draft.delete(Alias, name.account_id, record_name(name.region, name.alias))

    await kms.documents.change(work)


@action
async def list_aliases(kms: Kms, call: Call, request: ListAliasesRequest) -> ListAliasesResponse:
    """All of the region, or those of one key of the caller's own account."""
    account_id = call.caller.account_id
    if request.key_id is None:
        page = await paging.page_of_documents(
            kms.documents, Alias, account_id, record_name(call.region, ""), request, paging.ALIASES
        )
    else:
        key = await _own_key(kms, call, request.key_id)
        found = [
            await kms.documents.get(Alias, account_id, record_name(call.region, name))
            for name in key.aliases
        ]
        # One that is missing was deleted since the key was read.
        present = [alias for alias in found if alias is not None]
        page = paging.page_of(present, lambda alias: alias.name, request, paging.ALIASES)
    return ListAliasesResponse(
        aliases=[_told(call, alias) for alias in page.items],
        next_marker=page.next_marker,
        truncated=page.truncated,
    )


async def _own_key(kms: Kms, call: Call, key_id: str) -> Key:
    """Raises `NotFoundException` for every key of another account, whether or not it is there."""
    name = read_name(call, key_id, aliases=False)
    if name.account_id != call.caller.account_id:
        raise no_key(name)
    return await find_named(kms, name)


def _told(call: Call, alias: Alias) -> AliasListEntry:
    return AliasListEntry(
        alias_name=alias.name,
        alias_arn=alias_arn(call.region, call.caller.account_id, alias.name),
        target_key_id=alias.key_id,
        creation_date=instant(alias.created_at_ms),
        last_updated_date=instant(alias.updated_at_ms),
    )
