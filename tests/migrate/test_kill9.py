"""`kill -9` at any moment of a real migration, again and again, and in the end all is there."""

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stanchion.store.contract import Send
from stanchion.store.sqlite import SqliteStore
from stanchion.store.sqlite.files import DATABASE_NAME
from tests.crash.rig import rounds
from tests.migrate.rig import Schema
from tests.store.driver import START_MS, Driver

QUEUES = 3
FLUSHES, FLUSH_MESSAGES = 20, 500
MOST_S = 0.4
"""After the first sign of life."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Messages of many sizes, none of which is like another."""
    sizes = random.Random(20261121)
    store = SqliteStore.open(tmp_path / "data", reserve_bytes=0)
    driver = Driver(store, START_MS)
    queues = [driver.create(f"q{n}").id for n in range(QUEUES)]
    for _ in range(FLUSHES):
        driver.wait(17)
        for queue_id in queues:
            messages = [driver.message() for _ in range(FLUSH_MESSAGES)]
            sent = [
                msgspec.structs.replace(m, body=sizes.randbytes(sizes.choice((10, 500, 2000))))
                for m in messages
            ]
            driver.run(Send(queue_id, tuple(sent)))
        driver.claim(queues[0], 10)
    store.close()
    return tmp_path / "data"


def test_killed_at_random_moments(directory: Path, schema: Schema) -> None:
    moments = random.Random(20261121)
    killed, most_s, arrived = 0, MOST_S, [0]
    # Until some rounds have gone on where the one before was, and more is there than that had.
    while killed < rounds(5) or len(set(arrived)) < 3:
        if is_killed_after(moments.uniform(0, most_s), directory, schema):
            killed += 1
            arrived.append(messages_in(schema))
            # On a machine that is busy all of them may come too early.
            most_s *= 1.5 if arrived[-1] == arrived[-2] else 1
        else:
            # It was through with everything: from the start again.
            ended("--undo", directory=directory, schema=schema)
            schema.drop()
            most_s /= 2
    ended(directory=directory, schema=schema)
    assert digests_there(schema) == digests_here(directory)


def is_killed_after(seconds: float, directory: Path, schema: Schema) -> bool:
    with started(directory, schema) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        told = first + process.stderr.read()
    assert process.returncode in (0, -signal.SIGKILL), told
    return process.returncode != 0


def started(directory: Path, schema: Schema, *arguments: str) -> "subprocess.Popen[str]":
    clean = {k: v for k, v in os.environ.items() if not k.startswith("STANCHION_")}
    place = ("--data-dir", str(directory), "--store", schema.url, "--postgres-schema", schema.name)
    return subprocess.Popen(
        [sys.executable, "-m", "stanchion", "migrate", *place, *arguments],
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*arguments: str, directory: Path, schema: Schema) -> None:
    with started(directory, schema, *arguments) as process:
        _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told


def messages_in(schema: Schema) -> int:
    if not schema.query("SELECT 1 FROM pg_tables WHERE schemaname = $1", schema.name):
        return 0
    ((messages,),) = schema.query("SELECT count(*) FROM message")
    return int(messages)


QUERIES = (
    "SELECT backlog, sequence, visible_at_ms, receive_count, lane FROM message ORDER BY sequence",
    "SELECT sequence, message_id, sent_at_ms, body FROM message_body ORDER BY sequence",
    "SELECT id, name, version, backlog FROM queue ORDER BY id",
)


def digests_here(directory: Path) -> list[str]:
    with closing(sqlite3.connect(directory / DATABASE_NAME)) as connection:
        return [digest(connection.execute(query)) for query in QUERIES]


def digests_there(schema: Schema) -> list[str]:
    return [digest(schema.query(query)) for query in QUERIES]


def digest(rows: Iterable[Any]) -> str:
    found = hashlib.sha256()
    for row in rows:
        found.update(repr(tuple(row)).encode())
    return found.hexdigest()
