"""Who may call what: the permissions that each operation needs, on which queue, for whom."""

import json
from base64 import b64encode
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from msgspec import Struct, structs

from stanchion.access.identity import Caller, Grants, NamedPolicy, anonymous, root_of
from stanchion.access.policy.context import Values
from stanchion.access.policy.document import parse
from stanchion.model import sqs as model
from stanchion.model.errors import AccessDenied, ServiceError
from stanchion.model.sqs import SERVICE, InvalidSecurity, QueueDoesNotExist
from stanchion.service import Call
from stanchion.sqs.actions import service_of
from stanchion.sqs.authorisation import RULES, SHAREABLE
from stanchion.sqs.catalogue import Catalogue
from stanchion.store.contract import GetQueue
from tests.sqs.harness import ACCOUNT, ORIGIN, REGION, Service, finish
from tests.sqs.harness import call_of as call_of_root

ELSEWHERE = "210987654321"
PEER_IP = "192.0.2.1"


def arn_of(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


TASK_HANDLE = b64encode(json.dumps({"taskId": "1", "sourceArn": arn_of("dead")}).encode()).decode()


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


@pytest.fixture
def desk() -> Desk:
    """With queue `q`, and `source`, whose dead letters go to `dead`."""
    found = Desk()
    for name in ("q", "dead", "other"):
        found.create(name)
    redrive = {"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 1}
    found.create("source", RedrivePolicy=json.dumps(redrive))
    return found


# --- What each operation needs --------------------------------------------------------------------

Q: dict[str, Any] = {"queue_url": "q"}
OF_DEAD = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
Needs = list[tuple[str, str]]
"""Permissions, and on what."""


def single(action: str) -> Needs:
    return [(f"sqs:{action}", arn_of("q"))]


def moving(action: str, *destinations: str) -> Needs:
    of_dead = [(permission, arn_of("dead")) for permission in (f"sqs:{action}", *OF_DEAD)]
    return of_dead + [("sqs:SendMessage", arn_of(name)) for name in destinations]


NEEDS: list[tuple[Struct, Needs]] = [
    (model.AddPermissionRequest(**Q), single("AddPermission")),
    (
        model.CancelMessageMoveTaskRequest(task_handle=TASK_HANDLE),
        moving("CancelMessageMoveTask"),
    ),
    (model.ChangeMessageVisibilityRequest(**Q), single("ChangeMessageVisibility")),
    (model.ChangeMessageVisibilityBatchRequest(**Q), single("ChangeMessageVisibility")),
    (model.CreateQueueRequest(queue_name="q"), single("CreateQueue")),
    (
        model.CreateQueueRequest(queue_name="new", tags={"a": "b"}),
        [("sqs:CreateQueue", arn_of("new")), ("sqs:TagQueue", arn_of("new"))],
    ),
    (model.DeleteMessageRequest(**Q), single("DeleteMessage")),
    (model.DeleteMessageBatchRequest(**Q), single("DeleteMessage")),
    (model.DeleteQueueRequest(**Q), single("DeleteQueue")),
    (model.GetQueueAttributesRequest(**Q), single("GetQueueAttributes")),
    (model.GetQueueUrlRequest(queue_name="q"), single("GetQueueUrl")),
    (model.ListDeadLetterSourceQueuesRequest(**Q), single("ListDeadLetterSourceQueues")),
    (model.ListMessageMoveTasksRequest(source_arn=arn_of("dead")), moving("ListMessageMoveTasks")),
    (model.ListQueueTagsRequest(**Q), single("ListQueueTags")),
    (model.ListQueuesRequest(), [("sqs:ListQueues", "*")]),
    (model.PurgeQueueRequest(**Q), single("PurgeQueue")),
    (model.ReceiveMessageRequest(**Q), single("ReceiveMessage")),
    (model.RemovePermissionRequest(**Q), single("RemovePermission")),
    (model.SendMessageRequest(**Q), single("SendMessage")),
    (model.SendMessageBatchRequest(**Q), single("SendMessage")),
    (model.SetQueueAttributesRequest(**Q), single("SetQueueAttributes")),
    (
        model.StartMessageMoveTaskRequest(source_arn=arn_of("dead")),
        moving("StartMessageMoveTask", "source"),
    ),
    (
        model.StartMessageMoveTaskRequest(
            source_arn=arn_of("dead"), destination_arn=arn_of("other")
        ),
        moving("StartMessageMoveTask", "other"),
    ),
    (model.TagQueueRequest(**Q), single("TagQueue")),
    (model.UntagQueueRequest(**Q), single("UntagQueue")),
]
IDS = [f"{type(request).__name__}-{number}" for number, (request, _) in enumerate(NEEDS)]


def test_every_operation_is_in_the_table() -> None:
    asked = {type(request).__name__.removesuffix("Request") for request, _ in NEEDS}
    assert asked == set(SERVICE.operations) == set(RULES)


@pytest.mark.parametrize(("request_", "needs"), NEEDS, ids=IDS)
def test_these_permissions_are_enough(desk: Desk, request_: Struct, needs: Needs) -> None:
    statements = [allow(permission, Resource=on) for permission, on in needs]
    desk.asks(request_, call_of(user(*statements)))


@pytest.mark.parametrize(("request_", "needs"), NEEDS, ids=IDS)
def test_and_each_of_them_is_needed(desk: Desk, request_: Struct, needs: Needs) -> None:
    for permission, on in needs:
        others = deny(permission, Resource=on)
        refused = desk.turns_away(request_, call_of(user(allow("*"), others)))
        assert isinstance(refused, AccessDenied)
        shown = arn_of("") if on == "*" else on
        assert refused.message == (
            f"User: arn:aws:iam::{ACCOUNT}:user/alice is not authorized to perform: "
            f"{permission.lower()} on resource: {shown} "
            "with an explicit deny in an identity-based policy"
        )
        elsewhere = [allow(one, Resource=at) for one, at in needs if (one, at) != (permission, on)]
        if elsewhere:
            assert not desk.lets_in(request_, call_of(user(*elsewhere)))


@pytest.mark.parametrize(("request_", "needs"), NEEDS, ids=IDS)
def test_the_same_of_another_queue_is_not_enough(
    desk: Desk, request_: Struct, needs: Needs
) -> None:
    if needs[0][0] == "sqs:ListQueues":
        # It cannot be limited to some queues.
        needs = [("sqs:ListQueues", arn_of("q"))]
    statements = [allow(permission, Resource=arn_of("others")) for permission, _ in needs]
    assert not desk.lets_in(request_, call_of(user(*statements)))


@pytest.mark.parametrize(("request_", "needs"), NEEDS, ids=IDS)
def test_who_has_no_policy_may_do_nothing_and_root_everything(
    desk: Desk, request_: Struct, needs: Needs
) -> None:
    assert isinstance(desk.turns_away(request_, call_of(user())), AccessDenied)
    assert isinstance(desk.turns_away(request_, call_of(anonymous(PEER_IP))), AccessDenied)
    desk.asks(request_, call_of_root(ACCOUNT))


@pytest.mark.parametrize(("request_", "needs"), NEEDS, ids=IDS)
def test_another_account_is_let_in_for_what_can_be_shared(
    desk: Desk, request_: Struct, needs: Needs
) -> None:
    if not hasattr(request_, "queue_url"):
        return
    request_ = structs.replace(request_, queue_url=url_of("q"))
    desk.set_policy(allow("sqs:*", Principal="*"))
    ((permission, _),) = needs
    for caller in (
        root_of(ELSEWHERE, ""),
        user(allow("sqs:*"), account_id=ELSEWHERE),
        anonymous(PEER_IP),
    ):
        assert desk.lets_in(request_, call_of(caller)) == (permission in SHAREABLE)
    bare = user(account_id=ELSEWHERE)
    assert not desk.lets_in(request_, call_of(bare))


# --- Kinds of callers -----------------------------------------------------------------------------


def url_of(name: str) -> str:
    return f"{ORIGIN}/{ACCOUNT}/{name}"


SEND = model.SendMessageRequest(queue_url="q", message_body="b")
RECEIVE = model.ReceiveMessageRequest(queue_url="q")


def refusal_text(who: str, action: str, reason: str, queue: str = "q") -> str:
    return (
        f"User: {who} is not authorized to perform: sqs:{action} on resource: {arn_of(queue)} "
        f"{reason}"
    )


def test_a_session_is_held_by_its_policy(desk: Desk) -> None:
    worker = session(allow("sqs:*"), allow("sqs:ReceiveMessage"))
    desk.asks(RECEIVE, call_of(worker))
    assert desk.turns_away(SEND, call_of(worker)).message == refusal_text(
        f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/run-1",
        "sendmessage",
        "because no session policy allows the sqs:sendmessage action",
    )


def test_a_boundary_bounds_what_a_queue_grants_to_everybody(desk: Desk) -> None:
    desk.set_policy(allow("sqs:SendMessage", Principal="*"))
    desk.asks(SEND, call_of(user()))
    bounded = user(boundary=(allow("sqs:ReceiveMessage"),))
    assert desk.turns_away(SEND, call_of(bounded)).message == refusal_text(
        f"arn:aws:iam::{ACCOUNT}:user/alice",
        "sendmessage",
        "because no permissions boundary allows the sqs:sendmessage action",
    )


def test_a_service_is_let_in_by_the_queue_alone(desk: Desk) -> None:
    keys: dict[str, Values] = {"aws:sourcearn": ("arn:aws:sns:eu-central-1:1:t",)}

    def service(name: str, keys: Mapping[str, Values] = keys) -> Call:
        return call_of(Caller("service", "", name, name, keys=keys))

    sns = service("sns.amazonaws.com")
    request = structs.replace(SEND, queue_url=url_of("q"))
    assert not desk.lets_in(request, sns)
    desk.set_policy(
        allow(
            "sqs:SendMessage",
            Principal={"Service": "sns.amazonaws.com"},
            Condition={"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:t"}},
        )
    )
    desk.asks(request, sns)
    assert not desk.lets_in(request, service("s3.amazonaws.com"))
    assert not desk.lets_in(request, service("sns.amazonaws.com", NO_KEYS))


def test_a_policy_that_cannot_be_read_denies(desk: Desk) -> None:
    unreadable = structs.replace(user(), grants=Grants((NamedPolicy("x", None), named(allow("*")))))
    assert not desk.lets_in(SEND, call_of(unreadable))


# --- What is told ---------------------------------------------------------------------------------


def test_a_missing_queue_is_told_to_those_who_may(desk: Desk) -> None:
    missing = structs.replace(SEND, queue_url="missing")
    allowed = call_of(user(allow("sqs:SendMessage")))
    desk.asks(missing, allowed)
    assert isinstance(desk.refuses(missing, allowed), QueueDoesNotExist)
    for caller in (user(), user(allow("sqs:SendMessage", Resource=arn_of("q")))):
        refused = desk.turns_away(missing, call_of(caller))
        assert isinstance(refused, AccessDenied)
    garbage = structs.replace(SEND, queue_url="http://whatever")
    assert isinstance(desk.turns_away(garbage, call_of(user())), QueueDoesNotExist)
    assert isinstance(desk.turns_away(garbage, call_of(anonymous(PEER_IP))), AccessDenied)


@pytest.mark.parametrize("is_known", [False, True])
def test_a_stranger_hears_the_same_of_every_queue_it_may_not_use(
    desk: Desk, *, is_known: bool
) -> None:
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    there = ("bare-1", "deny-1", "http-1", "tags-1")
    for name in there:
        desk.create(name)
    desk.set_policy(deny("sqs:*", Principal="*"), queue="deny-1")
    desk.set_policy(deny("sqs:*", Principal="*", Condition=insecure), queue="http-1")
    desk.do(model.TagQueueRequest(queue_url="tags-1", tags={"team": "blue"}))
    if not is_known:
        desk.sqs = structs.replace(desk.sqs, catalogue=Catalogue(desk.store))

    def told(caller: Caller, name: str) -> str:
        request = structs.replace(SEND, queue_url=url_of(name))
        refused = desk.turns_away(request, call_of(caller, is_secure=False))
        assert type(refused) is AccessDenied
        return refused.message.replace(name, "none-1")

    prying = deny("sqs:*", Condition={"StringLike": {"aws:ResourceTag/team": "*"}})
    for caller in (
        anonymous(PEER_IP),
        root_of(ELSEWHERE, ""),
        user(account_id=ELSEWHERE),
        user(allow("*"), account_id=ELSEWHERE),
        user(allow("*"), prying, account_id=ELSEWHERE),
    ):
        assert {told(caller, name) for name in there} == {told(caller, "none-1")}


def test_a_stranger_that_is_let_in_hears_of_the_deny(desk: Desk) -> None:
    stranger = root_of(ELSEWHERE, "")
    request = structs.replace(SEND, queue_url=url_of("q"))
    let_in = allow("sqs:SendMessage", Principal={"AWS": ELSEWHERE})
    desk.set_policy(let_in, ONLY_TLS)
    desk.asks(request, call_of(stranger))
    assert isinstance(desk.turns_away(request, call_of(stranger, is_secure=False)), InvalidSecurity)
    desk.set_policy(let_in, deny("sqs:*", Principal={"AWS": ELSEWHERE}))
    assert desk.turns_away(request, call_of(stranger)).message == refusal_text(
        stranger.arn, "sendmessage", "with an explicit deny in a resource-based policy"
    )


@pytest.mark.parametrize("resource", [arn_of("*"), arn_of("q"), arn_of("")])
def test_listing_queues_cannot_be_limited_to_some(desk: Desk, resource: str) -> None:
    limited = user(allow("sqs:ListQueues", Resource=resource))
    refused = desk.turns_away(model.ListQueuesRequest(), call_of(limited))
    assert refused.message == refusal_text(
        limited.arn,
        "listqueues",
        "because no identity-based policy allows the sqs:listqueues action",
        queue="",
    )


def test_get_queue_url_of_another_account(desk: Desk) -> None:
    stranger = call_of(user(allow("sqs:*"), account_id=ELSEWHERE))
    texts = set()
    for name in ("q", "missing"):
        request = model.GetQueueUrlRequest(queue_name=name, queue_owner_aws_account_id=ACCOUNT)
        refused = desk.turns_away(request, stranger)
        assert isinstance(refused, QueueDoesNotExist)
        texts.add(refused.message)
    assert texts == {"The specified queue does not exist or you do not have access to it."}


# --- Only over TLS --------------------------------------------------------------------------------


def test_a_deny_of_plain_http_is_a_demand_for_tls(desk: Desk) -> None:
    desk.set_policy(ONLY_TLS)
    for caller in (user(allow("*")), root_of(ACCOUNT, ""), session(allow("*"))):
        refused = desk.turns_away(SEND, call_of(caller, is_secure=False))
        assert isinstance(refused, InvalidSecurity)
        assert refused.message == "All requests to this queue must use HTTPS and SigV4."
        desk.asks(SEND, call_of(caller))
    # One more condition that TLS would not help with.
    desk.set_policy(deny("sqs:*", Principal="*"))
    assert type(desk.turns_away(SEND, call_of(user(allow("*")), is_secure=False))) is AccessDenied


def test_root_mends_over_tls_what_wants_tls(desk: Desk) -> None:
    desk.set_policy(ONLY_TLS)
    mend = model.SetQueueAttributesRequest(queue_url="q", attributes={"Policy": ""})
    root = root_of(ACCOUNT, "")
    assert isinstance(desk.turns_away(mend, call_of(root, is_secure=False)), InvalidSecurity)
    desk.do(mend, call_of(root))
    desk.asks(SEND, call_of(root, is_secure=False))


def test_over_tls_it_is_never_said(desk: Desk) -> None:
    odd = deny("sqs:*", Principal="*", Condition={"Bool": {"aws:SecureTransport": "true"}})
    desk.set_policy(odd)
    assert isinstance(desk.turns_away(SEND, call_of(user(allow("*")))), AccessDenied)


# --- Root -----------------------------------------------------------------------------------------


def test_a_deny_binds_root_except_for_mending_the_policy(desk: Desk) -> None:
    desk.set_policy(deny("sqs:*", Principal="*"))
    root, admin = call_of(root_of(ACCOUNT, "")), call_of(user(allow("*")))
    mend = model.SetQueueAttributesRequest(queue_url="q", attributes={"Policy": ""})
    for request in (SEND, RECEIVE, model.DeleteQueueRequest(queue_url="q")):
        assert not desk.lets_in(request, root)
    assert not desk.lets_in(mend, admin)
    stranger = call_of(root_of(ELSEWHERE, ""))
    assert not desk.lets_in(structs.replace(mend, queue_url=url_of("q")), stranger)
    desk.do(mend, root)
    desk.asks(SEND, root)


# --- Tags -----------------------------------------------------------------------------------------


def test_tags_that_are_asked_for(desk: Desk) -> None:
    condition = {
        "StringEquals": {"aws:RequestTag/Team": "blue"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "size"]},
    }
    caller = call_of(user(allow("sqs:CreateQueue", "sqs:TagQueue", Condition=condition)))
    for tags, may in (
        ({"team": "blue"}, True),
        ({"team": "blue", "size": "1"}, True),
        ({"team": "red"}, False),
        ({"team": "blue", "x": "y"}, False),
        ({}, False),
    ):
        assert desk.lets_in(model.CreateQueueRequest(queue_name="n", tags=tags), caller) == may
        assert desk.lets_in(model.TagQueueRequest(queue_url="q", tags=tags), caller) == may


def test_tags_that_are_taken_away(desk: Desk) -> None:
    only_size = {"ForAllValues:StringEquals": {"aws:TagKeys": ["size"]}}
    caller = call_of(user(allow("sqs:UntagQueue", Condition=only_size)))
    for keys, may in ((["size"], True), (["team"], False), (["size", "team"], False)):
        assert desk.lets_in(model.UntagQueueRequest(queue_url="q", tag_keys=keys), caller) == may


# --- Remembering ----------------------------------------------------------------------------------


def test_what_was_decided_is_not_decided_again(desk: Desk) -> None:
    alice = user(allow("sqs:SendMessage"))
    desk.asks(SEND, call_of(alice))
    (decision,) = alice.decisions.values()
    desk.asks(SEND, call_of(alice))
    assert list(alice.decisions.values()) == [decision]
    desk.store.commands.clear()
    desk.asks(SEND, call_of(alice))
    assert not [command for command in desk.store.commands if isinstance(command, GetQueue)]


def test_for_each_action_address_and_transport_by_itself(desk: Desk) -> None:
    condition = {"IpAddress": {"aws:SourceIp": PEER_IP}, "Bool": {"aws:SecureTransport": "true"}}
    alice = user(allow("sqs:SendMessage", Condition=condition))
    for _, secure, peer_ip, request in product(
        range(2), (True, False), (PEER_IP, "192.0.2.2"), (SEND, RECEIVE)
    ):
        may = secure and peer_ip == PEER_IP and request is SEND
        call = call_of(alice, is_secure=secure, peer_ip=peer_ip)
        assert desk.lets_in(request, call) == may


def test_edits_of_the_queue_count_at_once(desk: Desk) -> None:
    alice = user(allow("sqs:SendMessage", Condition={"StringEquals": {"aws:ResourceTag/t": "1"}}))
    tag = model.TagQueueRequest(queue_url="q", tags={"t": "1"})
    for _ in range(2):
        assert not desk.lets_in(SEND, call_of(alice))
        desk.do(tag)
        assert desk.lets_in(SEND, call_of(alice))
        desk.set_policy(deny("sqs:SendMessage", Principal="*"))
        assert not desk.lets_in(SEND, call_of(alice))
        desk.set_policy()
        assert desk.lets_in(SEND, call_of(alice))
        desk.do(model.UntagQueueRequest(queue_url="q", tag_keys=["t"]))


def test_another_queue_of_the_same_name_is_decided_anew(desk: Desk) -> None:
    desk.sqs = structs.replace(
        desk.sqs, limits=structs.replace(desk.sqs.limits, queue_name_quarantine_s=0)
    )
    desk.set_policy(allow("sqs:SendMessage", Principal="*"))
    alice = user()
    desk.asks(SEND, call_of(alice))
    desk.do(model.DeleteQueueRequest(queue_url="q"))
    assert not desk.lets_in(SEND, call_of(alice))
    desk.create("q")
    assert not desk.lets_in(SEND, call_of(alice))


def test_what_depends_on_the_time_or_the_program_is_not_remembered(desk: Desk) -> None:
    until = {"DateLessThan": {"aws:CurrentTime": "2023-11-14T22:13:30Z"}}
    timed = user(allow("sqs:SendMessage", Condition=until))
    assert desk.lets_in(SEND, call_of(timed))
    desk.clock.advance(10)
    assert not desk.lets_in(SEND, call_of(timed))
    program = user(allow("sqs:SendMessage", Condition={"StringLike": {"aws:UserAgent": "good*"}}))
    for agent, may in (("good/1", True), ("bad/1", False)) * 2:
        headers = {"user-agent": agent}
        assert desk.lets_in(SEND, call_of(program, headers=headers)) == may


# --- Who is named in a queue's policy -------------------------------------------------------------


def test_a_batch_has_no_name_in_policies(desk: Desk) -> None:
    request = model.SetQueueAttributesRequest(
        queue_url="q",
        attributes={"Policy": document(allow("sqs:SendMessageBatch", Principal="*"))},
    )
    refused = desk.refuses(request)
    assert refused.message == "Invalid value for the parameter Policy."
    assert not desk.lets_in(
        model.SendMessageBatchRequest(queue_url="q"),
        call_of(user(allow("sqs:SendMessageBatch"))),
    )
