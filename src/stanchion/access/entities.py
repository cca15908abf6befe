"""Accounts and what belongs to them, as documents: what IAM edits and authentication reads.

Names are kept as they were given and are unique whatever their case, so the record of an entity is
named `name.lower()`. References go both ways where both ways are read: a user lists its groups and
a group its users; whoever edits one edits the other in the same draft. Instants are queue time in
milliseconds.
"""

from typing import ClassVar, Literal

from msgspec import Struct, field

from stanchion.store.documents import Document

Tags = dict[str, str]


class Account(Document, frozen=True, kw_only=True):
    """Kept under no account, by its 12-digit id."""

    kind: ClassVar[str] = "account"
    id: str
    name: str = ""
    alias: str = ""
    created_at_ms: int = 0
    root_access_key_ids: tuple[str, ...] = ()


class AccountAlias(Document, frozen=True, kw_only=True):
    """Kept under no account, by the alias."""

    kind: ClassVar[str] = "account_alias"
    account_id: str


class User(Document, frozen=True, kw_only=True):
    kind: ClassVar[str] = "user"
    name: str
    path: str = "/"
    id: str
    """`AIDA...`, never used again."""
    created_at_ms: int
    tags: Tags = field(default_factory=dict)
    inline: dict[str, str] = field(default_factory=dict)
    """Policy documents by name, as they were given."""
    attached: tuple[str, ...] = ()
    """ARNs of managed policies, in the order of attaching."""
    boundary: str = ""
    """ARN of the managed policy that bounds it."""
    groups: tuple[str, ...] = ()
    """Names."""
    access_key_ids: tuple[str, ...] = ()


class Group(Document, frozen=True, kw_only=True):
    kind: ClassVar[str] = "group"
    name: str
    path: str = "/"
    id: str
    """`AGPA...`"""
    created_at_ms: int
    inline: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    """Names."""


class Role(Document, frozen=True, kw_only=True):
    kind: ClassVar[str] = "role"
    name: str
    path: str = "/"
    id: str
    """`AROA...`, never used again: sessions of an earlier role of that name end with it."""
    created_at_ms: int
    description: str = ""
    session_s_max: int = 3600
    trust: str
    """The policy that says who may assume it."""
    tags: Tags = field(default_factory=dict)
    inline: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    boundary: str = ""


class PolicyVersion(Struct, frozen=True):
    id: str
    """`v1`, `v2`, ..."""
    document: str
    created_at_ms: int


class ManagedPolicy(Document, frozen=True, kw_only=True):
    """A customer's. Those of AWS are in `aws_policies.py`."""

    kind: ClassVar[str] = "policy"
    name: str
    path: str = "/"
    id: str
    """`ANPA...`"""
    created_at_ms: int
    updated_at_ms: int
    description: str = ""
    default_version: str
    versions: tuple[PolicyVersion, ...]
    last_version: int = 1
    """Version numbers are not used again."""
    attachments: int = 0
    boundary_uses: int = 0
    tags: Tags = field(default_factory=dict)


class AccessKey(Document, frozen=True, kw_only=True):
    """Kept under no account, by its id. The secret is sealed for `access-key:<id>`."""

    kind: ClassVar[str] = "access_key"
    access_key_id: str
    account_id: str
    user: str = ""
    """The name of the user; empty for the root user."""
    sealed_secret: bytes
    is_active: bool = True
    created_at_ms: int


class AccessKeyUse(Document, frozen=True, kw_only=True):
    """When a key was last used; kept under no account, by the id, and edited quietly."""

    kind: ClassVar[str] = "access_key_use"
    used_at_ms: int
    service: str
    region: str


class UniqueId(Document, frozen=True, kw_only=True):
    """Whose a unique id is. Kept under no account, by the id, for as long as the entity lives."""

    kind: ClassVar[str] = "unique_id"
    account_id: str
    sort: Literal["user", "group", "role", "policy"]
    name: str


class OidcProvider(Document, frozen=True, kw_only=True):
    """An issuer whose tokens roles may trust. Kept by its URL without `https://`."""

    kind: ClassVar[str] = "oidc_provider"
    url: str
    """Without `https://`."""
    client_ids: tuple[str, ...] = ()
    thumbprints: tuple[str, ...] = ()
    created_at_ms: int
    tags: Tags = field(default_factory=dict)


def entity_arn(account_id: str, sort: str, path: str, name: str) -> str:
    """`arn:aws:iam::111111111111:user/path/name`; `sort` is user, group, role or policy."""
    return f"arn:aws:iam::{account_id}:{sort}{path}{name}"
