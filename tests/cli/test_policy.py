"""`stanchion policy put`, `attach` and `check`."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from stanchion.access.entities import Group, Role, User
from stanchion.store.documents import Draft
from tests.cli.conftest import ACCOUNT, Installation, opened_ring

HERE = ("--account", ACCOUNT)
SEND = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sqs:Send*","Resource":"*"}}'
FULL = "arn:aws:iam::aws:policy/AmazonSQSFullAccess"
SORTS: dict[str, Any] = {"user": User, "role": Role, "group": Group}


@pytest.fixture
def cli(installed: Installation) -> Installation:
    """With a user, a role and a group, all of the name `blue`."""
    installed.does("user", "create", "blue", *HERE)
    installed.does("role", "create", "blue", "--trust-account", ACCOUNT, *HERE)
    store, documents, _ = opened_ring(installed.data_dir)

    async def work(draft: Draft) -> None:
        draft.put(Group(name="blue", id="AGPABLUE", created_at_ms=0), ACCOUNT, "blue")

    asyncio.run(documents.change(work))
    store.close()
    return installed


def _entity(cli: Installation, sort: str) -> Any:
    store, documents, _ = opened_ring(cli.data_dir)
    found = asyncio.run(documents.get(SORTS[sort], ACCOUNT, "blue"))
    store.close()
    return found


@pytest.mark.parametrize("sort", SORTS)
def test_put(cli: Installation, tmp_path: Path, sort: str) -> None:
    file = tmp_path / "send.json"
    file.write_text(SEND)
    assert cli.does("policy", "put", sort, "blue", "send", str(file), *HERE) == ""
    assert _entity(cli, sort).inline == {"send": SEND}


@pytest.mark.parametrize("sort", SORTS)
def test_attach(cli: Installation, sort: str) -> None:
    assert cli.does("policy", "attach", sort, "blue", FULL, *HERE) == ""
    assert _entity(cli, sort).attached == (FULL,)


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "message"),
    [
        (("put", "user", "red", "p", "-"), SEND, 1, "The user with name red cannot be found."),
        (("put", "user", "blue", "p", "-"), "{}", 1, "Statement: there must be at least one"),
        (("attach", "user", "blue", f"{FULL}x"), "", 1, f"Policy {FULL}x does not exist or is not"),
        (("put", "user", "blue", "p", "/nowhere"), "", 2, "/nowhere: No such file or directory"),
    ],
)
def test_mistakes(
    cli: Installation, arguments: tuple[str, ...], stdin: str, code: int, message: str
) -> None:
    found = cli.refuses("policy", *arguments, *HERE, stdin=stdin)
    assert found[0] == code
    assert found[1].startswith(message)
    assert _entity(cli, "user").inline == {}


def test_a_file_that_is_no_text(cli: Installation, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_bytes(b"\xff")
    assert cli.refuses("policy", "check", str(file)) == (2, f"{file}: is not UTF-8")


# --- check --------------------------------------------------------------------------------------

QUEUE = SEND.replace('"Action"', '"Principal":"*","Action"')
TRUST = QUEUE.replace(',"Resource":"*"', "")


@pytest.mark.parametrize(
    ("document", "kind"), [(SEND, "identity"), (QUEUE, "queue"), (TRUST, "trust")]
)
def test_a_document_that_is_well_formed(started: Installation, document: str, kind: str) -> None:
    shown = started.does("policy", "check", "-", "--kind", kind, stdin=f"\n  {document}\n")
    size = len(document)
    assert shown == f"standard input: 1 statement, {size} characters without white space\n"


@pytest.mark.parametrize(
    ("document", "kind", "message"),
    [
        ("{\n  1}", "identity", "line 2, column 3: Expecting property name enclosed in double"),
        (SEND, "queue", "Statement[0]: needs either Principal or NotPrincipal"),
        (QUEUE, "identity", "Statement[0]: the element 'Principal' is unknown or out of place"),
        (SEND.replace("Allow", "Permit"), "identity", "Statement[0].Effect: must be Allow or Deny"),
        (SEND.replace("Send*", ""), "identity", "Statement[0].Action: 'sqs:' must be * or such"),
        ("[" * 100_000, "identity", "nested too deeply"),
    ],
)
def test_a_document_that_is_not(
    started: Installation, document: str, kind: str, message: str
) -> None:
    code, found = started.refuses("policy", "check", "-", "--kind", kind, stdin=document)
    assert code == 1
    assert found.startswith(f"standard input: {message}")


def test_checking_needs_no_data_directory(tmp_path: Path) -> None:
    cli = Installation(tmp_path / "none")
    assert cli.run("policy", "check", "-", stdin=SEND).exit_code == 0
