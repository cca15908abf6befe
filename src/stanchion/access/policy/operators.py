"""The condition operators: how each reads a value, and when two values agree.

An operator reads the request's value once (`read`), and makes of each of the policy's values a test
of what was read (`test`). A negated operator holds where its tests fail; negation, absent keys and
sets are the business of `conditions`. Whatever cannot be read raises `ValueError`, never agrees.
Called by `document` to check the values of a policy, and by `conditions`.
"""

import base64
import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from msgspec import Struct

from stanchion.access.policy.patterns import Atoms, arn_glob, arn_parts, glob, plain

Test = Callable[[Any], bool]
"""Of what `read` made of a request's value."""


class Operator(Struct, frozen=True):
    read: Callable[[str], Any]
    """A request's value; raises `ValueError`."""
    test: Callable[[Atoms], Test]
    """Of a policy's value; raises `ValueError`."""
    is_negated: bool = False


def _same(text: str) -> str:
    return text


def _equal(pattern: Atoms) -> Test:
    return plain(pattern).__eq__


def _equal_in_any_case(pattern: Atoms) -> Test:
    return plain(pattern).lower().__eq__


def _comparing(
    read: Callable[[str], Any], compare: Callable[[Any, Any], bool]
) -> Callable[[Atoms], Test]:
    def test(pattern: Atoms) -> Test:
        bound = read(plain(pattern))
        return lambda value: compare(value, bound)

    return test


# --- Numbers, truth, bytes ------------------------------------------------------------------------

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


def _number(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError("must be a number")
    return Decimal(text)


def _truth(text: str) -> bool:
    lower = text.lower()
    if lower not in ("true", "false"):
        raise ValueError("must be true or false")
    return lower == "true"


def _binary(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("must be base64") from None


# --- Dates ----------------------------------------------------------------------------------------

_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d))?", re.ASCII
)
# Four digits are left out: they are a year to some, and the seconds since 1970 to others.
_EPOCH = re.compile(r"(?:[0-9]{1,3}|[0-9]{5,12})(?:\.[0-9]{1,9})?", re.ASCII)
_START = datetime(1970, 1, 1, tzinfo=UTC)


def _instant_us(text: str) -> int:
    """Microseconds since the epoch, of a date or of seconds since the epoch."""
    if _EPOCH.fullmatch(text):
        return int(Decimal(text) * 1_000_000)
    if not _DATE.fullmatch(text):
        raise ValueError("must be a date such as 2026-01-31T12:00:00Z, or seconds since 1970")
    date = datetime.fromisoformat(text)
    # A day without a time begins at midnight UTC.
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return (aware - _START) // timedelta(microseconds=1)


# --- Addresses ------------------------------------------------------------------------------------

_V4_BITS, _V6_BITS = 32, 128
_MAPPED_BITS = 96
"""What stands before an IPv4 address inside an IPv6 one (`::ffff:192.0.2.1`)."""


class Address(Struct, frozen=True, gc=False):
    version: int
    number: int


@lru_cache(4096)
def _address(text: str) -> Address:
    """An address; one of IPv4 inside IPv6 is taken for the former."""
    try:
        found: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        raise ValueError("must be an IP address") from None
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return Address(found.version, int(found))


_NETWORK = re.compile(r"[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?", re.ASCII)


def _in_network(pattern: Atoms) -> Test:
    text = plain(pattern)
    try:
        if not _NETWORK.fullmatch(text):
            raise ValueError
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be an IP address or a range in CIDR notation") from None
    version, prefix, number = network.version, network.prefixlen, int(network.network_address)
    if isinstance(network, IPv6Network) and prefix >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            version, prefix, number = 4, prefix - _MAPPED_BITS, int(mapped)
    free_bits = (_V4_BITS if version == 4 else _V6_BITS) - prefix
    leading = number >> free_bits
    return lambda one: one.version == version and one.number >> free_bits == leading


# --- All of them ----------------------------------------------------------------------------------


def _both(positive: str, negative: str, read: Callable[[str], Any], test: Any) -> dict[str, Any]:
    return {positive: Operator(read, test), negative: Operator(read, test, is_negated=True)}


def _ordered(kind: str, read: Callable[[str], Any]) -> dict[str, Operator]:
    """`NumericEquals` and so on."""
    return {
        **_both(f"{kind}Equals", f"{kind}NotEquals", read, _comparing(read, operator.eq)),
        f"{kind}LessThan": Operator(read, _comparing(read, operator.lt)),
        f"{kind}LessThanEquals": Operator(read, _comparing(read, operator.le)),
        f"{kind}GreaterThan": Operator(read, _comparing(read, operator.gt)),
        f"{kind}GreaterThanEquals": Operator(read, _comparing(read, operator.ge)),
    }


OPERATORS: dict[str, Operator] = {
    **_both("StringEquals", "StringNotEquals", _same, _equal),
    **_both("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", str.lower, _equal_in_any_case),
    **_both("StringLike", "StringNotLike", _same, glob),
    **_ordered("Numeric", _number),
    **_ordered("Date", _instant_us),
    "Bool": Operator(_truth, _comparing(_truth, operator.eq)),
    "BinaryEquals": Operator(_binary, _comparing(_binary, operator.eq)),
    **_both("IpAddress", "NotIpAddress", _address, _in_network),
    **_both("ArnEquals", "ArnNotEquals", arn_parts, arn_glob),
    **_both("ArnLike", "ArnNotLike", arn_parts, arn_glob),
}
"""All but Null, which does not look at values."""

NULL = "Null"
