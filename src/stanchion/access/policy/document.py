"""A policy document as data: what was written, checked, and nothing else.

`parse` is the only way to make a `Policy`; it refuses whatever it does not fully understand, and
says where and why. Called when a policy is written and when one is read for a decision.
"""

import json
import re
from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from stanchion.access.policy.operators import NULL, OPERATORS
from stanchion.access.policy.patterns import ARN_PARTS
from stanchion.access.policy.variables import fixed, outline, template, variables

Kind = Literal["identity", "resource", "trust"]
"""identity: no Principal, a Resource (also boundaries and session policies). resource: both.
trust: a Principal, no Resource (a role's)."""


class MalformedPolicy(ValueError):
    """The message says what is wrong and where: `Statement[1].Effect: must be Allow or Deny`."""


class Principals(Struct, frozen=True):
    """Whom a statement names."""

    everyone: bool = False
    """`"*"` or `{"AWS": "*"}`."""
    aws: tuple[str, ...] = ()
    """ARNs of users, roles, sessions and account roots, and unique ids (`AIDA...`). Account ids
    come out of `parse` as root ARNs."""
    services: tuple[str, ...] = ()
    federated: tuple[str, ...] = ()
    canonical: tuple[str, ...] = ()
    """Matches nobody."""


class Condition(Struct, frozen=True):
    """One key under one operator."""

    operator: str
    """As AWS spells it, without its modifiers: `StringEquals`, `Null`."""
    quantifier: Literal["", "ForAllValues", "ForAnyValue"]
    if_exists: bool
    key: str
    """Lower-case."""
    values: tuple[str, ...]
    """Scalars of other types come as text: `true`, `42`."""
    written_key: str = ""
    """The key as the policy has it."""


class Statement(Struct, frozen=True):
    index: int
    sid: str
    """Empty without one."""
    effect: Literal["Allow", "Deny"]
    principals: Principals | None
    """None in an identity policy."""
    not_principals: bool
    actions: tuple[str, ...]
    not_actions: bool
    resources: tuple[str, ...]
    """`("*",)` in a trust policy."""
    not_resources: bool
    conditions: tuple[Condition, ...]


class Policy(Struct, frozen=True, dict=True):
    """Beside its members it has room for what `rules` compiles of it."""

    version: Literal["2012-10-17", "2008-10-17"]
    """Policy variables mean something in 2012-10-17 only. Without one it is 2008-10-17."""
    id: str
    statements: tuple[Statement, ...]


def parse(text: str, kind: Kind, partition: str = "aws") -> Policy:
    """The policy that a document is. Raises `MalformedPolicy`.

    `partition` is that of the root ARNs which account ids become. How long the document may be and
    how much it may hold is the caller's business, and so is whether those it names exist.
    """
    document = _object(_decoded(text), "document", {"Version", "Id", "Statement"})
    version = document.get("Version", "2008-10-17")
    if version not in ("2012-10-17", "2008-10-17"):
        raise MalformedPolicy("Version: must be 2012-10-17 or 2008-10-17")
    found = document.get("Statement")
    given = found if isinstance(found, list) else [found]
    if not given or found is None:
        raise MalformedPolicy("Statement: there must be at least one")
    reader = _Reader(kind, version, partition)
    statements = tuple(reader.statement(value, index) for index, value in enumerate(given))
    if kind != "resource":
        _check_unique(statements)
    return Policy(version, _string(document.get("Id", ""), "Id"), statements)


def _decoded(text: str) -> Any:
    try:
        document = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=Decimal
        )
        # Half a surrogate is no text, and could not be stored or compared with any.
        json.dumps(document, ensure_ascii=False, default=str).encode()
    except MalformedPolicy:
        raise
    except (ValueError, RecursionError):
        raise MalformedPolicy("document: is not JSON") from None
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedPolicy(f"document: the member {twice!r} is given twice")
    return members


def _refuse(constant: str) -> None:
    raise MalformedPolicy(f"document: {constant} is not JSON")


def _check_unique(statements: Iterable[Statement]) -> None:
    seen: set[str] = set()
    for statement in statements:
        if statement.sid and statement.sid in seen:
            raise MalformedPolicy(f"Statement[{statement.index}].Sid: is not unique")
        seen.add(statement.sid)


# --- Shapes: each raises MalformedPolicy for anything else ----------------------------------------


def _object(value: Any, place: str, names: Collection[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedPolicy(f"{place}: must be a JSON object")
    for name in value:
        if name not in names:
            raise MalformedPolicy(f"{place}: the element {name!r} is unknown or out of place")
    return value


def _string(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise MalformedPolicy(f"{place}: must be a string")
    return value


def _strings(value: Any, place: str) -> list[str]:
    """A string, or a list of at least one."""
    found = value if isinstance(value, list) else [value]
    if not found:
        raise MalformedPolicy(f"{place}: must not be empty")
    return [_string(text, place) for text in found]


def _either(statement: dict[str, Any], name: str, place: str) -> tuple[bool, Any, str]:
    """Whether it is the negated element that is there, its value, and its place."""
    negated = f"Not{name}"
    if (name in statement) == (negated in statement):
        raise MalformedPolicy(f"{place}: needs either {name} or {negated}")
    is_negated = negated in statement
    given = negated if is_negated else name
    return is_negated, statement[given], f"{place}.{given}"


# --- Statements -----------------------------------------------------------------------------------

_ELEMENTS = frozenset({"Sid", "Effect", "Action", "NotAction", "Condition"})
_PRINCIPAL_ELEMENTS = frozenset({"Principal", "NotPrincipal"})
_RESOURCE_ELEMENTS = frozenset({"Resource", "NotResource"})
_ELEMENTS_OF = {
    "identity": _ELEMENTS | _RESOURCE_ELEMENTS,
    "resource": _ELEMENTS | _PRINCIPAL_ELEMENTS | _RESOURCE_ELEMENTS,
    "trust": _ELEMENTS | _PRINCIPAL_ELEMENTS,
}
_SID = re.compile(r"[A-Za-z0-9]*", re.ASCII)
_ACTION = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?_-]+", re.ASCII)


class _Reader:
    """What is the same for all statements of a document."""

    def __init__(self, kind: Kind, version: str, partition: str) -> None:
        self._kind = kind
        self._version = version
        self._partition = partition

    def statement(self, value: Any, index: int) -> Statement:
        place = f"Statement[{index}]"
        given = _object(value, place, _ELEMENTS_OF[self._kind])
        sid = _string(given.get("Sid", ""), f"{place}.Sid")
        if self._kind != "resource" and not _SID.fullmatch(sid):
            raise MalformedPolicy(f"{place}.Sid: may hold letters and digits only")
        effect = given.get("Effect")
        if effect not in ("Allow", "Deny"):
            raise MalformedPolicy(f"{place}.Effect: must be Allow or Deny")
        not_principals, principals = self._principals(given, place)
        not_actions, actions = self._actions(given, place)
        not_resources, resources = self._resources(given, place)
        return Statement(
            index,
            sid,
            effect,
            principals,
            not_principals,
            actions,
            not_actions,
            resources,
            not_resources,
            self._conditions(given.get("Condition", {}), f"{place}.Condition"),
        )

    def _principals(self, given: dict[str, Any], place: str) -> tuple[bool, Principals | None]:
        if self._kind == "identity":
            return False, None
        is_negated, value, place = _either(given, "Principal", place)
        return is_negated, _principals(value, place, self._partition)

    def _actions(self, given: dict[str, Any], place: str) -> tuple[bool, tuple[str, ...]]:
        is_negated, value, place = _either(given, "Action", place)
        actions = _strings(value, place)
        for action in actions:
            if not _ACTION.fullmatch(action):
                raise MalformedPolicy(f"{place}: {action!r} must be * or such as sqs:SendMessage")
        return is_negated, tuple(actions)

    def _resources(self, given: dict[str, Any], place: str) -> tuple[bool, tuple[str, ...]]:
        if self._kind == "trust":
            return False, ("*",)
        is_negated, value, place = _either(given, "Resource", place)
        resources = _strings(value, place)
        for resource in resources:
            parts = outline(resource).split(":")
            if resource != "*" and (len(parts) < ARN_PARTS or parts[0] != "arn"):
                raise MalformedPolicy(f"{place}: {resource!r} must be * or an ARN of six parts")
            try:
                template(resource, self._version)
            except ValueError as error:
                raise MalformedPolicy(f"{place}: {resource!r} {error}") from None
        return is_negated, tuple(resources)

    def _conditions(self, value: Any, place: str) -> tuple[Condition, ...]:
        if not isinstance(value, dict):
            raise MalformedPolicy(f"{place}: must be a JSON object")
        return tuple(
            self._condition(operator, key, values, place)
            for operator, keys in value.items()
            for key, values in _keys(keys, f"{place}.{operator}").items()
        )

    def _condition(self, written: str, key: str, value: Any, place: str) -> Condition:
        place = f"{place}.{written}"
        prefix, colon, bare = written.rpartition(":")
        if colon and prefix not in ("ForAllValues", "ForAnyValue"):
            raise MalformedPolicy(f"{place}: is not an operator")
        name = bare.removesuffix("IfExists")
        is_plain = not colon and name == bare
        if name not in OPERATORS and not (name == NULL and is_plain):
            raise MalformedPolicy(f"{place}: is not an operator")
        found = value if isinstance(value, list) else [value]
        if not found:
            # Every negated operator would agree.
            raise MalformedPolicy(f"{place}.{key}: must not be empty")
        values = tuple(_scalar(scalar, f"{place}.{key}") for scalar in found)
        for text in values:
            self._check_value(name, text, f"{place}.{key}")
        quantifier: Any = prefix
        return Condition(name, quantifier, name != bare, key.lower(), values, key)

    def _check_value(self, name: str, text: str, place: str) -> None:
        """With variables it is known only later what the value is."""
        if name == NULL:
            if text.lower() not in ("true", "false"):
                raise MalformedPolicy(f"{place}: must be true or false")
            return
        try:
            pattern = fixed(template(text, self._version))
            if pattern is not None:
                OPERATORS[name].test(pattern)
        except ValueError as error:
            raise MalformedPolicy(f"{place}: {text!r} {error}") from None


def _keys(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise MalformedPolicy(f"{place}: must be a JSON object with at least one key")
    if not all(key.strip() for key in value):
        raise MalformedPolicy(f"{place}: a condition key has no name")
    return value


def _scalar(value: Any, place: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | Decimal):
        return str(value)
    raise MalformedPolicy(
        f"{place}: must be a string, a number or true or false, or a list of such"
    )


# --- Principals -----------------------------------------------------------------------------------

_ACCOUNT_ID = re.compile(r"[0-9]{12}", re.ASCII)
_UNIQUE_ID = re.compile(r"A(?:IDA|ROA)[A-Z0-9]{12,124}", re.ASCII)
_PRINCIPAL_ARN = re.compile(
    r"arn:aws[a-z-]*:(?:iam::[0-9]{12}:(?:root|(?:user|role)/[\w+=,.@/-]+)"
    r"|sts::[0-9]{12}:(?:assumed-role|federated-user)/[\w+=,.@/-]+)",
    re.ASCII,
)
_SERVICE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.ASCII)


def root_arn(account_id: str, partition: str) -> str:
    return f"arn:{partition}:iam::{account_id}:root"


def _principals(value: Any, place: str, partition: str) -> Principals:
    if value == "*":
        return Principals(everyone=True)
    given = _object(value, place, {"AWS", "Service", "Federated", "CanonicalUser"})
    if not given:
        raise MalformedPolicy(f"{place}: must not be empty")
    found = {name: _strings(names, f"{place}.{name}") for name, names in given.items()}
    aws = [_aws_principal(name, f"{place}.AWS", partition) for name in found.get("AWS", ())]
    for name in found.get("Service", ()):
        if not _SERVICE.fullmatch(name):
            raise MalformedPolicy(f"{place}.Service: {name!r} is not the name of a service")
    for other in ("Federated", "CanonicalUser"):
        for name in found.get(other, ()):
            # A wildcard would look as if it named somebody.
            if not name or "*" in name or "?" in name:
                raise MalformedPolicy(f"{place}.{other}: {name!r} names nobody")
    return Principals(
        everyone="*" in aws,
        aws=tuple(name for name in aws if name != "*"),
        services=tuple(found.get("Service", ())),
        federated=tuple(found.get("Federated", ())),
        canonical=tuple(found.get("CanonicalUser", ())),
    )


def _aws_principal(name: str, place: str, partition: str) -> str:
    if _ACCOUNT_ID.fullmatch(name):
        return root_arn(name, partition)
    if name == "*" or _PRINCIPAL_ARN.fullmatch(name) or _UNIQUE_ID.fullmatch(name):
        return name
    raise MalformedPolicy(f"{place}: {name!r} is not an account, ARN or unique id of a principal")


# --- What policies ask about ----------------------------------------------------------------------


def context_keys(policies: Iterable[Policy]) -> list[str]:
    """The condition keys that policies mention, also as variables, sorted, as they are written.

    Each once: of several spellings that differ in case only, the first."""
    spellings: dict[str, str] = {}
    for policy in policies:
        for statement in policy.statements:
            for key in _mentioned(statement, policy.version):
                spellings.setdefault(key.lower(), key)
    return sorted(spellings.values())


def _mentioned(statement: Statement, version: str) -> list[str]:
    texts = list(statement.resources)
    keys = []
    for condition in statement.conditions:
        keys.append(condition.written_key)
        texts.extend(condition.values)
    for text in texts:
        keys.extend(variable.written for variable in variables(template(text, version)))
    return keys
