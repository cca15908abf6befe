"""STS without a network: an `Sts` over a store in memory, with a clock that tests turn.

`ask` is what a client sees: the checks of the model, the authorisation, and the action.
"""

import json
from random import Random
from typing import Any

import pytest
from msgspec import Struct

from stanchion.access.authoriser import Authoriser
from stanchion.access.directory import Directory
from stanchion.access.entities import Account, ManagedPolicy, PolicyVersion, Role, User
from stanchion.access.identity import Caller, root_of
from stanchion.access.sessions import Session, Sessions
from stanchion.keys.ring import KeyRing
from stanchion.model.errors import ServiceError
from stanchion.model.sts import AssumeRoleRequest, Credentials, PolicyDescriptorType
from stanchion.service import Call
from stanchion.store.documents import Document, Documents, Draft
from stanchion.store.signals import QueueSignals
from stanchion.sts.actions import service_of
from stanchion.sts.issuers import Fetch, Issuers
from stanchion.sts.service import Sts
from tests.sqs.harness import InlineStore, TurnedClock, finish

ACCOUNT = "111111111111"
OTHER = "222222222222"
REGION = "us-east-1"
ROOT_ARN = f"arn:aws:iam::{ACCOUNT}:root"

MAY_ASSUME = ("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity")


def policy(*actions: str, **more: Any) -> str:
    """A policy of one statement, which allows the actions on everything."""
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"} | more
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(principal: Any, *actions: str, **more: Any) -> str:
    """A role's trust policy: AssumeRole, unless actions are given."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": actions or MAY_ASSUME[:1]}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | more]})


BY_ACCOUNT = trust({"AWS": ROOT_ARN}, *MAY_ASSUME)


def policy_arn(name: str) -> PolicyDescriptorType:
    return PolicyDescriptorType(arn=f"arn:aws:iam::{ACCOUNT}:policy/{name}")


class Service:
    """The service under test, with two accounts."""

    def __init__(self, fetch: Fetch | None = None, **issuers: Any) -> None:
        self.clock = TurnedClock()
        self.store = InlineStore(self.clock, QueueSignals(self.clock))
        self.documents = Documents(self.store)
        self.directory = Directory(self.documents)
        entropy = Random(7).randbytes
        self.sessions = Sessions(KeyRing.ephemeral(entropy), entropy)
        self.sts = Sts(
            documents=self.documents,
            directory=self.directory,
            sessions=self.sessions,
            authoriser=Authoriser(self.clock),
            issuers=Issuers(self.clock, fetch=fetch, **issuers),
            clock=self.clock,
        )
        self.service = service_of(self.sts)
        for account_id in (ACCOUNT, OTHER):
            self.put(Account(id=account_id), "", account_id)

    async def asking(self, request: Struct, caller: Caller) -> Any:
        operation = type(request).__name__.removesuffix("Request")
        call = Call(caller, REGION, "http://localhost:9324")
        await self.service.authorise(call, operation, request)
        return await self.service.act(call, operation, request)

    def ask(self, request: Struct, caller: Caller) -> Any:
        """What the caller is answered."""
        return finish(self.asking(request, caller))

    def refuses(self, request: Struct, caller: Caller) -> tuple[str, str]:
        """Code and text of the error that the caller gets."""
        with pytest.raises(ServiceError) as refusal:
            self.ask(request, caller)
        return refusal.value.query_code, refusal.value.message

    def user(self, name: str = "alice", *actions: str, **more: Any) -> Caller:
        """A new user whose policy allows the actions."""
        account_id = more.pop("account_id", ACCOUNT)
        inline = more.pop("inline", {"own": policy(*actions)} if actions else {})
        user_id = more.pop("id", f"AIDA{name.upper():0<17}")
        user = User(name=name, id=user_id, created_at_ms=0, inline=inline, **more)
        self.put(user, account_id, name.lower())
        return finish(self.directory.caller_of_user(account_id, user, "AKIATEST"))

    def role(self, name: str, trust_policy: str, *actions: str, **more: Any) -> str:
        """A new role whose policy allows the actions. Answer: its ARN."""
        account_id = more.pop("account_id", ACCOUNT)
        inline = {"own": policy(*actions)} if actions else {}
        role_id = more.pop("id", f"AROA{name.upper():0<17}")
        role = Role(
            name=name, id=role_id, created_at_ms=0, trust=trust_policy, inline=inline, **more
        )
        self.put(role, account_id, name.lower())
        return f"arn:aws:iam::{account_id}:role{role.path}{name}"

    def managed(self, name: str, document: str, account_id: str = ACCOUNT) -> str:
        """A managed policy. Answer: its ARN."""
        version = PolicyVersion("v1", document, 0)
        found = ManagedPolicy(
            name=name,
            id=f"ANPA{name.upper():0<17}",
            created_at_ms=0,
            updated_at_ms=0,
            default_version="v1",
            versions=(version,),
        )
        self.put(found, account_id, name.lower())
        return f"arn:aws:iam::{account_id}:policy/{name}"

    def put(self, document: Document, account_id: str, name: str) -> None:
        async def work(draft: Draft) -> None:
            draft.put(document, account_id, name)

        finish(self.documents.change(work))

    def session(self, credentials: Credentials) -> Session:
        return self.sessions.open(credentials.access_key_id or "", credentials.session_token or "")

    def caller(self, credentials: Credentials) -> Caller:
        """Whom temporary credentials stand for."""
        caller = finish(self.directory.caller_of_session(self.session(credentials)))
        assert caller is not None
        return caller

    def assume(self, caller: Caller, arn: str, **more: Any) -> Any:
        return self.ask(assuming(arn, **more), caller)

    def assumed(self, caller: Caller, arn: str, **more: Any) -> Caller:
        """Who the caller is after assuming a role."""
        return self.caller(self.assume(caller, arn, **more).credentials)


def assuming(arn: str, **more: Any) -> AssumeRoleRequest:
    return AssumeRoleRequest(role_arn=arn, **({"role_session_name": "session"} | more))


ROOT = root_of(ACCOUNT, "AKIAROOT")
