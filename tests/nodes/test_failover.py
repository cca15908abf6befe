"""The database fails under its nodes: clients are told to retry, and the nodes resume.

A primary with a synchronous standby is killed under load and the standby promoted, round after
round; connections are cut, and the database is killed and frozen. What clients saw is judged as
everywhere: nothing that was acknowledged is lost. No node is started again.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tools.postgres_server import PostgresServer, multi_host_url

from stanchion import gateway
from stanchion.store.contract import (
    CountMessages,
    MessageCounts,
    OutcomeUnknown,
    QueueCreated,
    QueueExists,
    Send,
    StoreError,
    StoreUnreachable,
)
from stanchion.store.postgres import database
from stanchion.store.postgres.engine import PostgresStore
from tests.crash.checker import violations
from tests.crash.history import History
from tests.crash.rig import Rig, at_work, rounds
from tests.crash.workload import (
    Consumer,
    FifoConsumer,
    FifoProducer,
    Producer,
    Worker,
    drain,
    now_ms,
)
from tests.nodes.rig import durable_postgres, nodes_on, refusals
from tests.server import KEY
from tests.store.driver import create_queue, message

NODES = 2
ROUNDS = rounds(2)
FROZEN_S = 8
AWAY_S = 11.5
"""Longer than a node tries by itself."""
CUTS_S = 3
RESUMED_IN_S = 20
NOT_NOW = "The service cannot answer now; the request may be retried."
FAILED = "The request failed because of an internal error; it may be retried."


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary and its synchronous standby."""
    with durable_postgres(tcp=True) as primary:
        standby = primary.standby("first")
        yield primary, standby
        standby.stop()


def test_a_standby_is_promoted_under_load(
    pair: tuple[PostgresServer, PostgresServer], tmp_path: Path
) -> None:
    primary, standby = pair
    kills_ms: list[float] = []
    with nodes_on(multi_host_url(primary, standby), tmp_path, NODES) as running, load(running):
        for number in range(ROUNDS):
            sleep(running.moments.uniform(0.5, 1.5))  # the load runs on meanwhile
            kills_ms.append(now_ms())
            primary.kill()
            standby.promote()
            _measure_gap(running.history, kills_ms[-1], now_ms())
            # What was the primary is thrown away: it may have what nobody was told of.
            primary.follow(standby, f"after-{number}")
            primary, standby = standby, primary
        sleep(0.5)
    events = running.history.events
    for killed_ms in kills_ms:
        assert any(e.call_ms < killed_ms < e.return_ms for e in events), "there was no load"


def _measure_gap(history: History, killed_ms: float, promoted_ms: float) -> None:
    deadline_s = monotonic() + RESUMED_IN_S
    while True:
        resumed_ms = [e.return_ms for e in history.of("send", "ok") if e.return_ms > promoted_ms]
        if resumed_ms:
            break
        assert monotonic() < deadline_s, "the nodes did not resume"
        sleep(0.005)
    print(
        f"first acknowledged send {min(resumed_ms) - promoted_ms:.0f} ms after the promotion, "
        f"{min(resumed_ms) - killed_ms:.0f} ms after the kill"
    )


def test_connections_that_are_cut_all_the_time(postgres: PostgresServer, tmp_path: Path) -> None:
    """At any point of a transaction: one backend after the other, chosen at random, is ended."""
    with nodes_on(postgres.url, tmp_path, NODES) as running, load(running):
        deadline_s = monotonic() + CUTS_S
        while monotonic() < deadline_s:
            postgres.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'stanchion%' ORDER BY random() LIMIT 1"
            )


def test_a_database_that_is_frozen_and_then_away(postgres: PostgresServer, tmp_path: Path) -> None:
    """Requests wait, and then fail in a way that a client retries: 503 if nothing was done."""
    with nodes_on(postgres.url, tmp_path, NODES) as running:
        standard, fifo = running.queue("patient"), running.queue("patient.fifo")
        calls = Calls(running, standard, fifo)
        with ThreadPoolExecutor(2 * NODES * 3) as pool:
            answers = calls.start(pool, "frozen", attempts=1)
            with frozen(postgres):
                answers += calls.start(pool, "meanwhile", attempts=1)
                sleep(FROZEN_S)
            assert {_status(answer) for answer in answers} <= {200, 500, 503}
            assert set(map(_status, calls.start(pool, "thawed", attempts=1))) == {200}
            postgres.kill()
            once = calls.start(pool, "away", attempts=1)
            retried = calls.start(pool, "retried", attempts=5)
            sleep(AWAY_S)
            postgres.resume()
            assert {_status(answer) for answer in once} == {503}
            assert {_status(answer) for answer in retried} == {200}
        for server in running.servers:
            assert "\nTraceback" not in server.log.read_text()
        _each_once(running.admin, fifo)


class Calls:
    """One call of each kind to each node."""

    def __init__(self, running: Rig, standard: str, fifo: str) -> None:
        self._urls = [server.url for server in running.servers]
        self._standard, self._fifo = standard, fifo

    def start(self, pool: ThreadPoolExecutor, name: str, attempts: int) -> "list[Future[Any]]":
        answers: list[Future[Any]] = []
        for url in self._urls:
            sqs = _patient_client(url, attempts)
            answers.append(
                pool.submit(
                    sqs.send_message,
                    QueueUrl=self._fifo,
                    MessageBody=name,
                    MessageGroupId="g",
                    # The same to all nodes: they are repeats of one another.
                    MessageDeduplicationId=name,
                )
            )
            answers.append(pool.submit(sqs.receive_message, QueueUrl=self._standard))
            answers.append(pool.submit(sqs.list_queues))
        return answers


def _patient_client(url: str, attempts: int) -> Any:
    return boto3.client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=KEY[0],
        aws_secret_access_key=KEY[1],
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}),
    )


def _status(answer: "Future[Any]") -> int:
    try:
        reply = answer.result(60)
    except ClientError as error:
        reply = error.response
        told = reply["Error"]["Message"]
        # Nothing about the database, such as where it is.
        assert told in (NOT_NOW, FAILED), told
    status: int = reply["ResponseMetadata"]["HTTPStatusCode"]
    return status


def _each_once(sqs: Any, fifo: str) -> None:
    """What was sent to several nodes, and again by the SDK, is one message."""
    reply = sqs.receive_message(QueueUrl=fifo, MaxNumberOfMessages=10)
    bodies = [message["Body"] for message in reply["Messages"]]
    assert len(bodies) == len(set(bodies))
    assert {"thawed", "retried"} <= set(bodies)


@contextmanager
def frozen(postgres: PostgresServer) -> Iterator[None]:
    postgres.freeze()
    try:
        yield
    finally:
        postgres.thaw()


# --- What a commit is worth ---------------------------------------------------------------------


def test_a_primary_without_its_standby_acknowledges_nothing(
    pair: tuple[PostgresServer, PostgresServer],
) -> None:
    """The standby was promoted while the primary still runs, as behind a cut network.

    Its commits wait for the standby. When somebody ends such a wait PostgreSQL reports success, in
    a way; here that does not count.
    """
    primary, standby = pair

    async def run() -> None:
        store = await PostgresStore.open(primary.url)
        (created,) = (await store.execute([create_queue()])).answers
        assert isinstance(created, QueueCreated)
        standby.promote()
        sending = asyncio.create_task(store.execute([Send(created.record.id, (message(),))]))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        await asyncio.to_thread(primary.await_answer, waiting, "1")
        assert not sending.done()
        await asyncio.to_thread(
            primary.query,
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
        )
        (answer,) = (await asyncio.wait_for(sending, 10)).answers
        assert isinstance(answer, OutcomeUnknown)
        await store.close()

    asyncio.run(run())


def test_an_asynchronous_standby_loses_what_it_was_not_told() -> None:
    """Why the standby has to be synchronous; and the loss of a message does show."""

    async def send(url: str, bodies: Sequence[str]) -> MessageCounts:
        """Acknowledged; what there is then."""
        store = await PostgresStore.open(url)
        (created,) = (await store.execute([create_queue()])).answers
        assert isinstance(created, QueueCreated | QueueExists)
        for body in bodies:
            sent = Send(created.record.id, (message(body, 0, body),))
            assert (await store.execute([sent])).answers == [True]
        (counts,) = (await store.execute([CountMessages(created.record.id)])).answers
        await store.close()
        assert isinstance(counts, MessageCounts)
        return counts

    with durable_postgres() as primary:
        assert asyncio.run(send(primary.url, ["told"])).visible == 1
        standby = primary.standby(synchronous=False)
        try:
            standby.kill()
            assert asyncio.run(send(primary.url, ["not told"])).visible == 2
            primary.kill()
            standby.resume()
            standby.promote()
            assert asyncio.run(send(standby.url, [])).visible == 1
        finally:
            standby.stop()


def test_the_kernel_gives_up_a_peer_that_acknowledges_nothing() -> None:
    async def run(url: str) -> None:
        connection = await database.connect(url, "public")
        internals: Any = connection
        own = internals._transport.get_extra_info("socket")
        timeout_ms = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert timeout_ms == database._SILENCE_MAX_MS
        await connection.close()

    with durable_postgres(tcp=True) as server:
        asyncio.run(run(server.url))


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (OutcomeUnknown("closed by 10.0.0.1"), "InternalFailure", FAILED),
        (StoreUnreachable("no route to 10.0.0.1"), "ServiceUnavailable", NOT_NOW),
        (StoreError("syntax error"), "ServiceUnavailable", NOT_NOW),
    ],
)
def test_clients_are_told_whether_anything_was_done_and_no_more(
    failure: StoreError, code: str, text: str
) -> None:
    told = gateway._told(failure)
    assert (told.query_code, str(told)) == (code, text)


# --- Load ---------------------------------------------------------------------------------------


@contextmanager
def load(running: Rig) -> Iterator[None]:
    """Clients at work for the length of a block; judged after it. All failures are retryable."""
    standard, fifo = running.queue("failing"), running.queue("failing.fifo")
    kinds = ((Producer, standard), (Consumer, standard), (FifoProducer, fifo), (FifoConsumer, fifo))
    workers: list[Worker] = [
        running.worker(kind, f"{kind.__name__}-{node}", url, node)
        for kind, url in kinds
        for node in (*range(NODES), None)
    ]
    with at_work(workers):
        yield
    assert not any(thread in workers for thread in threading.enumerate()), "a call hangs"
    drain(*(running.worker(Consumer, "drain", url) for url in (standard, fifo)))
    assert [server.stop() for server in running.servers] == [0] * NODES
    assert violations(running.history) == []
    assert refusals(running.history) == []
    assert len(running.history.of("delete", "ok")) > 50, "too little load to show anything"
