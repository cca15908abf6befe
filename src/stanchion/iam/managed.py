"""Managed policies by their ARNs, AWS's and the account's own, and who uses them.

Of an account's own policies the uses are counted with the policy, in the draft of whoever attaches
or detaches; those of AWS count nowhere, and their uses are looked for when somebody asks. Called by
the modules about policies, attachments and boundaries.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import TypeVar

from msgspec import Struct, structs

from stanchion.access.aws_policies import AWS_POLICIES, AwsPolicy
from stanchion.access.entities import Group, ManagedPolicy, Role, User
from stanchion.iam import names
from stanchion.model.errors import AccessDenied
from stanchion.model.iam import InvalidInputException, NoSuchEntityException
from stanchion.store.documents import Document, Documents, Draft

D = TypeVar("D", bound=Document)

_POLICY_ARN = re.compile(r"arn:aws:iam::(?:[0-9]{12}|aws):policy/[!-~]+", re.ASCII)


async def find(
    reader: names.Reader, account_id: str, arn: str, problem: str = "Policy {} was not found."
) -> ManagedPolicy | AwsPolicy:
    """The policy with that ARN that the account may use.

    Raises `InvalidInputException`, and `NoSuchEntityException` with `problem`.
    """
    if not _POLICY_ARN.fullmatch(arn):
        raise InvalidInputException(f"ARN {arn} is not valid.")
    if arn in AWS_POLICIES:
        return AWS_POLICIES[arn]
    policy = await reader.get(ManagedPolicy, account_id, arn.rpartition("/")[2].lower())
    # Policies of other accounts are not there for this one.
    if policy is None or names.arn_of(account_id, policy) != arn:
        raise NoSuchEntityException(problem.format(arn))
    return policy


async def find_own(reader: names.Reader, account_id: str, arn: str) -> ManagedPolicy:
    """As `find`, for what is about to be changed. Raises `AccessDenied` for a policy of AWS."""
    policy = await find(reader, account_id, arn)
    if isinstance(policy, AwsPolicy):
        raise AccessDenied(f"{arn} is a policy of AWS, which cannot be changed.")
    return policy


async def count_use(
    draft: Draft, account_id: str, arn: str, *, attachments: int = 0, boundary_uses: int = 0
) -> None:
    """Add to what is counted with a policy that is there."""
    if arn in AWS_POLICIES:
        return
    policy = await find_own(draft, account_id, arn)
    changed = structs.replace(
        policy,
        attachments=policy.attachments + attachments,
        boundary_uses=policy.boundary_uses + boundary_uses,
    )
    names.put(draft, account_id, changed)


class Uses(Struct, frozen=True):
    """How many users, groups and roles of an account have which policies, by ARN."""

    attachments: Counter[str]
    boundary_uses: Counter[str]


async def uses(documents: Documents, account_id: str) -> Uses:
    """Counted anew, which is for the policies of AWS only."""
    found = Uses(Counter(), Counter())
    async for entity in principals(documents, account_id):
        found.attachments.update(entity.attached)
        if not isinstance(entity, Group) and entity.boundary:
            found.boundary_uses[entity.boundary] += 1
    return found


async def principals(documents: Documents, account_id: str) -> AsyncIterator[User | Group | Role]:
    """Everybody in an account who may have policies."""
    sorts: tuple[type[User | Group | Role], ...] = (User, Group, Role)
    for sort in sorts:
        async for entity in every(documents, sort, account_id):
            yield entity


_READ_AT_ONCE = 1000


async def every(documents: Documents, sort: type[D], account_id: str) -> AsyncIterator[D]:
    """All documents of a sort that an account has; quotas keep them few."""
    after = ""
    while True:
        found = await documents.list(sort, account_id, after=after, limit=_READ_AT_ONCE)
        for _, document in found:
            yield document
        if len(found) < _READ_AT_ONCE:
            return
        after = found[-1][0]
