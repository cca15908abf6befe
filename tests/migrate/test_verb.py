"""The verb: what it prints, what it refuses, and how to go back."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stanchion.store.contract import StoreUnusable
from stanchion.store.migrate import Progress, parts, target
from stanchion.store.sqlite import SqliteStore
from tests.cli.conftest import Installation
from tests.migrate.conftest import FullDirectory, copied
from tests.migrate.rig import Full, MovedStore, Schema, new_schema
from tests.server import start


class Mover:
    """The command line over a directory and a schema."""

    def __init__(self, directory: Path, schema: Schema) -> None:
        self.directory = directory
        self.schema = schema
        self.cli = Installation(directory)
        self.to = ("--store", schema.url, "--postgres-schema", schema.name)
        self.place = f"schema {schema.name} of {schema.url}"

    def refuses(self, *arguments: str) -> str:
        status, line = self.cli.refuses(*arguments)
        assert status == 2
        return line

    def migrate(self) -> str:
        return self.cli.does("migrate", *self.to)


@pytest.fixture
def mover(directory: FullDirectory, schema: Schema) -> Mover:
    return Mover(directory.path, schema)


@pytest.fixture
def other() -> Iterator[Schema]:
    with new_schema() as schema:
        yield schema


def test_what_it_prints(mover: Mover, directory: FullDirectory) -> None:
    result = mover.cli.run("migrate", *mover.to)
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    queues = len(directory.full.counts)
    ((messages,),) = mover.schema.query("SELECT count(*) FROM message")
    assert re.fullmatch(
        rf"{queues} queues, {messages} messages and 3 records are in {re.escape(mover.place)}, "
        r"after [\d.]+ s\.",
        first,
    )
    assert second == (
        "Give every server the same root of trust: without it, nothing there can be read."
    )
    lines = result.stderr.splitlines()
    doing = [line.partition(":")[0] for line in lines]
    assert doing == [*(part.name for part in parts.PARTS), "checking"]
    assert f"checking: {messages} of {messages} messages" in lines[-1]


def test_again_there_is_nothing_to_do(mover: Mover) -> None:
    mover.migrate()
    line = f"{mover.directory} is in {mover.place} already: nothing was left to do.\n"
    assert mover.migrate() == line


def test_no_server_starts_on_what_was_moved(mover: Mover) -> None:
    mover.migrate()
    line = (
        f"{mover.directory} was moved to {mover.place}: serve it from there, "
        "or take that back with stanchion migrate --undo"
    )
    assert mover.refuses("serve", "--port", "0") == line
    # Nor do the verbs that work beside one.
    assert mover.refuses("account", "list") == line


def test_it_can_be_taken_back(mover: Mover) -> None:
    mover.migrate()
    line = f"{mover.directory} can be served again, and {mover.place} cannot any more.\n"
    assert mover.cli.does("migrate", "--undo", *mover.to) == line
    SqliteStore.open(mover.directory, reserve_bytes=0).close()
    refusal = mover.refuses("account", "list", "--config", _settings(mover))
    assert refusal == (
        f"what was moved to the PostgreSQL schema {mover.schema.name} was taken back to its data "
        "directory: serve that one"
    )
    assert mover.refuses("migrate", *mover.to) == (
        f"what was in {mover.place} was taken back: drop the schema, or choose another with "
        "--postgres-schema"
    )
    assert "there is nothing to take back" in mover.refuses("migrate", "--undo", *mover.to)
    mover.schema.drop()
    mover.migrate()


def _settings(mover: Mover) -> str:
    path = mover.directory.parent / "postgres.toml"
    path.write_text(f'store = "{mover.schema.url}"\npostgres_schema = "{mover.schema.name}"\n')
    return str(path)


def test_it_can_be_taken_back_from_a_schema_that_is_gone(mover: Mover) -> None:
    mover.migrate()
    mover.schema.drop()
    assert mover.refuses("migrate", *mover.to) == (
        f"{mover.directory} was moved to {mover.place}, where nothing is: --undo first"
    )
    mover.cli.does("migrate", "--undo", *mover.to)
    mover.migrate()


def test_only_from_where_it_was_moved_to(mover: Mover, other: Schema) -> None:
    mover.migrate()
    elsewhere = ("--store", other.url, "--postgres-schema", other.name)
    line = mover.refuses("migrate", "--undo", *elsewhere)
    assert line.startswith(f"{mover.directory} was moved to {mover.place}, not to ")
    line = mover.refuses("migrate", *elsewhere)
    assert line.startswith(f"{mover.directory} was moved to {mover.place}: take that back first")


def test_nothing_is_taken_back_from_a_server_at_work(mover: Mover) -> None:
    mover.migrate()
    settings = {"store": mover.schema.url, "postgres_schema": mover.schema.name}
    node = mover.directory.parent / "node"
    node.mkdir()
    running = start(node, settings=settings)
    try:
        line = mover.refuses("migrate", "--undo", *mover.to)
    finally:
        running.stop()
    assert line == f"servers are running on {mover.place}: stop them first"


def test_a_directory_in_use(mover: Mover) -> None:
    store = SqliteStore.open(mover.directory, reserve_bytes=0)
    line = mover.refuses("migrate", *mover.to)
    store.close()
    assert line == (
        f"{mover.directory} is in use by another server: stop it, or choose another directory"
    )
    assert not mover.schema.exists()


def test_nobody_else_writes_meanwhile(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[StoreUnusable] = []
    monkeypatch.setattr("stanchion.store.sqlite.database._BUSY_TIMEOUT_S", 0.1)

    def beside(*given: object) -> None:
        if not refused:
            with pytest.raises(StoreUnusable, match="database is locked") as caught:
                SqliteStore.open_records(mover.directory)
            refused.append(caught.value)

    monkeypatch.setattr("stanchion.cli.migrate._Lines.report", beside)
    mover.migrate()
    assert refused


def test_a_connection_that_is_lost(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[str] = []

    def report(lines: object, progress: Progress) -> None:
        if progress.doing == "messages" and not lost:
            lost.append(progress.doing)
            mover.schema.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'stanchion migrate'"
            )

    monkeypatch.setattr("stanchion.cli.migrate._Lines.report", report)
    assert mover.refuses("migrate", *mover.to).startswith("the PostgreSQL database cannot be used")
    assert lost
    assert mover.refuses("account", "list", "--config", _settings(mover)) == (
        f"a data directory is still being moved to the PostgreSQL schema {mover.schema.name}: "
        "run stanchion migrate again until it says that all is there"
    )
    mover.migrate()


def test_one_at_a_time(
    mover: Mover, filled: FullDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(target._SESSION, "lock_timeout", "100")
    refused: list[object] = []

    def report(lines: object, progress: Progress) -> None:
        if not refused:
            with copied(filled) as another, ThreadPoolExecutor() as pool:
                job = pool.submit(mover.schema.migrate, another.path)
                refused.append(job.exception(timeout=20))

    monkeypatch.setattr("stanchion.cli.migrate._Lines.report", report)
    mover.migrate()
    assert str(refused[0]) == (
        f"another migration into the PostgreSQL schema {mover.schema.name} is at work"
    )


def test_a_schema_in_use(mover: Mover) -> None:
    MovedStore(mover.schema).close()
    mover.schema.query("INSERT INTO record VALUES ('user', '1', 'alice', 1, '')")
    assert mover.refuses("migrate", *mover.to) == (
        f"the PostgreSQL schema {mover.schema.name} is in use already: choose another with "
        "--postgres-schema"
    )


def test_a_schema_that_is_empty(mover: Mover) -> None:
    MovedStore(mover.schema).close()
    mover.migrate()


def test_a_schema_of_another_application(mover: Mover) -> None:
    mover.schema.query(f"CREATE SCHEMA {mover.schema.name} CREATE TABLE pets (name text)")
    assert mover.refuses("migrate", *mover.to) == (
        f"the PostgreSQL schema {mover.schema.name} holds tables of another application"
    )
    tables = mover.schema.query(
        "SELECT tablename FROM pg_tables WHERE schemaname = $1", mover.schema.name
    )
    assert [tuple(row) for row in tables] == [("pets",)]


def test_a_schema_with_another_directory(mover: Mover, tmp_path: Path) -> None:
    mover.migrate()
    another = tmp_path / "another"
    Full(another, prefix="other")
    line = Mover(another, mover.schema).refuses("migrate", *mover.to)
    assert line.startswith(f"{mover.place} is there already, moved from another directory")


def test_what_is_not_a_data_directory(mover: Mover, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    line = Mover(empty, mover.schema).refuses("migrate", *mover.to)
    assert line == f"{empty} has no Stanchion data: start a server on it first"
    assert list(empty.iterdir()) == []


def test_without_a_place_to_go(mover: Mover) -> None:
    assert mover.refuses("migrate") == (
        "no database: say where it is to go with --store postgresql://…"
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pass-word@127.0.0.1:1/db",
        # What follows the slash is a path, and what precedes it no port.
        "postgresql://me:pass-word/more@127.0.0.1/db",
        "postgresql://me@127.0.0.1:1/db?password=pass-word",
    ],
)
def test_no_password_is_shown(mover: Mover, url: str) -> None:
    line = mover.refuses("migrate", "--store", url)
    assert "pass" not in line.replace("in a password, special characters", "")
    assert "PostgreSQL database" in line


def test_the_marker_has_no_password(mover: Mover) -> None:
    url = mover.schema.url.replace("stanchion@", "stanchion:pass-word@")
    mover.cli.does("migrate", "--store", url, "--postgres-schema", mover.schema.name)
    line = mover.refuses("serve", "--port", "0")
    assert "stanchion:***@" in line
    assert "pass-word" not in line


def test_a_bar_on_a_terminal(mover: Mover) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("STANCHION_")}
    reader, writer = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "stanchion", "migrate", "--data-dir", mover.directory, *mover.to],
        stdout=subprocess.PIPE,
        stderr=writer,
        env=clean | {"TERM": "xterm", "COLUMNS": "200"},
        timeout=60,
        check=True,
    )
    os.close(writer)
    shown = os.read(reader, 65536).decode()
    os.close(reader)
    assert b"messages and 3 records" in done.stdout
    assert "messages" in shown
    assert "\x1b[" in shown
