"""RedrivePolicy and RedriveAllowPolicy: what they may say, and how they are kept.

Pure text: whether the dead-letter queue exists, is of the right type and lets this source in is
checked in `dead_letters`. Called by the table of attributes, and by whoever needs to know what a
queue's policy says.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from stanchion.model.errors import InvalidParameterValue
from stanchion.sqs.limits import REDRIVE_RECEIVE_COUNT_MAX, REDRIVE_SOURCES_MAX
from stanchion.sqs.tokens import echo
from stanchion.sqs.urls import queue_arn, read_arn
from stanchion.store.contract import QueueName

_TARGET, _COUNT = "deadLetterTargetArn", "maxReceiveCount"
_PERMISSION, _SOURCES = "redrivePermission", "sourceQueueArns"


class RedrivePolicy(Struct, frozen=True):
    """What the RedrivePolicy of a source queue says."""

    target: QueueName
    receive_count_max: int


def redrive_policy_of(attributes: Mapping[str, str]) -> RedrivePolicy | None:
    """The policy that a queue has, from what is stored."""
    stored = attributes.get("RedrivePolicy")
    if stored is None:
        return None
    document = msgspec.json.decode(stored)
    target = _queue_of(document[_TARGET])
    return RedrivePolicy(target, document[_COUNT]) if target else None


def lets_in(attributes: Mapping[str, str], source: QueueName) -> bool:
    """Whether a dead-letter queue with these attributes may be the target of `source`."""
    stored = attributes.get("RedriveAllowPolicy")
    if stored is None:
        return True
    document = msgspec.json.decode(stored)
    if document[_PERMISSION] == "byQueue":
        return queue_arn(source) in document[_SOURCES]
    return bool(document[_PERMISSION] == "allowAll")


def _queue_of(arn: object) -> QueueName | None:
    parts = read_arn(arn) if isinstance(arn, str) else None
    return parts.queue_name() if parts else None


# --- RedrivePolicy --------------------------------------------------------------------------------


def check_redrive_policy(policy: str, source: QueueName) -> str:
    """What is stored and reads back. Raises `InvalidParameterValue` for the first fault."""
    document = _map_of(policy)
    if document is None:
        raise InvalidParameterValue(
            "Invalid value for the parameter RedrivePolicy. "
            "Reason: Redrive policy is not a valid JSON map."
        )
    if not document.keys() <= {_TARGET, _COUNT}:
        raise refused(policy, f"Only following attributes are supported: [{_COUNT}, {_TARGET}].")
    for name in (_COUNT, _TARGET):
        if document.get(name) in (None, ""):
            raise refused(policy, f"Redrive policy does not contain mandatory attribute: {name}.")
    count = _receive_count(policy, document[_COUNT])
    target = _target(policy, document[_TARGET], source)
    return _compact({_TARGET: queue_arn(target), _COUNT: count})


def refused(policy: str, reason: str) -> InvalidParameterValue:
    return _refused("RedrivePolicy", policy, reason)


def _refused(name: str, policy: str, reason: str) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Value {echo(policy)} for parameter {name} is invalid. Reason: {reason}"
    )


def _receive_count(policy: str, value: object) -> int:
    count = int(value) if isinstance(value, str) and _is_decimal(value) else value
    # To Python, but not to JSON, true is a number.
    if (
        isinstance(count, int)
        and not isinstance(count, bool)
        and 1 <= count <= REDRIVE_RECEIVE_COUNT_MAX
    ):
        return count
    raise refused(
        policy,
        f"Invalid value for maxReceiveCount: {echo(_as_sent(value))}, "
        f"valid values are from 1 to {REDRIVE_RECEIVE_COUNT_MAX} both inclusive.",
    )


def _is_decimal(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _as_sent(value: object) -> str:
    return value if isinstance(value, str) else _compact(value)


def _target(policy: str, arn: object, source: QueueName) -> QueueName:
    parts = read_arn(arn) if isinstance(arn, str) else None
    if parts is not None and parts.service != "sqs":
        raise refused(policy, "Only SQS queues are valid resources for deadLetterTargetArn.")
    target = parts.queue_name() if parts else None
    if target is None:
        raise refused(policy, "Dead-letter target ARN should be fully qualified ARN.")
    if (target.account_id, target.region) != (source.account_id, source.region):
        raise refused(policy, "Dead letter target owner should be same as the source.")
    return target


# --- RedriveAllowPolicy ---------------------------------------------------------------------------

_CANNOT = "Amazon SQS can't create the redrive allow policy"


def check_redrive_allow_policy(policy: str, _: QueueName) -> str:
    """What is stored and reads back. Raises `InvalidParameterValue` for the first fault."""
    document = _map_of(policy)
    if document is None or not _is_allow_policy(document):
        raise InvalidParameterValue(
            "Invalid value for the parameter RedriveAllowPolicy. "
            f"Reason: {_CANNOT}, as it’s in an unsupported format."
        )
    sources = document.get(_SOURCES)
    if document[_PERMISSION] != "byQueue":
        if sources:
            raise _not_allowed(
                policy,
                "To specify one or more source queue ARNs, you must set redrivePermission to "
                "byQueue.",
            )
        return _compact({_PERMISSION: document[_PERMISSION]})
    if not sources:
        raise _not_allowed(
            policy,
            "When you specify the byQueue permission type, you must also specify one or more "
            "sourceQueueArns values.",
        )
    if len(sources) > REDRIVE_SOURCES_MAX:
        raise _not_allowed(
            policy,
            f"The maximum number of source queue ARNs you can specify is {REDRIVE_SOURCES_MAX}.",
        )
    return _compact({_PERMISSION: "byQueue", _SOURCES: sources})


def _is_allow_policy(document: dict[str, Any]) -> bool:
    sources = document.get(_SOURCES, [])
    return (
        document.keys() <= {_PERMISSION, _SOURCES}
        and document.get(_PERMISSION) in ("allowAll", "denyAll", "byQueue")
        and isinstance(sources, list)
        and all(_queue_of(arn) is not None for arn in sources)
    )


def _not_allowed(policy: str, reason: str) -> InvalidParameterValue:
    return _refused("RedriveAllowPolicy", policy, f"{_CANNOT}. {reason}")


# --- Both -----------------------------------------------------------------------------------------


def _map_of(text: str) -> dict[str, Any] | None:
    try:
        document = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _compact(value: object) -> str:
    return msgspec.json.encode(value).decode()
