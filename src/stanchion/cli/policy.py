"""`stanchion policy`: giving policies to users, groups and roles, and checking documents.

`stanchion policy explain` is in `explain.py`.
"""

import json
from collections.abc import Callable
from typing import Any

import click
from msgspec import Struct

from stanchion.access.policy.document import Kind, MalformedPolicy, parse
from stanchion.cli.explain import explain
from stanchion.cli.identities import ACCOUNT, PLACE, Refused, identities, label, text_of
from stanchion.cli.settings import with_options
from stanchion.iam.documents import size
from stanchion.model.iam import (
    AttachGroupPolicyRequest,
    AttachRolePolicyRequest,
    AttachUserPolicyRequest,
    PutGroupPolicyRequest,
    PutRolePolicyRequest,
    PutUserPolicyRequest,
)


@click.group()
def policy() -> None:
    """Give policies, check documents, and explain decisions."""


policy.add_command(explain)

_SORT = click.argument(
    "sort", metavar="user|role|group", type=click.Choice(("user", "role", "group"))
)
_Make = Callable[..., Struct]

_PUT: dict[str, _Make] = {
    "user": PutUserPolicyRequest,
    "role": PutRolePolicyRequest,
    "group": PutGroupPolicyRequest,
}


@policy.command()
@_SORT
@click.argument("name")
@click.argument("policy_name", metavar="POLICYNAME")
@click.argument("file")
@with_options(ACCOUNT, *PLACE)
def put(
    config: str | None,
    account: str,
    sort: str,
    name: str,
    policy_name: str,
    file: str,
    **flags: Any,
) -> None:
    """Give a user, role or group an inline policy, or replace the one of that name.

    FILE holds the document; - is standard input.
    """
    document = text_of(file)
    request = _PUT[sort](
        **{f"{sort}_name": name}, policy_name=policy_name, policy_document=document
    )
    with identities(config, flags) as found:
        found.ask(account, request)


_ATTACH: dict[str, _Make] = {
    "user": AttachUserPolicyRequest,
    "role": AttachRolePolicyRequest,
    "group": AttachGroupPolicyRequest,
}


@policy.command()
@_SORT
@click.argument("name")
@click.argument("arn")
@with_options(ACCOUNT, *PLACE)
def attach(config: str | None, account: str, sort: str, name: str, arn: str, **flags: Any) -> None:
    """Attach a managed policy, such as arn:aws:iam::aws:policy/AdministratorAccess."""
    request = _ATTACH[sort](**{f"{sort}_name": name}, policy_arn=arn)
    with identities(config, flags) as found:
        found.ask(account, request)


_KINDS: dict[str, Kind] = {"identity": "identity", "queue": "resource", "trust": "trust"}


@policy.command()
@click.argument("file")
@click.option(
    "--kind",
    type=click.Choice(tuple(_KINDS)),
    default="identity",
    show_default=True,
    help="For whom it is: a user, group or role; a queue; or those who may assume a role.",
)
def check(file: str, kind: str) -> None:
    """Read a policy document, and say what is wrong with it and where.

    FILE - is standard input. Whether those it names exist is not looked at.
    """
    document = text_of(file)
    try:
        found = parse(document, _KINDS[kind])
    except MalformedPolicy as error:
        raise Refused(f"{label(file)}: {_not_json(document) or error}") from None
    count = len(found.statements)
    statements = "1 statement" if count == 1 else f"{count} statements"
    click.echo(f"{label(file)}: {statements}, {size(document)} characters without white space")


def _not_json(document: str) -> str:
    """Where it stops to be JSON, if it does."""
    try:
        json.loads(document)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    except RecursionError:
        return "nested too deeply"
    return ""
