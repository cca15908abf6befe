"""Every action of the service: importing this registers them all. Called by the gateway.

It must never be importable with an action missing: a client would find out before we do.
"""

from stanchion.sqs import (
    leases,
    messages,
    permissions,
    queue_attributes,
    queues,
    receive,
    registry,
    tags,
    unsupported,
)
from stanchion.sqs.registry import ACTIONS

__all__ = [
    "ACTIONS",
    "leases",
    "messages",
    "permissions",
    "queue_attributes",
    "queues",
    "receive",
    "tags",
    "unsupported",
]

if registry.missing():
    raise LookupError(f"No function answers {', '.join(sorted(registry.missing()))}")
