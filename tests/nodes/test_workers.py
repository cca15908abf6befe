"""`--workers N`: several processes on one port, and the one that looks after them."""

import http.client
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stanchion import workers
from tests.crash.workload import client
from tests.http.certificates import Authority
from tests.nodes.processes import ROOT_KEY, end, get, launch, ready_url, refusal
from tests.postgres import new_server, server
from tests.server import KEY, root_key_file

WORKERS = 3
PATIENCE_S = 20


class Supervised:
    """A server with workers."""

    def __init__(self, settings: dict[str, str], descriptors: Sequence[int] = ()) -> None:
        self.settings = {"store": server().url, "workers": str(WORKERS), **ROOT_KEY, **settings}
        self.process = launch(self.settings, descriptors=descriptors)
        self.url = str(ready_url(self.process))

    def workers(self) -> list[int]:
        """Process ids, by the number of the worker."""
        pid = self.process.pid
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return sorted(int(child) for child in text.split())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code, and what it said."""
        self.process.send_signal(number)
        _, error = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, error


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """A place of the test's own."""
    schema = re.sub(r"\W", "_", request.node.name)[:40]
    return {"postgres_schema": schema, "root_key_file": root_key_file(tmp_path)}


@pytest.fixture
def supervised(settings: dict[str, str]) -> Iterator[Supervised]:
    running = Supervised(settings)
    yield running
    end(running.process)


def eventually(check: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < end_s
        time.sleep(0.02)


class Connected:
    """A connection that stays with one worker."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        try:
            self.worker, _ = self.look()
        except BaseException:
            self.close()
            raise

    def look(self) -> tuple[int, int]:
        """The number of the worker, and when it was started."""
        self._connection.request("GET", "/metrics")
        text = self._connection.getresponse().read().decode()
        (number,) = set(re.findall(r'worker="(\d+)"', text))
        samples = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert all(f'worker="{number}"' in line for line in samples)
        started = re.search(r"^process_start_time_seconds\S* (\S+)$", text, re.MULTILINE)
        assert started
        return int(number), int(float(started[1]) * 100)

    def close(self) -> None:
        self._connection.close()


def connected_to_all(url: str) -> dict[int, Connected]:
    """A connection to each worker, by its number."""
    found: dict[int, Connected] = {}

    def try_one() -> bool:
        try:
            connection = Connected(url)
        except (http.client.HTTPException, OSError):
            return False  # a worker that is just being killed
        if connection.worker in found:
            connection.close()
        else:
            found[connection.worker] = connection
        return len(found) == WORKERS

    eventually(try_one)
    return found


def test_all_serve_on_one_port_and_end_well(supervised: Supervised) -> None:
    connections = connected_to_all(supervised.url)
    assert sorted(connections) == [1, 2, 3]
    for connection in connections.values():
        connection.close()
    assert get(f"{supervised.url}/health/ready") == (200, "ready\n")
    sqs = client(supervised.url, KEY)
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    answers: list[dict[str, object]] = []
    poll = threading.Thread(
        target=lambda: answers.append(
            client(supervised.url, KEY).receive_message(QueueUrl=url, WaitTimeSeconds=4)
        )
    )
    poll.start()
    time.sleep(0.5)  # the poll arrives
    status, error = supervised.stop()
    assert status == 0, error
    poll.join()
    assert [set(answer) for answer in answers] == [{"ResponseMetadata"}]
    assert error.count(" stopped ") == WORKERS
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((urlsplit(supervised.url).hostname, urlsplit(supervised.url).port))


def test_a_worker_that_is_killed_is_started_again(supervised: Supervised) -> None:
    """Those who are connected to the others do not notice."""
    connections = connected_to_all(supervised.url)
    before = {number: connection.look() for number, connection in connections.items()}
    killed = supervised.workers()[0]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: killed not in supervised.workers())
    survivors = []
    for number, connection in connections.items():
        try:
            assert connection.look() == before[number]
            survivors.append(number)
        except (http.client.HTTPException, OSError):
            pass
    assert len(survivors) == WORKERS - 1
    eventually(lambda: len(supervised.workers()) == WORKERS)
    (lost,) = {1, 2, 3} - set(survivors)
    again = connected_to_all(supervised.url)
    assert again[lost].look() != before[lost]
    for connection in (*connections.values(), *again.values()):
        connection.close()
    status, error = supervised.stop(signal.SIGINT)
    assert status == 0
    (line,) = (line for line in error.splitlines() if "started again" in line)
    assert f"pid={killed} status=-9" in line


def test_a_worker_that_cannot_start_is_tried_again(settings: dict[str, str]) -> None:
    """It lost its database and then its life; the others wait for the database."""
    database = new_server()
    running = Supervised(settings | {"store": database.url})
    try:
        killed = running.workers()[0]
        database.kill()
        os.kill(killed, signal.SIGKILL)
        time.sleep(1.5)  # it is tried a few times
        assert running.process.poll() is None
        database.resume()
        for connection in connected_to_all(running.url).values():
            connection.close()
        status, error = running.stop()
    finally:
        end(running.process)
        database.stop()
    assert status == 0
    lines = [line for line in error.splitlines() if "started again" in line]
    pauses = [float(re.findall(r"pause_s=(\S+)", line)[0]) for line in lines]
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert "status=2" in lines[1]
    assert "the PostgreSQL database cannot be used" in lines[1]


def test_workers_end_when_their_supervisor_is_killed(supervised: Supervised) -> None:
    workers = supervised.workers()
    assert len(workers) == WORKERS
    supervised.process.kill()
    _, error = supervised.process.communicate(timeout=PATIENCE_S)
    # Their standard error is open for as long as one of them lives.
    assert error.count(" stopped status=0") == WORKERS


def test_the_passphrase_is_read_once_for_all(settings: dict[str, str]) -> None:
    del settings["root_key_file"]
    reading, writing = os.pipe()
    os.write(writing, b"correct horse battery staple\n")
    os.close(writing)
    given = settings | {"root_passphrase_fd": str(reading)}
    running = Supervised(given, descriptors=(reading,))
    os.close(reading)
    try:
        os.kill(running.workers()[1], signal.SIGKILL)
        for connection in connected_to_all(running.url).values():
            connection.close()
        assert running.stop()[0] == 0
    finally:
        end(running.process)


def test_new_certificates_are_taken_by_all(settings: dict[str, str], tmp_path: Path) -> None:
    files = Authority(tmp_path, "authority").issue("server")
    tls = {"tls_cert": str(files.certificate), "tls_key": str(files.key), "tls_port": "0"}
    running = Supervised(settings | tls)
    try:
        running.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)  # it is passed on
        assert len(running.workers()) == WORKERS
        status, error = running.stop()
    finally:
        end(running.process)
    assert status == 0
    assert error.count("certificate") >= WORKERS, error


def test_what_keeps_a_worker_from_starting_is_one_line(settings: dict[str, str]) -> None:
    running = Supervised(settings)
    try:
        port = str(urlsplit(running.url).port)
        taken = refusal(launch(running.settings | {"port": port}))
        assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in taken
        Path(settings["root_key_file"]).write_text("00" * 32)
        assert "is another key" in refusal(launch(running.settings))
        assert running.stop()[0] == 0
    finally:
        end(running.process)


def test_a_store_of_one_process_has_one_worker(tmp_path: Path) -> None:
    told = refusal(launch({"data_dir": str(tmp_path), "workers": "2"}))
    assert told == "Error: workers: more than one needs a store in PostgreSQL"


def test_a_machine_without_room_for_a_process_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    files = len(os.listdir("/proc/self/fd"))
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    supervisor = workers._Supervisor(lambda worker: 0, print, (), 1)
    with supervisor.listening((signal.SIGTERM,)):
        supervisor._due[2] = (0.0, 3)
        supervisor._start_due()
        assert supervisor._due[2][1] == 4
        assert supervisor._due[2][0] > time.monotonic() + 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == masked
    assert len(os.listdir("/proc/self/fd")) == files
