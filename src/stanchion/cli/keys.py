"""`stanchion keys`: what the installation's keys are, and another root of trust for them.

Works on the data directory or database, beside a running server or without one. No key, passphrase
or PIN is ever printed or taken as a flag.
"""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from stanchion.cli.settings import CONFIG, ROOT, Fault, configuration, with_options
from stanchion.clock import SystemClock
from stanchion.config import SQLITE, Settings
from stanchion.keys.choice import (
    KINDS,
    NO_FILE,
    key_file_of,
    next_root_of_kind,
    root_of_kind,
)
from stanchion.keys.ring import RingRecord, WrappedKey, ring_record, sealing_number
from stanchion.keys.root import Root, RootUnusable
from stanchion.keys.rotation import SEAL_AFTER_S
from stanchion.keys.rotation import rotate as rotate_ring
from stanchion.store.contract import StoreError, StoreUnusable
from stanchion.store.documents import Documents

Answer = TypeVar("Answer")

_DAY_MS = 86_400_000
SEAL_AFTER_MAX_S = 7 * 86_400

STATE = (
    click.option("--data-dir", metavar="DIR", help="Where the server's state lives."),
    click.option("--store", metavar="URL", help="The database, if it lives in one."),
)


@click.group()
def keys() -> None:
    """Look at the keys, and change the root of trust."""


@keys.command()
@with_options(*STATE, CONFIG)
def status(config: str | None, **flags: Any) -> None:
    """Print what the data is sealed under. Needs no passphrase, and shows no key."""
    record = _over_documents(_settings(config, flags), ring_record)
    for line in _lines(record, SystemClock().now_ms()):
        click.echo(line)


def _lines(record: RingRecord, now_ms: int) -> list[str]:
    parameters = ", ".join(f"{name} {value}" for name, value in record.root_parameters.items())
    lines = [f"root of trust: {record.root_kind} ({parameters})"]
    for key in record.keys:
        created = datetime.fromtimestamp(key.created_at_ms // 1000, UTC)
        days = (now_ms - key.created_at_ms) // _DAY_MS
        role = _role(record, key, now_ms)
        lines.append(f"ring key {key.number}: made {created:%Y-%m-%d}, {days} days old, {role}")
    return lines


def _role(record: RingRecord, key: WrappedKey, now_ms: int) -> str:
    if key.seals_from_ms > now_ms:
        return f"active in {-(-(key.seals_from_ms - now_ms) // 1000)} s"
    is_active = key.number == sealing_number(record, now_ms)
    return "active" if is_active else "opens what it sealed before"


@keys.command()
@with_options(*STATE, *ROOT)
@click.option("--to", type=click.Choice(KINDS), help="The kind of the new root.  [as it is]")
@click.option(
    "--new-root-passphrase-fd",
    type=click.IntRange(0),
    metavar="N",
    help="Read the new passphrase from there.",
)
@click.option(
    "--seal-after",
    type=click.IntRange(0, SEAL_AFTER_MAX_S),
    metavar="SECONDS",
    default=SEAL_AFTER_S,
    help=f"When the new key is first used to seal.  [{SEAL_AFTER_S}]",
)
@with_options(CONFIG)
def rotate(
    config: str | None,
    to: str | None,
    new_root_passphrase_fd: int | None,
    seal_after: int,
    **flags: Any,
) -> None:
    """Put the keys under another root of trust, and make a new active one.

    Messages are not touched, and a server may be running. The root so far is needed as for
    `stanchion serve`. A new key file or a new key in the PKCS#11 token is made; a new passphrase is
    taken from STANCHION_NEW_ROOT_PASSPHRASE, or from a file descriptor.

    Servers on several machines all need the new root before the new key seals: give them the time
    with --seal-after.
    """
    settings = _settings(config, flags)
    new_file = NO_FILE if new_root_passphrase_fd is None else new_root_passphrase_fd

    async def work(documents: Documents) -> Root:
        kind = (await ring_record(documents)).root_kind
        place = (settings, settings.data_path, os.environ)
        old = root_of_kind(kind, *place)
        new = next_root_of_kind(to or kind, *place, new_file)
        return await rotate_ring(documents, old, new, SystemClock(), os.urandom, seal_after)

    root = _over_documents(settings, work)
    click.echo(f"The keys are now under the {root.description}. {root.loss}")
    click.echo("A backup made before now opens with the root of its time only: keep that as well.")
    if settings.store != SQLITE:
        click.echo(_for_all_servers(settings, root, seal_after))
    elif root.kind != "file":
        click.echo(f"Start the server with the new {root.kind} from now on.")


def _for_all_servers(settings: Settings, root: Root, seal_after_s: int) -> str:
    """What is to be done where there may be servers on other machines."""
    todo = f"Start all servers again with the new {root.kind}"
    if root.kind == "file":
        todo = f"Bring {key_file_of(settings, settings.data_path)} to all servers"
    return (
        f"{todo} within {seal_after_s} s: then the new key seals, and a server that lacks it cannot"
        " open what the others seal. One that starts without it refuses, from now on."
    )


def _settings(config: str | None, flags: dict[str, Any]) -> Settings:
    return configuration(config, flags).settings


def _over_documents(settings: Settings, work: Callable[[Documents], Awaitable[Answer]]) -> Answer:
    from stanchion.cli import offline

    try:
        with offline.documents(settings) as run:
            return run(work)
    except (RootUnusable, StoreError, StoreUnusable) as error:
        raise Fault(str(error)) from None
