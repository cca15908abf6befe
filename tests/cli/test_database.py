"""The verbs about identities and keys, over a database rather than a data directory."""

import asyncio
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("asyncpg")

from click.testing import CliRunner, Result

from stanchion.cli.main import main
from stanchion.clock import SystemClock
from stanchion.keys.key_file import FileSource
from stanchion.keys.ring import open_ring
from stanchion.store.documents import Documents
from stanchion.store.postgres import PostgresStore
from tests.postgres import shared_database
from tests.server import root_key_file

SCHEMA = "stanchion_offline"
ACCOUNT = "111122223333"


class Place:
    """An empty schema's place, and the command line over it."""

    def __init__(self, directory: Path) -> None:
        self.url = shared_database().url
        self.root_key_file = root_key_file(directory)

    def run(self, *arguments: str) -> Result:
        clean = dict.fromkeys(name for name in os.environ if name.startswith("STANCHION_"))
        variables = {**clean, "STANCHION_POSTGRES_SCHEMA": SCHEMA}
        return CliRunner().invoke(main, [*arguments, "--store", self.url], env=variables)

    def does(self, *arguments: str) -> str:
        """What is printed by what succeeds."""
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def refuses(self, *arguments: str) -> str:
        """The one line of what does not start."""
        result = self.run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        (line,) = result.stderr.splitlines()
        return line.removeprefix("Error: ")

    def start(self) -> None:
        """What the first server does there."""
        asyncio.run(self._start())

    async def _start(self) -> None:
        store = await PostgresStore.open(self.url, schema=SCHEMA)
        source = FileSource(Path(self.root_key_file), os.urandom)
        await open_ring(Documents(_Direct(store)), source, SystemClock())
        await store.close()


class _Direct:
    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def run(self, command):  # type: ignore[no-untyped-def]
        (answer,) = (await self._store.execute([command])).answers
        return answer


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path)
    shared_database().query(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def test_identities_of_a_database(place: Place) -> None:
    place.start()
    root = ("--root-key-file", place.root_key_file)
    assert "AWS_SECRET_ACCESS_KEY" in place.does("account", "create", "--id", ACCOUNT, *root)
    assert ACCOUNT in place.does("account", "list")
    of_it = ("--account", ACCOUNT)
    assert "user/alice" in place.does("user", "create", "alice", *of_it)
    assert "alice" in place.does("user", "list", *of_it)
    place.does(
        "policy", "attach", "user", "alice", "arn:aws:iam::aws:policy/AmazonSQSFullAccess", *of_it
    )
    assert "AWS_ACCESS_KEY_ID" in place.does("key", "create", "alice", *of_it, *root)
    place.does("role", "create", "worker", "--trust-account", ACCOUNT, *of_it)
    assert "worker" in place.does("role", "list", *of_it)
    assert place.does("keys", "status").startswith("root of trust: file")


@pytest.mark.parametrize(
    "verb",
    [("user", "list"), ("account", "root-key", ACCOUNT), ("keys", "status"), ("shard", "list")],
)
def test_a_schema_is_not_made(place: Place, verb: tuple[str, ...]) -> None:
    told = place.refuses(*verb)
    assert told == (
        f"there is no PostgreSQL schema {SCHEMA} of Stanchion's there: the first server that "
        "starts on it makes it"
    )
    assert shared_database().query("SELECT to_regnamespace($1)::text", SCHEMA) == [(None,)]


@pytest.mark.parametrize(
    ("version", "told"),
    [(0, "has version 0, from an older Stanchion"), (1000, "has version 1000, from a newer")],
)
def test_a_schema_of_another_release_is_left_as_it_is(
    place: Place, version: int, told: str
) -> None:
    place.start()
    shared_database().query(f"UPDATE {SCHEMA}.schema_version SET version = $1", version)
    for verb in (("user", "list"), ("shard", "list")):
        assert told in place.refuses(*verb)
    found = shared_database().query(f"SELECT version FROM {SCHEMA}.schema_version")
    assert found == [(version,)]


def test_without_the_extra_it_says_where_to_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = "PostgreSQL needs the package asyncpg: install the extra postgres, see "
    assert place.refuses("user", "list") == f"{told}docs/guides/production.md"


def test_a_rotation_says_what_all_servers_need_and_by_when(place: Place) -> None:
    place.start()
    key = ("--root-key-file", place.root_key_file)
    told = place.does("keys", "rotate", *key, "--seal-after", "3600").splitlines()[-1]
    assert told.startswith(f"Bring {place.root_key_file} to all servers within 3600 s: ")
