"""Grants as a policy: what they allow beside the policy of their key, and to whom.

Whose grant it is, and within which limits, the decision says as it does of any policy; what an
operation is and under which encryption context is compared here. Called by `authorisation`.
"""

from collections.abc import Mapping

from stanchion.access.policy.context import Values
from stanchion.access.policy.document import Policy, Principals, Statement
from stanchion.kms.entities import Grant, Key
from stanchion.kms.finding import record_name
from stanchion.kms.service import Kms


async def fitting(
    kms: Kms,
    key: Key,
    operation: str,
    asked: Mapping[str, Values],
    context: Mapping[str, str],
) -> Policy | None:
    """The grants of a key whose constraints allow an operation, as a policy of a resource.

    `operation` is such as `Decrypt`, `context` the encryption context.
    """
    found = [g for g in await grants_of(kms, key) if _fits(g, operation, asked, context)]
    if not found:
        return None
    return Policy("2012-10-17", "", tuple(_statement(index, g) for index, g in enumerate(found)))


_GRANTS_AT_ONCE = 1000


async def grants_of(kms: Kms, key: Key) -> list[Grant]:
    """All grants of a key, in the order of their ids."""
    found: list[Grant] = []
    prefix, after = record_name(key.region, f"{key.id}/"), ""
    while True:
        page = await kms.documents.list(
            Grant, key.account_id, prefix=prefix, after=after, limit=_GRANTS_AT_ONCE
        )
        found += [grant for _, grant in page]
        if len(page) < _GRANTS_AT_ONCE:
            return found
        after = page[-1][0]


_WITHOUT_CONTEXT = ("DescribeKey", "GenerateMac", "RetireGrant", "VerifyMac")


def _fits(
    grant: Grant, operation: str, asked: Mapping[str, Values], context: Mapping[str, str]
) -> bool:
    """Whether the grant's constraints allow it. A grant of a grant may not reach any further; its
    own constraints stand for the context there."""
    if operation in _WITHOUT_CONTEXT:
        return True
    if operation == "CreateGrant":
        is_looser = asked.get("kms:grantconstrainttype") != ("EncryptionContextEquals",)
        if not set(asked.get("kms:grantoperations", ())) <= set(grant.operations):
            return False
        if grant.context_equals and is_looser:
            return False
    if grant.context_equals and grant.context_equals != context:
        return False
    return grant.context_subset.items() <= context.items()


def _statement(index: int, grant: Grant) -> Statement:
    is_service = "." in grant.grantee and not grant.grantee.startswith("arn:")
    names = (grant.grantee,)
    return Statement(
        index,
        grant.id,
        "Allow",
        Principals(services=names) if is_service else Principals(aws=names),
        not_principals=False,
        actions=tuple(f"kms:{operation}" for operation in grant.operations),
        not_actions=False,
        resources=("*",),
        not_resources=False,
        conditions=(),
    )
