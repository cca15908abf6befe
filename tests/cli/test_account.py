"""`stanchion account`: accounts, and root keys that were lost."""

import asyncio
import re

import pytest

from stanchion.access.entities import AccessKey, Account
from stanchion.access.root import FILE_NAME, ROOT_ACCOUNT_ID
from stanchion.store.documents import Draft
from tests.cli.conftest import ACCOUNT, Installation, opened_ring


def test_create_prints_lines_for_a_shell(started: Installation) -> None:
    comment, key, secret = started.does("account", "create", "--id", ACCOUNT).splitlines()
    assert comment.startswith(f"# The root key of account {ACCOUNT}. ")
    access_key_id = key.removeprefix("export AWS_ACCESS_KEY_ID=")
    assert re.fullmatch("AKIA[A-Z2-7]{16}", access_key_id)
    value = secret.removeprefix("export AWS_SECRET_ACCESS_KEY=")
    assert _secret(started, access_key_id) == value


def _secret(cli: Installation, access_key_id: str) -> str | None:
    """What a server would verify that key's signatures with."""
    store, documents, ring = opened_ring(cli.data_dir)
    key = asyncio.run(documents.get(AccessKey, "", access_key_id))
    store.close()
    if key is None:
        return None
    return ring.open(f"access-key:{access_key_id}", key.sealed_secret).decode()


def test_an_account_that_is_not_named_gets_a_random_id(started: Installation) -> None:
    first, second = (started.json("account", "create") for _ in range(2))
    assert re.fullmatch("[0-9]{12}", first["account"])
    assert first["account"] != second["account"]
    assert set(first) == {"account", "access_key_id", "secret_access_key"}


def test_list(started: Installation) -> None:
    assert started.json("account", "list") == []
    made = started.json("account", "create", "--id", ACCOUNT, "--name", "the [bold]shop[/bold]")
    (row,) = started.json("account", "list")
    assert (row["account"], row["name"]) == (ACCOUNT, "the [bold]shop[/bold]")
    assert row["root_keys"] == made["access_key_id"]
    header, line = started.does("account", "list").splitlines()
    assert header.split()[:2] == ["Account", "Name"]
    assert line.startswith(f"{ACCOUNT}  the [bold]shop[/bold]  ")
    assert made["secret_access_key"] not in started.does("account", "list")


def test_a_new_root_key_ends_the_old_ones(installed: Installation) -> None:
    (before,) = installed.json("account", "list")
    made = installed.json("account", "root-key", ACCOUNT)
    (after,) = installed.json("account", "list")
    assert after == {**before, "root_keys": made["access_key_id"]}
    assert _secret(installed, before["root_keys"]) is None
    assert _secret(installed, made["access_key_id"]) == made["secret_access_key"]


def test_a_credentials_file_that_is_out_of_date_is_pointed_out(started: Installation) -> None:
    started.does("account", "create", "--id", ROOT_ACCOUNT_ID)
    started.does("account", "create", "--id", ACCOUNT)
    assert started.run("account", "root-key", ROOT_ACCOUNT_ID).stderr == ""
    (started.data_dir / FILE_NAME).touch()
    assert started.run("account", "root-key", ACCOUNT).stderr == ""
    assert f"{FILE_NAME} holds an earlier key" in (
        started.run("account", "root-key", ROOT_ACCOUNT_ID).stderr
    )


def test_an_account_without_a_key_can_be_rescued(started: Installation) -> None:
    """As one is left by a crash between making it and its key."""
    store, documents, _ = opened_ring(started.data_dir)

    async def put() -> None:
        async def work(draft: Draft) -> None:
            draft.put(Account(id=ACCOUNT), "", ACCOUNT)

        await documents.change(work)

    asyncio.run(put())
    store.close()
    made = started.json("account", "root-key", ACCOUNT)
    assert _secret(started, made["access_key_id"]) == made["secret_access_key"]


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (("create", "--id", ACCOUNT), (1, f"There is an account {ACCOUNT} already.")),
        (("create", "--id", "12"), (2, "--id: '12' is not twelve digits")),
        (("create", "--name", "x" * 129), (2, "--name: longer than 128 characters")),
        (("root-key", "999999999999"), (1, "There is no account 999999999999.")),
    ],
)
def test_mistakes(
    installed: Installation, arguments: tuple[str, ...], refusal: tuple[int, str]
) -> None:
    before = installed.json("account", "list")
    assert installed.refuses("account", *arguments) == refusal
    assert installed.json("account", "list") == before


def test_another_root_of_trust_makes_no_account(installed: Installation) -> None:
    (installed.data_dir / "root.key").write_text(f"{'0' * 64}\n")
    code, message = installed.refuses("account", "create")
    assert code == 2
    assert "is another key" in message
    assert len(installed.json("account", "list")) == 1


def test_without_a_data_directory(installed: Installation) -> None:
    result = installed.run("account", "list", STANCHION_DATA_DIR="")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: no data directory: ")
