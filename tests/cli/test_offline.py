"""Documents of a data directory without a server, and beside one."""

import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from stanchion.access.entities import Account
from stanchion.access.root import ROOT_ACCOUNT_ID
from stanchion.cli import offline
from stanchion.cli.settings import Fault
from stanchion.config import Settings
from stanchion.keys.root import RootUnusable
from stanchion.store.contract import StoreBusy
from stanchion.store.documents import Documents, Draft
from stanchion.store.sqlite import SqliteStore
from tests.cli.conftest import Installation
from tests.server import KEY, running


def test_what_is_written_is_there_afterwards(started: Installation) -> None:
    async def write(documents: Documents) -> str:
        async def work(draft: Draft) -> None:
            draft.put(Account(id="1"), "", "1")

        await documents.change(work)
        return "done"

    async def read(documents: Documents) -> Account | None:
        return await documents.get(Account, "", "1")

    with offline.documents(Settings(data_dir=str(started.data_dir))) as run:
        assert run(write) == "done"
        assert run(read) == Account(id="1")
    with offline.documents(Settings(data_dir=str(started.data_dir))) as run:
        assert run(read) == Account(id="1")


@pytest.mark.parametrize("error", [StoreBusy("too\nmany"), RootUnusable("too\nmany")])
def test_what_goes_wrong_is_one_line(started: Installation, error: Exception) -> None:
    with (
        pytest.raises(Fault, match=r"^too many$"),
        offline.documents(Settings(data_dir=str(started.data_dir))),
    ):
        raise error


def test_where_there_is_nothing_nothing_is_made(tmp_path: Path) -> None:
    data_dir = tmp_path / "none"
    with (
        pytest.raises(Fault, match="has no Stanchion data"),
        offline.documents(Settings(data_dir=str(data_dir))),
    ):
        pass
    assert not data_dir.exists()


def test_a_place_that_cannot_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"^cannot read .*: File name too long$"):
        offline.documents(Settings(data_dir=str(tmp_path / ("x" * 300)))).__enter__()


def test_a_key_ring_is_never_made_here(tmp_path: Path) -> None:
    SqliteStore.open(tmp_path, reserve_bytes=0).close()
    settings = Settings(data_dir=str(tmp_path))
    with (
        pytest.raises(Fault, match="it is made when the server first starts"),
        offline.documents(settings) as run,
    ):
        run(lambda documents: offline.ring(settings, documents))
    assert not (tmp_path / "root.key").exists()


def test_beside_a_running_server(tmp_path: Path) -> None:
    cli = Installation(tmp_path / "data")
    with running(cli.data_dir) as server:
        cli.does("user", "create", "alice")
        cli.does("policy", "attach", "user", "alice", "arn:aws:iam::aws:policy/AmazonSQSFullAccess")
        made = cli.json("key", "create", "alice")
        key = (made["access_key_id"], made["secret_access_key"])
        _client("sqs", server.url, key).create_queue(QueueName="jobs")
        cli.does("key", "deactivate", key[0])
        assert _is_turned_away(server.url, key)
        (listed,) = _client("iam", server.url, KEY).list_access_keys(UserName="alice")[
            "AccessKeyMetadata"
        ]
        assert listed["Status"] == "Inactive"
        _explain_with_the_policy_of_the_server(cli, server.url)


def _client(service: str, url: str, key: tuple[str, str]) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
    )


def _is_turned_away(url: str, key: tuple[str, str]) -> bool:
    """Within a second the server knows; ten are for a slow machine."""
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        try:
            _client("sqs", url, key).list_queues()
        except ClientError as error:
            return error.response["Error"]["Code"] == "InvalidClientTokenId"
        time.sleep(0.1)
    return False


def _explain_with_the_policy_of_the_server(cli: Installation, url: str) -> None:
    sqs = _client("sqs", url, KEY)
    queue_url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    policy = (
        '{"Version":"2012-10-17","Statement":{"Sid":"NoSends","Effect":"Deny","Principal":"*",'
        f'"Action":"sqs:SendMessage","Resource":"arn:aws:sqs:us-east-1:{ROOT_ACCOUNT_ID}:jobs"}}}}'
    )
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": policy})
    result = cli.run(
        *("policy", "explain", "--principal", f"arn:aws:iam::{ROOT_ACCOUNT_ID}:user/alice"),
        *("--action", "sqs:SendMessage", "--endpoint-url", url),
        *("--resource", f"arn:aws:sqs:us-east-1:{ROOT_ACCOUNT_ID}:jobs"),
        AWS_ACCESS_KEY_ID=KEY[0],
        AWS_SECRET_ACCESS_KEY=KEY[1],
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1:] == [
        "reason: with an explicit deny in a resource-based policy",
        "policy: the queue's policy",
        "statement: NoSends",
    ]
