"""The queue service: where it is and who calls it is said by the environment, as boto3 reads it.

Plain boto3 (`AWS_ENDPOINT_URL`, `AWS_DEFAULT_REGION`, credentials), so it is Stanchion or AWS.
"""

from typing import Any

import boto3
from botocore.config import Config

ATTEMPTS = 12


def connect() -> Any:
    """A client that outlasts a restart of the service: it tries for a minute or so."""
    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    return boto3.client("sqs", config=Config(retries=retries))
