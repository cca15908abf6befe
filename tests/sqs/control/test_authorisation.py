"""The permissions that each operation needs, on which queue; and what those without them hear."""

import json
from base64 import b64encode
from typing import Any

import pytest
from msgspec import Struct, structs

from stanchion.access.identity import Caller, anonymous, root_of
from stanchion.model import sqs as model
from stanchion.model.errors import AccessDenied
from stanchion.model.sqs import SERVICE, InvalidSecurity, QueueDoesNotExist
from stanchion.sqs.authorisation import RULES, SHAREABLE
from stanchion.sqs.catalogue import Catalogue
from tests.sqs.control.desk import (
    ELSEWHERE,
    ONLY_TLS,
    PEER_IP,
    RECEIVE,
    SEND,
    Desk,
    allow,
    arn_of,
    call_of,
    deny,
    open_desk,
    refusal_text,
    url_of,
    user,
)
from tests.sqs.harness import ACCOUNT
from tests.sqs.harness import call_of as call_of_root


@pytest.fixture
def desk() -> Desk:
    return open_desk()


# --- What each operation needs --------------------------------------------------------------------

Q: dict[str, Any] = {"queue_url": "q"}
TASK_HANDLE = b64encode(json.dumps({"taskId": "1", "sourceArn": arn_of("dead")}).encode()).decode()
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
