"""A data directory that a server has been started on, and the command line over it."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from stanchion.cli.main import main
from stanchion.clock import SystemClock
from stanchion.keys.key_file import FILE_NAME, FileSource
from stanchion.keys.ring import KeyRing, open_ring
from stanchion.store.contract import Command, StoreError
from stanchion.store.documents import Documents
from stanchion.store.sqlite import SqliteStore

ACCOUNT = "111122223333"


class Installation:
    """`run` is the command line with the environment that is given and no other settings."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> Result:
        clean = dict.fromkeys(name for name in os.environ if name.startswith("STANCHION_"))
        place = {"STANCHION_DATA_DIR": str(self.data_dir)}
        variables = {**clean, **place, **environment}
        return CliRunner().invoke(main, list(arguments), input=stdin, env=variables)

    def does(self, *arguments: str, stdin: str = "") -> str:
        """What is printed by what succeeds."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str, stdin: str = "") -> Any:
        return json.loads(self.does(*arguments, "--json", stdin=stdin))

    def refuses(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        """Exit code and message, which is one line on standard error and nothing else."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exception is None or isinstance(
            result.exception, SystemExit | click.ClickException
        )
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        return result.exit_code, line.removeprefix("Error: ")


@pytest.fixture
def started(tmp_path: Path) -> Installation:
    """No account yet, but a key ring."""
    data_dir = tmp_path / "data"
    store = SqliteStore.open(data_dir, reserve_bytes=0)
    source = FileSource(data_dir / FILE_NAME, os.urandom)
    asyncio.run(open_ring(Documents(Inline(store)), source, SystemClock()))
    store.close()
    return Installation(data_dir)


@pytest.fixture
def installed(started: Installation) -> Installation:
    """With account `ACCOUNT`."""
    started.does("account", "create", "--id", ACCOUNT)
    return started


class Inline:
    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def run(self, command: Command[Any]) -> Any:
        (answer,) = self._store.execute([command], 0).answers
        if isinstance(answer, StoreError):
            raise answer
        return answer


def opened_ring(data_dir: Path) -> tuple[SqliteStore, Documents, KeyRing]:
    """What a server would find there. Close the store."""
    store = SqliteStore.open_records(data_dir)
    documents = Documents(Inline(store))
    source = FileSource(data_dir / FILE_NAME, os.urandom)
    return store, documents, asyncio.run(open_ring(documents, source, SystemClock()))
