"""The AWS CLI drives a queue: what it sends, prints, and leaves with."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import server

AWS_CLI = os.environ.get("TEST_AWS_CLI", "")
SERVICE_ERROR = 255  # AWS CLI v1; v2 leaves with 254
pytestmark = pytest.mark.skipif(
    not AWS_CLI, reason="TEST_AWS_CLI does not name the AWS CLI; see scripts/test"
)

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(endpoint: str, tmp_path: Path) -> Cli:
    """Runs `aws sqs …` with nothing of the caller's configuration."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": server.ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": server.SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_MAX_ATTEMPTS": "1",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [AWS_CLI, "--endpoint-url", endpoint, "sqs", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    """What the command printed. It has to succeed; an empty reply prints nothing."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_the_life_of_a_message(cli: Cli, queue: str) -> None:
    attributes = {"color": {"DataType": "String", "StringValue": "blue"}}
    options = ("--message-attributes", json.dumps(attributes))
    sent = answer(cli("send-message", "--queue-url", queue, "--message-body", "grüße", *options))

    names = ("--message-attribute-names", "All", "--attribute-names", "ApproximateReceiveCount")
    (message,) = answer(cli("receive-message", "--queue-url", queue, *names))["Messages"]
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "grüße")
    assert message["MessageAttributes"] == attributes
    assert message["Attributes"] == {"ApproximateReceiveCount": "1"}

    handle = ("--queue-url", queue, "--receipt-handle", message["ReceiptHandle"])
    assert answer(cli("change-message-visibility", *handle, "--visibility-timeout", "100")) is None
    assert answer(cli("receive-message", "--queue-url", queue)) is None
    assert answer(cli("delete-message", *handle)) is None
    assert counts(cli, queue) == {"0"}


def counts(cli: Cli, queue: str) -> set[str]:
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    reply = cli("get-queue-attributes", "--queue-url", queue, "--attribute-names", *names)
    return set(answer(reply)["Attributes"].values())


def test_batches(cli: Cli, queue: str) -> None:
    entries = [{"Id": str(n), "MessageBody": f"body {n}"} for n in range(3)]
    entries.append({"Id": "late", "MessageBody": "x", "DelaySeconds": 901})
    batch = ("--queue-url", queue, "--entries")
    sent = answer(cli("send-message-batch", *batch, json.dumps(entries)))
    assert [entry["Id"] for entry in sent["Successful"]] == ["0", "1", "2"]
    assert [entry["Id"] for entry in sent["Failed"]] == ["late"]

    received = cli("receive-message", "--queue-url", queue, "--max-number-of-messages", "10")
    messages = answer(received)["Messages"]
    assert sorted(message["Body"] for message in messages) == ["body 0", "body 1", "body 2"]
    handles = [
        {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
        for n, message in enumerate(messages)
    ]
    deleted = answer(cli("delete-message-batch", *batch, json.dumps(handles)))
    assert [entry["Id"] for entry in deleted["Successful"]] == ["0", "1", "2"]
    assert counts(cli, queue) == {"0"}


def test_queues_and_their_attributes(cli: Cli) -> None:
    name = f"cli-{uuid.uuid4().hex}"
    created = cli(
        *("create-queue", "--queue-name", name),
        *("--attributes", "VisibilityTimeout=7,DelaySeconds=1", "--tags", "team=stock"),
    )
    url = answer(created)["QueueUrl"]
    assert answer(cli("get-queue-url", "--queue-name", name)) == {"QueueUrl": url}
    # The CLI pages by itself, and prints nothing for no queues.
    listed = cli("list-queues", "--queue-name-prefix", "cli-", "--page-size", "1")
    assert url in answer(listed)["QueueUrls"]
    assert answer(cli("list-queues", "--queue-name-prefix", "absent-")) is None

    assert answer(cli("list-queue-tags", "--queue-url", url)) == {"Tags": {"team": "stock"}}
    set_attributes = ("set-queue-attributes", "--queue-url", url, "--attributes")
    assert answer(cli(*set_attributes, "VisibilityTimeout=8")) is None
    read = cli("get-queue-attributes", "--queue-url", url, "--attribute-names", "All")
    attributes = answer(read)["Attributes"]
    assert (attributes["VisibilityTimeout"], attributes["DelaySeconds"]) == ("8", "1")
    assert answer(cli("delete-queue", "--queue-url", url)) is None


def test_a_fifo_queue_and_its_dead_letters(cli: Cli) -> None:
    name = f"cli-{uuid.uuid4().hex}"
    dead_letter_url = create_fifo(cli, f"{name}-dead.fifo")
    read = cli("get-queue-attributes", "--queue-url", dead_letter_url, "--attribute-names", "All")
    arn = answer(read)["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    url = create_fifo(cli, f"{name}.fifo", RedrivePolicy=policy, VisibilityTimeout="0")
    sources = answer(cli("list-dead-letter-source-queues", "--queue-url", dead_letter_url))
    assert sources == {"queueUrls": [url]}

    group = ("--message-group-id", "g", "--message-deduplication-id", "d")
    send = ("send-message", "--queue-url", url, "--message-body", "x", *group)
    sent = [answer(cli(*send))["SequenceNumber"] for _ in range(2)]
    assert sent[0] == sent[1]
    assert len(answer(cli("receive-message", "--queue-url", url))["Messages"]) == 1

    wait = ("--wait-time-seconds", "20", "--visibility-timeout", "0")
    (message,) = answer(cli("receive-message", "--queue-url", dead_letter_url, *wait))["Messages"]
    assert message["Body"] == "x"
    task = answer(cli("start-message-move-task", "--source-arn", arn))
    assert task["TaskHandle"]
    (message,) = answer(cli("receive-message", "--queue-url", url, *wait))["Messages"]
    assert message["Body"] == "x"
    (task,) = answer(cli("list-message-move-tasks", "--source-arn", arn))["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)


def create_fifo(cli: Cli, name: str, **attributes: str) -> str:
    options = json.dumps({"FifoQueue": "true", **attributes})
    created = cli("create-queue", "--queue-name", name, "--attributes", options)
    return str(answer(created)["QueueUrl"])


def test_an_error_names_its_code_and_text(cli: Cli) -> None:
    done = cli("get-queue-url", "--queue-name", "absent")
    assert done.returncode == SERVICE_ERROR
    assert "(AWS.SimpleQueueService.NonExistentQueue)" in done.stderr
    assert "The specified queue does not exist." in done.stderr
