"""Customer keys and what belongs to them, as documents.

Records are named `<region>/<key id>` and the like: a region is a namespace of its own. Key material
is sealed for `kms-key:<arn>:<material number>`.
"""

from typing import ClassVar, Literal

from msgspec import Struct, field

from stanchion.store.documents import Document


class Material(Struct, frozen=True):
    """Key material. Rotation adds one; older ones stay, for what was encrypted under them."""

    number: int
    sealed: bytes
    created_at_ms: int
    is_on_demand: bool = False


class Key(Document, frozen=True, kw_only=True):
    """Kept under its account, by `<region>/<key id>`."""

    kind: ClassVar[str] = "kms_key"
    id: str
    account_id: str
    region: str
    manager: Literal["AWS", "CUSTOMER"] = "CUSTOMER"
    usage: Literal["ENCRYPT_DECRYPT", "GENERATE_VERIFY_MAC"] = "ENCRYPT_DECRYPT"
    spec: str = "SYMMETRIC_DEFAULT"
    """Or `HMAC_256` and the like."""
    description: str = ""
    state: Literal["Enabled", "Disabled", "PendingDeletion"] = "Enabled"
    created_at_ms: int
    deletion_at_ms: int = 0
    """When the material is destroyed; PendingDeletion only."""
    policy: str
    """The key policy as a document."""
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    """Names of its `Alias` documents, with `alias/`; whoever edits one edits the other."""
    rotates: bool = False
    rotation_days: int = 365
    rotated_at_ms: int = 0
    """When the current period of automatic rotation began."""
    materials: tuple[Material, ...] = ()
    """Oldest first; the last one encrypts. Empty once deleted."""
    grants: int = 0
    """How many there are; whoever makes or ends one counts."""


class KeyDeletion(Document, frozen=True, kw_only=True):
    """That a key is to be destroyed. Kept under no account, by `deletion_name`."""

    kind: ClassVar[str] = "kms_key_deletion"
    account_id: str
    region: str
    key_id: str


class KeyCount(Document, frozen=True, kw_only=True):
    """How many customer keys there are in a region. Kept under their account, by the region."""

    kind: ClassVar[str] = "kms_key_count"
    keys: int


class Alias(Document, frozen=True, kw_only=True):
    """Kept under its account, by `<region>/<alias name>` with `alias/` in the name."""

    kind: ClassVar[str] = "kms_alias"
    name: str
    key_id: str
    created_at_ms: int
    updated_at_ms: int


class Grant(Document, frozen=True, kw_only=True):
    """Kept under the key's account, by `<region>/<key id>/<grant id>`."""

    kind: ClassVar[str] = "kms_grant"
    id: str
    key_id: str
    name: str = ""
    grantee: str
    retiring: str = ""
    operations: tuple[str, ...]
    context_equals: dict[str, str] = field(default_factory=dict)
    context_subset: dict[str, str] = field(default_factory=dict)
    created_at_ms: int
    issuer: str
    """ARN of the account that made it."""


def is_service(principal: str) -> bool:
    """Whether a principal of a grant is a service, such as `sns.amazonaws.com`."""
    return "." in principal and not principal.startswith("arn:")


def key_arn(region: str, account_id: str, key_id: str) -> str:
    return f"arn:aws:kms:{region}:{account_id}:key/{key_id}"


def alias_arn(region: str, account_id: str, name: str) -> str:
    """`name` starts with `alias/`."""
    return f"arn:aws:kms:{region}:{account_id}:{name}"


def deletion_name(key: Key) -> str:
    """Those that are due first come first."""
    return f"{key.deletion_at_ms:015d}/{key.account_id}/{key.region}/{key.id}"
