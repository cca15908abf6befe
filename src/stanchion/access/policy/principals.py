"""Whether a statement's Principal or NotPrincipal means a caller, and how directly.

The partition of an ARN (`aws`, `aws-cn`, ...) is left out of every comparison: accounts are known
by their numbers alone, and the policy of a queue in another partition writes it there.
Called by `rules`.
"""

from enum import IntEnum

from stanchion.access.identity import Caller
from stanchion.access.policy.document import Principals


class Level(IntEnum):
    """How a caller is named. The higher, the more an Allow means."""

    NOBODY = 0
    ACCOUNT = 1
    """By the root of its account: which leaves it to the account's own policies."""
    EVERYONE = 2
    ROLE = 3
    """The role of a session: the session's limits apply."""
    EXACT = 4
    """The user, the session, the service: its limits do not."""


class Names:
    """The principals of a statement, for looking up."""

    __slots__ = (
        "_accounts",
        "_arns",
        "_federated",
        "_has_canonical",
        "_ids",
        "_is_negated",
        "_services",
        "everyone",
    )

    def __init__(self, principals: Principals, *, is_negated: bool) -> None:
        arns = [_local(name) for name in principals.aws if name.startswith("arn:")]
        self.everyone = principals.everyone
        self._is_negated = is_negated
        self._accounts = frozenset(_account(arn) for arn in arns if arn.endswith(_ROOT))
        self._arns = frozenset(arn for arn in arns if not arn.endswith(_ROOT))
        self._ids = frozenset(name for name in principals.aws if not name.startswith("arn:"))
        self._services = frozenset(principals.services)
        self._federated = frozenset(principals.federated)
        self._has_canonical = bool(principals.canonical)

    def denies(self, caller: Caller) -> bool:
        """Whether a Deny with these principals is meant for the caller."""
        if self._is_negated:
            return not self._spares(caller)
        return self.everyone or self._level(caller) > Level.NOBODY

    def allows(self, caller: Caller) -> Level:
        """How an Allow with these principals is meant for the caller.

        Somebody who has only a token of an issuer is none of "everyone": the issuer must be named.
        With NotPrincipal, being named in any way is enough to be left out, and a canonical user
        may be anybody.
        """
        is_token = caller.kind == "web"
        if self._is_negated:
            is_unsure = self.everyone or self._has_canonical or is_token
            is_left_out = is_unsure or self._level(caller) > Level.NOBODY
            return Level.NOBODY if is_left_out else Level.EVERYONE
        level = self._level(caller)
        if level < Level.EVERYONE and self.everyone and not is_token:
            return Level.EVERYONE
        return level

    def _level(self, caller: Caller) -> Level:
        """How the caller is named, apart from "everyone"."""
        kind = caller.kind
        if kind == "anonymous":
            return Level.NOBODY
        if kind == "service":
            return Level.EXACT if caller.arn in self._services else Level.NOBODY
        if kind in ("web", "federated") and caller.arn in self._federated:
            return Level.EXACT
        if kind == "web":
            return Level.NOBODY
        if self._arns and _local(caller.arn) in self._arns:
            return Level.EXACT
        if self._ids and caller.entity_id in self._ids:
            return Level.EXACT if kind == "user" else Level.ROLE
        if self._arns and caller.role_arn and _local(caller.role_arn) in self._arns:
            return Level.ROLE
        return Level.ACCOUNT if caller.account_id in self._accounts else Level.NOBODY

    def _spares(self, caller: Caller) -> bool:
        """Whether a Deny with NotPrincipal leaves the caller out.

        AWS asks that the account of a user, and the role and account of a session, be listed beside
        it, and means only the user or the session by that. So an account spares all its principals
        when it is listed alone, and just its root user when something of it is listed too; a role
        spares all its sessions unless one of them is listed. A unique id may be of any account.
        """
        level = self._level(caller)
        if self.everyone or level is Level.EXACT:
            return True
        if level is Level.ROLE:
            session = f"sts::{caller.account_id}:assumed-role/{caller.role_arn.rpartition('/')[2]}/"
            return not any(arn.startswith(session) for arn in self._arns)
        if level is Level.ACCOUNT:
            is_alone = not self._ids and caller.account_id not in map(_account, self._arns)
            return caller.kind == "root" or is_alone
        return False


_ROOT = ":root"


def _local(arn: str) -> str:
    """Without `arn:partition:`."""
    return arn.split(":", 2)[2]


def _account(local: str) -> str:
    """Of `iam::000000000000:user/alice`."""
    return local.split(":", 3)[2]
