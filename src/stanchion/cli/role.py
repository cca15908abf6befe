"""`stanchion role`: roles, and who may assume them."""

import json
from typing import Any

import click

from stanchion.cli.identities import ACCOUNT, JSON, PLACE, identities, show, text_of
from stanchion.cli.settings import Fault, with_options
from stanchion.model.iam import CreateRoleRequest, ListRolesRequest


@click.group()
def role() -> None:
    """Make and list roles."""


@role.command()
@click.argument("name")
@click.option("--trust", metavar="FILE", help="The policy that says who may assume it; - is stdin.")
@click.option("--trust-account", metavar="ID", help="Instead: leave that to this account.")
@click.option("--path", metavar="/PATH/", help="A part of the ARN.  [/]")
@with_options(ACCOUNT, *PLACE)
def create(
    config: str | None,
    account: str,
    name: str,
    trust: str | None,
    trust_account: str | None,
    path: str | None,
    **flags: Any,
) -> None:
    """Make a role and print its ARN. It may do nothing until it is given a policy.

    With --trust-account, whoever of that account is allowed sts:AssumeRole by a policy there may
    assume it.
    """
    if (trust is None) == (trust_account is None):
        raise Fault("who may assume it: give either --trust FILE or --trust-account ID")
    document = text_of(trust) if trust is not None else _trusting(trust_account)
    request = CreateRoleRequest(role_name=name, path=path, assume_role_policy_document=document)
    with identities(config, flags) as found:
        made = found.ask(account, request).role
    click.echo(made.arn)


def _trusting(account_id: str | None) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": account_id},
        "Action": "sts:AssumeRole",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@role.command("list")
@with_options(JSON, ACCOUNT, *PLACE)
def list_(config: str | None, account: str, as_json: bool, **flags: Any) -> None:
    """List the roles of an account."""
    with identities(config, flags) as found:
        roles = found.all(account, ListRolesRequest(), "roles")
    show([_row(each) for each in roles], as_json)


def _row(found: Any) -> dict[str, str]:
    created = found.create_date.strftime("%Y-%m-%d")
    return {"role": found.role_name, "arn": found.arn, "id": found.role_id, "created": created}
