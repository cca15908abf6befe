"""The verbs of `stanchion`. Each is imported when it is used, so that a server starts quickly."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

_VERBS = {
    "serve": "stanchion.cli.serve:serve",
    "dev": "stanchion.cli.dev:dev",
    "bench": "stanchion.cli.bench:bench",
    "account": "stanchion.cli.account:account",
    "user": "stanchion.cli.user:user",
    "key": "stanchion.cli.key:key",
    "role": "stanchion.cli.role:role",
    "policy": "stanchion.cli.policy:policy",
    "keys": "stanchion.cli.keys:keys",
    "migrate": "stanchion.cli.migrate:migrate",
    "shard": "stanchion.cli.shard:shard",
    "tls": "stanchion.cli.tls:tls",
    "config": "stanchion.cli.config:config",
    "version": "stanchion.cli.version:version",
}


class LazyGroup(click.Group):
    """A group whose commands are named in a table, and all of whose refusals are one line."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with _one_line():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module, _, name = _VERBS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@contextmanager
def _one_line() -> Iterator[None]:
    """A mistake in options, without the usage that click puts around it."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        from stanchion.cli.settings import Fault

        where = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        raise Fault(" ".join(error.format_message().split()) + where) from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Amazon SQS as software that you run yourself.

    `stanchion dev` for a laptop or a test suite, `stanchion serve` for everything else.
    """
