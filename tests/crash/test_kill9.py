"""kill -9 under load: nothing acknowledged is lost, nothing deleted returns, leases hold.

Every round kills the server at another moment of the load, starts it again on what it left on the
disk, and lets the same clients go on. Their history is judged once, at the end, after a drain.
"""

import os
import random
from pathlib import Path

from tests.crash.checker import violations
from tests.crash.history import History
from tests.crash.workload import VISIBILITY_S, Consumer, Producer, client, drain
from tests.server import KEY, start

ROUNDS = int(os.environ.get("STANCHION_CRASH_ROUNDS", "20"))
PRODUCERS, CONSUMERS = 4, 3


def test_kill_9_under_load(tmp_path: Path) -> None:
    moments = random.Random(20260101)  # the load decides what a moment hits; the seed, when it is
    server = start(tmp_path / "data")
    port = int(server.url.rpartition(":")[2])
    history = History()
    queue_url = client(server.url, KEY).create_queue(QueueName="crash")["QueueUrl"]

    def sqs() -> object:
        return client(server.url, KEY)

    producers = [Producer(f"p{n}", sqs(), queue_url, history) for n in range(PRODUCERS)]
    consumers = [Consumer(f"c{n}", sqs(), queue_url, history) for n in range(CONSUMERS)]
    for worker in (*producers, *consumers):
        worker.start()
    try:
        for _ in range(ROUNDS):
            producers[0].join(moments.uniform(0.2, 0.8))  # load runs on while this waits
            server.kill()
            server = start(tmp_path / "data", port)
    finally:
        for worker in (*producers, *consumers):
            worker.stop()
        for worker in (*producers, *consumers):
            worker.join(20)
    drain(Consumer("drain", sqs(), queue_url, history), quiet_s=VISIBILITY_S + 1.5)
    assert server.stop() == 0

    assert violations(history) == []
    acknowledged = len(history.of("send", "ok"))
    deleted = len(history.of("delete", "ok"))
    assert acknowledged > ROUNDS * 10, "too little load to show anything"
    assert deleted > ROUNDS * 5, "too little load to show anything"
    assert history.of("send", "unknown"), "no call was under way at any kill"
