"""Two hundred long polls of one client, all waiting at once, each answered by one message."""

import asyncio
import time
from importlib.util import find_spec
from typing import Any

import pytest

from tests import server

POLLS = 200

# It pins a botocore older than the current one, so `scripts/test` runs this file by itself.
pytestmark = pytest.mark.skipif(
    find_spec("aioboto3") is None, reason="aioboto3 has an environment of its own; see scripts/test"
)


def test_concurrent_long_polls(endpoint: str, queue: str) -> None:
    bodies = asyncio.run(_poll_and_send(endpoint, queue))
    assert sorted(bodies) == sorted(str(n) for n in range(POLLS))


async def _poll_and_send(endpoint: str, queue: str) -> list[str]:
    import aioboto3
    from aiobotocore.config import AioConfig

    session = aioboto3.Session(
        aws_access_key_id=server.ACCESS_KEY_ID,
        aws_secret_access_key=server.SECRET_ACCESS_KEY,
        region_name="eu-west-1",
    )
    config = AioConfig(max_pool_connections=POLLS + 10, retries={"total_max_attempts": 1})
    async with session.client("sqs", endpoint_url=endpoint, config=config) as sqs:
        polls = [asyncio.create_task(_poll(sqs, queue)) for _ in range(POLLS)]
        await _until_all_wait(sqs, queue, polls)
        started = time.monotonic()
        await asyncio.gather(
            *(sqs.send_message(QueueUrl=queue, MessageBody=str(n)) for n in range(POLLS))
        )
        bodies = await asyncio.gather(*polls)
        assert time.monotonic() - started < 10
        return bodies


async def _poll(sqs: Any, queue: str) -> str:
    reply = await sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)
    (message,) = reply["Messages"]
    await sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return str(message["Body"])


async def _until_all_wait(sqs: Any, queue: str, polls: list[asyncio.Task[str]]) -> None:
    """The polls are on their way; give them a second while other calls go through unhindered."""
    for _ in range(10):
        await sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
        await asyncio.sleep(0.1)
    assert not any(poll.done() for poll in polls)
