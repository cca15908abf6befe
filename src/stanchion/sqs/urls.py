"""Queue URLs and ARNs: how they are written, and what is read out of a QueueUrl.

Pure text: whether a queue exists and who may use it is decided by the callers, the catalogue and
the actions. When a QueueUrl is read, its scheme, host and port say nothing about the queue, because
the same server has many names; only the host of another region's AWS endpoint is an error.
"""

import re
from typing import NamedTuple

from msgspec import Struct

from stanchion.model.sqs import InvalidAddress
from stanchion.store.contract import QueueName

_PARTITIONS = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-iso-", "aws-iso"),
    ("eusc-", "aws-eusc"),
)


def queue_url(origin: str, name: QueueName) -> str:
    """`{origin}/{account}/{name}`; the origin is what the client asked for, without a slash."""
    return f"{origin}/{name.account_id}/{name.name}"


def queue_arn(name: QueueName) -> str:
    return f"arn:{partition(name.region)}:sqs:{name.region}:{name.account_id}:{name.name}"


def partition(region: str) -> str:
    """The ARN partition that a region belongs to; `aws` for regions AWS does not have."""
    return next((found for prefix, found in _PARTITIONS if region.startswith(prefix)), "aws")


class Arn(NamedTuple):
    """The parts of `arn:partition:service:region:account:resource`."""

    partition: str
    service: str
    region: str
    account_id: str
    resource: str

    def queue_name(self) -> QueueName | None:
        """The queue that it names, or None if it cannot be that of a queue."""
        is_queue = self.service == "sqs" and is_account_id(self.account_id)
        if not is_queue or self.partition != partition(self.region):
            return None
        return QueueName(self.account_id, self.region, self.resource)


def read_arn(text: str) -> Arn | None:
    """None for what does not have all parts."""
    prefix, *parts = text.split(":")
    return Arn(*parts) if prefix == "arn" and len(parts) == 5 and all(parts) else None


class QueueReference(Struct, frozen=True, gc=False):
    """What a QueueUrl says."""

    account_id: str | None
    """None when only a name was given: the caller's own account."""
    name: str
    endpoint: str = ""
    """Scheme and host, when that is an AWS endpoint, else empty."""
    endpoint_region: str = ""

    def check_endpoint(self, region: str) -> None:
        """Raises `InvalidAddress` when the URL is that of another region's AWS endpoint."""
        if self.endpoint_region and self.endpoint_region != region:
            text = f"The address {self.endpoint}/ is not valid for this endpoint."
            raise InvalidAddress(text)


def read_queue_url(text: str) -> QueueReference | None:
    """The queue that a QueueUrl, a path or a bare queue name names, or None if it names none."""
    if "/" not in text:
        return QueueReference(None, text) if text else None
    scheme, separator, rest = text.partition("://")
    host, _, path = rest.partition("/") if separator else ("", "", text)
    segments = path.rsplit("/", 2)[-2:]
    if len(segments) < 2 or not is_account_id(segments[0]) or not segments[1]:
        return None
    region = _aws_endpoint_region(host)
    endpoint = f"{scheme}://{host}" if region else ""
    return QueueReference(segments[0], segments[1], endpoint, region)


def is_account_id(text: str) -> bool:
    return len(text) == 12 and text.isascii() and text.isdigit()


_AWS_HOST = re.compile(
    r"""(?: (?:vpce-[a-z0-9-]+\.)? sqs(?:-fips)? \. (?P<regional>[a-z0-9-]+)
            (?: (?:\.vpce)? \.amazonaws\.com (?:\.cn)? | \.api\.aws )
          | (?P<legacy>[a-z0-9-]+) \.queue\.amazonaws\.com (?:\.cn)?
          | queue\.amazonaws\.com
        ) (?: : [0-9]+ )?""",
    re.VERBOSE,
)


def _aws_endpoint_region(host: str) -> str:
    """The region whose AWS endpoint this host is, or an empty string."""
    match = _AWS_HOST.fullmatch(host.lower())
    if match is None:
        return ""
    return match["regional"] or match["legacy"] or "us-east-1"
