"""What a session may be given to hold it in: session policies and tags, as requests bring them.

Policies are parsed before anybody is told that a session would be allowed, and looked up only after
it was. Called by the actions that make sessions.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from stanchion.access.policy.context import Values
from stanchion.access.policy.document import MalformedPolicy, parse
from stanchion.access.sessions import Session
from stanchion.model.errors import InvalidParameterValue, ValidationError
from stanchion.model.sts import (
    MalformedPolicyDocumentException,
    PackedPolicyTooLargeException,
    PolicyDescriptorType,
    Tag,
)
from stanchion.sts.service import Sts

POLICY_CHARS_MAX = 2048
POLICY_ARNS_MAX = 10
PACKED_BYTES_MAX = 8192
"""Of all that a request puts into a session token, which has to fit into a header."""


class SessionPolicies(Struct, frozen=True):
    documents: tuple[str, ...] = ()
    arns: tuple[str, ...] = ()


def policies(document: str | None, arns: Iterable[PolicyDescriptorType] | None) -> SessionPolicies:
    """The session policies of a request, as far as they can be checked by themselves.

    Raises `ValidationError` and `MalformedPolicyDocumentException`.
    """
    given = tuple(dict.fromkeys(each.arn for each in arns or () if each.arn))
    if len(given) > POLICY_ARNS_MAX:
        raise _too_long("policyArns", POLICY_ARNS_MAX)
    if document is None:
        return SessionPolicies((), given)
    if len(document) > POLICY_CHARS_MAX:
        raise _too_long("policy", POLICY_CHARS_MAX)
    try:
        parse(document, "identity")
    except MalformedPolicy as error:
        raise MalformedPolicyDocumentException(str(error)) from None
    return SessionPolicies((document,), given)


def _too_long(place: str, most: int) -> ValidationError:
    return ValidationError(
        f"1 validation error detected: Value at '{place}' failed to satisfy constraint: "
        f"Member must have length less than or equal to {most}"
    )


async def check_managed(sts: Sts, account_id: str, arns: Iterable[str]) -> None:
    """Managed session policies are AWS's or of the session's own account, and exist."""
    own = (f"arn:aws:iam::{account_id}:policy/", "arn:aws:iam::aws:policy/")
    for arn in arns:
        if not arn.startswith(own) or await sts.directory.managed_document(arn) is None:
            raise ValidationError(
                f"The session policy {arn} does not exist in account {account_id}."
            )


# --- Tags -----------------------------------------------------------------------------------------


class SessionTags(Struct, frozen=True):
    given: Mapping[str, str]
    transitive_keys: tuple[str, ...] = ()
    inherited: Mapping[str, str] = {}
    """From the calling session; they stay transitive."""

    def all(self) -> dict[str, str]:
        return {**self.inherited, **self.given}

    def all_transitive_keys(self) -> tuple[str, ...]:
        return (*self.inherited, *self.transitive_keys)

    def condition_keys(self) -> dict[str, Values]:
        keys: dict[str, Values] = {
            f"aws:requesttag/{name.lower()}": (value,) for name, value in self.given.items()
        }
        if self.given:
            keys["aws:tagkeys"] = tuple(self.given)
        if self.transitive_keys:
            keys["sts:transitivetagkeys"] = self.transitive_keys
        return keys


def tags(
    given: Iterable[Tag] | None,
    transitive_keys: Iterable[str] | None = None,
    inherited: Mapping[str, str] | None = None,
) -> SessionTags:
    """The session tags of a request. Keys are the same whatever their case, which is kept.

    Raises `InvalidParameterValue`.
    """
    names: dict[str, str] = {}
    values: dict[str, str] = {}
    for tag in given or ():
        key = tag.key or ""
        if key.lower().startswith("aws:"):
            raise InvalidParameterValue("Tag keys must not start with the reserved prefix aws:")
        if key.lower() in names:
            raise InvalidParameterValue(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive."
            )
        names[key.lower()] = key
        values[key] = tag.value or ""
    inherited = inherited or {}
    asked = tuple(dict.fromkeys(key.lower() for key in transitive_keys or ()))
    if not names.keys().isdisjoint(key.lower() for key in inherited):
        raise InvalidParameterValue(
            "One of the specified transitive tag keys can't be set because it conflicts with a "
            "transitive tag key from the calling session."
        )
    if not set(asked) <= names.keys():
        raise InvalidParameterValue(
            "The specified transitive tag key must be included in the requested tags."
        )
    return SessionTags(values, tuple(names[key] for key in asked), inherited)


# --- Both -----------------------------------------------------------------------------------------


def packed_percent(session: Session) -> int | None:
    """How full the session is; None for one with neither policies nor tags.

    Raises `PackedPolicyTooLargeException`.
    """
    held = (session.policies, session.policy_arns, session.tags, session.transitive_tag_keys)
    size_bytes = len(msgspec.msgpack.encode((*held, session.claims)))
    percent = -(-100 * size_bytes // PACKED_BYTES_MAX)
    if percent > 100 and (session.policies or session.policy_arns):
        raise PackedPolicyTooLargeException(
            f"Packed policy consumes {percent}% of allotted space, please use smaller policy."
        )
    if percent > 100:
        raise PackedPolicyTooLargeException(
            f"Packed size of session tags consumes {percent}% of allotted space."
        )
    return percent if any(held) else None
