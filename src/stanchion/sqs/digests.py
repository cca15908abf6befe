"""The MD5 digests by which clients check that nothing changed on the way.

MD5 is what SQS specifies; nothing here relies on it for security.
"""

from collections.abc import Iterable, Mapping
from hashlib import md5
from struct import Struct as Packer

from stanchion.model.sqs import MessageAttributeValue, MessageSystemAttributeValue

AnyAttributeValue = MessageAttributeValue | MessageSystemAttributeValue

_LENGTH = Packer(">I").pack
_TEXT, _BINARY = b"\x01", b"\x02"


def of_body(body: bytes) -> str:
    """`MD5OfMessageBody` of a body in UTF-8, as 32 hex digits."""
    return md5(body, usedforsecurity=False).hexdigest()


def of_attributes(attributes: Mapping[str, AnyAttributeValue] | None) -> str | None:
    """`MD5OfMessageAttributes`, or None when there are no attributes.

    Each attribute in the order of its name: name, data type, a byte for the kind of value, value;
    each but the kind byte preceded by its length.
    """
    if not attributes:
        return None
    parts = (part for name in sorted(attributes) for part in _parts(name, attributes[name]))
    return md5(b"".join(parts), usedforsecurity=False).hexdigest()


def _parts(name: str, value: AnyAttributeValue) -> Iterable[bytes]:
    yield from _sized(name.encode())
    yield from _sized((value.data_type or "").encode())
    if value.binary_value is not None:
        yield _BINARY
        yield from _sized(value.binary_value)
    else:
        yield _TEXT
        yield from _sized((value.string_value or "").encode())


def _sized(data: bytes) -> tuple[bytes, bytes]:
    return _LENGTH(len(data)), data
