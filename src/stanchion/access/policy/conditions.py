"""Conditions as checks: compiled once, asked with the keys of a request.

- An absent key, or one without values: a positive operator fails and a negated one holds; IfExists
  holds; ForAllValues holds and ForAnyValue fails.
- Several values without a quantifier: one that agrees is enough; for a negated operator none may.
- For a value that cannot be read (no number where numbers are compared), of the request or put in
  for a policy variable, the condition fails in an Allow and holds in a Deny: doubt never lets
  anybody in.
- A policy variable that stands for nothing agrees with nothing, as AWS has it. A negated operator
  would hold for that reason; in an Allow it fails.

Called by `rules`.
"""

from collections.abc import Callable, Sequence
from functools import partial

from stanchion.access.policy.context import Keys
from stanchion.access.policy.document import Condition
from stanchion.access.policy.operators import NULL, OPERATORS, Operator, Test
from stanchion.access.policy.variables import Template, expand, fixed, template

Check = Callable[[Keys], bool]

Tests = tuple[Sequence[Test], bool]
"""One for each of the policy's values; and whether some could not be made for this request."""


def compiled(condition: Condition, version: str, *, is_deny: bool) -> Check:
    """Whether the condition holds. `version` is the policy's, `is_deny` its statement's effect."""
    key = condition.key
    if condition.operator == NULL:
        wanted = {value.lower() == "true" for value in condition.values}
        return lambda keys: (not keys.values(key)) in wanted
    operator = OPERATORS[condition.operator]
    templates = [template(value, version) for value in condition.values]
    tests_for = _tests(operator, templates, is_deny=is_deny)
    judge = partial(_holds_for, operator, is_deny)
    if_absent = _holds_if_absent(condition, operator)
    needs_all = condition.quantifier == "ForAllValues" or (
        operator.is_negated and not condition.quantifier
    )
    combine = all if needs_all else any

    def check(keys: Keys) -> bool:
        values = keys.values(key)
        if not values:
            return if_absent
        tests = tests_for(keys)
        return combine(judge(tests, value) for value in values)

    return check


def _holds_if_absent(condition: Condition, operator: Operator) -> bool:
    if condition.if_exists:
        return True
    if condition.quantifier:
        return condition.quantifier == "ForAllValues"
    return operator.is_negated


def _tests(
    operator: Operator, templates: Sequence[Template], *, is_deny: bool
) -> Callable[[Keys], Tests]:
    patterns = [fixed(parts) for parts in templates]
    made: Tests = [operator.test(pattern) for pattern in patterns if pattern is not None], False
    if None not in patterns:
        return lambda keys: made
    open_templates = [
        parts for parts, pattern in zip(templates, patterns, strict=True) if pattern is None
    ]

    def unreadable(read: object) -> bool:
        return is_deny and not operator.is_negated

    def tests_for(keys: Keys) -> Tests:
        tests, is_unsure = list(made[0]), False
        for parts in open_templates:
            pattern = expand(parts, keys)
            try:
                if pattern is not None:
                    tests.append(operator.test(pattern))
            except ValueError:
                pattern = None
                tests.append(unreadable)
            is_unsure = is_unsure or pattern is None
        return tests, is_unsure

    return tests_for


def _holds_for(operator: Operator, is_deny: bool, tests: Tests, value: str) -> bool:
    """Whether the condition holds for one value of the request."""
    try:
        read = operator.read(value)
    except ValueError:
        return is_deny
    made, is_unsure = tests
    if any(test(read) for test in made):
        return not operator.is_negated
    return operator.is_negated and (is_deny or not is_unsure)
