"""A policy compiled for decisions: for each action, the statements that speak of it.

Compiled when a policy is first asked, and kept with it. A statement then matches when its resource,
its conditions and, in a resource's policy, its principal do. Knows nothing of how several policies
add up; that is `decision`, which calls this.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from stanchion.access.identity import Caller
from stanchion.access.policy.conditions import Check, compiled
from stanchion.access.policy.context import Keys
from stanchion.access.policy.document import Policy, Statement
from stanchion.access.policy.patterns import Atoms, Matcher, any_of, anything, atoms
from stanchion.access.policy.principals import Level, Names
from stanchion.access.policy.variables import Template, expand, fixed, template

ACTIONS_REMEMBERED_MAX = 256
"""Of one policy. There are fewer in use; a simulation may ask for any."""


class Asked(Struct, frozen=True, gc=False):
    """What every statement is compared with."""

    action: str
    """Lower-case."""
    resource: str
    keys: Keys


class Rule(Struct, frozen=True):
    """A statement compiled."""

    label: str
    """Its Sid, or `Statement[n]`."""
    condition_keys: tuple[str, ...]
    is_deny: bool
    names: Names | None
    """None in an identity policy."""
    speaks_of: Matcher
    """Of an action, in lower case."""
    covers: Matcher
    """Of a resource; for one with variables, the part of the check that needs no keys."""
    resolves: Callable[[str, Keys], bool] | None
    """The other part, where there are variables."""
    checks: tuple[Check, ...]

    def applies(self, asked: Asked) -> bool:
        """Beside action and principal, which are looked at elsewhere."""
        if not self.covers(asked.resource):
            return False
        if self.resolves is not None and not self.resolves(asked.resource, asked.keys):
            return False
        for check in self.checks:  # noqa: SIM110 - this is half the price of all()
            if not check(asked.keys):
                return False
        return True


Rules = tuple[tuple[Rule, ...], tuple[Rule, ...]]
"""Those that deny, and those that allow."""


def denying(policy: Policy, asked: Asked) -> Rule | None:
    """The statement of a caller's own policy that denies."""
    for rule in rules_for(policy, asked.action)[0]:
        if rule.applies(asked):
            return rule
    return None


def allowing(policy: Policy, asked: Asked) -> Rule | None:
    """The statement of a caller's own policy that allows."""
    for rule in rules_for(policy, asked.action)[1]:
        # What names principals is no identity policy, and grants nothing as one.
        if rule.applies(asked) and rule.names is None:
            return rule
    return None


def denying_to(policy: Policy, asked: Asked, caller: Caller) -> Rule | None:
    """The statement of a resource's policy that denies it to the caller."""
    for rule in rules_for(policy, asked.action)[0]:
        if (rule.names is None or rule.names.denies(caller)) and rule.applies(asked):
            return rule
    return None


def allowing_to(policy: Policy, asked: Asked, caller: Caller) -> tuple[Level, Rule | None]:
    """The statement of a resource's policy that names the caller most directly and allows."""
    best, found = Level.NOBODY, None
    for rule in rules_for(policy, asked.action)[1]:
        if rule.names is None:
            continue
        level = rule.names.allows(caller)
        if level > best and rule.applies(asked):
            best, found = level, rule
    return best, found


def rules_for(policy: Policy, action: str) -> Rules:
    """The statements that speak of an action, given in lower case."""
    program = policy.__dict__.get("program")
    if program is None:
        program = policy.__dict__["program"] = _Program(policy)
    by_action: dict[str, Rules] = program.by_action
    rules = by_action.get(action)
    if rules is None:
        if len(by_action) >= ACTIONS_REMEMBERED_MAX:
            by_action.clear()
        rules = by_action[action] = program.select(action)
    return rules


class _Program:
    __slots__ = ("_rules", "by_action")

    def __init__(self, policy: Policy) -> None:
        self._rules = [_rule(statement, policy.version) for statement in policy.statements]
        self.by_action: dict[str, Rules] = {}

    def select(self, action: str) -> Rules:
        found = [rule for rule in self._rules if rule.speaks_of(action)]
        return (
            tuple(rule for rule in found if rule.is_deny),
            tuple(rule for rule in found if not rule.is_deny),
        )


def _rule(statement: Statement, version: str) -> Rule:
    is_deny = statement.effect == "Deny"
    covers, resolves = _resources(statement, version)
    speaks_of = any_of([atoms(action.lower()) for action in statement.actions])
    return Rule(
        label=statement.sid or f"Statement[{statement.index}]",
        condition_keys=tuple(condition.key for condition in statement.conditions),
        is_deny=is_deny,
        names=_names(statement),
        speaks_of=_none_of(speaks_of) if statement.not_actions else speaks_of,
        covers=covers,
        resolves=resolves,
        checks=tuple(
            compiled(condition, version, is_deny=is_deny) for condition in statement.conditions
        ),
    )


def _names(statement: Statement) -> Names | None:
    if statement.principals is None:
        return None
    return Names(statement.principals, is_negated=statement.not_principals)


def _none_of(matches: Matcher) -> Matcher:
    return lambda text: not matches(text)


def _resources(
    statement: Statement, version: str
) -> tuple[Matcher, Callable[[str, Keys], bool] | None]:
    """`Rule.covers` and `Rule.resolves` of a statement."""
    templates = [template(resource, version) for resource in statement.resources]
    patterns = [pattern for pattern in map(fixed, templates) if pattern is not None]
    matches = any_of(patterns)
    open_templates = [parts for parts in templates if fixed(parts) is None]
    if statement.not_resources:
        needs_all = statement.effect == "Allow"
        return _none_of(matches), _excluding(open_templates, needs_all=needs_all)
    if not open_templates or matches is anything:
        return matches, None
    return anything, _including(matches, open_templates)


def _including(matches: Matcher, templates: Sequence[Template]) -> Callable[[str, Keys], bool]:
    """A variable that stands for nothing makes its resource match nothing."""

    def resolves(resource: str, keys: Keys) -> bool:
        return matches(resource) or any_of(
            [pattern for pattern in _expanded(templates, keys) if pattern is not None]
        )(resource)

    return resolves


def _excluding(
    templates: Sequence[Template], *, needs_all: bool
) -> Callable[[str, Keys], bool] | None:
    """For NotResource, what cannot be resolved excludes nothing from a Deny. An Allow would reach
    too far that way: it needs all of them."""
    if not templates:
        return None

    def resolves(resource: str, keys: Keys) -> bool:
        patterns = _expanded(templates, keys)
        known = [pattern for pattern in patterns if pattern is not None]
        if needs_all and len(known) < len(patterns):
            return False
        return not any_of(known)(resource)

    return resolves


def _expanded(templates: Iterable[Template], keys: Keys) -> list[Atoms | None]:
    return [expand(parts, keys) for parts in templates]
