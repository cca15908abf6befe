"""The queue service: where it is and who calls it is said by the environment, as boto3 reads it.

Plain boto3 (`AWS_ENDPOINT_URL`, `AWS_DEFAULT_REGION`, credentials), so it is Stanchion or AWS.
"""

from typing import Any, NamedTuple

import boto3
from botocore.config import Config

ATTEMPTS = 12


class Credentials(NamedTuple):
    """Of somebody else than the environment says."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def environment(self) -> dict[str, str]:
        """For a process that is to be this somebody."""
        return {f"AWS_{name.upper()}": value for name, value in self._asdict().items() if value}

    def options(self) -> dict[str, str | None]:
        """For a client of boto3."""
        return {f"aws_{name}": value for name, value in self._asdict().items()}


def connect(credentials: Credentials | None = None, service: str = "sqs", **options: Any) -> Any:
    """A client that outlasts a restart of the service: it tries for a minute or so."""
    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    if credentials is not None:
        options |= credentials.options()
    return boto3.client(service, config=Config(retries=retries), **options)
