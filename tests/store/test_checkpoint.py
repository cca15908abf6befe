"""The write-ahead log stays short, however long the load goes on without a pause."""

import itertools
import sqlite3
import time
from pathlib import Path

import pytest

from stanchion.store.sqlite import SqliteStore, checkpoint
from tests.store.conftest import RESERVE_BYTES
from tests.store.driver import Driver

FRAMES_MAX = 400


@pytest.fixture
def small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_FRAMES_WANTED", 100)
    monkeypatch.setattr(checkpoint, "_FRAMES_LEFT_FOR_WRITER", 25)
    monkeypatch.setattr(checkpoint, "_FRAMES_MAX", FRAMES_MAX)


@pytest.mark.usefixtures("small_log")
@pytest.mark.parametrize("frames_max", [FRAMES_MAX, 100_000])
def test_the_log_starts_over_under_load_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames_max: int
) -> None:
    monkeypatch.setattr(checkpoint, "_FRAMES_MAX", frames_max)
    store = SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)
    assert store._directory is not None
    driver = Driver(store)
    queue = driver.create()
    lengths = []
    for _ in range(300):
        driver.send(queue.id, *["x" * 1000] * 20)
        driver.delete(queue.id, *(m.lease for m in driver.claim(queue.id, 15).messages))
        lengths.append(store._directory.checkpointer.frames())
    starts = sum(after < before for before, after in itertools.pairwise(lengths))
    assert starts > 2
    # A flush adds some frames to what the log has when the writer steps in.
    assert max(lengths) < frames_max + 100
    store.close()


@pytest.mark.usefixtures("small_log")
def test_a_reader_from_outside_does_not_stop_the_writer(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)
    assert store._directory is not None
    driver = Driver(store)
    queue = driver.create()
    driver.send(queue.id, "first")
    reader = sqlite3.connect(tmp_path / "stanchion.db", isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM message").fetchone() == (1,)
    for _ in range(60):
        driver.send(queue.id, *["x" * 1000] * 20)
    assert reader.execute("SELECT count(*) FROM message").fetchone() == (1,)
    reader.close()
    for _ in range(60):
        driver.send(queue.id, *["x" * 1000] * 20)
    assert store._directory.checkpointer.frames() < FRAMES_MAX + 100
    assert driver.counts(queue.id) == (2401, 0, 0)
    store.close()


def test_a_full_disk_and_a_reader_from_outside_do_not_stop_the_writer(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)
    assert store._directory is not None
    driver = Driver(store)
    driver.send(driver.create().id, "first")
    reader = sqlite3.connect(tmp_path / "stanchion.db", isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM message").fetchone() == (1,)
    began_s = time.monotonic()
    store._directory.checkpointer.shrink()
    assert time.monotonic() - began_s < 1
    assert store._directory.checkpointer.frames()
    reader.close()
    store._directory.checkpointer.shrink()
    assert not store._directory.checkpointer.frames()
    store.close()


def test_nothing_is_left_to_replay_after_closing(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)
    driver = Driver(store)
    driver.send(driver.create().id, "a")
    store.close()
    assert not (tmp_path / "stanchion.db-wal").exists()
