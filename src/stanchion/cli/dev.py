"""`stanchion dev`: the server for laptops and test suites."""

import sys
from ipaddress import ip_address
from typing import Any

import click

from stanchion.cli.settings import CONFIG, LISTEN, LOGGING, Fault, configuration, with_options


@click.command()
@with_options(*LISTEN, CONFIG, *LOGGING)
def dev(config: str | None, **flags: Any) -> None:
    """Run a server in memory, for this machine only.

    Takes any credentials, or none. An access key of 12 digits is the account id; otherwise it is
    000000000000. Everything is forgotten at the end; everything else is as in `stanchion serve`.
    """
    settings = configuration(config, flags).settings
    if not _is_loopback(settings.host):
        raise Fault(
            f"{settings.host} can be reached from other machines, and `stanchion dev` checks no "
            "signatures: use 127.0.0.1, or `stanchion serve`"
        )

    from stanchion import server

    try:
        status = server.develop(settings, click.echo)
    except server.StartError as error:
        raise Fault(str(error)) from None
    sys.exit(status)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
