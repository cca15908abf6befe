"""`stanchion account`: accounts and their root keys, which no API of AWS makes."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from stanchion.access.entities import Account
from stanchion.access.root import (
    FILE_NAME,
    ROOT_ACCOUNT_ID,
    RootKey,
    new_root_key,
    set_root_key,
)
from stanchion.cli.identities import (
    JSON,
    PLACE,
    PLACE_AND_ROOT,
    Identities,
    check_account,
    identities,
    show,
    show_key,
)
from stanchion.cli.settings import Fault, configuration, with_options
from stanchion.iam.managed import every
from stanchion.iam.service import Iam
from stanchion.model.iam import EntityAlreadyExistsException
from stanchion.store.documents import Draft

_ID_DIGITS = 12
_NAME_CHARS_MAX = 128


@click.group()
def account() -> None:
    """Make accounts, list them, and replace a root key that was lost."""


@account.command()
@click.option("--name", default="", help="For people; nothing else looks at it.")
@click.option("--id", "account_id", metavar="ID", help="Twelve digits.  [random]")
@with_options(JSON, *PLACE_AND_ROOT)
def create(
    config: str | None, name: str, account_id: str | None, as_json: bool, **flags: Any
) -> None:
    """Make an account and its root key, and print the key.

    It is printed this once, as lines for a shell: eval "$(stanchion account create ...)".
    """
    if account_id is not None and not _is_id(account_id):
        raise Fault(f"--id: {account_id!r} is not twelve digits")
    if len(name) > _NAME_CHARS_MAX:
        raise Fault(f"--name: longer than {_NAME_CHARS_MAX} characters")
    with identities(config, flags, seals=True) as found:
        made = found.do(lambda: _create(found.iam, account_id, name))
        key = _set_root_key(found, made)
    show_key(made, "", key.access_key_id, key.secret, as_json=as_json)


def _is_id(text: str) -> bool:
    return len(text) == _ID_DIGITS and text.isascii() and text.isdigit()


async def _create(iam: Iam, account_id: str | None, name: str) -> str:
    """Raises `EntityAlreadyExistsException`. Answer: the id."""

    async def work(draft: Draft) -> str:
        chosen = account_id or _random_id(iam.entropy)
        if await draft.get(Account, "", chosen) is not None:
            raise EntityAlreadyExistsException(f"There is an account {chosen} already.")
        made = Account(id=chosen, name=name, created_at_ms=iam.clock.now_ms())
        draft.put(made, "", chosen)
        return chosen

    return await iam.documents.change(work)


def _random_id(entropy: Callable[[int], bytes]) -> str:
    return f"{int.from_bytes(entropy(8)) % 10**_ID_DIGITS:0{_ID_DIGITS}}"


def _set_root_key(found: Identities, account_id: str) -> RootKey:
    """The new root key of an account, in place of any it had."""
    iam, key = found.iam, new_root_key(os.urandom)
    now_ms = iam.clock.now_ms()
    found.do(lambda: set_root_key(iam.documents, iam.sealer, account_id, key, now_ms))
    return key


@account.command("list")
@with_options(JSON, *PLACE)
def list_(config: str | None, as_json: bool, **flags: Any) -> None:
    """List all accounts."""
    with identities(config, flags) as found:
        accounts = found.do(lambda: _all(found.iam))
    show([_row(each) for each in accounts], as_json)


async def _all(iam: Iam) -> list[Account]:
    return [each async for each in every(iam.documents, Account, "")]


def _row(found: Account) -> dict[str, str]:
    return {
        "account": found.id,
        "name": found.name,
        "alias": found.alias,
        "root_keys": " ".join(found.root_access_key_ids),
        "created": datetime.fromtimestamp(found.created_at_ms // 1000, UTC).strftime("%Y-%m-%d"),
    }


@account.command("root-key")
@click.argument("account_id", metavar="ACCOUNT")
@with_options(JSON, *PLACE_AND_ROOT)
def root_key(config: str | None, account_id: str, as_json: bool, **flags: Any) -> None:
    """Give an account a new root key, and print it; root's keys so far die.

    For when the key was lost, or somebody has it who should not. A running server follows within a
    second. A server that is started with STANCHION_ROOT_ACCESS_KEY_ID goes back to that key when it
    starts again.
    """
    with identities(config, flags, seals=True) as found:
        found.do(lambda: check_account(found.iam, account_id))
        key = _set_root_key(found, account_id)
    show_key(account_id, "", key.access_key_id, key.secret, as_json=as_json)
    data_dir = configuration(config, flags).settings.data_path
    stale = data_dir and data_dir / FILE_NAME
    if account_id == ROOT_ACCOUNT_ID and stale and stale.exists():
        click.echo(f"{stale} holds an earlier key, which does not work any more.", err=True)
