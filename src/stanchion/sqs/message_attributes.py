"""Message attributes: what a message may carry beside its body, and which of it a receive returns.

Texts follow sqs-contract's tables for user attributes and for the one system attribute there is.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

import msgspec

from stanchion.model.errors import InvalidParameterValue
from stanchion.model.sqs import (
    MessageAttributeValue,
    MessageSystemAttributeValue,
    UnsupportedOperation,
)
from stanchion.sqs import text
from stanchion.sqs.limits import (
    ATTRIBUTE_NAME_CHARS_MAX,
    ATTRIBUTE_TYPE_CHARS_MAX,
    MESSAGE_ATTRIBUTES_MAX,
)

Attributes = dict[str, MessageAttributeValue]

_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_NUMBER_DIGITS_MAX = 38
_NUMBER_MIN, _NUMBER_MAX = Decimal("1e-128"), Decimal("1e126")
_TRACE_HEADER = "AWSTraceHeader"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Attributes)


def encoded(attributes: Attributes | None) -> bytes:
    """The stored form; empty when there are none."""
    return _encoder.encode(attributes) if attributes else b""


def decoded(stored: bytes) -> Attributes:
    return _decoder.decode(stored) if stored else {}


# --- On the way in --------------------------------------------------------------------------------


def validate(attributes: Attributes | None) -> None:
    """Raises the error that SQS has for the first fault found."""
    if not attributes:
        return
    if len(attributes) > MESSAGE_ATTRIBUTES_MAX:
        raise InvalidParameterValue(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum "
            f"[{MESSAGE_ATTRIBUTES_MAX}]."
        )
    for name, value in attributes.items():
        _validate_name(name)
        _validate_value(name, value)


def _validate_name(name: str) -> None:
    if not name:
        raise InvalidParameterValue(
            "The request must contain non-empty message (user) attribute names."
        )
    if len(name) > ATTRIBUTE_NAME_CHARS_MAX:
        raise InvalidParameterValue("Message (user) attribute name must be shorter than 256 bytes.")
    if not _NAME.fullmatch(name) or name[0] == "." or name[-1] == "." or ".." in name:
        raise InvalidParameterValue(
            f"The message attribute name '{name}' is invalid. Attribute name can contain "
            "A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.) characters."
        )
    if name.lower().startswith(("aws.", "amazon.")):
        raise InvalidParameterValue(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon'. "
            "These strings are reserved for internal use."
        )


def _validate_value(name: str, value: MessageAttributeValue) -> None:
    if value.string_list_values or value.binary_list_values:
        raise UnsupportedOperation(
            "Message attribute list values in SendMessage operation are not supported."
        )
    base_type = _base_type(name, value.data_type)
    if base_type == "Binary":
        if not value.binary_value or value.string_value is not None:
            raise _empty(name, base_type)
        return
    if not value.string_value or value.binary_value is not None:
        raise _empty(name, base_type)
    text.encoded(value.string_value)
    if base_type == "Number":
        _validate_number(name, value.string_value)


def _base_type(name: str, data_type: str | None) -> str:
    if not data_type:
        raise InvalidParameterValue(
            f"The message (user) attribute '{name}' must contain a non-empty message attribute "
            "value."
        )
    if len(data_type.encode(errors="replace")) > ATTRIBUTE_TYPE_CHARS_MAX:
        raise InvalidParameterValue("Message (user) attribute type must be shorter than 256 bytes.")
    base_type = data_type.partition(".")[0]
    if base_type not in {"String", "Number", "Binary"} or not data_type.isprintable():
        raise InvalidParameterValue(
            f"The type of message (user) attribute '{name}' is invalid. You must use only the "
            "following supported type prefixes: Binary, Number, String."
        )
    return base_type


def _empty(name: str, base_type: str) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Message (user) attribute '{name}' must contain a non-empty value of type '{base_type}'."
    )


def _validate_number(name: str, literal: str) -> None:
    if not _is_number(literal):
        raise InvalidParameterValue(
            f"Can't cast the value of message (user) attribute '{name}' to a number."
        )


def _is_number(literal: str) -> bool:
    if len(literal) > 1024 or not _NUMBER.fullmatch(literal):
        return False
    try:
        number = Decimal(literal)
    except InvalidOperation:
        return False
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    magnitude = abs(number)
    return len(digits) <= _NUMBER_DIGITS_MAX and (
        not number or _NUMBER_MIN <= magnitude <= _NUMBER_MAX
    )


def size_bytes(attributes: Attributes | None) -> int:
    """What the attributes count towards the size of a message: names, types and values."""
    if not attributes:
        return 0
    return sum(
        len(name.encode(errors="replace"))
        + len((value.data_type or "").encode(errors="replace"))
        + len((value.string_value or "").encode(errors="replace"))
        + len(value.binary_value or b"")
        for name, value in attributes.items()
    )


def trace_header(attributes: Mapping[str, MessageSystemAttributeValue] | None) -> str | None:
    """`AWSTraceHeader`, the only system attribute a sender may set. Its format is not enforced."""
    if not attributes:
        return None
    for name, value in attributes.items():
        if name != _TRACE_HEADER:
            raise InvalidParameterValue(f"Message system attribute name '{name}' is invalid.")
        if value.data_type != "String" or not value.string_value:
            raise InvalidParameterValue(
                f"Message system attribute '{name}' must contain a non-empty value of type "
                "'String'."
            )
        text.encoded(value.string_value)
    return attributes[_TRACE_HEADER].string_value


# --- On the way out -------------------------------------------------------------------------------


class Selection(msgspec.Struct, frozen=True):
    """Which attributes a receive asks for. A prefix needs no dot: `col.*` matches `color`."""

    names: frozenset[str]
    prefixes: tuple[str, ...]

    def of(self, stored: bytes) -> Attributes:
        if not stored or not (self.names or self.prefixes):
            return {}
        return {
            name: value
            for name, value in decoded(stored).items()
            if name in self.names or name.startswith(self.prefixes)
        }


def selection(names: Sequence[str] | None) -> Selection:
    """From `MessageAttributeNames`: exact names, `All`, `.*`, or `prefix.*`."""
    if not names:
        return _NOTHING
    prefixes = [name[:-2] for name in names if name.endswith(".*")]
    if "All" in names:
        prefixes.append("")
    return Selection(frozenset(names), tuple(prefixes))


_NOTHING = Selection(frozenset(), ())
