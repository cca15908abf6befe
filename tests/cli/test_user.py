"""`stanchion user`."""

import pytest

from tests.cli.conftest import ACCOUNT, Installation

HERE = ("--account", ACCOUNT)


def test_create_list_delete(installed: Installation) -> None:
    assert installed.json("user", "list", *HERE) == []
    arn = installed.does("user", "create", "alice", "--path", "/staff/", *HERE).strip()
    assert arn == f"arn:aws:iam::{ACCOUNT}:user/staff/alice"
    (row,) = installed.json("user", "list", *HERE)
    assert (row["user"], row["arn"]) == ("alice", arn)
    header, line = installed.does("user", "list", *HERE).splitlines()
    assert header.split() == ["User", "ARN", "ID", "Created"]
    assert line.split() == list(row.values())
    assert installed.does("user", "delete", "alice", *HERE) == ""
    result = installed.run("user", "list", *HERE)
    assert (result.stdout, result.stderr) == ("", "There are none.\n")


def test_a_list_has_all_pages(installed: Installation) -> None:
    names = [f"user-{number:03}" for number in range(103)]
    for name in names:
        installed.does("user", "create", name, *HERE)
    assert [row["user"] for row in installed.json("user", "list", *HERE)] == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "Alice", *HERE), "User with name Alice already exists."),
        (("delete", "bob", *HERE), "The user with name bob cannot be found."),
        (("delete", "alice", *HERE), "Cannot delete entity, must delete access keys first."),
        (("create", "carol"), "There is no account 000000000000."),
    ],
)
def test_iam_refuses_what_it_would_refuse_over_the_network(
    installed: Installation, arguments: tuple[str, ...], message: str
) -> None:
    installed.does("user", "create", "alice", *HERE)
    installed.does("key", "create", "alice", *HERE)
    assert installed.refuses("user", *arguments) == (1, message)


def test_a_name_that_the_model_does_not_allow(installed: Installation) -> None:
    code, message = installed.refuses("user", "create", "no spaces", *HERE)
    assert code == 1
    assert message.startswith("1 validation error detected: ")
    assert installed.json("user", "list", *HERE) == []
