"""`stanchion key`."""

import asyncio
from pathlib import Path

import pytest

from stanchion.access.entities import AccessKey
from tests.cli.conftest import ACCOUNT, Installation, opened_ring

HERE = ("--account", ACCOUNT)


@pytest.fixture
def cli(installed: Installation) -> Installation:
    """With user alice."""
    installed.does("user", "create", "alice", *HERE)
    return installed


def test_create_prints_the_secret_once(cli: Installation) -> None:
    comment, key, secret = cli.does("key", "create", "Alice", *HERE).splitlines()
    assert comment.startswith(f"# An access key of user alice in account {ACCOUNT}. ")
    access_key_id = key.removeprefix("export AWS_ACCESS_KEY_ID=")
    value = secret.removeprefix("export AWS_SECRET_ACCESS_KEY=")
    store, documents, ring = opened_ring(cli.data_dir)
    stored = asyncio.run(documents.get(AccessKey, "", access_key_id))
    store.close()
    assert stored is not None
    assert ring.open(f"access-key:{access_key_id}", stored.sealed_secret).decode() == value
    shown = cli.does("key", "list", *HERE)
    assert access_key_id in shown
    assert value not in shown


def test_create_for_scripts(cli: Installation) -> None:
    made = cli.json("key", "create", "alice", *HERE)
    assert set(made) == {"account", "user", "access_key_id", "secret_access_key"}
    assert (made["account"], made["user"]) == (ACCOUNT, "alice")


def test_list_of_one_and_of_all(cli: Installation) -> None:
    made = cli.json("key", "create", "alice", *HERE)
    (alices,) = cli.json("key", "list", "alice", *HERE)
    assert alices["key"] == made["access_key_id"]
    assert (alices["user"], alices["status"], alices["last_used"]) == ("alice", "Active", "")
    roots, same = cli.json("key", "list", *HERE)
    assert same == alices
    (account,) = cli.json("account", "list")
    assert (roots["user"], roots["key"]) == ("(root)", account["root_keys"])


def test_a_key_is_known_whosever_it_is(cli: Installation) -> None:
    users = cli.json("key", "create", "alice", *HERE)["access_key_id"]
    (account,) = cli.json("account", "list")
    for key in (users, account["root_keys"]):
        cli.does("key", "deactivate", key)
        assert _statuses(cli)[key] == "Inactive"
        cli.does("key", "activate", key)
        assert _statuses(cli)[key] == "Active"
        cli.does("key", "delete", key)
        assert key not in _statuses(cli)


def _statuses(cli: Installation) -> dict[str, str]:
    return {row["key"]: row["status"] for row in cli.json("key", "list", *HERE)}


@pytest.mark.parametrize("verb", ["deactivate", "activate", "delete"])
def test_a_key_that_is_not_there(cli: Installation, verb: str) -> None:
    assert cli.refuses("key", verb, "AKIANONE") == (1, "There is no access key AKIANONE.")


def test_a_third_key_is_refused(cli: Installation) -> None:
    for _ in range(2):
        cli.does("key", "create", "alice", *HERE)
    code, message = cli.refuses("key", "create", "alice", *HERE)
    assert (code, message) == (1, "Cannot exceed quota for AccessKeysPerUser: 2")


def test_only_making_a_key_needs_the_root_of_trust(cli: Installation) -> None:
    (cli.data_dir / "root.key").unlink()
    code, message = cli.refuses("key", "create", "alice", *HERE)
    assert code == 2
    assert "root.key is missing" in message
    assert len(cli.json("key", "list", *HERE)) == 1


def test_the_root_of_trust_may_be_elsewhere(cli: Installation, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.key"
    (cli.data_dir / "root.key").rename(elsewhere)
    cli.does("key", "create", "alice", "--root-key-file", str(elsewhere), *HERE)
    assert len(cli.json("key", "list", "alice", *HERE)) == 1
