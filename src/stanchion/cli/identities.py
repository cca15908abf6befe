"""What the verbs about accounts, users, keys, roles and policies share.

They ask IAM itself, as the root user of an account would over the network, so no rule of IAM is
written twice and nothing can be made here that IAM would refuse. Whoever can write the data
directory or database may do all of it: no credentials are asked for. A secret is printed once and
goes nowhere else.
"""

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stanchion.access.authoriser import Authoriser
from stanchion.access.directory import Directory
from stanchion.access.entities import Account
from stanchion.access.identity import root_of
from stanchion.access.key_use import KeyUses
from stanchion.access.root import DEFAULT_REGION, ROOT_ACCOUNT_ID
from stanchion.cli import offline
from stanchion.cli.keys import STATE
from stanchion.cli.settings import CONFIG, ROOT, Fault, configuration
from stanchion.clock import SystemClock
from stanchion.config import Settings
from stanchion.iam.actions import service_of
from stanchion.iam.service import Iam
from stanchion.keys.root import RootUnusable
from stanchion.keys.sealing import Sealer
from stanchion.model.errors import ServiceError
from stanchion.model.iam import NoSuchEntityException
from stanchion.service import Call
from stanchion.store.documents import Documents

Answer = TypeVar("Answer")

PLACE = (*STATE, CONFIG)
PLACE_AND_ROOT = (*STATE, *ROOT, CONFIG)
"""For verbs that make a secret, which is kept sealed."""
ACCOUNT = click.option(
    "--account", metavar="ID", default=ROOT_ACCOUNT_ID, show_default=True, help="Whose it is."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


class Refused(click.ClickException):
    """What was asked for cannot be done: one line, exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


# --- Asking -------------------------------------------------------------------------------------


class Identities(Struct, frozen=True):
    """Who there is in a data directory or database."""

    run: offline.Run
    iam: Iam

    def ask(self, account_id: str, request: Struct) -> Any:
        """What IAM answers the root user of an account. Raises `Refused`."""
        return self.do(lambda: _answer(self.iam, account_id, request))

    def all(self, account_id: str, request: Any, field: str) -> list[Any]:
        """All items of a list, page by page. Raises `Refused`."""
        found: list[Any] = []
        while True:
            page = self.ask(account_id, request)
            found += getattr(page, field)
            if not page.is_truncated:
                return found
            request = msgspec.structs.replace(request, marker=page.marker)

    def do(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Raises `Refused` for errors that a client would be told."""
        try:
            return self.run(lambda _: work())
        except ServiceError as error:
            raise Refused(error.message) from None


async def _answer(iam: Iam, account_id: str, request: Struct) -> Any:
    await check_account(iam, account_id)
    service, call = service_of(iam), Call(root_of(account_id, ""), DEFAULT_REGION, "")
    operation = type(request).__name__.removesuffix("Request")
    await service.authorise(call, operation, request)
    return await service.act(call, operation, request)


async def check_account(iam: Iam, account_id: str) -> None:
    """Raises `NoSuchEntityException` for an account that is not there."""
    if await iam.documents.get(Account, "", account_id) is None:
        raise NoSuchEntityException(f"There is no account {account_id}.")


@contextmanager
def identities(
    config: str | None, flags: Mapping[str, Any], *, seals: bool = False
) -> Iterator[Identities]:
    """Those of the place that is configured. Raises `Fault`.

    With `seals`, the root of trust is needed, as for the server.
    """
    settings = configuration(config, dict(flags)).settings
    with offline.documents(settings) as run:
        yield Identities(run, run(partial(_iam, settings, seals)))


async def _iam(settings: Settings, seals: bool, documents: Documents) -> Iam:
    sealer: Sealer = await offline.ring(settings, documents) if seals else _NoSealer()
    clock = SystemClock()
    return Iam(
        documents=documents,
        directory=Directory(documents),
        sealer=sealer,
        authoriser=Authoriser(clock),
        uses=KeyUses(documents),
        clock=clock,
    )


class _NoSealer:
    """Stands in where no secret is made or read, and the root of trust is not asked for."""

    def seal(self, purpose: str, plaintext: bytes) -> bytes:
        raise RootUnusable("the key ring is not open")

    def open(self, purpose: str, sealed: bytes) -> bytes:
        raise RootUnusable("the key ring is not open")


def text_of(file: str) -> str:
    """What is in a file, or on standard input for `-`. Raises `Fault`."""
    try:
        if file == "-":
            return sys.stdin.read()
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise Fault(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Fault(f"{file}: is not UTF-8") from None


def label(file: str) -> str:
    """What a message calls a file."""
    return "standard input" if file == "-" else file


# --- Showing ------------------------------------------------------------------------------------

_WIDTH_OF_FILES = 500
"""Where output is not looked at on a terminal, nothing in it is to be broken into lines."""
_HEADERS = {"arn": "ARN", "id": "ID"}


def show(rows: Sequence[Mapping[str, str]], as_json: bool) -> None:
    """Print a list, whose members all have the same names."""
    if as_json:
        show_json(rows)
        return
    if not rows:
        click.echo("There are none.", err=True)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(_HEADERS.get(name, name.replace("_", " ").capitalize()), overflow="fold")
    for row in rows:
        # Text, as names may hold what would otherwise be markup.
        table.add_row(*(Text(cell) for cell in row.values()))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    console.print(table)


def show_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def show_key(account_id: str, user: str, access_key_id: str, secret: str, *, as_json: bool) -> None:
    """Print an access key, this once. `user` is empty for the root user's."""
    if as_json:
        shown = {"account": account_id, "user": user} if user else {"account": account_id}
        show_json({**shown, "access_key_id": access_key_id, "secret_access_key": secret})
        return
    whose = f"An access key of user {user} in" if user else "The root key of"
    click.echo(
        f"# {whose} account {account_id}. It is not shown again: keep it, and keep it secret."
    )
    click.echo(f"export AWS_ACCESS_KEY_ID={access_key_id}")
    click.echo(f"export AWS_SECRET_ACCESS_KEY={secret}")
