"""`stanchion config`: what the settings are, and why."""

import json
from typing import Any

import click
import msgspec

from stanchion.cli.settings import SERVING, configuration, with_options
from stanchion.config import without_password


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@with_options(*SERVING)
def show(config: str | None, **flags: Any) -> None:
    """Print every setting and where its value comes from.

    Takes the flags of `stanchion serve`. What it prints can be used as a configuration file.
    Credentials are not settings and are not shown, nor is a password in the URL of a database.
    """
    settings, sources, _ = configuration(config, flags)
    lines = {
        name: f"{name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in {
            **msgspec.structs.asdict(settings),
            "store": without_password(settings.store),
            "shards": [without_password(shard) for shard in settings.shards],
        }.items()
    }
    width = max(map(len, lines.values()))
    for name, line in lines.items():
        click.echo(f"{line:{width}}  # {sources[name]}")
