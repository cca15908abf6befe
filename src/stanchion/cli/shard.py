"""`stanchion shard`: the databases that a store's messages are spread over.

Works on the home directly, beside running servers, which take note within a second. A shard is
registered by the first server that has it in its setting `shards`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import click

from stanchion.backends import check_postgres
from stanchion.cli.identities import JSON, show
from stanchion.cli.settings import CONFIG, Fault, configuration, with_options
from stanchion.config import SQLITE, Settings
from stanchion.store.contract import Command, StoreError, StoreUnusable
from stanchion.store.shards.commands import (
    HOME,
    HOME_NAME,
    CountNodes,
    CountShard,
    ListShards,
    RemoveShard,
    SetShardState,
    Shard,
)

Answer = TypeVar("Answer")

PLACE = (
    click.option("--store", metavar="URL", help="The home: postgresql://…"),
    click.option("--shards", metavar="NAME=URL,...", help="The further databases."),
    CONFIG,
)
_UNKNOWN = "unknown"


@click.group()
def shard() -> None:
    """List, open, drain and remove databases that hold messages."""


@shard.command("list")
@with_options(JSON, *PLACE)
def list_(config: str | None, as_json: bool, **flags: Any) -> None:
    """List the shards: state, queues with messages there, and messages.

    While a shard is drained, both go down to 0.
    """
    settings = _settings(config, flags)
    show([_row(settings, listed) for listed in _shards(settings)], as_json)


def _row(settings: Settings, listed: Shard) -> dict[str, str]:
    url = _url_of(settings, listed.name)
    try:
        messages = _UNKNOWN if url is None else str(_run(url, settings, CountShard()))
    except Fault:
        messages = _UNKNOWN
    return {
        "name": listed.name,
        "state": listed.state,
        "queues": str(listed.queues),
        "messages": messages,
    }


@shard.command("open")
@click.argument("name")
@with_options(*PLACE)
def open_(config: str | None, name: str, **flags: Any) -> None:
    """Let new queues go to a shard, one that has joined or is being drained.

    All servers have to know it: they are counted, and it is refused while one does not.
    """
    settings = _settings(config, flags)
    found = _find(settings, name)
    if found.state != "draining":
        _check_known(settings, name)
    _set(settings, name, "open", ("joining", "draining", "drained"))


def _check_known(settings: Settings, name: str) -> None:
    url = _url_of(settings, name)
    if url is None:
        raise Fault(f"say where {name} is: --shards {name}=postgresql://…")
    servers = _run(settings.store, settings, CountNodes())
    informed = _run(url, settings, CountNodes())
    if informed < servers:
        raise Fault(
            f"{servers - informed} of {servers} servers do not know {name} yet: restart them with"
            " it in shards"
        )


@shard.command()
@click.argument("name")
@with_options(*PLACE)
def drain(config: str | None, name: str, **flags: Any) -> None:
    """Move all queues off a shard, while they are used; servers do it in the background.

    `stanchion shard list` shows how far it is. `stanchion shard open` stops it.
    """
    settings = _settings(config, flags)
    if name == HOME_NAME:
        raise Fault("the home cannot be drained: it holds the directory of queues")
    _find(settings, name)
    _set(settings, name, "draining", ("open", "draining"))


@shard.command()
@click.argument("name")
@with_options(*PLACE)
def remove(config: str | None, name: str, **flags: Any) -> None:
    """Forget a shard that was drained, or never opened. Take it out of shards first.

    A server that is started with it in shards registers it again.
    """
    settings = _settings(config, flags)
    found = _find(settings, name)
    if not _run(settings.store, settings, RemoveShard(name)):
        raise Fault(f"{name} is {found.state} and has {found.queues} queues: drain it first")


def _set(settings: Settings, name: str, state: Any, after: Any) -> None:
    if not _run(settings.store, settings, SetShardState(name, state, after)):
        raise Fault(f"{name} is {_find(settings, name).state}: it cannot become {state} now")


def _find(settings: Settings, name: str) -> Shard:
    for found in _shards(settings):
        if found.name == name and found.number != HOME:
            return found
    raise Fault(f"there is no shard {name}")


def _shards(settings: Settings) -> Sequence[Shard]:
    found: Sequence[Shard] = _run(settings.store, settings, ListShards())
    return found


def _settings(config: str | None, flags: dict[str, Any]) -> Settings:
    settings = configuration(config, flags).settings
    if settings.store == SQLITE:
        raise Fault("say where the home of the shards is with --store postgresql://…")
    return settings


def _url_of(settings: Settings, name: str) -> str | None:
    return settings.store if name == HOME_NAME else settings.shard_urls.get(name)


def _run(url: str, settings: Settings, command: Command[Answer]) -> Answer:
    """A command on one of the databases. Raises `Fault`."""
    try:
        check_postgres()
        return asyncio.run(_execute(url, settings.postgres_schema, command))
    except (StoreUnusable, StoreError) as error:
        raise Fault(" ".join(str(error).split())) from None


async def _execute(url: str, schema: str, command: Command[Answer]) -> Answer:
    from stanchion.store.postgres import PostgresStore

    store = await PostgresStore.open(url, schema=schema, is_made=False)
    try:
        answer: Any = (await store.execute([command])).answers[0]
    finally:
        await store.close()
    if isinstance(answer, StoreError):
        raise answer
    return answer  # type: ignore[no-any-return]
