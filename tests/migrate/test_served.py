"""Official clients of a server on a directory, and then of one on the database it was moved to.

Everything is prepared over the wire, the server ends, the directory is moved, and a server starts
on the database at the same address. Clients notice nothing but the pause.
"""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.access_control.stage import Key, Stage, allow, queue_arn, trusting
from tests.encryption.rig import Installation, drained, receive
from tests.encryption.story import MODES
from tests.migrate.rig import new_schema

MODES_OF_STANDARD = {f"standard-{mode}": attributes for mode, attributes in MODES.items()}
HIDDEN_S = 10
"""Longer than moving and starting again take."""
TEXT = "£ and ☃: " + "x" * 50_000
ATTRIBUTES = {"kind": {"DataType": "String", "StringValue": "tea"}}
DEAD_LETTERS = 7


class Before:
    """What clients have done before, and what they were told."""

    def __init__(self, stage: Stage) -> None:
        self._numbers = count(1)
        self._sqs = stage.client("sqs", secure=True)
        self.urls: dict[str, str] = {}
        self.left: dict[str, set[str]] = {}
        """By queue, the bodies that can be received at once."""
        self.receipts: dict[str, str] = {}
        """By queue, of a message that is hidden for long."""
        self._identities(stage)
        for name, attributes in MODES_OF_STANDARD.items():
            self._standard(name, attributes)
        self._fifo()
        self._dead_letters()
        self._instants()

    def _identities(self, stage: Stage) -> None:
        self.alice: Key = stage.user("alice", allow("sqs:*"))
        arn = stage.role("worker", allow("sqs:*"), trust=trusting({"AWS": "*"}))
        self.session: Key = stage.assume(stage.user("bob", allow("sts:*")), arn)

    def _queue(self, name: str, **attributes: str) -> str:
        made = self._sqs.create_queue(
            QueueName=name, Attributes=attributes, tags={"team": name.partition(".")[0]}
        )
        self.urls[name] = made["QueueUrl"]
        return self.urls[name]

    def _send(self, url: str, body: str = "", **more: Any) -> dict[str, Any]:
        body = body or f"body {next(self._numbers)}"
        sent: dict[str, Any] = self._sqs.send_message(QueueUrl=url, MessageBody=body, **more)
        return sent | {"Body": body}

    def _standard(self, name: str, attributes: dict[str, str]) -> None:
        url = self._queue(name, **attributes)
        self._send(url, "deleted later")
        (message,) = receive(self._sqs, url, VisibilityTimeout=3600)
        self.receipts[name] = message["ReceiptHandle"]
        bodies = [self._send(url, MessageAttributes=ATTRIBUTES)["Body"], TEXT]
        self._send(url, TEXT)
        self.left[name] = set(bodies)

    def _fifo(self) -> None:
        url = self._queue("orders.fifo", FifoQueue="true")
        order = [("a", "one"), ("a", "two"), ("b", "three"), ("c", "four")]
        self.ordered = [send_in_order(self._sqs, url, group, body) for group, body in order]
        (first,) = receive(self._sqs, url, VisibilityTimeout=3600, MaxNumberOfMessages=1)
        assert first["Body"] == "one"
        self.receipts["orders.fifo"] = first["ReceiptHandle"]

    def _dead_letters(self) -> None:
        """A task is moving some of them, slowly."""
        dead = self._queue("dead")
        target = f'{{"deadLetterTargetArn": "{queue_arn("dead")}", "maxReceiveCount": 1}}'
        work = self._queue("work", RedrivePolicy=target)
        self._queue("archive")
        self.dead = {self._send(work)["Body"] for _ in range(DEAD_LETTERS)}
        received = 0
        while received < DEAD_LETTERS:
            received += len(receive(self._sqs, work, VisibilityTimeout=0))
        assert receive(self._sqs, work) == []
        self._sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])
        self._sqs.start_message_move_task(
            SourceArn=queue_arn("dead"),
            DestinationArn=queue_arn("archive"),
            MaxNumberOfMessagesPerSecond=1,
        )

    def _instants(self) -> None:
        """The last thing, so that there is time left for what follows."""
        url = self._queue("instants")
        self._send(url, "hidden")
        (hidden,) = receive(self._sqs, url, VisibilityTimeout=HIDDEN_S)
        self._send(url, "delayed", DelaySeconds=HIDDEN_S)
        self.hidden_until_s = time.monotonic() + HIDDEN_S
        self.hidden_id = hidden["MessageId"]


def send_in_order(sqs: Any, url: str, group: str, body: str) -> dict[str, Any]:
    sent: dict[str, Any] = sqs.send_message(
        QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=body
    )
    return sent | {"Body": body}


class After:
    """A server on the database."""

    def __init__(self, stage: Stage, before: Before) -> None:
        self.stage = stage
        self.before = before
        self.sqs = stage.client("sqs", secure=True)
        url = before.urls["instants"]
        self.seen_at_once = [message["Body"] for message in receive(self.sqs, url)]
        self.looked_s = time.monotonic()


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Iterator[After]:
    folder: Path = tmp_path_factory.mktemp("served")
    installation = Installation(folder)
    with new_schema() as schema:
        with installation.serving() as stage:
            before = Before(stage)
        place = {"store": schema.url, "postgres_schema": schema.name}
        options = ("--store", schema.url, "--postgres-schema", schema.name)
        done = installation.run("migrate", *options)
        assert done.returncode == 0, done.stderr
        key = installation.data_dir / "root.key"
        assert done.stdout.endswith(
            f"Give every server --root-key-file and a copy of {key}: "
            "without it, nothing there can be read.\n"
        )
        with installation.serving(**place) as stage:
            yield After(stage, before)
        refused = installation.run("serve", "--port", "0")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert len(refused.stderr.splitlines()) == 1


def test_what_is_hidden_comes_at_its_time(after: After) -> None:
    before = after.before
    if after.looked_s > before.hidden_until_s:
        pytest.skip("moving and starting again took longer than anything was hidden")
    assert after.seen_at_once == []
    found: dict[str, dict[str, Any]] = {}
    while len(found) < 2:
        for message in receive(after.sqs, before.urls["instants"], WaitTimeSeconds=20):
            found[message["Body"]] = message
            # The clocks of the test, of both servers and of the database are the same.
            assert time.monotonic() > before.hidden_until_s - 1
    assert found["hidden"]["MessageId"] == before.hidden_id
    assert found["hidden"]["Attributes"]["ApproximateReceiveCount"] == "2"
    assert found["delayed"]["Attributes"]["ApproximateReceiveCount"] == "1"


@pytest.mark.parametrize("name", MODES_OF_STANDARD)
def test_every_body_arrives(after: After, name: str) -> None:
    before, sqs = after.before, after.sqs
    url = before.urls[name]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=before.receipts[name])
    found = receive(sqs, url, MessageAttributeNames=["All"])
    assert {message["Body"] for message in found} == before.left[name]
    assert ATTRIBUTES in [
        {"kind": {k: v for k, v in m["MessageAttributes"]["kind"].items() if v}}
        for m in found
        if "MessageAttributes" in m
    ]
    for message in found:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == "0"
    # The one that was received before is deleted, not hidden.
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "0"
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": name}


def test_order_and_deduplication_go_on(after: After) -> None:
    before, sqs = after.before, after.sqs
    url = before.urls["orders.fifo"]
    for sent in before.ordered:
        again = send_in_order(sqs, url, "a", sent["Body"])
        assert again["MessageId"] == sent["MessageId"]
        assert again["SequenceNumber"] == sent["SequenceNumber"]
    new = send_in_order(sqs, url, "c", "five")
    assert new["SequenceNumber"] > max(sent["SequenceNumber"] for sent in before.ordered)
    # The first of its group is in flight, so the second waits.
    assert drained(sqs, url, 3) == ["three", "four", "five"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=before.receipts["orders.fifo"])
    assert drained(sqs, url, 1) == ["two"]


def test_the_move_task_goes_on(after: After) -> None:
    before, sqs = after.before, after.sqs
    found = drained(sqs, before.urls["archive"], DEAD_LETTERS)
    assert sorted(found) == sorted(before.dead)
    (task,) = sqs.list_message_move_tasks(SourceArn=queue_arn("dead"))["Results"]
    assert task["Status"] == "COMPLETED"
    assert task["ApproximateNumberOfMessagesMoved"] == DEAD_LETTERS


def test_identities_are_known(after: After) -> None:
    for key in (after.before.alice, after.before.session):
        after.stage.sends(key, after.before.urls["archive"], secure=True)
    keys = after.stage.client("iam", secure=True).list_access_keys(UserName="alice")
    (found,) = keys["AccessKeyMetadata"]
    assert found["AccessKeyId"] == after.before.alice.access_key_id
