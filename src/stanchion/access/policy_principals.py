"""ARNs of users and roles in a policy, and the unique ids that are stored in their place.

A policy that names a user or role means that very one, not another of its name made after it was
deleted. So what is stored has the unique id, and what is shown has the ARN again, or still the id
when the entity is gone. Text is cut and joined: whatever is not such a principal stays as it was
written, character by character. Takes text that is JSON; whether it is a policy is not looked at.
Called by IAM for trust policies and by SQS for the policies of queues.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from stanchion.access.entities import Role, UniqueId, User, entity_arn
from stanchion.store.documents import Document

D = TypeVar("D", bound=Document)


class Reader(Protocol):
    """`Documents`, or a `Draft` of an edit that depends on who there is."""

    async def get(self, sort: type[D], account_id: str, name: str) -> D | None: ...


class UnknownPrincipal(ValueError):
    """Says which in the words of IAM. `principal` is as the policy has it."""

    def __init__(self, principal: str) -> None:
        super().__init__(f'Invalid principal in policy: "AWS":"{principal}"')
        self.principal = principal


async def to_ids(documents: Reader, document_json: str) -> str:
    """The document with unique ids for the ARNs of users and roles.

    Raises `UnknownPrincipal` for an ARN or unique id of somebody who is not there, in this account
    or another. Everyone, account roots, sessions, services and issuers stay as they are.
    """
    return await _replaced(documents, document_json, _to_id)


async def to_arns(documents: Reader, document_json: str, partition: str = "aws") -> str:
    """The document with ARNs for the unique ids of those who are there; other ids stay."""

    async def to_arn(documents: Reader, principal: str) -> str:
        if not _UNIQUE_ID.fullmatch(principal):
            return principal
        arn = await _arn_of(documents, principal)
        return principal if arn is None else f"arn:{partition}:{_local(arn)}"

    return await _replaced(documents, document_json, to_arn)


async def _replaced(
    documents: Reader, text: str, replace: Callable[[Reader, str], Awaitable[str]]
) -> str:
    pieces: list[str] = []
    end = 0
    for place in _principals(text):
        replacement = await replace(documents, place.principal)
        if replacement != place.principal:
            pieces += (text[end : place.start], json.dumps(replacement))
            end = place.end
    pieces.append(text[end:])
    return "".join(pieces)


class _Place(NamedTuple):
    """A JSON string in a text, from quote to quote, and what it says."""

    start: int
    end: int
    principal: str


TOKEN = re.compile(r'(?P<string>"(?:[^"\\]|\\.)*+")(?P<colon>\s*:)?|(?P<bracket>[{}])')
"""The parts of JSON that say where in a document one is. Only names of members have a colon."""

_PLACES = (["Statement", "Principal", "AWS"], ["Statement", "NotPrincipal", "AWS"])


def _principals(text: str) -> Iterator[_Place]:
    """The strings under `AWS` in the principals of the statements. Lists add nothing to a path."""
    path: list[str] = []
    for token in TOKEN.finditer(text):
        if token["bracket"] == "{":
            path.append("")
        elif token["bracket"]:
            del path[-1:]
        elif token["colon"]:
            path[-1:] = [json.loads(token["string"], strict=False)]
        elif path in _PLACES:
            yield _Place(*token.span("string"), json.loads(token["string"], strict=False))


_UNIQUE_ID = re.compile(r"A[A-Z]{3}[A-Z0-9]{12,124}")
_IAM_ARN = re.compile(r"arn:[^:]*:iam::(?P<account>[^:]*):(?P<sort>[^/:]*)(?P<rest>.*)", re.DOTALL)
_SORTS: dict[str, type[User] | type[Role]] = {"user": User, "role": Role}


async def _to_id(documents: Reader, principal: str) -> str:
    if _UNIQUE_ID.fullmatch(principal):
        if await _arn_of(documents, principal) is None:
            raise UnknownPrincipal(principal)
        return principal
    arn = _IAM_ARN.fullmatch(principal)
    if arn is None or (arn["sort"] == "root" and not arn["rest"]):
        return principal
    sort = _SORTS.get(arn["sort"])
    name = arn["rest"].rpartition("/")[2]
    found = await documents.get(sort, arn["account"], name.lower()) if sort else None
    if found is None:
        raise UnknownPrincipal(principal)
    its_arn = entity_arn(arn["account"], arn["sort"], found.path, found.name)
    if _local(its_arn) != _local(principal):
        raise UnknownPrincipal(principal)
    return found.id


def _local(arn: str) -> str:
    """Without `arn:partition:`, which says nothing here: accounts are known by their numbers."""
    return arn.split(":", 2)[2]


async def _arn_of(documents: Reader, unique_id: str) -> str | None:
    """The ARN of the user or role of that id, if there is one."""
    owner = await documents.get(UniqueId, "", unique_id)
    sort = _SORTS.get(owner.sort) if owner else None
    if owner is None or sort is None:
        return None
    found = await documents.get(sort, owner.account_id, owner.name.lower())
    if found is None or found.id != unique_id:
        return None
    return entity_arn(owner.account_id, owner.sort, found.path, found.name)
