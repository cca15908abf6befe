"""`stanchion role`."""

import asyncio
import json
from pathlib import Path

import pytest

from stanchion.access.entities import Role
from tests.cli.conftest import ACCOUNT, Installation, opened_ring

HERE = ("--account", ACCOUNT)
TRUST = (
    '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole",'
    f'"Principal":{{"AWS":"arn:aws:iam::{ACCOUNT}:user/%s"}}}}}}'
)


def _trust(cli: Installation, name: str) -> str:
    store, documents, _ = opened_ring(cli.data_dir)
    role = asyncio.run(documents.get(Role, ACCOUNT, name))
    store.close()
    assert role is not None
    return role.trust


def test_a_role_that_an_account_may_give_out(installed: Installation) -> None:
    made = installed.does("role", "create", "deploy", "--trust-account", "444455556666", *HERE)
    assert made == f"arn:aws:iam::{ACCOUNT}:role/deploy\n"
    (statement,) = json.loads(_trust(installed, "deploy"))["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"AWS": "444455556666"},
        "Action": "sts:AssumeRole",
    }


@pytest.mark.parametrize("by", ["file", "standard input"])
def test_a_trust_policy_means_who_is_there_now(
    installed: Installation, tmp_path: Path, by: str
) -> None:
    installed.does("user", "create", "alice", *HERE)
    (alice,) = installed.json("user", "list", *HERE)
    file = tmp_path / "trust.json"
    file.write_text(TRUST % "alice")
    given = str(file) if by == "file" else "-"
    create = ("role", "create", "deploy", "--trust", given, "--path", "/ci/", *HERE)
    installed.does(*create, stdin=TRUST % "alice")
    assert alice["id"] in _trust(installed, "deploy")
    (row,) = installed.json("role", "list", *HERE)
    assert (row["role"], row["arn"]) == ("deploy", f"arn:aws:iam::{ACCOUNT}:role/ci/deploy")


@pytest.mark.parametrize(
    ("options", "stdin", "code", "message"),
    [
        ((), "", 2, "who may assume it: give either --trust FILE or --trust-account ID"),
        (("--trust", "-", "--trust-account", "1"), "", 2, "who may assume it: give either"),
        (("--trust-account", "12"), "", 1, "Statement[0].Principal.AWS: '12' is not an account"),
        (("--trust", "-"), TRUST % "bob", 1, 'Invalid principal in policy: "AWS":"arn:aws:iam::'),
        (("--trust", "/nowhere/x"), "", 2, "/nowhere/x: No such file or directory"),
    ],
)
def test_mistakes(
    installed: Installation, options: tuple[str, ...], stdin: str, code: int, message: str
) -> None:
    found = installed.refuses("role", "create", "deploy", *options, *HERE, stdin=stdin)
    assert found[0] == code
    assert found[1].startswith(message)
    assert installed.json("role", "list", *HERE) == []
