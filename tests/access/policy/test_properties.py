"""Laws of the decision, for every caller and request, whatever the policies say.

Policies are drawn from few words, so that statements meet; what they mean is not modelled here
(that is the table's part), only how decisions must relate to each other.
"""

import json
import operator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stanchion.access.policy.context import Context
from stanchion.access.policy.decision import Decision, decide
from stanchion.access.policy.document import Kind, MalformedPolicy, parse
from tests.access.policy import table

Row = dict[str, Any]

# --- Rows of the table, at random ---------------------------------------------------------------

ACTIONS = ["sqs:SendMessage", "SQS:send*", "sqs:ReceiveMessage", "sqs:*", "sqs:*", "*"]
RESOURCES = ["@orders", "@orders", "@invoices", "arn:aws:sqs:*:111111111111:ord*", "*", "*"]
NAMES = ["home", "alice", "worker-role", "worker", "fiona", "abroad", "zoe", "courier-role"]
PRINCIPALS = [
    *("*", {"AWS": "*"}, {"Service": "sns.amazonaws.com"}, {"AWS": ["@alice", "@home"]}),
    *[{"AWS": [f"@{name}" for name in NAMES], "Federated": "@issuer"}] * 3,
    *({"AWS": f"@{name}"} for name in NAMES),
]
CONDITIONS = [
    {"Bool": {"aws:SecureTransport": "false"}},
    {"BoolIfExists": {"aws:SecureTransport": "true"}},
    {"StringEquals": {"aws:UserAgent": "tool"}},
    {"StringNotEquals": {"aws:RequestTag/env": "${aws:username}"}},
    {"ForAllValues:StringLike": {"aws:TagKeys": "e*"}},
    {"Null": {"aws:username": "true"}},
]
SIDES = ("identity", "boundary", "session", "resource")

mostly_allow = st.sampled_from(["Allow"] * 6 + ["Deny"])
seldom = st.integers(0, 3).map(lambda number: number == 3)
keys = st.fixed_dictionaries(
    {},
    optional={
        "aws:SecureTransport": st.sampled_from(["true", "false"]),
        "aws:UserAgent": st.sampled_from(["tool", "browser"]),
        "aws:RequestTag/env": st.sampled_from(["prod", "alice"]),
        "aws:TagKeys": st.sampled_from([["env"], ["env", "team"], []]),
    },
)


@st.composite
def statements(draw: st.DrawFn, side: str, effect: st.SearchStrategy[str] = mostly_allow) -> Row:
    statement: Row = {"Effect": draw(effect)}
    statement["NotAction" if draw(seldom) else "Action"] = draw(few(ACTIONS))
    statement["NotResource" if draw(seldom) else "Resource"] = draw(few(RESOURCES))
    if side == "resource":
        names = ["Principal", "NotPrincipal"] if statement["Effect"] == "Deny" else ["Principal"]
        principal = st.sampled_from(PRINCIPALS)
        statement[draw(st.sampled_from(names))] = draw(principal)
    if draw(seldom):
        statement["Condition"] = draw(st.sampled_from(CONDITIONS))
    return statement


def few(words: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(words), min_size=1, max_size=2, unique=True)


def documents(side: str) -> st.SearchStrategy[list[Row]]:
    return st.lists(statements(side), min_size=1, max_size=3)


CALLERS = sorted(table.FRAGMENTS["callers"])
FOREIGN = ["zoe", "courier", "foreign-root"]
WITHOUT_ACCOUNT = ["web", "sns", "anonymous"]


@st.composite
def rows(draw: st.DrawFn, callers: list[str] = CALLERS) -> Row:
    """Who asks, with which policies on each side, for what."""
    row: Row = {
        "caller": draw(st.sampled_from(callers)),
        "action": draw(st.sampled_from(["sqs:SendMessage", "sqs:ReceiveMessage"])),
        "delegation": "explicit" if draw(seldom) else "implicit",
        "shareable": draw(seldom.map(operator.not_)),
        "keys": draw(keys),
        "identity": draw(st.lists(documents("identity"), min_size=1, max_size=2)),
        "session": draw(st.lists(documents("session"), max_size=2)) if draw(seldom) else [],
    }
    if draw(seldom):
        row["boundary"] = draw(documents("boundary"))
    if not draw(seldom):
        row["resource"] = draw(documents("resource"))
    return row


def decision(row: Row) -> Decision:
    return table.decided(table.case_of(row))


def allowed(row: Row) -> bool:
    return decision(row).allowed


def policies(row: Row, side: str) -> list[list[Row]]:
    found = row.get(side, [])
    return found if side in ("identity", "session") else [found] if found else []


def replaced(row: Row, side: str, found: list[Any]) -> Row:
    """The row with these policies on that side."""
    if side in ("identity", "session"):
        return {**row, side: found}
    rest = {name: value for name, value in row.items() if name != side}
    return {**rest, side: found[0]} if found else rest


# --- What can only take away --------------------------------------------------------------------


@given(rows(), st.data())
def test_another_deny_never_allows(row: Row, data: st.DataObject) -> None:
    side = data.draw(st.sampled_from(SIDES))
    deny = data.draw(statements(side, st.just("Deny")))
    found = policies(row, side)
    into_another: bool = data.draw(st.booleans())
    if found and into_another:
        at = data.draw(st.integers(0, len(found) - 1))
        place = data.draw(st.integers(0, len(found[at])))
        changed = [*found[:at], [*found[at][:place], deny, *found[at][place:]], *found[at + 1 :]]
    else:
        assume(not found or side in ("identity", "session"))
        changed = [*found, [deny]]
    assert allowed(replaced(row, side, changed)) <= allowed(row)


@given(rows(), st.data())
def test_an_allow_less_never_allows(row: Row, data: st.DataObject) -> None:
    places = [
        (side, at, place)
        for side in SIDES
        for at, policy in enumerate(policies(row, side))
        for place, statement in enumerate(policy)
        if statement["Effect"] == "Allow"
    ]
    assume(places)
    side, at, place = data.draw(st.sampled_from(places))
    found = [list(policy) for policy in policies(row, side)]
    # A policy has to have a statement, so one about nothing takes the place.
    nothing = {"Action": "sqs:NoSuchAction"} | ({"Principal": "*"} if side == "resource" else {})
    found[at][place] = nothing
    assert allowed(replaced(row, side, found)) <= allowed(row)


@given(rows())
def test_boundary_and_session_policies_never_widen(row: Row) -> None:
    for side in ("boundary", "session"):
        assert allowed(row) <= allowed(replaced(row, side, []))


@given(rows(), st.data())
def test_a_policy_that_cannot_be_read_never_allows(row: Row, data: st.DataObject) -> None:
    side = data.draw(st.sampled_from(SIDES))
    found: list[Any] = list(policies(row, side)) or [None]
    found[data.draw(st.integers(0, len(found) - 1))] = "unreadable"
    assert not allowed(replaced(row, side, found))


# --- What changes nothing -----------------------------------------------------------------------


@given(rows(), st.data())
def test_the_order_of_policies_and_statements_does_not_matter(
    row: Row, data: st.DataObject
) -> None:
    changed = row
    for side in SIDES:
        shuffled = data.draw(st.permutations(policies(row, side)))
        changed = replaced(
            changed, side, [data.draw(st.permutations(policy)) for policy in shuffled]
        )
    assert allowed(changed) == allowed(row)


@given(rows())
def test_a_policy_twice_is_a_policy_once(row: Row) -> None:
    twice = {side: policies(row, side) * 2 for side in ("identity", "session")}
    assert allowed({**row, **twice}) == allowed(row)


conditional = st.fixed_dictionaries(
    {
        "Effect": mostly_allow,
        "Action": st.just("sqs:*"),
        "Condition": st.sampled_from(CONDITIONS),
    }
)


@given(st.lists(conditional, min_size=1, max_size=2), st.booleans(), keys, keys)
def test_a_decision_holds_for_other_keys_unless_it_asked_for_them(
    policy: list[Row], is_of_queue: bool, some: Row, others: Row
) -> None:
    """A decision is remembered when its context says that nothing passing was asked for."""
    named = [{**statement, "Principal": "*"} for statement in policy]
    case = table.case_of({"resource": named} if is_of_queue else {"identity": [policy]})
    asked, again = (
        Context(SECURE, case.caller.keys, passing=table.keys(found)) for found in (some, others)
    )
    decided = decide(case.caller, case.request, asked, case.resource)
    if not asked.is_passing:
        assert decide(case.caller, case.request, again, case.resource) == decided


SECURE = {"aws:securetransport": ("true",)}


@pytest.mark.parametrize(
    "key",
    [
        *("aws:CurrentTime", "aws:EpochTime", "aws:MultiFactorAuthAge", "aws:UserAgent"),
        *("aws:Referer", "aws:RequestTag/env", "aws:TagKeys", "sts:ExternalId"),
        *("kms:EncryptionContext:aws:sqs:arn", "iam:PassedToService"),
    ],
)
@pytest.mark.parametrize("side", ["identity", "resource"])
def test_keys_that_pass_are_found_and_noted(side: str, key: str) -> None:
    statement: Row = {"Condition": {"Null": {key: "false"}}}
    row = (
        {"resource": {**statement, "Principal": "*"}} if side == "resource" else {side: [statement]}
    )
    case = table.case_of(row)
    for passing, expected in ({key.lower(): ("x",)}, True), ({}, False):
        asked = Context(SECURE, case.caller.keys, passing=passing)
        assert decide(case.caller, case.request, asked, case.resource).allowed is expected
        assert asked.is_passing


def test_keys_that_last_are_not_noted() -> None:
    statement = {"Condition": {"Bool": {"aws:SecureTransport": "true"}, "Null": {"aws:x": "true"}}}
    case = table.case_of({"identity": [statement]})
    asked = Context(SECURE, case.caller.keys)
    assert decide(case.caller, case.request, asked, None).allowed
    assert not asked.is_passing


# --- Two accounts -----------------------------------------------------------------------------


@given(rows(FOREIGN))
def test_across_accounts_each_side_allows_by_itself(row: Row) -> None:
    if not allowed(row):
        return
    case = table.case_of(row)
    assert row["shareable"]
    at_home = {**row, "account": case.caller.account_id, "delegation": "implicit"}
    del at_home["resource"]
    assert allowed(at_home), "the caller's own policies allow"
    nothing_but_the_queue = {**row, "identity": ["everything"], "session": []}
    nothing_but_the_queue.pop("boundary", None)
    assert allowed(nothing_but_the_queue), "the queue's policy allows"
    assert not allowed({**row, "shareable": False})


@given(rows(WITHOUT_ACCOUNT))
def test_who_has_no_account_has_only_what_the_resource_gives(row: Row) -> None:
    assert allowed(row) <= ("resource" in row)
    assert allowed(row) <= allowed({**row, "identity": [], "session": []})


# --- Documents that are not policies --------------------------------------------------------------

SOUND = {
    "Version": "2012-10-17",
    "Id": "sound",
    "Statement": [
        {
            "Sid": "One",
            "Effect": "Allow",
            "Principal": {"AWS": ["arn:aws:iam::111111111111:user/alice"]},
            "Action": ["sqs:SendMessage"],
            "Resource": "arn:aws:sqs:eu-central-1:111111111111:orders",
            "Condition": {"StringEquals": {"aws:UserAgent": "tool"}},
        }
    ],
}
words = st.text("abcdefgABCDEFG:", min_size=1, max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def changed(**members: Any) -> Row:
    """The sound document with other members of its statement; None takes one away."""
    statement = {**SOUND["Statement"][0], **members}  # type: ignore[dict-item]
    left = {name: value for name, value in statement.items() if value is not None}
    return {**SOUND, "Statement": [left]}


def refused(document: Any, kind: Kind = "resource") -> None:
    with pytest.raises(MalformedPolicy):
        parse(document if isinstance(document, str) else json.dumps(document), kind)


def test_the_sound_document_is_sound() -> None:
    assert len(parse(json.dumps(SOUND), "resource").statements) == 1


@given(words, values)
def test_an_unknown_element_is_refused(name: str, value: Any) -> None:
    refused({**SOUND, name: value})
    refused(changed(**{name: 1 if value is None else value}))


@given(words)
def test_an_unknown_operator_is_refused(word: str) -> None:
    for name in (word, word + "IfExists", "ForAllValues:" + word, "StringLike:"):
        refused(changed(Condition={name: {"aws:UserAgent": "tool"}}))


@pytest.mark.parametrize("name", ["Effect", "Principal", "Action", "Resource"])
def test_an_element_that_is_needed(name: str) -> None:
    refused(changed(**{name: None}))


@pytest.mark.parametrize("name", ["Principal", "Action", "Resource"])
def test_an_element_and_its_opposite(name: str) -> None:
    statement: Row = SOUND["Statement"][0]  # type: ignore[assignment]
    refused(changed(**{"Not" + name: statement[name]}))


@pytest.mark.parametrize(
    "name", ["effect", "EFFECT", "action", "notAction", "resource", "principal", "condition", "sid"]
)
def test_an_element_in_another_case(name: str) -> None:
    refused(changed(**{name: "Allow"}))


@pytest.mark.parametrize(
    "member",
    [
        {"Effect": "allow"},
        {"Effect": "Permit"},
        {"Effect": ["Allow"]},
        {"Action": []},
        {"Action": ""},
        {"Action": "SendMessage"},
        {"Action": 7},
        {"Action": [["sqs:*"]]},
        {"Resource": []},
        {"Resource": "orders"},
        {"Resource": {"arn": "*"}},
        {"Principal": "arn:aws:iam::111111111111:user/alice"},
        {"Principal": {"AWS": "alice"}},
        {"Principal": {"AWS": "arn:aws:iam::111111111111:user/*"}},
        {"Principal": {"aws": "*"}},
        {"Principal": {}},
        {"Principal": {"AWS": []}},
        {"Condition": []},
        {"Condition": {"StringEquals": "tool"}},
        {"Condition": {"StringEquals": {"": "tool"}}},
        {"Condition": {"StringEquals": {"aws:UserAgent": {"tool": 1}}}},
        {"Condition": {"StringEquals": {"aws:UserAgent": None}}},
        {"Condition": {"stringequals": {"aws:UserAgent": "tool"}}},
        {"Condition": {"ForSomeValues:StringEquals": {"aws:UserAgent": "tool"}}},
        {"Condition": {"NullIfExists": {"aws:UserAgent": "true"}}},
        {"Condition": {"Null": {"aws:UserAgent": "yes"}}},
        {"Condition": {"Bool": {"aws:SecureTransport": "no"}}},
        {"Condition": {"NumericEquals": {"aws:MultiFactorAuthAge": "ten"}}},
        {"Condition": {"NumericEquals": {"aws:MultiFactorAuthAge": "nan"}}},
        {"Condition": {"DateLessThan": {"aws:CurrentTime": "tomorrow"}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/33"}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": "localhost"}}},
    ],
    ids=json.dumps,
)
def test_an_element_that_makes_no_sense(member: Row) -> None:
    refused(changed(**member))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", "null", '"*"', "NaN", "{", "[" * 5000, '{"Statement": []}'),
        json.dumps({**SOUND, "Version": "2012-10-18"}),
        json.dumps({**SOUND, "Statement": "Allow"}),
        json.dumps(SOUND)[:-1],
        json.dumps(SOUND) + "{}",
        json.dumps(SOUND).replace('"Effect": "Allow"', '"Effect": "Deny", "Effect": "Allow"'),
        json.dumps(SOUND).replace('"tool"', "NaN"),
    ],
    ids=lambda text: text[:60],
)
def test_a_text_that_is_no_policy(text: str) -> None:
    refused(text)


def test_an_identity_policy_has_no_principal_and_a_trust_policy_no_resource() -> None:
    refused(SOUND, "identity")
    refused(SOUND, "trust")


@given(st.text() | values.map(json.dumps), st.sampled_from(["identity", "resource", "trust"]))
def test_whatever_else_is_refused_and_raises_nothing_else(text: str, kind: Kind) -> None:
    refused(text, kind)


@given(st.data())
def test_a_part_that_is_exchanged_for_anything_raises_nothing_else(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["Sid", "Effect", "Principal", "Action", "Resource"]))
    broken = changed(**{name: data.draw(values.filter(lambda value: value is not None))})
    try:
        policy = parse(json.dumps(broken), "resource")
    except MalformedPolicy:
        return
    assert policy.statements[0].effect == "Allow"
