"""`stanchion user`: users, for the first one and for when nobody can call IAM any more."""

from typing import Any

import click

from stanchion.cli.identities import ACCOUNT, JSON, PLACE, identities, show
from stanchion.cli.settings import with_options
from stanchion.model.iam import CreateUserRequest, DeleteUserRequest, ListUsersRequest


@click.group()
def user() -> None:
    """Make, list and delete users."""


@user.command()
@click.argument("name")
@click.option("--path", metavar="/PATH/", help="A part of the ARN.  [/]")
@with_options(ACCOUNT, *PLACE)
def create(config: str | None, account: str, name: str, path: str | None, **flags: Any) -> None:
    """Make a user and print its ARN. It may do nothing until it is given a policy."""
    with identities(config, flags) as found:
        made = found.ask(account, CreateUserRequest(user_name=name, path=path)).user
    click.echo(made.arn)


@user.command("list")
@with_options(JSON, ACCOUNT, *PLACE)
def list_(config: str | None, account: str, as_json: bool, **flags: Any) -> None:
    """List the users of an account."""
    with identities(config, flags) as found:
        users = found.all(account, ListUsersRequest(), "users")
    show([_row(each) for each in users], as_json)


def _row(found: Any) -> dict[str, str]:
    created = found.create_date.strftime("%Y-%m-%d")
    return {"user": found.user_name, "arn": found.arn, "id": found.user_id, "created": created}


@user.command()
@click.argument("name")
@with_options(ACCOUNT, *PLACE)
def delete(config: str | None, account: str, name: str, **flags: Any) -> None:
    """Delete a user, which must have no keys, policies or groups left."""
    with identities(config, flags) as found:
        found.ask(account, DeleteUserRequest(user_name=name))
