"""The verbs of `stanchion`. Each is imported when it is used, so that a server starts quickly."""

from importlib import import_module

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
    """A group whose commands are named in a table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module, _, name = _VERBS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Amazon SQS as software that you run yourself.

    `stanchion dev` for a laptop or a test suite, `stanchion serve` for everything else.
    """
