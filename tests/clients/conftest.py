"""A signed, durable server and an official client. `TEST_CLIENT=query` expects an old one."""

import os
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests import server

QUARANTINE_S = PURGE_INTERVAL_S = 1


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {
        "queue_name_quarantine_s": str(QUARANTINE_S),
        "purge_interval_s": str(PURGE_INTERVAL_S),
        "in_flight_max": "50",
    }
    with server.running(tmp_path_factory.mktemp("clients") / "data", settings=settings) as running:
        yield running.url


@pytest.fixture(scope="session")
def sqs(endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "sqs",
        region_name="eu-west-1",
        endpoint_url=endpoint,
        aws_access_key_id=server.ACCESS_KEY_ID,
        aws_secret_access_key=server.SECRET_ACCESS_KEY,
        config=Config(retries={"total_max_attempts": 1}),
    )
    expected = os.environ.get("TEST_CLIENT", "json")
    assert client.meta.service_model.metadata["protocol"] == expected
    yield client
    if hasattr(client, "close"):
        client.close()


@pytest.fixture
def queue(sqs: Any) -> str:
    """The URL of a fresh queue."""
    url: str = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex}")["QueueUrl"]
    return url
