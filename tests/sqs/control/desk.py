"""The service as those see it who want to be let in: callers, queue policies, refusals."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import Struct

from stanchion.access.identity import Caller, Grants, NamedPolicy, root_of
from stanchion.access.policy.context import Values
from stanchion.access.policy.document import parse
from stanchion.model import sqs as model
from stanchion.model.errors import AccessDenied, ServiceError
from stanchion.service import Call
from stanchion.sqs.actions import service_of
from tests.sqs.harness import ACCOUNT, ORIGIN, REGION, Service, finish

ELSEWHERE = "210987654321"
PEER_IP = "192.0.2.1"


def arn_of(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def allow(*actions: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*", **more}


def deny(*actions: str, **more: Any) -> dict[str, Any]:
    return allow(*actions, **more) | {"Effect": "Deny"}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def named(*statements: dict[str, Any]) -> NamedPolicy:
    return NamedPolicy("own", parse(document(*statements), "identity"))


NO_STATEMENTS: tuple[dict[str, Any], ...] = ()
NO_KEYS: Mapping[str, Values] = {}


def user(
    *statements: dict[str, Any],
    account_id: str = ACCOUNT,
    boundary: tuple[dict[str, Any], ...] = NO_STATEMENTS,
    keys: Mapping[str, Values] = NO_KEYS,
) -> Caller:
    return Caller(
        "user",
        account_id,
        f"arn:aws:iam::{account_id}:user/alice",
        "AIDAALICE",
        entity_id="AIDAALICE",
        grants=Grants(
            (named(*statements),) if statements else (), named(*boundary) if boundary else None
        ),
        keys={"aws:username": ("alice",), **keys},
    )


def session(role_policy: dict[str, Any], *session_policy: dict[str, Any]) -> Caller:
    return Caller(
        "role",
        ACCOUNT,
        f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/run-1",
        "AROAWORKER:run-1",
        role_arn=f"arn:aws:iam::{ACCOUNT}:role/worker",
        entity_id="AROAWORKER",
        grants=Grants((named(role_policy),), session=tuple(map(named, session_policy))),
    )


def call_of(caller: Caller, **more: Any) -> Call:
    given: dict[str, Any] = {"is_secure": True, "peer_ip": PEER_IP} | more
    return Call(caller, REGION, ORIGIN, **given)


class Desk(Service):
    """The service, of which only the authorisation is asked."""

    def asks(self, request: Struct, call: Call) -> None:
        operation = type(request).__name__.removesuffix("Request")
        finish(service_of(self.sqs).authorise(call, operation, request))

    def turns_away(self, request: Struct, call: Call) -> ServiceError:
        with pytest.raises(ServiceError) as refusal:
            self.asks(request, call)
        return refusal.value

    def lets_in(self, request: Struct, call: Call) -> bool:
        try:
            self.asks(request, call)
        except AccessDenied:
            return False
        return True

    def set_policy(self, *statements: dict[str, Any], queue: str = "q") -> None:
        policy = document(*statements) if statements else ""
        request = model.SetQueueAttributesRequest(queue_url=queue, attributes={"Policy": policy})
        self.do(request, call_of(root_of(ACCOUNT, "")))


ONLY_TLS = deny("sqs:*", Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}})


def url_of(name: str) -> str:
    return f"{ORIGIN}/{ACCOUNT}/{name}"


SEND = model.SendMessageRequest(queue_url="q", message_body="b")
RECEIVE = model.ReceiveMessageRequest(queue_url="q")


def refusal_text(who: str, action: str, reason: str, queue: str = "q") -> str:
    return (
        f"User: {who} is not authorized to perform: sqs:{action} on resource: {arn_of(queue)} "
        f"{reason}"
    )


def open_desk() -> Desk:
    """With queues `q` and `other`, and `source`, whose dead letters go to `dead`."""
    found = Desk()
    for name in ("q", "dead", "other"):
        found.create(name)
    redrive = {"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 1}
    found.create("source", RedrivePolicy=json.dumps(redrive))
    return found
