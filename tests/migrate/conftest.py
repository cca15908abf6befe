"""A schema for each test, and one full data directory that each may copy."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("asyncpg")

from tests.migrate.rig import Full, Schema, new_schema


class FullDirectory(NamedTuple):
    path: Path
    full: Full
    """What is in it."""


@pytest.fixture
def schema() -> Iterator[Schema]:
    with new_schema() as schema:
        yield schema


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> FullDirectory:
    path = tmp_path_factory.mktemp("migrate") / "data"
    return FullDirectory(path, Full(path))


@pytest.fixture
def directory(filled: FullDirectory) -> Iterator[FullDirectory]:
    """The test's own."""
    with copied(filled) as directory:
        yield directory


@contextmanager
def copied(filled: FullDirectory) -> Iterator[FullDirectory]:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(filled.path, path := Path(folder) / "data")
        yield filled._replace(path=path)
