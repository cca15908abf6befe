"""Keys, queues that are encrypted under them, and roles: what the tests of SSE-KMS begin with."""

import itertools
import uuid
from collections.abc import Callable
from typing import Any

from tests.access_control.stage import (
    ACCOUNT,
    Key,
    Stage,
    Statement,
    allow,
    document,
    queue_arn,
    refusal,
    root_arn,
)
from tests.encryption.rig import receive

SQS = allow("sqs:*")
NAMES = itertools.count(1)


def new_key(kms: Any, *statements: Statement, **more: Any) -> str:
    """A key that its account's policies decide about; its ARN."""
    account = allow("kms:*", Principal={"AWS": root_arn(ACCOUNT)})
    made = kms.create_key(Policy=document(account, *statements), **more)
    arn: str = made["KeyMetadata"]["Arn"]
    return arn


def key_policy(kms: Any, arn: str, *statements: Statement) -> None:
    account = allow("kms:*", Principal={"AWS": root_arn(ACCOUNT)})
    policy = document(account, *statements)
    kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=policy)


def new_queue(sqs: Any, key: str = "", name: str = "", **attributes: str) -> str:
    """A queue, with SSE-KMS if a key is given; its URL."""
    given = {"KmsMasterKeyId": key, **attributes} if key else attributes
    url: str = sqs.create_queue(QueueName=name or f"q{next(NAMES)}", Attributes=given)["QueueUrl"]
    return url


def arn_of(url: str) -> str:
    return queue_arn(url.rpartition("/")[2])


def role(stage: Stage, *statements: Statement) -> Key:
    """The key of a role that may do these things, and all with queues."""
    made = stage.role(f"r{uuid.uuid4().hex}", SQS, *statements)
    return stage.assume(stage.user(f"u{uuid.uuid4().hex}", allow("sts:AssumeRole")), made)


def send(stage: Stage, key: Key, url: str, body: str = "hello") -> Any:
    return stage.client("sqs", key, secure=True).send_message(QueueUrl=url, MessageBody=body)


def got(stage: Stage, key: Key, url: str, **more: Any) -> list[dict[str, Any]]:
    return receive(stage.client("sqs", key, secure=True), url, **{"VisibilityTimeout": 0} | more)


def bodies(stage: Stage, key: Key, url: str) -> list[str]:
    return sorted(message["Body"] for message in got(stage, key, url))


def told(call: Callable[[], Any]) -> str:
    """The error's code as a client sees it, whichever protocol it speaks."""
    return refusal(call).code.rpartition("#")[2]
