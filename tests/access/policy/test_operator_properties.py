"""Operators and patterns against slow, obvious references, seen through the decision."""

import ipaddress
import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.access.policy import table


def holds(
    name: str, wanted: Any, key: str, value: str | list[str] | None, **others: str | list[str]
) -> bool:
    """Whether a condition on a key holds; both under an Allow and under a Deny, which agree."""
    statement = {"Condition": {name: {key: wanted}}}
    row = {"keys": {**others, **({} if value is None else {key: value})}}
    case = table.case_of({**row, "identity": [statement]})
    denied = table.case_of({**row, "identity": ["send", {**statement, "Effect": "Deny"}]})
    allows, denies = table.decided(case).allowed, not table.decided(denied).allowed
    assert allows == denies
    return allows


# --- Patterns -----------------------------------------------------------------------------------


def matches(pattern: str, text: str) -> bool:
    """`*` is any text and `?` any character, tried out one by one."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and matches(pattern[1:], text[1:])


pieces = st.sampled_from(["a", "b", "*", "?", "*a?b*", "*?a", "b?*"])
patterns = st.lists(pieces, max_size=5).map("".join) | st.text("ab*?.[]+\\^$\n", max_size=6)
texts = st.text("ab", max_size=8) | st.text("ab*?.[]+\\^$\n", max_size=6)
many_examples = settings(max_examples=3 * settings().max_examples)
few_examples = settings(max_examples=max(5, settings().max_examples // 3))  # Of each operator.


@many_examples
@given(patterns, texts)
def test_string_like_is_the_obvious_match(pattern: str, text: str) -> None:
    assert holds("StringLike", pattern, "aws:UserAgent", text) == matches(pattern, text)
    assert holds("StringNotLike", pattern, "aws:UserAgent", text) != matches(pattern, text)


@many_examples
@given(patterns, texts)
def test_a_resource_is_the_obvious_match(pattern: str, text: str) -> None:
    begin = "arn:aws:sqs:eu-central-1:111111111111:q"
    case = table.case_of({"identity": [{"Resource": begin + pattern}], "on": begin + text})
    assert table.decided(case).allowed == matches(pattern, text)


@given(st.text("ab*?", max_size=8), st.text("abAB", max_size=8))
def test_an_action_is_the_obvious_match_in_any_case(pattern: str, text: str) -> None:
    case = table.case_of({"identity": [{"Action": "sqs:A" + pattern}], "action": "sqs:a" + text})
    assert table.decided(case).allowed == matches(pattern, text.lower())


fields = st.lists(st.text("ab*?", max_size=3), min_size=5, max_size=5)
plain_fields = st.lists(st.text("ab", max_size=3), min_size=5, max_size=7)


@given(fields, plain_fields)
def test_arn_like_matches_field_by_field(pattern: list[str], arn: list[str]) -> None:
    wanted, text = ":".join(["arn", *pattern]), ":".join(["arn", *arn])
    expected = all(map(matches, wanted.split(":", 5), text.split(":", 5)))
    for name in ("ArnLike", "ArnEquals"):
        assert holds(name, wanted, "aws:SourceArn", text) == expected
    for name in ("ArnNotLike", "ArnNotEquals"):
        assert holds(name, wanted, "aws:SourceArn", text) != expected


def test_many_stars_are_no_burden() -> None:
    """A matcher that tries everything would not come back from this one."""
    assert not holds("StringLike", "*a" * 30 + "b", "aws:UserAgent", "a" * 2000)


# --- Variables ----------------------------------------------------------------------------------

tags = st.text("ab*?${}:', ", max_size=6)


@given(tags, tags)
def test_what_a_variable_stands_for_is_literal(tag: str, text: str) -> None:
    keys = {"aws:PrincipalTag/tag": tag}
    for name in ("StringEquals", "StringLike"):
        found = holds(name, "${aws:PrincipalTag/tag}", "aws:UserAgent", text, **keys)
        assert found == (text == tag)
    around = holds("StringLike", "*${aws:PrincipalTag/tag}*", "aws:UserAgent", text, **keys)
    assert around == (tag in text)


@given(tags, tags)
def test_what_a_variable_stands_for_in_a_resource_is_literal(tag: str, text: str) -> None:
    begin = "arn:aws:sqs:eu-central-1:111111111111:"
    row = {
        "identity": [{"Resource": begin + "${aws:PrincipalTag/tag}"}],
        "on": begin + text,
        "keys": {"aws:PrincipalTag/tag": tag},
    }
    assert table.decided(table.case_of(row)).allowed == (text == tag)


# --- Addresses ----------------------------------------------------------------------------------

# One of IPv4 inside IPv6 is taken for the former, which `ipaddress` leaves to its callers.
addresses = st.ip_addresses().filter(lambda one: getattr(one, "ipv4_mapped", None) is None)
near = st.sampled_from(["10.1.2.3", "10.1.2.4", "10.1.130.3", "2001:db8::1", "2001:db8:0:8000::"])


@given(addresses | near.map(ipaddress.ip_address), near.map(ipaddress.ip_address), st.data())
def test_ip_address_is_membership_of_the_network(
    one: ipaddress.IPv4Address, other: ipaddress.IPv4Address, data: st.DataObject
) -> None:
    bits = data.draw(st.integers(0, one.max_prefixlen))
    network = ipaddress.ip_network((one, bits), strict=False)
    for address in (one, other):
        expected = address.version == network.version and address in network
        assert holds("IpAddress", str(network), "aws:SourceIp", str(address)) == expected
        assert holds("NotIpAddress", str(network), "aws:SourceIp", str(address)) != expected


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_an_address_without_a_length_is_itself(
    one: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    assert holds("IpAddress", str(one), "aws:SourceIp", str(one))
    assert holds("IpAddress", str(one), "aws:SourceIp", f"::ffff:{one}")
    assert holds("IpAddress", str(one), "aws:SourceIp", str(other)) == (one == other)


# --- Order: numbers and dates ---------------------------------------------------------------------

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "NotEquals": operator.ne,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}
numbers = st.decimals(-100, 100, places=2) | st.integers(-(10**15), 10**15).map(Decimal)
moments = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)
nearby = st.integers(-2, 2).map(lambda seconds: timedelta(seconds=seconds))
zones = st.integers(-12 * 4, 12 * 4).map(
    lambda quarters: timezone(timedelta(minutes=15 * quarters))
)


@pytest.mark.parametrize("name", COMPARISONS)
@few_examples
@given(wanted=numbers, value=numbers)
def test_numbers_compare_as_numbers(name: str, wanted: Decimal, value: Decimal) -> None:
    expected = COMPARISONS[name](value, wanted)
    written = f"{wanted:f}"
    assert holds("Numeric" + name, written, "aws:MultiFactorAuthAge", f"{value:f}") == expected


@pytest.mark.parametrize("name", COMPARISONS)
@few_examples
@given(wanted=moments, apart=nearby | st.timedeltas(timedelta(0), timedelta(days=1)), zone=zones)
def test_dates_compare_as_instants(
    name: str, wanted: datetime, apart: timedelta, zone: timezone
) -> None:
    value = (wanted + apart).replace(microsecond=0)
    expected = COMPARISONS[name](value, wanted)
    sent = value.strftime("%Y-%m-%dT%H:%M:%SZ")
    for written in (
        wanted.strftime("%Y-%m-%dT%H:%M:%SZ"),
        wanted.astimezone(zone).isoformat(),
        str(int(wanted.timestamp())),
    ):
        assert holds("Date" + name, written, "aws:CurrentTime", sent) == expected


# --- Absence and opposites ------------------------------------------------------------------------

OPPOSITES = {
    "StringEquals": "StringNotEquals",
    "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase",
    "StringLike": "StringNotLike",
    "NumericEquals": "NumericNotEquals",
    "DateEquals": "DateNotEquals",
    "IpAddress": "NotIpAddress",
    "ArnEquals": "ArnNotEquals",
    "ArnLike": "ArnNotLike",
}
SAMPLES = {
    "String": ["a", "A", "b"],
    "Numeric": ["1", "1.0", "2"],
    "Date": ["2026-01-31T12:00:00Z", "1769860800", "2026-02-01T00:00:00Z"],
    "Ip": ["10.0.0.1", "10.0.0.2", "2001:db8::1"],
    "Arn": ["arn:aws:sns:a:b:c", "arn:aws:sns:a:b:d", "arn:aws:sns:a::c"],
}


def samples(name: str) -> list[str]:
    return next(found for kind, found in SAMPLES.items() if name.startswith(kind))


@pytest.mark.parametrize("name", OPPOSITES)
@few_examples
@given(data=st.data())
def test_of_two_opposites_one_holds(name: str, data: st.DataObject) -> None:
    values = samples(name)
    wanted = data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))
    value = data.draw(st.none() | st.sampled_from(values))
    one = holds(name, wanted, "test:key", value)
    assert holds(OPPOSITES[name], wanted, "test:key", value) != one
    if value is None:
        assert not one
        assert holds(name + "IfExists", wanted, "test:key", value)


@pytest.mark.parametrize("name", OPPOSITES)
@few_examples
@given(data=st.data())
def test_sets_are_judged_value_by_value(name: str, data: st.DataObject) -> None:
    few = st.lists(st.sampled_from(samples(name)), min_size=1, max_size=2)
    wanted, values = data.draw(few), data.draw(few)
    for judged in (name, OPPOSITES[name]):
        each = [holds(judged, wanted, "test:key", value) for value in values]
        assert holds("ForAllValues:" + judged, wanted, "test:key", values) == all(each)
        assert holds("ForAnyValue:" + judged, wanted, "test:key", values) == any(each)
