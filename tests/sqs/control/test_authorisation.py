"""The permissions that each operation needs, on which queue, and for whom that is enough."""

import json
from base64 import b64encode
from typing import Any

import pytest
from msgspec import Struct, structs

from stanchion.access.identity import anonymous, root_of
from stanchion.model import sqs as model
from stanchion.model.errors import AccessDenied
from stanchion.model.sqs import SERVICE
from stanchion.sqs.authorisation import RULES, SHAREABLE
from tests.sqs.control.desk import (
    ELSEWHERE,
    PEER_IP,
    Desk,
    allow,
    arn_of,
    call_of,
    deny,
    open_desk,
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
