"""Every case of `cases/*.toml` decides as it says; `table.py` explains how one is written."""

import pytest

from stanchion.access.policy.decision import Reason
from tests.access.policy import table
from tests.access.policy.table import Case

CASES = table.cases()
CASES_MIN = 300

OPERATORS = {
    *("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"),
    *("StringLike", "StringNotLike"),
    *("NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals"),
    *("NumericGreaterThan", "NumericGreaterThanEquals"),
    *("DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals"),
    *("DateGreaterThan", "DateGreaterThanEquals"),
    *("Bool", "BinaryEquals", "IpAddress", "NotIpAddress"),
    *("ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike", "Null"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    decision = table.decided(case)
    assert decision.reason in case.expected
    assert decision.allowed == decision.reason.name.startswith("ALLOWED")
    if case.by:
        assert (decision.policy, decision.statement) == case.by


def test_there_are_enough_cases_and_each_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= CASES_MIN


def test_every_kind_of_caller_is_allowed_something_and_denied_something() -> None:
    outcomes = {(case.caller.kind, _allows(case)) for case in CASES}
    kinds = {fields["kind"] for fields in table.FRAGMENTS["callers"].values()}
    assert outcomes == {(kind, allowed) for kind in kinds for allowed in (True, False)}


def test_every_reason_is_the_only_right_one_somewhere() -> None:
    assert {frozenset([reason]) for reason in Reason} <= {case.expected for case in CASES}


def test_every_operator_both_holds_and_does_not() -> None:
    assert {name for name in OPERATORS if _outcomes(name) != {True, False}} == set()


def _allows(case: Case) -> bool:
    (allows,) = {reason.name.startswith("ALLOWED") for reason in case.expected}
    return allows


def _outcomes(operator: str) -> set[bool]:
    """What conditions with this operator alone come to."""
    return {
        row["holds"]
        for _, tables in table.documents()
        for row in tables.get("condition", ())
        if list(row["when"]) == [operator] and row["holds"] != "denies"
    }
