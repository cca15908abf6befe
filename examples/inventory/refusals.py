"""What the roles may not do, tried: what is refused is said by the service, not by the client.

The second refusal needs the service's address for plain HTTP. That of AWS is known; for another
service `PLAIN_HTTP_ENDPOINT_URL` says it.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from service import Credentials, connect


class Trial(NamedTuple):
    what: str
    expected: str
    """The code of the error."""
    outcome: str
    """The code of the error, or `nothing`."""


def trials(producer: Credentials, queue_url: str) -> list[Trial]:
    """Try what the producer must not get away with."""
    sqs = connect(producer)
    found = [
        Trial(
            "the producer receives a message",
            "AccessDenied",
            outcome(lambda: sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=0)),
        )
    ]
    in_the_clear = over_plain_http(producer)
    if in_the_clear is not None:
        found.append(
            Trial(
                "the producer sends over plain HTTP",
                "InvalidSecurity",
                outcome(lambda: in_the_clear.send_message(QueueUrl=queue_url, MessageBody="{}")),
            )
        )
    return found


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "nothing"


def over_plain_http(credentials: Credentials) -> Any | None:
    """A client that does not use TLS; None where it is not known where to."""
    plain_url = os.environ.get("PLAIN_HTTP_ENDPOINT_URL")
    if plain_url:
        return connect(credentials, endpoint_url=plain_url)
    if "AWS_ENDPOINT_URL" in os.environ:
        return None
    return connect(credentials, use_ssl=False)
