"""A migration that is cut short at any step goes on, and ends with exactly what there was."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stanchion.store.contract import StoreUnusable
from stanchion.store.migrate import source, undo
from stanchion.store.migrate.parts import PARTS
from stanchion.store.migrate.source import Source
from stanchion.store.migrate.target import Target
from stanchion.store.postgres.engine import PostgresStore
from stanchion.store.sqlite import SqliteStore
from tests.migrate.conftest import FullDirectory
from tests.migrate.rig import Full, Schema
from tests.store.driver import Driver


class Cut(Exception):
    """Here it ends."""


class Steps:
    """Everything that writes, counted; the one of a number fails, before or after it is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._done = 0
        self._cut_at: int | None = None
        self._is_after = False
        for name in ("begin", "write", "end_part", "set_numbers", "analyze", "set_status"):
            monkeypatch.setattr(Target, name, self._counted(getattr(Target, name)))
        mark = Source.set_moved_to
        monkeypatch.setattr(Source, "set_moved_to", lambda *given: self._cut_sync(mark, *given))

    def cut_at(self, step: int | None, *, is_after: bool = False) -> None:
        self._done, self._cut_at, self._is_after = 0, step, is_after

    def _counted(self, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*given: object) -> Any:
            self._before()
            answer = await work(*given)
            self._after()
            return answer

        return counted

    def _cut_sync(self, work: Callable[..., None], *given: object) -> None:
        self._before()
        work(*given)
        self._after()

    def _before(self) -> None:
        self._done += 1
        if self._done == self._cut_at and not self._is_after:
            raise Cut

    def _after(self) -> None:
        if self._done == self._cut_at:
            raise Cut


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    monkeypatch.setattr(source, "_BATCH_ROWS_MAX", 20)
    return Steps(monkeypatch)


def digest_of(schema: Schema) -> dict[str, str]:
    """What each table has."""
    tables = {table.name for part in PARTS for table in part.tables}
    found = {}
    for name in sorted(tables):
        rows = sorted(repr(tuple(row)) for row in schema.query(f"SELECT * FROM {name}"))
        found[name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return found


def opens(schema: Schema) -> bool:
    """Whether a server starts on it."""

    async def opened() -> None:
        await (await PostgresStore.open(schema.url, schema=schema.name)).close()

    try:
        asyncio.run(opened())
    except StoreUnusable:
        return False
    return True


def serves(directory: Path) -> bool:
    try:
        SqliteStore.open(directory, reserve_bytes=0).close()
    except StoreUnusable:
        return False
    return True


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_cut_short_at_each_step(
    directory: FullDirectory, schema: Schema, steps: Steps, is_after: bool
) -> None:
    schema.migrate(directory.path)
    whole = digest_of(schema)
    asyncio.run(undo(directory.path, schema.url, schema.name))
    schema.drop()
    step, reached, cuts = 1, "", 0
    while True:
        steps.cut_at(step, is_after=is_after)
        try:
            moved = schema.migrate(directory.path)
            break
        except Cut:
            cuts += 1
        assert not schema.exists() or not (opens(schema) and serves(directory.path))
        now = how_far(schema, directory.path)
        # Each run does one step; those that leave nothing behind, all in one run.
        step, reached = (step + 1 if now == reached else step), now
    assert cuts > len(PARTS)
    assert moved.was_there == is_after
    assert digest_of(schema) == whole
    assert opens(schema)
    assert not serves(directory.path)


def how_far(schema: Schema, directory: Path) -> str:
    if not schema.exists():
        return ""
    (row,) = schema.query("SELECT part, after_key, status FROM moved_directory")
    return f"{tuple(row)} {serves(directory)}"


@pytest.fixture
def copied_only(directory: FullDirectory, schema: Schema) -> FullDirectory:
    """A directory all of whose rows have arrived, and nothing else has happened."""

    async def analyze(target: Target) -> None:
        raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Target, "analyze", analyze)
        with pytest.raises(Cut):
            schema.migrate(directory.path)
    return directory


def test_a_directory_that_was_written_to_meanwhile_is_copied_anew(
    copied_only: FullDirectory, schema: Schema
) -> None:
    full = copied_only.full
    ((before,),) = schema.query("SELECT count(*) FROM message")
    with closing(SqliteStore.open(copied_only.path, reserve_bytes=0)) as store:
        driver = Driver(store, full.now_ms + 1)
        assert driver.delete(full.standard, full.leased.lease) == ("deleted",)
    schema.migrate(copied_only.path)
    ((after,),) = schema.query("SELECT count(*) FROM message")
    assert after == before - 1
    assert opens(schema)


def test_another_directory_does_not_go_on(
    copied_only: FullDirectory, schema: Schema, tmp_path: Path
) -> None:
    Full(tmp_path / "another", prefix="other")
    with pytest.raises(StoreUnusable, match="moved from another directory"):
        schema.migrate(tmp_path / "another")
    schema.migrate(copied_only.path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("DELETE FROM record WHERE name = 'user 1'", r"\(record: 2 of 3 rows\)"),
        ("UPDATE message_body SET body = body || '\\x00'", "messages in .* differ"),
        ("UPDATE message SET visible_at_ms = visible_at_ms + 1", "messages in .* differ"),
    ],
)
def test_what_differs_at_the_end_is_not_let_through(
    directory: FullDirectory,
    schema: Schema,
    monkeypatch: pytest.MonkeyPatch,
    spoil: str,
    told: str,
) -> None:
    async def analyze(target: Target) -> None:
        await target._connection.execute(spoil)

    monkeypatch.setattr(Target, "analyze", analyze)
    with pytest.raises(StoreUnusable, match=told) as caught:
        schema.migrate(directory.path)
    assert "drop the schema and begin again" in str(caught.value)
    assert not opens(schema)
    assert serves(directory.path)
