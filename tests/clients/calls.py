"""What the client tests share: calls that fail, and short ways to say common things."""

import os
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError

Answer = TypeVar("Answer")

QUERY = os.environ.get("TEST_CLIENT") == "query"
ACCOUNT = "000000000000"


def fails(call: Callable[[], Any], code: str, status: int = 400, text: str = "") -> None:
    """The call fails with this legacy code, which both protocols report as `Error.Code`."""
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    assert response["Error"]["Code"] == code
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert text in response["Error"]["Message"]
    assert uuid.UUID(response["ResponseMetadata"]["RequestId"])


def missing_text() -> str:
    return "The specified queue does not exist" + (" for this wsdl version." if QUERY else ".")


def receive(sqs: Any, queue: str, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sqs.receive_message(QueueUrl=queue, **options).get("Messages", [])
    return found


def arn_of(queue: str) -> str:
    return f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{queue.rpartition('/')[2]}"


def attribute(sqs: Any, queue: str, name: str) -> str | None:
    answer = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[name])
    value: str | None = answer.get("Attributes", {}).get(name)
    return value


def eventually(look: Callable[[], Answer], seconds: float = 10) -> Answer:
    """What `look` sees as soon as it is something; a failure when that takes too long."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return seen
