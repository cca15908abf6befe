"""Every action of the service: importing this registers them all. Called by the gateway.

It must never be importable with an action missing: a client would find out before we do.
"""

from stanchion.sqs import (
    dead_letters,
    leases,
    messages,
    move_tasks,
    permissions,
    queue_attributes,
    queues,
    receive,
    registry,
    tags,
)
from stanchion.sqs.registry import ACTIONS

__all__ = [
    "ACTIONS",
    "dead_letters",
    "leases",
    "messages",
    "move_tasks",
    "permissions",
    "queue_attributes",
    "queues",
    "receive",
    "tags",
]

if registry.missing():
    raise LookupError(f"No function answers {', '.join(sorted(registry.missing()))}")
