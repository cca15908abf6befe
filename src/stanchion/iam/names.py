"""Entities by name: finding, adding, renaming and removing users, groups, roles and policies.

An entity is kept under its name in lower case, so names are unique whatever their case, and has a
`UniqueId` document for as long as it lives; both are written here and nowhere else, in the draft
of whoever calls. Called by every module of this package.
"""

from base64 import b32encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeVar, cast
from urllib.parse import quote

from stanchion.access.entities import (
    Group,
    ManagedPolicy,
    OidcProvider,
    Role,
    UniqueId,
    User,
    entity_arn,
)
from stanchion.access.identity import Caller
from stanchion.iam import limits
from stanchion.model.errors import ValidationError
from stanchion.model.iam import (
    EntityAlreadyExistsException,
    LimitExceededException,
    NoSuchEntityException,
)
from stanchion.store.documents import Document, Documents, Draft

Principal = TypeVar("Principal", bound=User | Group | Role)
Entity = User | Group | Role | ManagedPolicy
D = TypeVar("D", bound=Document)


class Reader(Protocol):
    """`Documents` for what is asked, a `Draft` for what is about to be changed."""

    async def get(self, sort: type[D], account_id: str, name: str) -> D | None: ...


async def find(reader: Reader, sort: type[Principal], account_id: str, name: str) -> Principal:
    """The user, group or role of that name. Raises `NoSuchEntityException`."""
    found = await reader.get(sort, account_id, name.lower())
    if found is None:
        raise NoSuchEntityException(f"The {sort.kind} with name {name} cannot be found.")
    return found


def own_user(caller: Caller) -> str:
    """The name of the user who calls; empty for root. Raises `ValidationError` for others."""
    if caller.kind == "root":
        return ""
    if caller.kind != "user":
        raise ValidationError("Must specify userName when calling with non-User credentials")
    (name,) = caller.keys["aws:username"]
    return name


def arn_of(account_id: str, entity: Entity) -> str:
    return entity_arn(account_id, entity.kind, entity.path, entity.name)


async def add(documents: Documents, draft: Draft, account_id: str, entity: Entity) -> None:
    """Write an entity that must not be there yet, and whose its unique id is.

    Raises `EntityAlreadyExistsException` and `LimitExceededException`.
    """
    await _check_free(draft, account_id, entity)
    await check_quota(documents, type(entity), account_id)
    put(draft, account_id, entity)
    _put_id(draft, account_id, entity)


async def _check_free(draft: Draft, account_id: str, entity: Entity) -> None:
    if await draft.get(type(entity), account_id, entity.name.lower()) is None:
        return
    if isinstance(entity, ManagedPolicy):
        raise EntityAlreadyExistsException(
            f"A policy called {entity.name} already exists. Duplicate names are not allowed."
        )
    raise EntityAlreadyExistsException(
        f"{entity.kind.capitalize()} with name {entity.name} already exists."
    )


def put(draft: Draft, account_id: str, entity: Entity) -> None:
    """Write an entity whose name and unique id stay what they were."""
    draft.put(entity, account_id, entity.name.lower())


def _put_id(draft: Draft, account_id: str, entity: Entity) -> None:
    sort = cast(Literal["user", "group", "role", "policy"], entity.kind)
    owner = UniqueId(account_id=account_id, sort=sort, name=entity.name)
    draft.put(owner, "", entity.id)


async def rename(draft: Draft, account_id: str, old: Entity, new: Entity) -> None:
    """Put `new` in the place of `old`. Raises `EntityAlreadyExistsException`."""
    if new.name.lower() != old.name.lower():
        await _check_free(draft, account_id, new)
        draft.delete(type(old), account_id, old.name.lower())
    put(draft, account_id, new)
    if new.name != old.name:
        _put_id(draft, account_id, new)


def remove(draft: Draft, account_id: str, entity: Entity) -> None:
    """Delete an entity; its unique id is nobody's from then on."""
    draft.delete(type(entity), account_id, entity.name.lower())
    draft.delete(UniqueId, "", entity.id)


_QUOTAS: dict[type[Document], tuple[str, int]] = {
    User: ("UsersPerAccount", limits.USERS_MAX),
    Group: ("GroupsPerAccount", limits.GROUPS_MAX),
    Role: ("RolesPerAccount", limits.ROLES_MAX),
    ManagedPolicy: ("PoliciesPerAccount", limits.POLICIES_MAX),
    OidcProvider: ("OpenIdConnectProvidersPerAccount", limits.OIDC_PROVIDERS_MAX),
}


async def check_quota(documents: Documents, sort: type[Document], account_id: str) -> None:
    """Raises `LimitExceededException` unless the account may have one more of that sort."""
    name, most = _QUOTAS[sort]
    if await count(documents, sort, account_id) >= most:
        raise over_quota(name, most)


def over_quota(name: str, most: int) -> LimitExceededException:
    """`name` as AWS calls the quota: `AccessKeysPerUser`."""
    return LimitExceededException(f"Cannot exceed quota for {name}: {most}")


_COUNTED_AT_ONCE = 1000


async def count(documents: Documents, sort: type[Document], account_id: str) -> int:
    """How many documents of a sort an account has; quotas keep them few."""
    number, after = 0, ""
    while True:
        found = await documents.list(sort, account_id, after=after, limit=_COUNTED_AT_ONCE)
        number += len(found)
        if len(found) < _COUNTED_AT_ONCE:
            return number
        after = found[-1][0]


def new_id(prefix: str, entropy: Callable[[int], bytes]) -> str:
    """A unique id such as `AIDA` and 17 letters and digits."""
    return prefix + b32encode(entropy(11)).decode()[:17]


def instant(at_ms: int) -> datetime:
    """A moment as IAM tells it: whole seconds."""
    return datetime.fromtimestamp(at_ms // 1000, UTC)


def percent_encoded(document: str) -> str:
    """A policy document as replies have it, after RFC 3986."""
    return quote(document, safe="")
