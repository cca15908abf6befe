"""`stanchion bench` end to end, over sockets, against a server that checks every signature."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stanchion.cli.bench import bench
from stanchion.loadgen.dwell_report import FairSummary
from stanchion.loadgen.report import Summary
from tests.loadgen.tiny_sqs import TinySqs

_SHORT = ("--connections", "4", "--warmup", "0")


def _bench(sqs: TinySqs, *options: str) -> Result:
    return CliRunner().invoke(bench, ["--endpoint", sqs.url, *_SHORT, *options])


def _json(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_send_counts_what_the_server_got(sqs: TinySqs) -> None:
    found = _json(_bench(sqs, "--scenario", "send", "--requests", "50", "--json"))
    assert found["requests"] == found["messages"] == sqs.requests["SendMessage"] == 50
    assert len(set(sqs.bodies)) == 50
    assert {len(body) for body in sqs.bodies} == {1024}
    assert found["errors"] == {}
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["max"]


def test_a_queue_of_its_own_is_deleted_at_the_end(sqs: TinySqs) -> None:
    _json(_bench(sqs, "--requests", "1", "--json"))
    assert sqs.requests["CreateQueue"] == sqs.requests["DeleteQueue"] == 1
    assert sqs.queues == {}


def test_a_given_queue_is_used_and_kept(sqs: TinySqs) -> None:
    url = f"{sqs.url}/000000000000/mine"
    sqs.queues[url] = []
    _json(_bench(sqs, "--queue", "mine", "--requests", "7", "--json"))
    assert len(sqs.queues[url]) == 7


def test_batches_count_messages(sqs: TinySqs) -> None:
    found = _json(_bench(sqs, "--batch", "10", "--requests", "6", "--json"))
    assert (found["requests"], found["messages"]) == (6, 60)
    assert list(found["operations"]) == ["SendMessageBatch"]


@pytest.mark.parametrize("batch", ["1", "10"])
def test_receive_delete_empties_the_preloaded_queue(sqs: TinySqs, batch: str) -> None:
    found = _json(
        _bench(sqs, "--scenario", "receive-delete", "--preload", "95", "--batch", batch, "--json")
    )
    assert found["preloaded_messages"] == found["messages"] == 100
    assert found["empty_receives"] > 0
    assert found["operations"]["ReceiveMessage"]["requests"] >= 100 / int(batch)


def test_cycle_deletes_what_it_sends(sqs: TinySqs) -> None:
    found = _json(_bench(sqs, "--scenario", "cycle", "--duration", "0.5", "--json"))
    assert set(found["operations"]) == {"SendMessage", "ReceiveMessage", "DeleteMessage"}
    assert found["cycles"]["requests"] > 0
    assert abs(found["messages"] - found["cycles"]["requests"]) <= 4
    assert found["interrupted"] is False


def test_long_poll_measures_the_server_and_its_wake_ups(sqs: TinySqs) -> None:
    found = _json(
        _bench(
            sqs,
            *("--scenario", "long-poll", "--connections", "20", "--wait", "2", "--wake-ups", "15"),
            *("--warmup", "0.2", "--duration", "0.5", "--server-pid", str(os.getpid()), "--json"),
        )
    )
    assert found["wake_ups"] == 15
    assert 0 < found["wake_up_ms"]["p50"] <= found["wake_up_ms"]["max"]
    assert found["server"]["cpu_share"] >= 0
    assert found["server"]["peak_rss_bytes"] > 1_000_000
    assert found["errors"] == {}


def test_wake_ups_are_measured_though_the_server_closes_idle_connections() -> None:
    server = TinySqs(idle_max_s=0.3).start()
    try:
        found = _json(
            _bench(
                server,
                *("--scenario", "long-poll", "--wait", "5", "--wake-ups", "3"),
                *("--duration", "1", "--json"),
            )
        )
    finally:
        server.stop()
    assert found["wake_ups"] == 3
    assert found["errors"] == {}


def test_fifo_sends_take_turns_among_groups_and_have_ids(sqs: TinySqs) -> None:
    _json(_bench(sqs, "--fifo", "--groups", "3", "--batch", "5", "--requests", "6", "--json"))
    (created,) = sqs.created
    assert created["QueueName"].endswith(".fifo")
    assert created["Attributes"] == {"FifoQueue": "true", "ContentBasedDeduplication": "false"}
    groups = Counter(given["MessageGroupId"] for given in sqs.sent)
    assert groups == {"g0": 10, "g1": 10, "g2": 10}
    assert len({given["MessageDeduplicationId"] for given in sqs.sent}) == 30


def test_fifo_messages_may_be_told_apart_by_their_bodies(sqs: TinySqs) -> None:
    _json(_bench(sqs, "--fifo", "--deduplication", "content", "--requests", "20", "--json"))
    assert sqs.created[0]["Attributes"]["ContentBasedDeduplication"] == "true"
    assert not any("MessageDeduplicationId" in given for given in sqs.sent)
    assert len(set(sqs.bodies)) == 20
    assert len({given["MessageGroupId"] for given in sqs.sent}) == 10


@pytest.mark.parametrize("scenario", ["receive-delete", "cycle"])
def test_what_is_sent_before_is_no_duplicate_of_what_is_sent_then(
    sqs: TinySqs, scenario: str
) -> None:
    options = ("--fifo", "--scenario", scenario, "--preload", "30", "--requests", "60", "--json")
    found = _json(_bench(sqs, *options))
    assert found["errors"] == {}
    assert found["messages"] > 0
    ids = [given["MessageDeduplicationId"] for given in sqs.sent]
    assert len(set(ids)) == len(ids) >= 30


def test_fair_tells_how_long_quiet_tenants_wait_with_and_without_a_flood(sqs: TinySqs) -> None:
    options = ("--scenario", "fair", "--duration", "0.6", "--preload", "40", "--rate", "100")
    found = _json(_bench(sqs, *options, "--groups", "3", "--processing", "10", "--json"))
    assert tuple(found) == FairSummary.__struct_fields__
    assert found["errors"] == {}
    assert found["flood_messages"] == found["flood_ms"]["messages"] == 40
    for times in (found["quiet_without_flood_ms"], found["quiet_with_flood_ms"]):
        assert times["messages"] >= 20
        assert 0 < times["p50"] <= times["p95"] <= times["p99"] <= times["max"] < 600
    assert found["quiet_p95_ratio"] > 0
    groups = {given["MessageGroupId"] for given in sqs.sent}
    assert groups == {"flood-0", "quiet-0", "quiet-1", "quiet-2"}


def test_fair_prints_a_table(sqs: TinySqs) -> None:
    options = ("--scenario", "fair", "--duration", "0.3", "--preload", "0", "--processing", "5")
    result = _bench(sqs, *options)
    assert result.exit_code == 0, result.output
    for word in ("quiet, no flood", "quiet, with flood", "flooding", "p95 ms", "a flood of 0"):
        assert word in result.stdout


def test_raw_needs_no_queue(sqs: TinySqs) -> None:
    result = _bench(sqs, "--scenario", "raw", "--requests", "20", "--json")
    # The signature is not one that the server knows, and raw does not look.
    assert _json(result)["requests"] == 20
    assert sqs.requests == {}


def test_two_processes_share_the_requests_and_add_up(sqs: TinySqs) -> None:
    found = _json(_bench(sqs, "--processes", "2", "--requests", "41", "--json"))
    assert found["requests"] == sqs.requests["SendMessage"] == 41
    assert len(set(sqs.bodies)) == 41
    assert found["generator"]["processes"] == 2


def test_errors_are_counted_by_code(sqs: TinySqs) -> None:
    sqs.fail_next = ["RequestThrottled"] * 3 + ["OverLimit"]
    found = _json(_bench(sqs, "--requests", "10", "--json"))
    assert found["errors"] == {"OverLimit": 1, "RequestThrottled": 3}
    assert found["requests"] == 6


def test_the_json_has_exactly_the_fields_of_the_summary(sqs: TinySqs) -> None:
    found = _json(_bench(sqs, "--requests", "5", "--json"))
    assert tuple(found) == Summary.__struct_fields__
    assert set(found["latency_ms"]) == {"p50", "p99", "p99_9", "max"}
    assert found["region"] == "us-east-1"
    assert found["server"] is None


def test_the_table_shows_throughput_latency_and_errors(sqs: TinySqs) -> None:
    sqs.fail_next = ["OverLimit"]
    result = _bench(sqs, "--requests", "5")
    assert result.exit_code == 0
    for word in ("SendMessage", "per second", "p99.9 ms", "errors: 1 OverLimit", "generator:"):
        assert word in result.stdout


@pytest.mark.parametrize("given", [{"chunked": True}, {"close_every": 3}])
def test_other_habits_of_servers_are_understood(given: dict[str, Any]) -> None:
    server = TinySqs(**given).start()
    try:
        found = _json(_bench(server, "--scenario", "cycle", "--requests", "60", "--json"))
    finally:
        server.stop()
    assert found["requests"] == 60
    assert found["errors"] == {}


def test_tls_is_verified_against_the_given_bundle(tmp_path: Path) -> None:
    certificate = _self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = TinySqs().start(context)
    try:
        trusted = _bench(server, "--requests", "5", "--ca-bundle", str(certificate), "--json")
        assert _json(trusted)["requests"] == 5
        distrusted = _bench(server, "--scenario", "raw", "--requests", "5")
        assert distrusted.exit_code == 2
        assert "certificate" in distrusted.stderr.lower()
    finally:
        server.stop()


def _self_signed(folder: Path) -> Path:
    path = folder / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes((folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes())
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--requests", "1", "--duration", "1"), "exclude each other"),
        (("--access-key-id", "A"), "belong together"),
        (("--batch", "10", "--body-bytes", "200000"), "1,048,576"),
        (("--queue", "a.fifo"), "--fifo"),
        (("--queue", "a", "--fifo"), ".fifo"),
        (("--fifo", "--scenario", "fair"), "--fifo"),
        (("--groups", "3", "--scenario", "raw"), "--groups"),
        (("--deduplication", "content", "--fifo", "--body-bytes", "15"), "--body-bytes"),
        (("--scenario", "fair", "--requests", "2"), "--duration"),
        (("--scenario", "long-poll", "--processes", "2"), "one process"),
        (("--scenario", "long-poll", "--requests", "2"), "--duration"),
        (("--scenario", "raw", "--preload", "2"), "--preload"),
        (
            (
                "--scenario",
                "sideways",
            ),
            "sideways",
        ),
        (("--batch", "11"), "11"),
        (("--endpoint", "127.0.0.1:9324"), "http://HOST:PORT"),
        (("--endpoint", "http://127.0.0.1:99999"), "99999"),
        (("--endpoint", "http://127.0.0.1/path"), "http://HOST:PORT"),
        (("--profile", "no-such-profile"), "no-such-profile"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    sqs: TinySqs, options: tuple[str, ...], said: str
) -> None:
    result = _bench(sqs, *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert sqs.requests == {}


def _one_line(result: Result) -> str:
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize("scenario", ["send", "raw"])
def test_a_refused_connection_is_one_line(scenario: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = CliRunner().invoke(bench, ["--endpoint", url, "--scenario", scenario])
    assert "connect" in _one_line(result)


def test_bad_credentials_are_one_line(sqs: TinySqs) -> None:
    result = _bench(sqs, "--access-key-id", "AKIAOTHER", "--secret-access-key", "s")
    assert "UnrecognizedClientException" in _one_line(result)


def test_missing_credentials_are_one_line(
    sqs: TinySqs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert "AWS_ACCESS_KEY_ID" in _one_line(_bench(sqs))


def test_a_missing_queue_is_one_line(sqs: TinySqs) -> None:
    assert "cannot use the queue nowhere" in _one_line(_bench(sqs, "--queue", "nowhere"))


def test_a_missing_server_process_is_one_line(sqs: TinySqs) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    result = _bench(sqs, "--requests", "1", "--server-pid", str(ended.pid))
    assert str(ended.pid) in _one_line(result)
    assert sqs.queues == {}


def test_a_run_in_which_nothing_succeeded_fails(sqs: TinySqs) -> None:
    sqs.fail_next = ["OverLimit"] * 5
    result = _bench(sqs, "--requests", "5", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["errors"] == {"OverLimit": 5}


def test_control_c_ends_with_what_was_measured(sqs: TinySqs) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from stanchion.cli.bench import bench; bench()"),
            *("--endpoint", sqs.url, *_SHORT, "--duration", "60", "--json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 20
    while sqs.requests["SendMessage"] < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 0, stderr
    found = json.loads(stdout)
    assert found["interrupted"] is True
    assert found["requests"] >= 50
    assert stderr == b""
    assert sqs.queues == {}
