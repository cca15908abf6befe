"""Every action of the service, and who may call it: importing this registers them all.

It must never be importable with an action missing: a client would find out before we do. Called by
the server, which puts the service together.
"""

from stanchion.service import ServiceOf
from stanchion.sqs import (
    dead_letters,
    leases,
    messages,
    move_tasks,
    permissions,
    queue_attributes,
    queues,
    receive,
    tags,
)
from stanchion.sqs.authorisation import authorise
from stanchion.sqs.service import REGISTRY, Sqs

__all__ = [
    "dead_letters",
    "leases",
    "messages",
    "move_tasks",
    "permissions",
    "queue_attributes",
    "queues",
    "receive",
    "service_of",
    "tags",
]

if REGISTRY.missing():
    raise LookupError(f"No function answers {', '.join(sorted(REGISTRY.missing()))}")


def service_of(sqs: Sqs) -> ServiceOf[Sqs]:
    """The service as the gateway sees it."""
    return ServiceOf(REGISTRY, authorise, sqs)
