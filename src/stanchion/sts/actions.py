"""Every action of STS, and who may call it: importing this registers them all.

It must never be importable with an action missing: a client would find out before we do. Called by
the server, which puts the service together.
"""

from stanchion.service import ServiceOf
from stanchion.sts import assume_role, callers, user_sessions, web_identity
from stanchion.sts.authorisation import authorise
from stanchion.sts.service import REGISTRY, Sts

__all__ = ["assume_role", "callers", "service_of", "user_sessions", "web_identity"]

if REGISTRY.missing():
    raise LookupError(f"No function answers {', '.join(sorted(REGISTRY.missing()))}")


def service_of(sts: Sts) -> ServiceOf[Sts]:
    """The service as the gateway sees it."""
    return ServiceOf(REGISTRY, authorise, sts)
