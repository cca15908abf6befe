"""`stanchion key`: access keys of users. Those of root are made by `stanchion account`."""

from collections.abc import Iterator
from typing import Any

import click
from msgspec import Struct

from stanchion.access.entities import AccessKey
from stanchion.cli.identities import (
    ACCOUNT,
    JSON,
    PLACE,
    PLACE_AND_ROOT,
    Identities,
    Refused,
    identities,
    show,
    show_key,
)
from stanchion.cli.settings import with_options
from stanchion.model.iam import (
    AccessKeyMetadata,
    CreateAccessKeyRequest,
    DeleteAccessKeyRequest,
    GetAccessKeyLastUsedRequest,
    ListAccessKeysRequest,
    ListUsersRequest,
    UpdateAccessKeyRequest,
)


@click.group()
def key() -> None:
    """Make, list, switch off and delete access keys."""


@key.command()
@click.argument("user")
@with_options(JSON, ACCOUNT, *PLACE_AND_ROOT)
def create(config: str | None, account: str, user: str, as_json: bool, **flags: Any) -> None:
    """Make an access key of a user, and print it this once, as lines for a shell."""
    with identities(config, flags, seals=True) as found:
        made = found.ask(account, CreateAccessKeyRequest(user_name=user)).access_key
    show_key(account, made.user_name, made.access_key_id, made.secret_access_key, as_json=as_json)


@key.command("list")
@click.argument("user", required=False)
@with_options(JSON, ACCOUNT, *PLACE)
def list_(config: str | None, account: str, user: str | None, as_json: bool, **flags: Any) -> None:
    """List the access keys of a user, or all of an account with those of its root user.

    When a key was last used is known to within a minute.
    """
    with identities(config, flags) as found:
        rows = [
            _row(found, account, listed)
            for owner in ([user] if user else _owners(found, account))
            for listed in found.all(
                account, ListAccessKeysRequest(user_name=owner), "access_key_metadata"
            )
        ]
    show(rows, as_json)


def _owners(found: Identities, account: str) -> Iterator[str | None]:
    """Names of users; None is root."""
    yield None
    for user in found.all(account, ListUsersRequest(), "users"):
        yield user.user_name


def _row(found: Identities, account: str, listed: AccessKeyMetadata) -> dict[str, str]:
    request = GetAccessKeyLastUsedRequest(access_key_id=listed.access_key_id)
    used = found.ask(account, request).access_key_last_used.last_used_date
    assert listed.create_date is not None
    return {
        "key": listed.access_key_id or "",
        "user": listed.user_name or "(root)",
        "status": listed.status or "",
        "created": f"{listed.create_date:%Y-%m-%d}",
        "last_used": f"{used:%Y-%m-%dT%H:%MZ}" if used else "",
    }


@key.command()
@click.argument("access_key_id")
@with_options(*PLACE)
def deactivate(config: str | None, access_key_id: str, **flags: Any) -> None:
    """Switch an access key off, whosever it is. A running server follows within a second."""
    _set_status(config, access_key_id, "Inactive", flags)


@key.command()
@click.argument("access_key_id")
@with_options(*PLACE)
def activate(config: str | None, access_key_id: str, **flags: Any) -> None:
    """Switch an access key on again."""
    _set_status(config, access_key_id, "Active", flags)


def _set_status(config: str | None, access_key_id: str, status: str, flags: dict[str, Any]) -> None:
    with identities(config, flags) as found:
        owner = _owner(found, access_key_id)
        request = UpdateAccessKeyRequest(
            user_name=owner.user, access_key_id=access_key_id, status=status
        )
        found.ask(owner.account_id, request)


class _Owner(Struct, frozen=True):
    account_id: str
    user: str | None
    """None is root."""


def _owner(found: Identities, access_key_id: str) -> _Owner:
    """Whose a key is, of all accounts. Raises `Refused`."""
    documents = found.iam.documents
    key = found.do(lambda: documents.get(AccessKey, "", access_key_id))
    if key is None:
        raise Refused(f"There is no access key {access_key_id}.")
    return _Owner(key.account_id, key.user or None)


@key.command()
@click.argument("access_key_id")
@with_options(*PLACE)
def delete(config: str | None, access_key_id: str, **flags: Any) -> None:
    """Delete an access key, whosever it is. It cannot be brought back."""
    with identities(config, flags) as found:
        owner = _owner(found, access_key_id)
        request = DeleteAccessKeyRequest(user_name=owner.user, access_key_id=access_key_id)
        found.ask(owner.account_id, request)
