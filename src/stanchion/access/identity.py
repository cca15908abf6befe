"""Who is calling, once it has been established, and what the caller's own policies are."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

from stanchion.access.policy.context import NO_KEYS, Values
from stanchion.access.policy.document import Policy

Kind = Literal["root", "user", "role", "federated", "web", "service", "anonymous"]
"""role: a session of one. federated: a session of GetFederationToken. web: somebody with a token of
an OIDC issuer, before a role is assumed with it."""

NO_TAGS: Mapping[str, str] = {}


class NamedPolicy(Struct, frozen=True):
    """A policy and what it is called where decisions are explained."""

    name: str
    """An ARN, or for example `user/alice inline policy send`."""
    policy: Policy | None
    """None for a document that cannot be read: it denies everything, as it might have denied."""


class Grants(Struct, frozen=True):
    """What speaks for a caller beside the resource's policy."""

    identity: tuple[NamedPolicy, ...] = ()
    """Of the user and its groups, or of the role."""
    boundary: NamedPolicy | None = None
    session: tuple[NamedPolicy, ...] = ()
    """When there are any, one of them must allow as well."""


class Caller(Struct, frozen=True, eq=False):
    """A principal. One lives as long as it is remembered under its access key."""

    kind: Kind
    account_id: str
    """Empty for one without an account: a service or anonymous."""
    arn: str
    """For example `arn:aws:iam::000000000000:root`; `anonymous` for somebody unknown, a service's
    name for a service, the provider's ARN for a web identity."""
    sender_id: str
    """`aws:userid`, and what a message's SenderId says: the account id for root, `AIDA...` for a
    user, `AROA...:session` for a role, the address for somebody unknown."""
    access_key_id: str = ""
    role_arn: str = ""
    """Of the role of a session: `arn:aws:iam::...:role/path/name`."""
    entity_id: str = ""
    """The unique id of the user or role, which policies may name: `AIDA...`, `AROA...`."""
    grants: Grants = Grants()
    keys: Mapping[str, Values] = NO_KEYS
    """Condition keys that the principal brings along: `aws:username`, `aws:principaltag/team`,
    `aws:tokenissuetime`, ... in lower case."""
    transitive_tags: Mapping[str, str] = NO_TAGS
    """Of a session of a role: tags that go on to the roles it assumes."""
    decisions: dict[Any, Any] = field(default_factory=dict)
    """Remembered for this caller by the authoriser; see `access/authoriser.py`."""


def root_of(account_id: str, access_key_id: str) -> Caller:
    arn = f"arn:aws:iam::{account_id}:root"
    return Caller("root", account_id, arn, account_id, access_key_id)


def anonymous(peer_ip: str) -> Caller:
    return Caller("anonymous", "", "anonymous", peer_ip)


class Identity(Struct, frozen=True, gc=False):
    """A caller, and where the credential scope says the call belongs."""

    caller: Caller
    region: str
    """A namespace of its own: any name that the operator allows."""
