"""From an access key or a session to the caller it stands for, with all policies that speak for it.

Reads documents through their cache; a caller is put together anew after every edit of anything, so
a change of a policy counts from the next request on. Never answers for what has been deleted, and
never lets a policy that cannot be read count as nothing. Called by the authenticator, by STS for
the roles it is asked for, and by IAM's simulator.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from stanchion.access.aws_policies import AWS_POLICIES
from stanchion.access.entities import (
    AccessKey,
    Account,
    Group,
    ManagedPolicy,
    Role,
    User,
    entity_arn,
)
from stanchion.access.identity import Caller, Grants, NamedPolicy, root_of
from stanchion.access.policy.context import Values
from stanchion.access.policy.document import MalformedPolicy, Policy, parse
from stanchion.access.sessions import Session
from stanchion.store.documents import Documents

Keys = Mapping[str, Values]


@lru_cache(4096)
def _parsed(document: str) -> Policy | None:
    try:
        return parse(document, "identity")
    except MalformedPolicy:
        return None


class Directory:
    """Who there is. `documents` is where they are kept."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents

    # --- Callers ----------------------------------------------------------------------------------

    async def caller_of_key(self, key: AccessKey) -> Caller | None:
        """Whom a long-lived access key stands for; None when the user or account is gone."""
        if not key.user:
            account = await self.documents.get(Account, "", key.account_id)
            return None if account is None else root_of(key.account_id, key.access_key_id)
        user = await self.documents.get(User, key.account_id, key.user.lower())
        if user is None or key.access_key_id not in user.access_key_ids:
            return None
        return await self.caller_of_user(key.account_id, user, key.access_key_id)

    async def caller_of_user(
        self, account_id: str, user: User, access_key_id: str = "", session: Session | None = None
    ) -> Caller:
        keys = {"aws:username": (user.name,), **_tag_keys(user.tags), **_session_keys(session)}
        return Caller(
            "user",
            account_id,
            entity_arn(account_id, "user", user.path, user.name),
            user.id,
            access_key_id,
            entity_id=user.id,
            grants=await self.grants_of_user(account_id, user),
            keys=keys,
        )

    async def caller_of_session(self, session: Session) -> Caller | None:
        """Whom temporary credentials stand for; None when the role or user is not there any more.

        Whether they have expired is not looked at.
        """
        account = await self.documents.get(Account, "", session.account_id)
        if account is None:
            return None
        if session.kind == "role":
            return await self._caller_of_role(session)
        if session.kind == "federated":
            return await self._caller_of_federated(session)
        if session.kind == "root":
            root = root_of(session.account_id, session.access_key_id)
            return Caller(
                root.kind,
                root.account_id,
                root.arn,
                root.sender_id,
                root.access_key_id,
                keys=_session_keys(session),
            )
        user = await self._user_of(session)
        if user is None:
            return None
        return await self.caller_of_user(session.account_id, user, session.access_key_id, session)

    async def _user_of(self, session: Session) -> User | None:
        user = await self.documents.get(User, session.account_id, session.name.lower())
        return user if user is not None and user.id == session.entity_id else None

    async def _caller_of_role(self, session: Session) -> Caller | None:
        account_id, name = session.account_id, session.name
        role = await self.documents.get(Role, account_id, name.lower())
        if role is None or role.id != session.entity_id:
            return None
        grants = await self.grants_of_role(account_id, role)
        return Caller(
            "role",
            account_id,
            f"arn:aws:sts::{account_id}:assumed-role/{role.name}/{session.session_name}",
            f"{role.id}:{session.session_name}",
            session.access_key_id,
            role_arn=entity_arn(account_id, "role", role.path, role.name),
            entity_id=role.id,
            grants=Grants(grants.identity, grants.boundary, await self._session_policies(session)),
            keys={**_tag_keys({**role.tags, **session.tags}), **_session_keys(session)},
            transitive_tags={name: session.tags[name] for name in session.transitive_tag_keys},
        )

    async def _caller_of_federated(self, session: Session) -> Caller | None:
        """Bounded by its session policies; what it has beside them are those of the user."""
        user = await self._user_of(session) if session.name else None
        if session.name and user is None:
            return None
        own = await self.grants_of_user(session.account_id, user) if user else _EVERYTHING
        policies = await self._session_policies(session)
        account_id, name = session.account_id, session.session_name
        tags = {**(user.tags if user else {}), **session.tags}
        return Caller(
            "federated",
            account_id,
            f"arn:aws:sts::{account_id}:federated-user/{name}",
            f"{account_id}:{name}",
            session.access_key_id,
            # Without a session policy a federated user may do nothing of its own.
            grants=Grants(own.identity if policies else (), own.boundary, policies),
            keys={**_tag_keys(tags), **_session_keys(session)},
        )

    # --- Policies ---------------------------------------------------------------------------------

    async def grants_of_user(self, account_id: str, user: User) -> Grants:
        found = await self._policies(account_id, f"user/{user.name}", user.inline, user.attached)
        for name in user.groups:
            group = await self.documents.get(Group, account_id, name.lower())
            if group is not None:
                owner = f"group/{group.name}"
                found += await self._policies(account_id, owner, group.inline, group.attached)
        return Grants(tuple(found), await self._boundary(user.boundary))

    async def grants_of_role(self, account_id: str, role: Role) -> Grants:
        found = await self._policies(account_id, f"role/{role.name}", role.inline, role.attached)
        return Grants(tuple(found), await self._boundary(role.boundary))

    async def _policies(
        self, account_id: str, owner: str, inline: Mapping[str, str], attached: Iterable[str]
    ) -> list[NamedPolicy]:
        found = [
            NamedPolicy(f"{owner} inline policy {name}", _parsed(document))
            for name, document in inline.items()
        ]
        found += [await self.managed_policy(arn) for arn in attached]
        return found

    async def _boundary(self, arn: str) -> NamedPolicy | None:
        return await self.managed_policy(arn) if arn else None

    async def _session_policies(self, session: Session) -> tuple[NamedPolicy, ...]:
        given = [NamedPolicy("session policy", _parsed(text)) for text in session.policies]
        managed = [await self.managed_policy(arn) for arn in session.policy_arns]
        return (*given, *managed)

    async def managed_policy(self, arn: str) -> NamedPolicy:
        """A managed policy in its default version. One that is not there cannot be read either."""
        document = await self.managed_document(arn)
        return NamedPolicy(arn, None if document is None else _parsed(document))

    async def managed_document(self, arn: str) -> str | None:
        """The document of a managed policy's default version, AWS's or a customer's."""
        if arn in AWS_POLICIES:
            return AWS_POLICIES[arn].document
        account_id, _, rest = arn.removeprefix("arn:aws:iam::").partition(":policy/")
        name = rest.rpartition("/")[2]
        policy = await self.documents.get(ManagedPolicy, account_id, name.lower())
        if policy is None or entity_arn(account_id, "policy", policy.path, policy.name) != arn:
            return None
        (text,) = (v.document for v in policy.versions if v.id == policy.default_version)
        return text


_ALLOW_ALL = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
_EVERYTHING = Grants((NamedPolicy("the account's root user", parse(_ALLOW_ALL, "identity")),))


def _tag_keys(tags: Mapping[str, str]) -> dict[str, Values]:
    return {f"aws:principaltag/{name.lower()}": (value,) for name, value in tags.items()}


def _session_keys(session: Session | None) -> dict[str, Values]:
    if session is None:
        return {}
    issued = datetime.fromtimestamp(session.issued_at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    keys: dict[str, Values] = {
        "aws:tokenissuetime": (issued,),
        "aws:multifactorauthpresent": ("true" if session.has_mfa else "false",),
    }
    if session.source_identity:
        keys["aws:sourceidentity"] = (session.source_identity,)
    if session.provider:
        keys["aws:federatedprovider"] = (session.provider,)
    for name, values in session.claims.items():
        keys[name.lower()] = values
    return keys
