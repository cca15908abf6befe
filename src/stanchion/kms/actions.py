"""Every action of the service, and who may call it: importing this registers them all.

It must never be importable with an action missing: a client would find out before we do. Called by
the server, which puts the service together.
"""

from stanchion.kms import (
    aliases,
    data_keys,
    encrypting,
    grants,
    key_policies,
    keys,
    macs,
    randomness,
    rotation,
    tags,
)
from stanchion.kms.authorisation import RULES, authorise
from stanchion.kms.service import REGISTRY, Kms
from stanchion.service import ServiceOf

__all__ = [
    "aliases",
    "data_keys",
    "encrypting",
    "grants",
    "key_policies",
    "keys",
    "macs",
    "randomness",
    "rotation",
    "service_of",
    "tags",
]

if REGISTRY.missing():
    raise LookupError(f"No function answers {', '.join(sorted(REGISTRY.missing()))}")
if REGISTRY.model.operations.keys() - RULES.keys():
    raise LookupError("There are operations without a rule about who may call them")


def service_of(kms: Kms) -> ServiceOf[Kms]:
    """The service as the gateway sees it."""
    return ServiceOf(REGISTRY, authorise, kms)
