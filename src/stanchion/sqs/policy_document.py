"""The queue policy as a document: what is well-formed, how it is stored, and how it is edited.

Pure text to text. What a policy is in general is known to `access/policy`; here is what SQS asks of
one beside that. Whether the users and roles it names exist is not known here. Called by the
attribute table and by AddPermission and RemovePermission.
"""

import json
from functools import lru_cache
from typing import Any

from stanchion.access.identity import NamedPolicy
from stanchion.access.policy.document import (
    MalformedPolicy,
    Policy,
    Statement,
    parse,
    root_arn,
)
from stanchion.model.sqs import OverLimit
from stanchion.sqs import limits
from stanchion.sqs.urls import is_account_id, partition, queue_arn
from stanchion.store.contract import QueueName

Document = dict[str, Any]


def normalise(text: str, queue: QueueName) -> str | None:
    """A policy as it is stored, or None when it is not well-formed or too large.

    Principals that are account ids become the ARNs of the accounts' root users; everything else
    stays as it was given, in compact JSON. Raises `OverLimit` for too many statements or actions.
    """
    if len(text.encode(errors="replace")) > limits.POLICY_BYTES_MAX:
        return None
    in_partition = partition(queue.region)
    try:
        policy = parse(text, "resource", in_partition)
    except MalformedPolicy:
        return None
    if not _is_within_limits(policy):
        return None
    return dump(_with_root_arns(load(text), in_partition))


def named(text: str | None) -> NamedPolicy | None:
    """A stored policy for the decision, or None where a queue has none."""
    return None if text is None else NamedPolicy("the queue's policy", _parsed(text))


@lru_cache(4096)
def _parsed(text: str) -> Policy | None:
    try:
        return parse(text, "resource")
    except MalformedPolicy:
        return None


def granting(named: NamedPolicy) -> NamedPolicy:
    """A policy without its Denys. One that cannot be read grants nothing either."""
    policy = named.policy
    if policy is None:
        return named
    allows = tuple(each for each in policy.statements if each.effect == "Allow")
    return NamedPolicy(named.name, Policy(policy.version, policy.id, allows))


def load(text: str) -> Document:
    """A fraction becomes the text that it was written as, which says the same in a policy.

    As a float it could become another number, or one that JSON does not have.
    """
    document: Document = json.loads(text, parse_float=str)
    return document


def dump(document: Document) -> str:
    """Compact JSON."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def statements(document: Document) -> list[Any]:
    """The statements as a list; a document may hold a single one as it is."""
    found = document["Statement"]
    return found if isinstance(found, list) else [found]


# --- What SQS asks of a policy --------------------------------------------------------------------


def _is_within_limits(policy: Policy) -> bool:
    found = policy.statements
    if len(found) > limits.POLICY_STATEMENTS_MAX:
        raise OverLimit(
            f"{len(found)} statements were found in the submitted policy,"
            f" max allowed is {limits.POLICY_STATEMENTS_MAX}"
        )
    for statement in found:
        if len(statement.actions) > limits.POLICY_ACTIONS_MAX:
            raise too_many_actions(len(statement.actions))
    return (
        sum(map(_principal_count, found)) <= limits.POLICY_PRINCIPALS_MAX
        and sum(len(statement.conditions) for statement in found) <= limits.POLICY_CONDITIONS_MAX
        and all(_is_action(text) for statement in found for text in statement.actions)
        and all(_is_resource(text) for statement in found for text in statement.resources)
    )


def _principal_count(statement: Statement) -> int:
    named = statement.principals
    assert named is not None
    listed = (named.aws, named.services, named.federated, named.canonical)
    return named.everyone + sum(map(len, listed))


ACTIONS = frozenset(
    {
        "AddPermission",
        "CancelMessageMoveTask",
        "ChangeMessageVisibility",
        "CreateQueue",
        "DeleteMessage",
        "DeleteQueue",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "ListMessageMoveTasks",
        "ListQueueTags",
        "ListQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "RemovePermission",
        "SendMessage",
        "SetQueueAttributes",
        "StartMessageMoveTask",
        "TagQueue",
        "UntagQueue",
    }
)
"""What a policy can name. A batch goes by the name of its single action."""

_LOWER_ACTIONS = frozenset(action.lower() for action in ACTIONS)


def too_many_actions(count: int) -> OverLimit:
    return OverLimit(f"{count} Actions were found, maximum allowed is {limits.POLICY_ACTIONS_MAX}.")


def _is_action(text: str) -> bool:
    if text == "*":
        return True
    service, _, action = text.lower().partition(":")
    wild = "*" in action or "?" in action
    return service == "sqs" and (wild or action in _LOWER_ACTIONS)


def _is_resource(text: str) -> bool:
    # A policy variable in the last part may hold further colons.
    return text == "*" or text.split(":", 5)[2] in ("sqs", "*")


# --- Principals -----------------------------------------------------------------------------------


def _with_root_arns(document: Document, in_partition: str) -> Document:
    for statement in statements(document):
        for member in ("Principal", "NotPrincipal"):
            principal = statement.get(member)
            if isinstance(principal, dict) and "AWS" in principal:
                principal["AWS"] = _root_arns(principal["AWS"], in_partition)
    return document


def _root_arns(value: Any, in_partition: str) -> Any:
    if isinstance(value, list):
        return [_root_arns(text, in_partition) for text in value]
    return root_arn(value, in_partition) if is_account_id(value) else value


# --- Comparing and editing -----------------------------------------------------------------------


def equivalent(one: str, other: str) -> bool:
    """Whether two stored policies say the same, whatever the order of their members and lists."""
    return bool(_canonical(load(one)) == _canonical(load(other)))


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(member) for key, member in value.items()}
    if not isinstance(value, list):
        return value
    members = sorted((_canonical(member) for member in value), key=json.dumps)
    return members[0] if len(members) == 1 else members


def default_document(queue: QueueName) -> Document:
    """What AddPermission starts from where a queue has no policy; its Statement list is empty."""
    policy_id = f"{queue_arn(queue)}/SQSDefaultPolicy"
    return {"Version": "2008-10-17", "Id": policy_id, "Statement": []}


def permission(
    label: str, account_ids: list[str], actions: list[str], queue: QueueName
) -> Document:
    """The statement that AddPermission writes: one of a thing stands for itself, more in a list."""
    arns = [root_arn(account_id, partition(queue.region)) for account_id in account_ids]
    names = [f"SQS:{action}" for action in actions]
    return {
        "Sid": label,
        "Effect": "Allow",
        "Principal": {"AWS": arns[0] if len(arns) == 1 else arns},
        "Action": names[0] if len(names) == 1 else names,
        "Resource": queue_arn(queue),
    }
