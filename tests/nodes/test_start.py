"""Several nodes that start at the same moment on an empty database agree, or refuse in one line."""

import itertools
from pathlib import Path

import pytest

from tests.access_control.stage import Key
from tests.crash.workload import client
from tests.nodes.processes import ROOT_KEY, end, launch, ready_url, refusal
from tests.postgres import server
from tests.server import root_key_file

NODES = 4
_schemas = itertools.count(1)


@pytest.fixture
def place() -> dict[str, str]:
    """An empty place in a database."""
    return {"store": server().url, "postgres_schema": f"start_{next(_schemas)}"}


def credentials(path: Path) -> Key:
    """What a credentials file says."""
    lines = dict(
        line.removeprefix("export ").split("=", 1)
        for line in path.read_text().splitlines()
        if line.startswith("export ")
    )
    return Key(lines["AWS_ACCESS_KEY_ID"], lines["AWS_SECRET_ACCESS_KEY"])


def agree(settings: list[dict[str, str]], key: Key) -> None:
    """All of them start at once, believe the key, and read what the others have sealed."""
    started = [launch(each) for each in settings]
    try:
        urls = [ready_url(process) for process in started]
        assert None not in urls, [p.communicate() for p in started if p.poll() is not None]
        clients = [client(str(url), key) for url in urls]
        queue = clients[0].create_queue(QueueName="q")["QueueUrl"]
        for each in clients:
            each.send_message(QueueUrl=queue, MessageBody="hello")
        for each in reversed(clients):
            assert each.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello"
    finally:
        end(*started)


def test_with_one_key_file_that_is_not_there_yet(place: dict[str, str], tmp_path: Path) -> None:
    """On one machine: the key file is made once, and so is the ring."""
    settings = place | ROOT_KEY | {"data_dir": str(tmp_path)}
    agree([settings] * NODES, Key(*ROOT_KEY.values()))
    assert [path.name for path in tmp_path.iterdir()] == ["root.key"]


def test_with_the_name_of_a_key_file_that_is_not_there(
    place: dict[str, str], tmp_path: Path
) -> None:
    """As by a mistake in the name, or a secret that was not delivered: no other key is made."""
    settings = place | ROOT_KEY | {"root_key_file": str(tmp_path / "rot.key")}
    told = refusal(launch(settings))
    assert told.startswith(f"Error: the root key file {tmp_path / 'rot.key'} is missing, and one")
    assert not list(tmp_path.iterdir())
    agree([settings | {"root_key_file": root_key_file(tmp_path)}] * 2, Key(*ROOT_KEY.values()))


def test_with_one_passphrase(place: dict[str, str]) -> None:
    settings = place | ROOT_KEY | {"root_passphrase": "correct horse battery staple"}
    agree([settings] * NODES, Key(*ROOT_KEY.values()))


def test_with_a_root_key_of_their_own_making(place: dict[str, str], tmp_path: Path) -> None:
    """Each would write one to its data directory; the file of one is left, and is right."""
    settings, key_file = [], root_key_file(tmp_path)
    for name in map(str, range(NODES)):
        (tmp_path / name).mkdir()
        own = {"data_dir": str(tmp_path / name), "root_key_file": key_file}
        settings.append(place | own)
    started = [launch(each) for each in settings]
    try:
        urls = [ready_url(process) for process in started]
        (written,) = tmp_path.glob("*/root-credentials.env")
        for url in urls:
            client(str(url), credentials(written)).list_queues()
    finally:
        end(*started)
    assert not list(tmp_path.glob("*/*.unfinished"))


def test_with_key_files_of_their_own(place: dict[str, str], tmp_path: Path) -> None:
    """As by mistake on several machines: one makes the ring, and the others refuse."""
    for name in map(str, range(NODES)):
        (tmp_path / name).mkdir()
    settings = [place | ROOT_KEY | {"data_dir": str(tmp_path / str(n))} for n in range(NODES)]
    started = [launch(each) for each in settings]
    try:
        urls = [ready_url(process) for process in started]
        (winner,) = (n for n, url in enumerate(urls) if url is not None)
        for number, process in enumerate(started):
            if number != winner:
                told = refusal(process)
                assert f"the root key file {tmp_path / str(number) / 'root.key'} is " in told
                # One that came later did not make a key of its own.
                assert "is another key" in told or "is missing" in told
                assert "put your copy of that file back" in told
        client(str(urls[winner]), Key(*ROOT_KEY.values())).list_queues()
        # Which is so for good, whoever starts first next time.
        assert "nothing else opens it" in refusal(launch(settings[(winner + 1) % NODES]))
    finally:
        end(*started)


def test_with_another_passphrase(place: dict[str, str]) -> None:
    settings = [
        place | ROOT_KEY | {"root_passphrase": f"correct horse battery {number}"}
        for number in range(2)
    ]
    started = [launch(each) for each in settings]
    try:
        urls = [ready_url(process) for process in started]
        (loser,) = (n for n, url in enumerate(urls) if url is None)
        assert "passphrase" in refusal(started[loser])
    finally:
        end(*started)


def test_a_database_that_is_away(tmp_path: Path) -> None:
    """The server does not wait: whoever supervises it starts it again."""
    url = f"postgresql://user:secret@/postgres?host={tmp_path}"
    told = refusal(launch({"store": url, "root_key_file": str(tmp_path / "root.key")}))
    assert told.startswith("Error: the PostgreSQL database cannot be used: ")
    assert "secret" not in told
