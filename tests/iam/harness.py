"""IAM without a network: an `Iam` over a store in memory, with a clock that tests turn.

`do` is the action alone, for what operations mean; `ask` is what a client sees: the checks of the
model, the authorisation, and the action.
"""

from random import Random
from typing import Any

import pytest
from msgspec import Struct, structs

from stanchion.access.authoriser import Authoriser
from stanchion.access.directory import Directory
from stanchion.access.entities import Account, User
from stanchion.access.identity import Caller, root_of
from stanchion.access.key_use import KeyUses
from stanchion.access.policy.context import Values
from stanchion.iam.actions import service_of
from stanchion.iam.service import Iam
from stanchion.keys.sealing import Unsealable
from stanchion.model.errors import ServiceError
from stanchion.model.iam import (
    CreateGroupRequest,
    CreateUserRequest,
    ListUsersRequest,
)
from stanchion.service import Call
from stanchion.store.documents import Document, Documents, Draft
from stanchion.store.signals import QueueSignals
from tests.sqs.harness import InlineStore, TurnedClock, finish

ACCOUNT = "123456789012"
OTHER_ACCOUNT = "210987654321"
REGION = "us-east-1"


class PlainSealer:
    """Seals without hiding, so that tests see what was sealed and for what."""

    def seal(self, purpose: str, plaintext: bytes) -> bytes:
        return f"{purpose}|".encode() + plaintext

    def open(self, purpose: str, sealed: bytes) -> bytes:
        prefix = f"{purpose}|".encode()
        if not sealed.startswith(prefix):
            raise Unsealable
        return sealed.removeprefix(prefix)


class Service:
    """The service under test, with two accounts; `call` is by root of account `ACCOUNT`."""

    def __init__(self) -> None:
        self.clock = TurnedClock()
        self.store = InlineStore(self.clock, QueueSignals(self.clock))
        self.documents = Documents(self.store)
        self.directory = Directory(self.documents)
        self.sealer = PlainSealer()
        self.uses = KeyUses(self.documents)
        self.iam = Iam(
            documents=self.documents,
            directory=self.directory,
            sealer=self.sealer,
            authoriser=Authoriser(self.clock),
            uses=self.uses,
            clock=self.clock,
            entropy=Random(7).randbytes,
        )
        self.service = service_of(self.iam)
        for account_id in (ACCOUNT, OTHER_ACCOUNT):
            self.put(Account(id=account_id), "", account_id)
        self.call = call_of(root_of(ACCOUNT, "AKIAROOT"))

    def do(self, request: Struct, call: Call | None = None) -> Any:
        """What the action of that request answers."""
        name = type(request).__name__.removesuffix("Request")
        return finish(self.service.act(call or self.call, name, request))

    def ask(self, request: Struct, call: Call | None = None) -> Any:
        """As `do`, after the authorisation: what a client would be answered."""
        name = type(request).__name__.removesuffix("Request")
        finish(self.service.authorise(call or self.call, name, request))
        return self.do(request, call)

    def denies(self, request: Struct, call: Call | None = None) -> ServiceError:
        """The error that the authorisation of that request ends with."""
        name = type(request).__name__.removesuffix("Request")
        with pytest.raises(ServiceError) as refusal:
            finish(self.service.authorise(call or self.call, name, request))
        return refusal.value

    def refuses(self, request: Struct, call: Call | None = None) -> ServiceError:
        """The error that the action of that request is answered with."""
        with pytest.raises(ServiceError) as refusal:
            self.do(request, call)
        return refusal.value

    def user(self, name: str = "alice", **more: Any) -> Any:
        """Create a user. Answer: the `model.iam.User`."""
        return self.do(CreateUserRequest(user_name=name, **more)).user

    def group(self, name: str = "staff", **more: Any) -> Any:
        """Create a group. Answer: the `model.iam.Group`."""
        return self.do(CreateGroupRequest(group_name=name, **more)).group

    def call_by(self, name: str, **keys: Values) -> Call:
        """A call by a user of account `ACCOUNT`, with further condition keys of its session.

        Colons and slashes of the keys are written `__`: `aws__tokenissuetime=("...",)`.
        """
        user = self.get(User, ACCOUNT, name)
        assert user is not None
        caller = finish(self.directory.caller_of_user(ACCOUNT, user, "AKIATEST"))
        added = {key.replace("__", ":"): values for key, values in keys.items()}
        return call_of(structs.replace(caller, keys={**caller.keys, **added}))

    def get(self, sort: type[Any], account_id: str, name: str) -> Any:
        """An entity by its name, as the store has it now, or None."""
        return self.exact(sort, account_id, name.lower())

    def exact(self, sort: type[Any], account_id: str, name: str) -> Any:
        """What is kept under that very name or id, or None."""
        return finish(self.documents.read(sort, account_id, name))[0]

    def put(self, document: Document, account_id: str, name: str) -> None:
        async def work(draft: Draft) -> None:
            draft.put(document, account_id, name)

        finish(self.documents.change(work))

    def user_names(self) -> list[str]:
        return [user.user_name for user in self.do(ListUsersRequest()).users]


def call_of(caller: Caller) -> Call:
    return Call(caller, REGION, "http://localhost:9324")


def allow(*actions: str, resource: str = "*") -> str:
    """A policy document that allows these actions."""
    listed = ",".join(f'"{action}"' for action in actions)
    return (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow",'
        f'"Action":[{listed}],"Resource":"{resource}"}}]}}'
    )
