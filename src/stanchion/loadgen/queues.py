"""The run's queue, made and deleted with boto3, and the credentials, found as AWS's tools do.

Everything here is outside the measured stretch. Faults become `BenchError`s of one line.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stanchion.clock import RandomIds
from stanchion.loadgen.plan import BenchError, Credentials, Endpoint

_CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20)


def session(profile: str | None, credentials: Credentials | None, region: str | None) -> Any:
    """A boto3 session: what is None comes from the environment or the profile's files."""
    try:
        if credentials is None:
            return boto3.Session(profile_name=profile, region_name=region)
        return boto3.Session(
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.session_token,
            region_name=region,
        )
    except BotoCoreError as error:
        raise BenchError(str(error)) from None


def credentials_of(session: Any) -> Credentials:
    """The credentials that the session has found. Raises `BenchError` when there are none."""
    try:
        found = session.get_credentials()
    except BotoCoreError as error:
        raise BenchError(str(error)) from None
    if found is None:
        raise BenchError(
            "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use --profile"
        )
    frozen = found.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


@contextmanager
def queue(
    session: Any, endpoint: Endpoint, url: str, name: str | None, attributes: dict[str, str]
) -> Iterator[str]:
    """The URL of the named queue; without a name, of a new one that is deleted at the end."""
    sqs = session.client(
        "sqs",
        endpoint_url=url,
        region_name=endpoint.region,
        verify=endpoint.ca_bundle,
        config=_CONFIG,
    )
    if name is not None:
        yield _existing(sqs, name)
        return
    queue_url = _created(sqs, attributes)
    try:
        yield queue_url
    finally:
        _delete(sqs, queue_url)


def _existing(sqs: Any, name: str) -> str:
    try:
        return str(sqs.get_queue_url(QueueName=name)["QueueUrl"])
    except (BotoCoreError, ClientError) as error:
        _fail(f"cannot use the queue {name}", error)


def fifo_attributes(content_based: bool) -> dict[str, str]:
    """What to create a FIFO queue with."""
    return {"FifoQueue": "true", "ContentBasedDeduplication": str(content_based).lower()}


def _created(sqs: Any, attributes: dict[str, str]) -> str:
    name = _fresh_name() + (".fifo" if "FifoQueue" in attributes else "")
    try:
        return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
    except (BotoCoreError, ClientError) as error:
        _fail("cannot create a queue", error)


def _delete(sqs: Any, url: str) -> None:
    try:
        sqs.delete_queue(QueueUrl=url)
    except (BotoCoreError, ClientError) as error:
        _fail(f"cannot delete the queue {url}", error)


def _fresh_name() -> str:
    return f"stanchion-bench-{RandomIds().uuid()}"


def _fail(what: str, error: Exception) -> NoReturn:
    raise BenchError(f"{what}: {error}") from None
