"""`stanchion serve`: the production server."""

import sys
from typing import Any

import click

from stanchion.cli.settings import SERVING, Fault, configuration, with_options


@click.command()
@with_options(*SERVING)
def serve(config: str | None, **flags: Any) -> None:
    """Run the production server.

    Messages are on the disk before they are confirmed, and every request has to be signed. The
    first start makes a root key and writes it to DIR/root-credentials.env, unless
    STANCHION_ROOT_ACCESS_KEY_ID and STANCHION_ROOT_SECRET_ACCESS_KEY name one. SIGTERM finishes
    what is under way and ends with exit code 0.

    With --store postgresql://…, any number of servers share a database, and need the same root of
    trust: --root-key-file, a passphrase, or a PKCS#11 token. --workers N starts several of them on
    the ports of this one.

    Every setting can also be given as STANCHION_<NAME> or in a file; `stanchion config show`
    lists them all.
    """
    settings, _, root_key = configuration(config, flags)
    if not settings.has_place:
        raise Fault("no data directory: say where state is to live with --data-dir DIR")

    from stanchion import server

    try:
        status = server.serve(settings, root_key, click.echo)
    except server.StartError as error:
        raise Fault(str(error)) from None
    sys.exit(status)
