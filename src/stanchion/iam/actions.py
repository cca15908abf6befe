"""Every action of the service: importing this registers them all. Called by the server.

It must never be importable with an action missing: a client would find out before we do.
"""

from stanchion.iam import (
    absent,
    access_keys,
    accounts,
    attachments,
    boundaries,
    groups,
    inline_policies,
    oidc_providers,
    policies,
    policy_versions,
    reports,
    roles,
    simulate,
    users,
)
from stanchion.iam.authorisation import authorise
from stanchion.iam.service import REGISTRY, Iam
from stanchion.service import ServiceOf

__all__ = [
    "absent",
    "access_keys",
    "accounts",
    "attachments",
    "boundaries",
    "groups",
    "inline_policies",
    "oidc_providers",
    "policies",
    "policy_versions",
    "reports",
    "roles",
    "service_of",
    "simulate",
    "users",
]

if REGISTRY.missing():
    raise LookupError(f"No function answers {', '.join(sorted(REGISTRY.missing()))}")


def service_of(iam: Iam) -> ServiceOf[Iam]:
    """The service as the gateway sees it."""
    return ServiceOf(REGISTRY, authorise, iam)
