"""Flags for the settings, shared by the verbs that need them, and how a mistake is told."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from stanchion.config import ConfigError, Configuration, configure

Function = TypeVar("Function", bound=Callable[..., Any])


class Fault(click.ClickException):
    """Something that keeps a verb from starting: one line, exit code 2."""

    exit_code = 2


CONFIG = click.option("--config", metavar="FILE", help="Settings in TOML.")
LISTEN = (
    click.option("--host", metavar="ADDRESS", help="Address to listen on.  [127.0.0.1]"),
    click.option("--port", metavar="PORT", help="Port for HTTP; 0 takes any.  [9324]"),
)
LOGGING = (
    click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [info]"),
    click.option("--log-format", metavar="FORMAT", help="console or json.  [console]"),
)
ROOT = (
    click.option("--root-key-file", metavar="FILE", help="The root key.  [DATA_DIR/root.key]"),
    click.option("--root-passphrase-fd", metavar="N", help="Read the root passphrase from there."),
    click.option("--root-pkcs11-module", metavar="FILE", help="A PKCS#11 library, for the root."),
    click.option("--root-pkcs11-token", metavar="LABEL", help="The token in it."),
    click.option("--root-pkcs11-key", metavar="LABEL", help="The AES key in the token."),
)

SERVING = (
    click.option("--data-dir", metavar="DIR", help="Where state lives; made if there is none."),
    *LISTEN,
    click.option("--workers", metavar="N", help="Processes, with a database only.  [1]"),
    click.option("--store", metavar="STORE", help="Where queues are kept.  [sqlite]"),
    click.option("--shards", metavar="NAME=URL,...", help="Further databases for messages."),
    click.option("--tls-cert", metavar="FILE", help="Certificate chain (PEM), to serve HTTPS too."),
    click.option("--tls-key", metavar="FILE", help="Its private key (PEM)."),
    click.option("--tls-port", metavar="PORT", help="Port for HTTPS.  [9325]"),
    click.option("--tls-client-ca", metavar="FILE", help="CAs (PEM) that clients need one of."),
    click.option(
        "--plain-http/--no-plain-http", default=None, help="Whether to serve HTTP.  [plain-http]"
    ),
    click.option(
        "--trusted-proxies", metavar="CIDR,...", help="Whose X-Forwarded headers are believed."
    ),
    *ROOT,
    click.option("--external-url", metavar="URL", help="What queue URLs begin with."),
    CONFIG,
    *LOGGING,
)


def with_options(
    *options: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> Callable[[Function], Function]:
    """Several options as one decorator, in the order in which help shows them."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def configuration(config: str | None, flags: dict[str, Any]) -> Configuration:
    """The settings from all sources. Raises `Fault`."""
    try:
        return configure(flags, os.environ, config)
    except ConfigError as error:
        raise Fault(str(error)) from None
