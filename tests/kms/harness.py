"""KMS without a network: a `Kms` over a store in memory, with a clock that tests turn.

`do` is the action alone, for what operations mean; `ask` is what a client sees: the checks of the
model, the authorisation, and the action.
"""

import json
from random import Random
from typing import Any

import pytest
from msgspec import Struct

from stanchion.access.authoriser import Authoriser
from stanchion.access.directory import Directory
from stanchion.access.entities import Account, Role, User
from stanchion.access.identity import Caller, root_of
from stanchion.access.sessions import Session
from stanchion.keys.ring import KeyRing
from stanchion.kms import actions, finding
from stanchion.kms.authorisation import authorise
from stanchion.kms.entities import Key
from stanchion.kms.service import Kms
from stanchion.model.errors import ServiceError
from stanchion.model.kms import CreateAliasRequest, CreateKeyRequest
from stanchion.service import Call
from stanchion.store.documents import Document, Documents, Draft
from stanchion.store.signals import QueueSignals
from tests.sqs.harness import CountedIds, InlineStore, TurnedClock, finish

ACCOUNT = "123456789012"
OTHER_ACCOUNT = "210987654321"
REGION = "eu-central-1"
DAY_S = 24 * 60 * 60

# Importing this registers them.
ACTIONS = actions.REGISTRY.actions


class Service:
    """The service under test, with two accounts; `call` is by root of account `ACCOUNT`."""

    def __init__(self) -> None:
        self.clock = TurnedClock()
        self.store = InlineStore(self.clock, QueueSignals(self.clock))
        self.documents = Documents(self.store)
        self.directory = Directory(self.documents)
        self.ring = KeyRing.ephemeral(Random(3).randbytes)
        self.kms = Kms(
            documents=self.documents,
            sealer=self.ring,
            authoriser=Authoriser(self.clock),
            clock=self.clock,
            ids=CountedIds(),
            entropy=Random(7).randbytes,
        )
        for account_id in (ACCOUNT, OTHER_ACCOUNT):
            self.put(Account(id=account_id), "", account_id)
        self.call = call_of(root_of(ACCOUNT, "AKIAROOT"))
        self.other_root = call_of(root_of(OTHER_ACCOUNT, "AKIAOTHER"))

    # --- Asking -----------------------------------------------------------------------------------

    def do(self, request: Struct, call: Call | None = None) -> Any:
        """What the action of that request answers."""
        return finish(ACTIONS[_operation(request)](self.kms, call or self.call, request))

    def ask(self, request: Struct, call: Call | None = None) -> Any:
        """What a client is answered."""
        finish(authorise(self.kms, call or self.call, _operation(request), request))
        return self.do(request, call)

    def refuses(self, request: Struct, call: Call | None = None) -> ServiceError:
        """The error that a client is answered with."""
        with pytest.raises(ServiceError) as refusal:
            self.ask(request, call)
        return refusal.value

    # --- Keys -------------------------------------------------------------------------------------

    def key(self, **more: Any) -> str:
        """Create a key. Answer: its id."""
        return str(self.do(CreateKeyRequest(**more)).key_metadata.key_id)

    def alias(self, name: str, key_id: str) -> None:
        """`name` starts with `alias/`."""
        self.do(CreateAliasRequest(alias_name=name, target_key_id=key_id))

    def found(self, key_id: str, call: Call | None = None) -> Key:
        return finish(finding.find(self.kms, call or self.call, key_id))

    # --- Callers ----------------------------------------------------------------------------------

    def user(self, name: str = "alice", *policies: str, account_id: str = ACCOUNT) -> Call:
        """A call by a user who has these policies."""
        user = User(
            name=name,
            id=f"AIDA{account_id}{name.upper()}",
            created_at_ms=0,
            inline={f"p{number}": policy for number, policy in enumerate(policies)},
        )
        self.put(user, account_id, name)
        return call_of(finish(self.directory.caller_of_user(account_id, user, "AKIATEST")))

    def role(
        self,
        name: str,
        *policies: str,
        account_id: str = ACCOUNT,
        session_policies: tuple[str, ...] = (),
    ) -> Call:
        """A call by a session of a role that has these policies."""
        role = Role(
            name=name,
            id=f"AROA{account_id}{name.upper()}",
            created_at_ms=0,
            trust="{}",
            inline={f"p{number}": policy for number, policy in enumerate(policies)},
        )
        self.put(role, account_id, name)
        session = Session(
            kind="role",
            access_key_id="ASIATEST",
            account_id=account_id,
            name=name,
            entity_id=role.id,
            session_name="session",
            policies=session_policies,
            issued_at_s=0,
            expires_at_s=2**40,
            secret="secret",
        )
        caller = finish(self.directory.caller_of_session(session))
        assert caller is not None
        return call_of(caller)

    # --- Documents --------------------------------------------------------------------------------

    def get(self, sort: type[Any], account_id: str, name: str) -> Any:
        """A document as the store has it now, or None."""
        return finish(self.documents.read(sort, account_id, name))[0]

    def put(self, document: Document, account_id: str, name: str) -> None:
        async def work(draft: Draft) -> None:
            draft.put(document, account_id, name)

        finish(self.documents.change(work))


def _operation(request: Struct) -> str:
    return type(request).__name__.removesuffix("Request")


def call_of(caller: Caller, region: str = REGION) -> Call:
    return Call(caller, region, "https://localhost:9324", is_secure=True)


def allow(*actions: str, resource: str = "*", **condition: Any) -> str:
    """An identity policy that allows these actions."""
    statement = {"Effect": "Allow", "Action": actions, "Resource": resource, "Condition": condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def deny(*actions: str, resource: str = "*", **condition: Any) -> str:
    """An identity policy that denies these actions."""
    return allow(*actions, resource=resource, **condition).replace('"Allow"', '"Deny"')


def key_policy(*statements: dict[str, Any], root: bool = True) -> str:
    """A key policy: `statement`s, and what leaves the rest to the account."""
    delegating = statement({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "kms:*")
    found = [*([delegating] if root else []), *statements]
    return json.dumps({"Version": "2012-10-17", "Statement": found})


def statement(principal: Any, *actions: str, effect: str = "Allow", **condition: Any) -> Any:
    """A statement of a key policy."""
    return {
        "Effect": effect,
        "Principal": principal,
        "Action": list(actions),
        "Resource": "*",
        "Condition": condition,
    }
