"""AddPermission and RemovePermission: the short way to edit a queue's policy by its labels.

They write and delete statements of the stored policy; what a policy may hold is known to
`policy_document.py`, and what it means is decided elsewhere.
"""

import re

from stanchion.model.errors import InvalidParameterValue, MissingParameter
from stanchion.model.sqs import AddPermissionRequest, OverLimit, RemovePermissionRequest
from stanchion.service import Call
from stanchion.sqs import limits, policy_document
from stanchion.sqs.edits import Edited, edit
from stanchion.sqs.policy_document import Document
from stanchion.sqs.service import Sqs, action
from stanchion.sqs.tokens import echo
from stanchion.sqs.urls import is_account_id
from stanchion.store.contract import QueueRecord

_GRANTABLE = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)


@action
async def add_permission(sqs: Sqs, call: Call, request: AddPermissionRequest) -> None:
    """Adding the very statement that is there under that label already changes nothing."""

    def decide(record: QueueRecord) -> Edited | None:
        label, account_ids, actions = _checked(request)
        statement = policy_document.permission(label, account_ids, actions, record.name)
        document = _document(record)
        statements = document["Statement"]
        if statement in statements:
            return None
        if any(existing.get("Sid") == label for existing in statements):
            raise _invalid("Label", label, "Already exists.")
        statements.append(statement)
        return _with_policy(record, document)

    await edit(sqs, call, request.queue_url, decide)


_LABEL = re.compile(rf"[A-Za-z0-9_-]{{1,{limits.LABEL_CHARS_MAX}}}")


def _checked(request: AddPermissionRequest) -> tuple[str, list[str], list[str]]:
    """Label, account ids and actions; the order of the checks is what a client sees."""
    label = _label(request.label)
    if not _LABEL.fullmatch(label):
        reason = (
            "Can only include alphanumeric characters, hyphens, or underscores."
            f" 1 to {limits.LABEL_CHARS_MAX} in length"
        )
        raise _invalid("Label", label, reason)
    actions, account_ids = request.actions, request.aws_account_ids
    if not actions:
        raise MissingParameter.named("Actions")
    if not account_ids or not all(map(is_account_id, account_ids)):
        shown = f"[{', '.join(account_ids or ())}]"
        raise _invalid("PrincipalId", shown, "Unable to verify.")
    if len(actions) > limits.POLICY_ACTIONS_MAX:
        raise policy_document.too_many_actions(len(actions))
    for name in actions:
        if name not in _GRANTABLE:
            reason = "Only the queue owner is allowed to invoke this action."
            raise _invalid("ActionName", f"SQS:{name}", reason)
    return label, account_ids, actions


def _label(label: str | None) -> str:
    if not label:
        raise MissingParameter.named("Label")
    return label


def _invalid(parameter: str, value: str, reason: str) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Value {echo(value)} for parameter {parameter} is invalid. Reason: {reason}"
    )


def _document(record: QueueRecord) -> Document:
    """The stored policy with its statements in a list, or else the start of one."""
    policy = record.attributes.get("Policy")
    if policy is None:
        return policy_document.default_document(record.name)
    document = policy_document.load(policy)
    return {**document, "Statement": policy_document.statements(document)}


def _with_policy(record: QueueRecord, document: Document) -> Edited:
    count = len(document["Statement"])
    if count > limits.POLICY_STATEMENTS_MAX:
        raise OverLimit(
            f"{count} Statements were found, maximum allowed is {limits.POLICY_STATEMENTS_MAX}."
        )
    policy = policy_document.dump(document)
    if len(policy.encode()) > limits.POLICY_BYTES_MAX:
        raise OverLimit(f"The policy would be larger than {limits.POLICY_BYTES_MAX} bytes.")
    return Edited({**record.attributes, "Policy": policy}, record.tags)


@action
async def remove_permission(sqs: Sqs, call: Call, request: RemovePermissionRequest) -> None:
    """When the last statement goes, so does the policy."""

    def decide(record: QueueRecord) -> Edited:
        label = _label(request.label)
        document = _document(record)
        kept = [one for one in document["Statement"] if one.get("Sid") != label]
        if len(kept) == len(document["Statement"]):
            raise _invalid("Label", label, "can't find label on existing policy.")
        if kept:
            return _with_policy(record, {**document, "Statement": kept})
        attributes = {k: v for k, v in record.attributes.items() if k != "Policy"}
        return Edited(attributes, record.tags)

    await edit(sqs, call, request.queue_url, decide)
