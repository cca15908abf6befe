"""A key whose grants are under test, and the users that have them."""

from typing import Any

from stanchion.access.entities import UniqueId
from stanchion.model.kms import CreateGrantRequest, ListGrantsRequest
from tests.kms.harness import ACCOUNT, REGION, Service

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
BOB = f"arn:aws:iam::{ACCOUNT}:user/bob"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/session"
SERVICE_NAME = "sns.amazonaws.com"


class Fixture(Service):
    """With a key, and users alice and bob, who have no policies."""

    def __init__(self, **key: Any) -> None:
        super().__init__()
        self.id = self.key(**key)
        self.arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{self.id}"
        self.alice, self.bob = self.user("alice"), self.user("bob")
        for name, call in (("alice", self.alice), ("bob", self.bob)):
            owner = UniqueId(sort="user", account_id=ACCOUNT, name=name)
            self.put(owner, "", call.caller.entity_id)

    def request(self, *operations: str, **more: Any) -> CreateGrantRequest:
        given = {"key_id": self.id, "grantee_principal": ALICE, **more}
        return CreateGrantRequest(operations=list(operations or ("Decrypt",)), **given)

    def grant(self, *operations: str, **more: Any) -> Any:
        return self.ask(self.request(*operations, **more))

    def listed(self, **more: Any) -> list[Any]:
        grants: list[Any] = self.ask(ListGrantsRequest(key_id=self.id, **more)).grants
        return grants

    def counted(self) -> int:
        return self.found(self.id).grants
