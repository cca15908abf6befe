"""Every operator, and what absent, several, unreadable and variable values do to it."""

from typing import Any

import pytest

from stanchion.access.policy.conditions import compiled
from stanchion.access.policy.context import Context, WithoutResourceTags
from stanchion.access.policy.document import Condition

KEY = "aws:x"


def holds(
    operator: str,
    wanted: str | tuple[str, ...],
    given: str | tuple[str, ...] | None,
    *,
    is_deny: bool = False,
    version: str = "2012-10-17",
    **variables: str,
) -> bool:
    prefix, _, name = operator.rpartition(":")
    bare = name.removesuffix("IfExists")
    quantifier: Any = prefix
    values = (wanted,) if isinstance(wanted, str) else wanted
    condition = Condition(bare, quantifier, bare != name, KEY, values)
    keys = {f"aws:{key}": (value,) for key, value in variables.items()}
    if given is not None:
        keys[KEY] = (given,) if isinstance(given, str) else given
    return compiled(condition, version, is_deny=is_deny)(Context(keys))


# --- Operators: those that agree, and those that do not ------------------------------------------

PAIRS = [
    ("StringEquals", "StringNotEquals", "a*", "a*", "ab"),
    ("StringEquals", "StringNotEquals", "Ab", "Ab", "ab"),
    ("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "Ab", "aB", "a"),
    ("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "straße", "STRAßE", "STRASSE"),
    ("StringLike", "StringNotLike", "a?c*", "abcd", "ac"),
    ("StringLike", "StringNotLike", "a*", "a\nb", "A"),
    ("NumericEquals", "NumericNotEquals", "1.0", "1", "1.0000000000000000001"),
    ("NumericEquals", "NumericNotEquals", "-2e1", "-20", "20"),
    ("DateEquals", "DateNotEquals", "2026-01-31T12:00:00Z", "1769860800", "1769860801"),
    ("DateEquals", "DateNotEquals", "2026-01-31T13:00:00.5+01:00", "1769860800.5", "1769860800"),
    ("DateEquals", "DateNotEquals", "2026-01-31", "2026-01-31T00:00Z", "2026-01-31T00:00:01Z"),
    ("IpAddress", "NotIpAddress", "10.1.2.3", "10.1.2.3", "10.1.2.4"),
    ("IpAddress", "NotIpAddress", "10.1.2.3/8", "10.255.0.0", "11.0.0.0"),
    ("IpAddress", "NotIpAddress", "0.0.0.0/0", "1.2.3.4", "::1"),
    ("IpAddress", "NotIpAddress", "2001:DB8::/32", "2001:db8:1::1", "2001:db9::"),
    ("IpAddress", "NotIpAddress", "10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
    ("IpAddress", "NotIpAddress", "::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"),
    ("IpAddress", "NotIpAddress", "::ffff:0:0/96", "10.1.1.1", "::1"),
    ("IpAddress", "NotIpAddress", "::/0", "::1", "10.0.0.1"),
    ("IpAddress", "NotIpAddress", "::/0", "::1", "::ffff:10.0.0.1"),
    ("ArnEquals", "ArnNotEquals", "arn:*:sns:*:1:t*", "arn:aws:sns:x:1:t:u/v", "arn:aws:sns:x:2:t"),
    ("ArnLike", "ArnNotLike", "arn:aws:s3:::b?", "arn:aws:s3:::b1", "arn:aws:s3:::b"),
    ("ArnLike", "ArnNotLike", "arn:aws:*:*:1:t", "arn:aws:::1:t", "arn:aws:a:b:c:1:t"),
]


@pytest.mark.parametrize(("positive", "negative", "wanted", "same", "other"), PAIRS)
def test_equality(positive: str, negative: str, wanted: str, same: str, other: str) -> None:
    assert holds(positive, wanted, same)
    assert not holds(positive, wanted, other)
    assert not holds(negative, wanted, same)
    assert holds(negative, wanted, other)


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        ("LessThan", True, False, False),
        ("LessThanEquals", True, True, False),
        ("GreaterThan", False, False, True),
        ("GreaterThanEquals", False, True, True),
    ],
)
def test_order(operator: str, below: bool, equal: bool, above: bool) -> None:
    # As text, 9 would be above 10.
    given = [holds(f"Numeric{operator}", "10", value) for value in ("9", "10.0", "10.5")]
    assert given == [below, equal, above]
    dates = ("2025-12-31T23:59:59Z", "2026-01-01T01:00:00+01:00", "1800000000")
    assert [holds(f"Date{operator}", "2026-01-01", value) for value in dates] == [
        below,
        equal,
        above,
    ]


def test_truth() -> None:
    assert holds("Bool", "True", "true")
    assert not holds("Bool", "true", "false")
    assert holds("Bool", ("true", "false"), "false")


def test_bytes() -> None:
    assert holds("BinaryEquals", "QQ==", "QQ==")
    assert not holds("BinaryEquals", "QQ==", "qq==")


def test_presence() -> None:
    assert holds("Null", "true", None)
    assert holds("Null", "true", ())
    assert not holds("Null", "TRUE", "x")
    assert holds("Null", "false", "x")
    assert not holds("Null", "false", None)


# --- Absent keys, and sets ------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [None, ()])
def test_absent_keys(absent: tuple[str, ...] | None) -> None:
    assert not holds("StringEquals", "a", absent)
    assert not holds("NumericLessThan", "1", absent)
    assert holds("StringNotEquals", "a", absent)
    assert holds("NotIpAddress", "10.0.0.0/8", absent)
    assert holds("StringEqualsIfExists", "a", absent)
    assert holds("ForAnyValue:StringEqualsIfExists", "a", absent)
    assert holds("ForAllValues:StringEquals", "a", absent)
    assert holds("ForAllValues:StringNotEquals", "a", absent)
    assert not holds("ForAnyValue:StringEquals", "a", absent)
    assert not holds("ForAnyValue:StringNotEquals", "a", absent)


def test_if_exists_asks_when_it_does() -> None:
    assert not holds("StringEqualsIfExists", "a", "b")
    assert holds("StringEqualsIfExists", "a", "a")


@pytest.mark.parametrize(
    ("operator", "all_in", "some_in", "none_in"),
    [
        ("StringEquals", True, True, False),
        ("StringNotEquals", False, False, True),
        ("ForAllValues:StringEquals", True, False, False),
        ("ForAllValues:StringNotEquals", False, False, True),
        ("ForAnyValue:StringEquals", True, True, False),
        ("ForAnyValue:StringNotEquals", False, True, True),
    ],
)
def test_sets(operator: str, all_in: bool, some_in: bool, none_in: bool) -> None:
    given = [("a", "b"), ("a", "x"), ("x", "y")]
    assert [holds(operator, ("a", "b"), values) for values in given] == [all_in, some_in, none_in]


def test_a_list_of_no_values_agrees_with_nothing() -> None:
    assert not holds("StringEquals", (), "a")
    assert not holds("ForAllValues:StringEquals", (), "a")
    assert holds("ForAllValues:StringEquals", (), None)
    assert holds("StringNotEquals", (), "a")


# --- Values that nobody can read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "wanted", "given"),
    [
        ("NumericEquals", "1", "one"),
        ("NumericNotEquals", "1", "NaN"),
        ("DateLessThan", "2026-01-01", "soon"),
        ("DateNotEquals", "2026-01-01", "2026-13-01"),
        ("Bool", "true", "yes"),
        ("BinaryEquals", "QQ==", "Q"),
        ("IpAddress", "0.0.0.0/0", "10.0.0.1:80"),
        ("NotIpAddress", "10.0.0.0/8", "unknown"),
        ("ArnLike", "arn:*:*:*:*:*", "*"),
        ("ArnNotEquals", "arn:aws:s3:::x", "arn:aws:s3"),
    ],
)
def test_doubt_lets_nobody_in(operator: str, wanted: str, given: str) -> None:
    assert not holds(operator, wanted, given)
    assert holds(operator, wanted, given, is_deny=True)


@pytest.mark.parametrize("operator", ["NumericEquals", "NumericNotEquals"])
def test_nor_does_a_variable_of_the_wrong_form(operator: str) -> None:
    assert not holds(operator, "${aws:tag}", "1", tag="one")
    assert holds(operator, "${aws:tag}", "1", tag="one", is_deny=True)


# --- Policy variables -----------------------------------------------------------------------------


def test_a_variable_stands_for_its_value() -> None:
    assert holds("StringEquals", "team-${aws:Username}", "team-alice", username="alice")
    assert not holds("StringEquals", "team-${aws:Username}", "team-bob", username="alice")
    assert holds("StringNotEquals", "${aws:username}", "bob", username="alice")
    assert holds("NumericLessThan", "${aws:limit}", "9", limit="10")
    assert holds("ArnLike", "${aws:arn}", "arn:aws:s3:::b", arn="arn:aws:s3:::b")
    assert holds("StringEquals", ("x", "${aws:username}"), "x")


def test_what_is_put_in_is_no_wildcard() -> None:
    assert not holds("StringLike", "${aws:username}-*", "alice-1", username="*")
    assert holds("StringLike", "${aws:username}-*", "*-1", username="*")
    assert not holds("ArnLike", "arn:aws:s3:::${aws:username}", "arn:aws:s3:::x", username="?")


def test_escaped_wildcards() -> None:
    assert holds("StringLike", "${*}${?}${$}*", "*?$x")
    assert not holds("StringLike", "${*}", "x")
    assert holds("StringEquals", "${*}", "*")
    assert holds("StringEquals", "$*", "$*")


def test_the_older_version_has_no_variables() -> None:
    assert holds("StringEquals", "${aws:username}", "${aws:username}", version="2008-10-17")
    assert not holds("StringEquals", "${aws:username}", "a", version="2008-10-17", username="a")


def test_defaults() -> None:
    assert holds("StringLike", "${aws:team, 'no ne*'}", "no ne*")
    assert not holds("StringLike", "${aws:team, 'no ne*'}", "no ness")
    assert holds("StringEquals", "${aws:team,''}", "")
    assert holds("StringEquals", "${ aws:team , 'none'}", "red", team="red")


@pytest.mark.parametrize("is_deny", [False, True])
def test_a_variable_that_stands_for_nothing_agrees_with_nothing(is_deny: bool) -> None:
    assert not holds("StringLike", "${aws:gone}*", "x", is_deny=is_deny)
    assert holds("StringNotEquals", "${aws:gone}", "x", is_deny=is_deny) == is_deny
    assert holds("ForAnyValue:StringNotEquals", "${aws:gone}", "x", is_deny=is_deny) == is_deny
    assert not holds("StringNotEquals", ("${aws:gone}", "x"), "x", is_deny=is_deny)


def test_a_variable_of_several_values_stands_for_nothing() -> None:
    condition = Condition("StringEquals", "", False, KEY, ("${aws:tags, 'a'}",))
    keys = {KEY: ("a",), "aws:tags": ("a", "b")}
    assert not compiled(condition, "2012-10-17", is_deny=False)(Context(keys))


def test_a_context_knows_what_passes() -> None:
    condition = Condition("StringEquals", "", False, KEY, ("${aws:UserAgent}",))
    context = Context({KEY: ("a",)}, passing={"aws:useragent": ("a",)})
    assert compiled(condition, "2012-10-17", is_deny=False)(context)
    assert context.is_passing


def test_keys_without_tags_of_the_resource() -> None:
    context = Context({"aws:resourcetag/a": ("x",), "aws:requesttag/a": ("y",)})
    keys = WithoutResourceTags(context)
    assert keys.values("aws:resourcetag/a") is None
    assert keys.values("aws:requesttag/a") == ("y",)
