"""Queue attributes as a table: which there are, what each may be, and how each reads back.

Pure: works on the attributes and records it is given, and never asks the store or the clock. A
record holds only what was set; defaults are added here, when attributes are read. Called by the
queue actions, and by the catalogue for the settings that messages obey.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from stanchion.model.sqs import InvalidAttributeName, InvalidAttributeValue
from stanchion.sqs import limits, policy_document, redrive
from stanchion.sqs.tokens import echo
from stanchion.sqs.urls import queue_arn
from stanchion.store.contract import MessageCounts, QueueName, QueueRecord, QueueRules

Check = Callable[[str, QueueName], str | None]
"""Given a value and the queue's name, answers what is stored, or None when it is not acceptable."""

Read = Callable[[QueueRecord, MessageCounts], str | None]


class Attribute(Struct, frozen=True):
    name: str
    check: Check | None = None
    """None for what no client can set."""
    read: Read | None = None
    """How it reads back when that is not simply the stored value or else the default."""
    default: str | None = None
    removable: bool = False
    """Whether setting it to an empty string removes it."""
    fifo_only: bool = False


def check_settable(names: Iterable[str], fifo: bool, creating: bool) -> None:
    """Raises `InvalidAttributeName` for the first name that such a queue has no setting for."""
    for name in names:
        attribute = ATTRIBUTES.get(name)
        if attribute is None or attribute.check is None:
            raise unknown(name)
        if attribute.fifo_only and not fifo:
            raise _fifo_only(name, creating)


def unknown(name: str) -> InvalidAttributeName:
    return InvalidAttributeName(f"Unknown Attribute {echo(name)}.")


def _fifo_only(name: str, creating: bool) -> InvalidAttributeName:
    if creating or name in ("FifoQueue", "ContentBasedDeduplication"):
        return unknown(name)
    return InvalidAttributeName(f"You can specify the {name} only when FifoQueue is set to true.")


def apply(
    current: Mapping[str, str], supplied: Mapping[str, str], queue: QueueName
) -> dict[str, str]:
    """The attributes of a queue after `supplied` are set; their names have been checked.

    Raises `InvalidAttributeValue` for a value out of range, `InvalidAttributeName` when both kinds
    of encryption are asked for, `InvalidParameterValue` for what a redrive policy says, and
    `OverLimit` for a policy's size.
    """
    changed = dict(current)
    for name, value in supplied.items():
        attribute = ATTRIBUTES[name]
        if value == "" and attribute.removable:
            changed.pop(name, None)
        else:
            changed[name] = _checked(attribute, value, queue)
    _settle_encryption(changed, supplied)
    _check_throughput(changed)
    return changed


def _checked(attribute: Attribute, value: str, queue: QueueName) -> str:
    stored = attribute.check(value, queue) if attribute.check else None
    if stored is None:
        raise invalid(attribute.name)
    return stored


def invalid(name: str) -> InvalidAttributeValue:
    return InvalidAttributeValue(f"Invalid value for the parameter {name}.")


def _settle_encryption(changed: dict[str, str], supplied: Mapping[str, str]) -> None:
    key_given = bool(supplied.get("KmsMasterKeyId"))
    managed_given = supplied.get("SqsManagedSseEnabled") == "true"
    if key_given and managed_given:
        raise InvalidAttributeName(
            "You can use one type of server-side encryption (SSE) at one time."
            " You can either enable KMS SSE or SQS SSE."
        )
    if key_given:
        # Stored, so that taking the key away later does not by itself turn SSE-SQS on.
        changed["SqsManagedSseEnabled"] = "false"
    elif managed_given:
        changed.pop("KmsMasterKeyId", None)


def _check_throughput(changed: Mapping[str, str]) -> None:
    per_group = changed.get("FifoThroughputLimit") == "perMessageGroupId"
    if per_group and changed.get("DeduplicationScope") != "messageGroup":
        raise InvalidAttributeValue(
            "The perMessageGroupId value is allowed only when the value for DeduplicationScope"
            " is messageGroup"
        )


def first_difference(
    stored: Mapping[str, str], supplied: Iterable[str], requested: Mapping[str, str]
) -> str | None:
    """The first of the supplied names whose requested value is not the stored one.

    `requested` is what a new queue would have got: checked and normalised.
    """
    for name in supplied:
        before, wanted = effective(stored, name), effective(requested, name)
        if before != wanted and not _same_json(name, before, wanted):
            return name
    return None


def _same_json(name: str, before: str | None, wanted: str | None) -> bool:
    if name not in ("Policy", "RedriveAllowPolicy") or before is None or wanted is None:
        return False
    return policy_document.equivalent(before, wanted)


def effective(attributes: Mapping[str, str], name: str) -> str | None:
    """The value in force: what was set, or else the default."""
    return attributes.get(name, ATTRIBUTES[name].default)


def effective_int(attributes: Mapping[str, str], name: str) -> int:
    """The value in force of an attribute that is a number and has a default."""
    return int(effective(attributes, name) or 0)


def is_fifo(attributes: Mapping[str, str]) -> bool:
    return "FifoQueue" in attributes


def rules_of(attributes: Mapping[str, str]) -> QueueRules:
    """What the store is to act on. Whoever creates or updates a queue takes its rules from here."""
    fifo = is_fifo(attributes)
    redrive_policy = redrive.redrive_policy_of(attributes)
    return QueueRules(
        retention_ms=effective_int(attributes, "MessageRetentionPeriod") * 1000,
        is_fifo=fifo,
        delay_ms=effective_int(attributes, "DelaySeconds") * 1000 if fifo else 0,
        dead_letter_queue=redrive_policy.target if redrive_policy else None,
        receive_count_max=redrive_policy.receive_count_max if redrive_policy else 0,
    )


def requested_names(names: Iterable[str]) -> frozenset[str]:
    """The attributes that a client asks for. Raises `InvalidAttributeName` for an unknown one."""
    requested: set[str] = set()
    for name in names:
        if name == "All":
            requested.update(ATTRIBUTES)
        elif name in ATTRIBUTES:
            requested.add(name)
        else:
            raise unknown(name)
    return frozenset(requested)


def read_back(record: QueueRecord, names: frozenset[str], counts: MessageCounts) -> dict[str, str]:
    """What a client reads. Attributes that the queue does not have are left out."""
    values: dict[str, str] = {}
    for name, attribute in ATTRIBUTES.items():
        if name in names:
            value = _read(attribute, record, counts)
            if value is not None:
                values[name] = value
    return values


def _read(attribute: Attribute, record: QueueRecord, counts: MessageCounts) -> str | None:
    if attribute.read is not None:
        return attribute.read(record, counts)
    if attribute.fifo_only and not is_fifo(record.attributes):
        return None
    return record.attributes.get(attribute.name, attribute.default)


# --- The table ----------------------------------------------------------------------------------


def _integer(name: str, least: int, most: int, default: int, read: Read | None = None) -> Attribute:
    def check(value: str, _: QueueName) -> str | None:
        if not (value.isascii() and value.isdigit() and len(value) <= 10):
            return None
        number = int(value)
        return str(number) if least <= number <= most else None

    return Attribute(name, check, read, str(default))


def _choice(name: str, values: tuple[str, ...], default: str | None, fifo: bool) -> Attribute:
    def check(value: str, _: QueueName) -> str | None:
        return value if value in values else None

    return Attribute(name, check, default=default, fifo_only=fifo)


_KMS_KEY = re.compile(r"[A-Za-z0-9:/_-]+")


def _check_kms_key(value: str, _: QueueName) -> str | None:
    # A key id, alias or ARN. Whether there is such a key shows when a message is sent.
    within = len(value) <= limits.KMS_KEY_ID_CHARS_MAX
    return value if within and _KMS_KEY.fullmatch(value) else None


def _read_data_key_reuse(record: QueueRecord, _: MessageCounts) -> str | None:
    if "KmsMasterKeyId" not in record.attributes:
        return None
    return effective(record.attributes, "KmsDataKeyReusePeriodSeconds")


COUNTS = frozenset(
    {
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    }
)
"""The attributes for which the messages have to be counted."""

_BOOLEAN = ("true", "false")

ATTRIBUTES: dict[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        _integer("DelaySeconds", 0, limits.DELAY_S_MAX, 0),
        _integer(
            "MaximumMessageSize",
            limits.MESSAGE_BYTES_MIN,
            limits.MESSAGE_BYTES_MAX,
            limits.MESSAGE_BYTES_MAX,
        ),
        _integer("MessageRetentionPeriod", limits.RETENTION_S_MIN, limits.RETENTION_S_MAX, 345_600),
        _integer("ReceiveMessageWaitTimeSeconds", 0, limits.RECEIVE_WAIT_S_MAX, 0),
        _integer("VisibilityTimeout", 0, limits.VISIBILITY_TIMEOUT_S_MAX, 30),
        Attribute("Policy", policy_document.normalise, removable=True),
        Attribute("RedrivePolicy", redrive.check_redrive_policy, removable=True),
        Attribute("RedriveAllowPolicy", redrive.check_redrive_allow_policy, removable=True),
        Attribute("KmsMasterKeyId", _check_kms_key, removable=True),
        _integer(
            "KmsDataKeyReusePeriodSeconds",
            limits.DATA_KEY_REUSE_S_MIN,
            limits.DATA_KEY_REUSE_S_MAX,
            300,
            _read_data_key_reuse,
        ),
        _choice("SqsManagedSseEnabled", _BOOLEAN, "true", fifo=False),
        _choice("FifoQueue", ("true",), None, fifo=True),
        _choice("ContentBasedDeduplication", _BOOLEAN, "false", fifo=True),
        _choice("DeduplicationScope", ("queue", "messageGroup"), "queue", fifo=True),
        _choice("FifoThroughputLimit", ("perQueue", "perMessageGroupId"), "perQueue", fifo=True),
        Attribute("QueueArn", read=lambda record, _: queue_arn(record.name)),
        Attribute("CreatedTimestamp", read=lambda record, _: str(record.created_at_ms // 1000)),
        Attribute(
            "LastModifiedTimestamp", read=lambda record, _: str(record.modified_at_ms // 1000)
        ),
        Attribute("ApproximateNumberOfMessages", read=lambda _, counts: str(counts.visible)),
        Attribute(
            "ApproximateNumberOfMessagesNotVisible", read=lambda _, counts: str(counts.in_flight)
        ),
        Attribute("ApproximateNumberOfMessagesDelayed", read=lambda _, counts: str(counts.delayed)),
    )
}
