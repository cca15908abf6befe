"""Policy documents as requests bring them: whether they are well-formed, and not too large.

AWS does not count white space. What a document means is decided elsewhere; here it is checked and
kept as it was given. Called by the actions that take documents.
"""

from collections.abc import Iterable

from stanchion.access.policy.document import Kind, MalformedPolicy, Policy, parse
from stanchion.access.policy_principals import Reader, UnknownPrincipal, to_ids
from stanchion.iam import limits
from stanchion.iam.names import over_quota
from stanchion.model.iam import LimitExceededException, MalformedPolicyDocumentException


def parsed(document: str, kind: Kind = "identity") -> Policy:
    """The policy that a document is. Raises `MalformedPolicyDocumentException`."""
    try:
        return parse(document, kind)
    except MalformedPolicy as error:
        raise MalformedPolicyDocumentException(str(error)) from None


def managed(document: str) -> str:
    """A managed policy's document, checked.

    Raises `MalformedPolicyDocumentException` and `LimitExceededException`.
    """
    parsed(document)
    if size(document) > limits.MANAGED_POLICY_BYTES_MAX:
        raise over_quota("PolicySize", limits.MANAGED_POLICY_BYTES_MAX)
    return document


async def trust(reader: Reader, document: str) -> str:
    """A role's trust policy, checked, with unique ids for the users and roles that it names.

    Raises `MalformedPolicyDocumentException` and `LimitExceededException`.
    """
    policy = parsed(document, "trust")
    for action in _actions(policy):
        if not action.lower().startswith("sts:"):
            raise MalformedPolicyDocumentException(
                "AssumeRole policy may only specify STS AssumeRole actions."
            )
    if size(document) > limits.TRUST_POLICY_BYTES_MAX:
        raise over_quota("ACLSizePerRole", limits.TRUST_POLICY_BYTES_MAX)
    try:
        return await to_ids(reader, document)
    except UnknownPrincipal as error:
        raise MalformedPolicyDocumentException(str(error)) from None


def _actions(policy: Policy) -> Iterable[str]:
    return (action for statement in policy.statements for action in statement.actions)


_INLINE_BYTES_MAX = {
    "user": limits.USER_POLICIES_BYTES_MAX,
    "group": limits.GROUP_POLICIES_BYTES_MAX,
    "role": limits.ROLE_POLICIES_BYTES_MAX,
}


def check_inline_size(sort: str, name: str, documents: Iterable[str]) -> None:
    """Raises `LimitExceededException` unless somebody may have all these inline policies."""
    most = _INLINE_BYTES_MAX[sort]
    if sum(size(document) for document in documents) > most:
        raise LimitExceededException(
            f"Maximum policy size of {most} bytes exceeded for {sort} {name}"
        )


_WHITE_SPACE = str.maketrans("", "", " \t\r\n")


def size(document: str) -> int:
    """Characters that count."""
    return len(document.translate(_WHITE_SPACE))
