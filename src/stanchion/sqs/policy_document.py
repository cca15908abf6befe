"""The queue policy as a document: what is well-formed, how it is stored, and how it is edited.

Pure text to text. What a policy means, who it lets in, is not decided here, and whether the users
and roles it names exist is not known here. Called by the attribute table and by AddPermission and
RemovePermission.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

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
    try:
        _require(len(text.encode()) <= limits.POLICY_BYTES_MAX)
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        _check_document(document)
        return dump(_with_root_arns(document, partition(queue.region)))
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> Document:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def dump(document: Document) -> str:
    """Compact JSON. Raises `ValueError` for text that is not Unicode, such as half a surrogate."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    text.encode()
    return text


# --- What is well-formed: each check raises ValueError -------------------------------------------

_VERSIONS = ("2012-10-17", "2008-10-17")
_STATEMENT_MEMBERS = {"Sid", "Effect", "Condition"}
_EITHER = (("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource"))


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError("the policy is not well-formed")


def _check_document(document: Any) -> None:
    _require(isinstance(document, dict))
    _require(document.keys() <= {"Version", "Id", "Statement"} and "Statement" in document)
    _require(document.get("Version", _VERSIONS[0]) in _VERSIONS)
    _require(isinstance(document.get("Id", ""), str))
    found = statements(document)
    _require(bool(found))
    if len(found) > limits.POLICY_STATEMENTS_MAX:
        raise OverLimit(
            f"{len(found)} statements were found in the submitted policy,"
            f" max allowed is {limits.POLICY_STATEMENTS_MAX}"
        )
    for statement in found:
        _check_statement(statement)
    principals = sum(len(list(_principals(statement))) for statement in found)
    _require(principals <= limits.POLICY_PRINCIPALS_MAX)
    conditions = sum(len(keys) for s in found for keys in s.get("Condition", {}).values())
    _require(conditions <= limits.POLICY_CONDITIONS_MAX)


def statements(document: Document) -> list[Any]:
    """The statements as a list; a document may hold a single one as it is."""
    found = document["Statement"]
    return found if isinstance(found, list) else [found]


def _check_statement(statement: Any) -> None:
    _require(isinstance(statement, dict))
    either = [[name for name in pair if name in statement] for pair in _EITHER]
    _require(all(len(given) == 1 for given in either))
    principal, action, resource = (given[0] for given in either)
    _require(statement.keys() <= _STATEMENT_MEMBERS | {principal, action, resource})
    _require(isinstance(statement.get("Sid", ""), str))
    _require(statement.get("Effect") in ("Allow", "Deny"))
    _check_principal(statement[principal])
    _check_actions(statement[action])
    _require(all(_is_resource(text) for text in _texts(statement[resource])))
    _check_condition(statement.get("Condition", {}))


def _texts(value: Any) -> list[str]:
    """A string, or a list of at least one, as a list."""
    found = value if isinstance(value, list) else [value]
    _require(bool(found) and all(isinstance(text, str) for text in found))
    return found


_UNIQUE_ID = re.compile(r"A(?:IDA|ROA)[A-Z0-9]{12,124}")
_PRINCIPAL_ARN = re.compile(
    r"arn:aws[a-z-]*:(?:iam::[0-9]{12}:(?:root|(?:user|role)/[\w+=,.@/-]+)"
    r"|sts::[0-9]{12}:(?:assumed-role|federated-user)/[\w+=,.@/-]+)",
    re.ASCII,
)
_SERVICE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")


def _is_aws_principal(text: str) -> bool:
    if text == "*" or is_account_id(text):
        return True
    return bool(_PRINCIPAL_ARN.fullmatch(text) or _UNIQUE_ID.fullmatch(text))


_PRINCIPAL_KINDS: dict[str, Callable[[str], bool]] = {
    "AWS": _is_aws_principal,
    "Service": lambda text: _SERVICE.fullmatch(text) is not None,
    "Federated": bool,
    "CanonicalUser": bool,
}


def _check_principal(principal: Any) -> None:
    if principal == "*":
        return
    _require(isinstance(principal, dict) and bool(principal))
    for kind, value in principal.items():
        _require(kind in _PRINCIPAL_KINDS)
        _require(all(_PRINCIPAL_KINDS[kind](text) for text in _texts(value)))


def _principals(statement: Document) -> Iterator[str]:
    principal = statement.get("Principal", statement.get("NotPrincipal"))
    if not isinstance(principal, dict):
        yield "*"
        return
    for value in principal.values():
        yield from _texts(value)


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


def _check_actions(value: Any) -> None:
    found = _texts(value)
    if len(found) > limits.POLICY_ACTIONS_MAX:
        raise too_many_actions(len(found))
    _require(all(_is_action(text) for text in found))


def too_many_actions(count: int) -> OverLimit:
    return OverLimit(f"{count} Actions were found, maximum allowed is {limits.POLICY_ACTIONS_MAX}.")


def _is_action(text: str) -> bool:
    if text == "*":
        return True
    service, _, action = text.lower().partition(":")
    wild = "*" in action or "?" in action
    return service == "sqs" and (wild or action in _LOWER_ACTIONS)


def _is_resource(text: str) -> bool:
    if text == "*":
        return True
    # A policy variable in the last part may hold further colons.
    parts = text.split(":", 5)
    return len(parts) == 6 and parts[0] == "arn" and parts[2] in ("sqs", "*")


_OPERATORS = frozenset(
    [
        *("StringEquals", "StringNotEquals", "StringLike", "StringNotLike"),
        *("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "BinaryEquals", "Bool"),
        *("NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals"),
        *("NumericGreaterThan", "NumericGreaterThanEquals", "IpAddress", "NotIpAddress"),
        *("DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals"),
        *("DateGreaterThan", "DateGreaterThanEquals", "ArnEquals", "ArnNotEquals"),
        *("ArnLike", "ArnNotLike"),
    ]
)


def _check_condition(condition: Any) -> None:
    _require(isinstance(condition, dict))
    for operator, keys in condition.items():
        _require(_is_operator(operator) and isinstance(keys, dict) and bool(keys))
        for value in keys.values():
            found = value if isinstance(value, list) else [value]
            _require(all(isinstance(scalar, str | int | float) for scalar in found))


def _is_operator(text: str) -> bool:
    bare = text
    for prefix in ("ForAllValues:", "ForAnyValue:"):
        bare = bare.removeprefix(prefix)
    return text == "Null" or bare.removesuffix("IfExists") in _OPERATORS


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


def root_arn(account_id: str, in_partition: str) -> str:
    return f"arn:{in_partition}:iam::{account_id}:root"


# --- Comparing and editing -----------------------------------------------------------------------


def equivalent(one: str, other: str) -> bool:
    """Whether two stored policies say the same, whatever the order of their members and lists."""
    return bool(_canonical(json.loads(one)) == _canonical(json.loads(other)))


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
