"""Who may call which action of SQS on what: the one rule that stands before all of them.

Each operation has a row in `RULES` that says on which queue which permissions are needed; a batch
needs the permission of its single action, and moving messages all those of doing it by hand. The
queue's policy is half of the decision, so the queue is looked up here; that there is none is told
only to those who may know. Called by the gateway before every action.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from stanchion.access.authoriser import NOTHING, Circumstances, Resource, denial
from stanchion.access.policy.context import NO_KEYS, Values
from stanchion.access.policy.decision import Decision, Reason, Request
from stanchion.model.errors import AccessDenied
from stanchion.model.sqs import InvalidSecurity, QueueDoesNotExist
from stanchion.service import Call
from stanchion.sqs import move_tasks
from stanchion.sqs.catalogue import Queue
from stanchion.sqs.dead_letters import sources_of
from stanchion.sqs.policy_document import granting
from stanchion.sqs.service import Sqs
from stanchion.sqs.urls import Arn, queue_arn, queue_url, read_arn
from stanchion.store.contract import QueueName

Rule = Callable[[Sqs, Call, Any], Awaitable[None]]

SHAREABLE = frozenset(
    {
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:GetQueueUrl",
        "sqs:ListDeadLetterSourceQueues",
        "sqs:PurgeQueue",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
    }
)
"""What a queue's policy can let another account do."""


async def authorise(sqs: Sqs, call: Call, operation: str, parameters: Any) -> None:
    """Raises `AccessDenied`, `InvalidSecurity`, or `QueueDoesNotExist` for those who may know."""
    await RULES[operation](sqs, call, parameters)


# --- On one queue ---------------------------------------------------------------------------------


def _on_queue(action: str) -> Rule:
    """The rule of an operation that has a QueueUrl."""
    permission = f"sqs:{action}"

    async def rule(sqs: Sqs, call: Call, parameters: Any) -> None:
        try:
            key = sqs.catalogue.name_of(call, parameters.queue_url)
        except QueueDoesNotExist:
            _check_any(call)
            raise
        queue = sqs.catalogue.cached(key) or await _find(sqs, QueueName(*key))
        if queue is None:
            _check(sqs, call, permission, QueueName(*key), None)
        else:
            _check_queue(sqs, call, permission, queue)

    return rule


def _check_any(call: Call) -> None:
    """What is no queue at all is told to everybody but strangers."""
    if call.caller.kind == "anonymous":
        raise AccessDenied(f"Access to the resource {call.origin}/ is denied.")


async def _find(sqs: Sqs, name: QueueName) -> Queue | None:
    try:
        return await sqs.catalogue.read(name)
    except QueueDoesNotExist:
        return None


def _check_queue(sqs: Sqs, call: Call, permission: str, queue: Queue) -> None:
    """The usual case has been decided before, and is a look-up."""
    key = (permission, queue.stamp, call.is_secure, call.peer_ip)
    decision: Decision | None = call.caller.decisions.get(key)
    if decision is None or not decision.allowed:
        _check(sqs, call, permission, queue.name, queue, key)


def _check(
    sqs: Sqs,
    call: Call,
    permission: str,
    name: QueueName,
    queue: Queue | None,
    remember_as: object = None,
    asked: Mapping[str, Values] = NO_KEYS,
    shareable: bool = True,
) -> None:
    shareable = shareable and permission in SHAREABLE
    request = Request(permission, queue_arn(name), name.account_id, shareable=shareable)
    resource = NOTHING if queue is None else queue.access
    decision = _decide(sqs, call, request, resource, asked, remember_as)
    if decision.allowed or _is_rescue(call, request, decision):
        return
    if call.caller.account_id != name.account_id:
        decision = _as_strangers_hear(sqs, call, request, resource, asked, decision)
    raise _refusal(call, request, decision, name)


def _is_rescue(call: Call, request: Request, decision: Decision) -> bool:
    """Whether the root user is about to mend a policy that locks everybody out.

    Not out of reach of a policy that wants TLS: that one does not lock out whoever uses it.
    """
    caller = call.caller
    return (
        request.action == "sqs:SetQueueAttributes"
        and caller.kind == "root"
        and caller.account_id == request.account_id
        and decision.reason is Reason.DENIED_BY_RESOURCE
        and "aws:securetransport" not in decision.condition_keys
    )


def _as_strangers_hear(
    sqs: Sqs,
    call: Call,
    request: Request,
    resource: Resource,
    asked: Mapping[str, Values],
    decision: Decision,
) -> Decision:
    """To another account and to somebody unknown, a queue is there only if its policy would let
    them in, but for a Deny; else they hear what they would hear of one that does not exist."""
    if resource.policy is not None and decision.reason is Reason.DENIED_BY_RESOURCE:
        grants = Resource(granting(resource.policy), resource.keys)
        if _decide(sqs, call, request, grants, asked).allowed:
            return decision
    return _decide(sqs, call, request, NOTHING, asked)


def _decide(
    sqs: Sqs,
    call: Call,
    request: Request,
    resource: Resource = NOTHING,
    asked: Mapping[str, Values] = NO_KEYS,
    remember_as: object = None,
) -> Decision:
    circumstances = Circumstances(call.region, call.is_secure, call.peer_ip, call.headers)
    return sqs.authoriser.decide(call.caller, request, circumstances, resource, asked, remember_as)


def _refusal(
    call: Call, request: Request, decision: Decision, name: QueueName
) -> AccessDenied | InvalidSecurity:
    if not call.is_secure and "aws:securetransport" in decision.condition_keys:
        return InvalidSecurity("All requests to this queue must use HTTPS and SigV4.")
    if call.caller.kind == "anonymous" and name.account_id:
        return AccessDenied(f"Access to the resource {queue_url(call.origin, name)} is denied.")
    return _denied(call, request, decision)


def _denied(call: Call, request: Request, decision: Decision) -> AccessDenied:
    if call.caller.kind == "anonymous":
        return AccessDenied(f"Access to the resource {call.origin}/ is denied.")
    # AWS says the action in lower case here, unlike its other services.
    return AccessDenied(denial(call.caller, request, decision, request.action.lower()))


# --- Queues by name -------------------------------------------------------------------------------


async def _create_queue(sqs: Sqs, call: Call, parameters: Any) -> None:
    """Tags on the new queue need the permission to tag as well."""
    name = QueueName(call.caller.account_id, call.region, parameters.queue_name or "")
    asked = _asked(parameters.tags or {}, parameters.tags or ())
    _check(sqs, call, "sqs:CreateQueue", name, None, asked=asked)
    if parameters.tags:
        _check(sqs, call, "sqs:TagQueue", name, None, asked=asked)


def _asked(tags: Mapping[str, str], names: Iterable[str]) -> dict[str, Values]:
    """The condition keys of tags that a request is about."""
    asked: dict[str, Values] = {
        f"aws:requesttag/{name.lower()}": (value,) for name, value in tags.items()
    }
    if found := tuple(names):
        asked["aws:tagkeys"] = found
    return asked


async def _tag_queue(sqs: Sqs, call: Call, parameters: Any) -> None:
    tags = parameters.tags or {}
    await _with_tags(sqs, call, "sqs:TagQueue", parameters.queue_url, _asked(tags, tags))


async def _untag_queue(sqs: Sqs, call: Call, parameters: Any) -> None:
    asked = _asked({}, parameters.tag_keys or ())
    await _with_tags(sqs, call, "sqs:UntagQueue", parameters.queue_url, asked)


async def _with_tags(
    sqs: Sqs, call: Call, permission: str, url: str | None, asked: Mapping[str, Values]
) -> None:
    try:
        name = QueueName(*sqs.catalogue.name_of(call, url))
    except QueueDoesNotExist:
        _check_any(call)
        raise
    _check(sqs, call, permission, name, await _find(sqs, name), asked=asked)


async def _get_queue_url(sqs: Sqs, call: Call, parameters: Any) -> None:
    """To another account, a queue that it may not use is one that does not exist."""
    own = call.caller.account_id
    name = QueueName(
        parameters.queue_owner_aws_account_id or own, call.region, parameters.queue_name or ""
    )
    try:
        _check(sqs, call, "sqs:GetQueueUrl", name, await _find(sqs, name))
    except AccessDenied:
        if call.caller.kind != "anonymous" and name.account_id != own:
            raise QueueDoesNotExist(
                "The specified queue does not exist or you do not have access to it."
            ) from None
        raise


async def _list_queues(sqs: Sqs, call: Call, parameters: Any) -> None:
    """The one permission that cannot be limited to some queues."""
    account_id = call.caller.account_id
    decision = _decide(sqs, call, Request("sqs:ListQueues", "*", account_id, shareable=False))
    if not decision.allowed:
        shown = queue_arn(QueueName(account_id, call.region, ""))
        raise _denied(call, Request("sqs:ListQueues", shown, account_id), decision)


# --- Move tasks -----------------------------------------------------------------------------------

_OF_SOURCE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


def _on_moves(action: str) -> Rule:
    """What reading and deleting the messages of the source would need, and the action itself."""
    permissions = (f"sqs:{action}", *_OF_SOURCE)

    async def rule(sqs: Sqs, call: Call, parameters: Any) -> None:
        source = _queue_named(call, _source_arn(parameters))
        await _check_all(sqs, call, permissions, source)
        if action == "StartMessageMoveTask":
            for target in await _destinations(sqs, call, source, parameters.destination_arn):
                await _check_all(sqs, call, ("sqs:SendMessage",), target)

    return rule


def _source_arn(parameters: Any) -> Arn | None:
    handle = getattr(parameters, "task_handle", None)
    if handle is not None:
        return move_tasks.source_of(handle)
    return read_arn(getattr(parameters, "source_arn", None) or "")


def _queue_named(call: Call, arn: Arn | None) -> QueueName:
    """The queue of an ARN. What is no queue of this region is one of the caller's, without a name:
    whoever may not use any is refused, and everybody else hears what is wrong with the ARN."""
    name = arn.queue_name() if arn is not None else None
    if name is None or name.region != call.region:
        return QueueName(call.caller.account_id, call.region, "")
    return name


async def _check_all(sqs: Sqs, call: Call, permissions: Iterable[str], name: QueueName) -> None:
    queue = await _find(sqs, name) if name.name else None
    for permission in permissions:
        # Messages are moved between queues of one account only.
        _check(sqs, call, permission, name, queue, shareable=False)


async def _destinations(
    sqs: Sqs, call: Call, source: QueueName, destination_arn: str | None
) -> list[QueueName]:
    """Where messages may go: without a destination, to every queue that they can have come from."""
    if destination_arn is not None:
        return [_queue_named(call, read_arn(destination_arn))]
    return [record.name for record in await sources_of(sqs, source)]


RULES: dict[str, Rule] = {
    "AddPermission": _on_queue("AddPermission"),
    "CancelMessageMoveTask": _on_moves("CancelMessageMoveTask"),
    "ChangeMessageVisibility": _on_queue("ChangeMessageVisibility"),
    "ChangeMessageVisibilityBatch": _on_queue("ChangeMessageVisibility"),
    "CreateQueue": _create_queue,
    "DeleteMessage": _on_queue("DeleteMessage"),
    "DeleteMessageBatch": _on_queue("DeleteMessage"),
    "DeleteQueue": _on_queue("DeleteQueue"),
    "GetQueueAttributes": _on_queue("GetQueueAttributes"),
    "GetQueueUrl": _get_queue_url,
    "ListDeadLetterSourceQueues": _on_queue("ListDeadLetterSourceQueues"),
    "ListMessageMoveTasks": _on_moves("ListMessageMoveTasks"),
    "ListQueueTags": _on_queue("ListQueueTags"),
    "ListQueues": _list_queues,
    "PurgeQueue": _on_queue("PurgeQueue"),
    "ReceiveMessage": _on_queue("ReceiveMessage"),
    "RemovePermission": _on_queue("RemovePermission"),
    "SendMessage": _on_queue("SendMessage"),
    "SendMessageBatch": _on_queue("SendMessage"),
    "SetQueueAttributes": _on_queue("SetQueueAttributes"),
    "StartMessageMoveTask": _on_moves("StartMessageMoveTask"),
    "TagQueue": _tag_queue,
    "UntagQueue": _untag_queue,
}
"""By operation."""
