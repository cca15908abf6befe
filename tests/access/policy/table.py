"""The decision table: the cases of `cases/*.toml`, made into calls of `decide`.

A `[[case]]` says who (`caller`), with which policies (`identity`, `boundary`, `session`,
`resource`), does what (`action`, `on`), and what comes of it (`expect`: a Reason, or several that
are equally true; `by`: the policy and statement named). A policy is the name of a fragment, a
statement, or several; `{ Version, Statement }` is a document as it stands. What a statement leaves
out is Allow, `sqs:SendMessage`, the queue `@orders`. A list of callers or actions is a case each.

A `[[condition]]` says whether `when` holds for `keys`. It is put under an Allow, which must then
allow, and under a Deny, which must then deny; with `holds = "denies"` it must not be understood:
it denies in both places.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stanchion.access.identity import Caller, Grants, NamedPolicy
from stanchion.access.policy.context import PASSING_PREFIXES, Context, Values
from stanchion.access.policy.decision import Decision, Reason, Request, decide
from stanchion.access.policy.document import Kind, parse

FOLDER = Path(__file__).parent / "cases"
FRAGMENTS = tomllib.loads((FOLDER / "fragments.toml").read_text(encoding="utf-8"))
VERSION = "2012-10-17"

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    name: str
    caller: Caller
    request: Request
    keys: Mapping[str, Values]
    resource: NamedPolicy | None
    expected: frozenset[Reason]
    by: tuple[str, ...]
    """The policy and the statement named by the decision, as far as they are pinned."""


def decided(case: Case) -> Decision:
    return decide(case.caller, case.request, context(case.caller, case.keys), case.resource)


def context(caller: Caller, keys: Mapping[str, Values]) -> Context:
    """The caller's keys and those of the request, the latter first, in the two parts of a context.

    Names must be in lower case.
    """
    passing = {key: values for key, values in keys.items() if key.startswith(PASSING_PREFIXES)}
    lasting = {key: values for key, values in keys.items() if key not in passing}
    return Context(lasting, caller.keys, passing=passing)


def documents() -> list[tuple[str, Table]]:
    """The files of cases, by name."""
    paths = sorted(path for path in FOLDER.glob("*.toml") if path.stem != "fragments")
    return [(path.stem, tomllib.loads(path.read_text(encoding="utf-8"))) for path in paths]


def cases() -> list[Case]:
    return [case for file, tables in documents() for case in _cases(file, tables)]


def _cases(file: str, tables: Table) -> Iterator[Case]:
    for row in tables.get("case", ()):
        yield from _decisions(file, row)
    for row in tables.get("condition", ()):
        yield from _conditions(file, row)


# --- A case ---------------------------------------------------------------------------------------

_MEMBERS = {
    *("name", "caller", "identity", "boundary", "session", "resource", "trust", "action", "on"),
    *("account", "delegation", "shareable", "keys", "expect", "by"),
}


def _decisions(file: str, row: Table) -> Iterator[Case]:
    assert row.keys() <= _MEMBERS, f"{row['name']}: {row.keys() - _MEMBERS}"
    callers = _list(row.get("caller", "alice"))
    actions = _list(row.get("action", "sqs:SendMessage"))
    for who in callers:
        for action in actions:
            told_apart = [*([who] if len(callers) > 1 else []), *([action] * (len(actions) > 1))]
            name = ": ".join([file, row["name"], *told_apart])
            yield case_of({**row, "name": name, "caller": who, "action": action})


def case_of(row: Table) -> Case:
    """The one case of a row with one caller and one action; nothing need be expected of it."""
    return Case(
        name=row.get("name", ""),
        caller=caller(row.get("caller", "alice"), grants(row)),
        request=Request(
            action=row.get("action", "sqs:SendMessage"),
            resource=_arn(row.get("on", "@orders")),
            account_id=row.get("account", "111111111111"),
            delegation=row.get("delegation", "implicit"),
            shareable=row.get("shareable", True),
        ),
        keys=keys(row.get("keys", {})),
        resource=_attached(row),
        expected=frozenset(Reason[reason] for reason in _list(row.get("expect", []))),
        by=tuple(_list(row.get("by", []))),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def grants(row: Table) -> Grants:
    """The policies of the caller; one that is written out is called by its place: `identity 1`."""
    return Grants(
        identity=_side("identity", row.get("identity", [])),
        boundary=policy("boundary", row["boundary"]) if "boundary" in row else None,
        session=_side("session", row.get("session", [])),
    )


def _side(side: str, found: list[Any]) -> tuple[NamedPolicy, ...]:
    return tuple(policy(f"{side} {at}", one) for at, one in enumerate(found, 1))


def _attached(row: Table) -> NamedPolicy | None:
    if "trust" in row:
        return policy("trust", row["trust"], "trust")
    return policy("resource", row["resource"], "resource") if "resource" in row else None


def caller(name: str, given: Grants) -> Caller:
    """A caller of the fragments with these policies."""
    fields = _resolved(FRAGMENTS["callers"][name])
    return Caller(grants=given, **{**fields, "keys": keys(fields.get("keys", {}))})


def keys(written: Table) -> dict[str, Values]:
    """Condition keys as a context has them, of `{ "aws:SourceIp" = "..." }`."""
    return {key.lower(): tuple(_list(_resolved(value))) for key, value in written.items()}


def policy(name: str, written: Any, kind: Kind = "identity") -> NamedPolicy:
    """A policy under a name, or under that of the fragment that it is; `unreadable` is none."""
    if written == "unreadable":
        return NamedPolicy(written, None)
    if isinstance(written, str):
        name, written = written, FRAGMENTS["policies"][written]
    return NamedPolicy(name, parse(json.dumps(document(written, kind)), kind))


def document(written: Any, kind: Kind = "identity") -> dict[str, Any]:
    """The JSON of a policy: statements filled up, unless it is a document already."""
    if "Statement" in written:
        return {**written, "Statement": [_statement(one, kind) for one in written["Statement"]]}
    return {"Version": VERSION, "Statement": [_statement(one, kind) for one in _list(written)]}


def _statement(written: Table, kind: Kind) -> dict[str, Any]:
    filled: dict[str, Any] = {"Effect": "Allow", **_resolved(written)}
    if not {"Action", "NotAction"} & filled.keys():
        filled["Action"] = "sqs:SendMessage"
    if kind != "trust" and not {"Resource", "NotResource"} & filled.keys():
        filled["Resource"] = _arn("@orders")
    return filled


def _resolved(value: Any) -> Any:
    """The same with every `@name` replaced by its ARN."""
    if isinstance(value, dict):
        return {name: _resolved(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_resolved(member) for member in value]
    return _arn(value) if isinstance(value, str) else value


def _arn(text: str) -> str:
    return FRAGMENTS["arns"][text[1:]] if text.startswith("@") else text


# --- A condition ----------------------------------------------------------------------------------


def _conditions(file: str, row: Table) -> Iterator[Case]:
    assert row.keys() <= {"name", "when", "keys", "holds", "version"}, row["name"]
    version = row.get("version", VERSION)
    allows = row["holds"] is True
    denies = row["holds"] is not False
    asked = {"keys": row.get("keys", {})}
    allow = {"Sid": "If", "Condition": row["when"]}
    deny = {"Sid": "Unless", "Effect": "Deny", "Condition": row["when"]}
    yield from _decisions(
        file,
        {
            **asked,
            "name": f"{row['name']} (under an Allow)",
            "identity": [{"Version": version, "Statement": [allow]}],
            "expect": "ALLOWED_BY_IDENTITY" if allows else "NO_IDENTITY",
            "by": ["identity 1", "If"] if allows else [],
        },
    )
    yield from _decisions(
        file,
        {
            **asked,
            "name": f"{row['name']} (under a Deny)",
            "identity": ["send", {"Version": version, "Statement": [deny]}],
            "expect": "DENIED_BY_IDENTITY" if denies else "ALLOWED_BY_IDENTITY",
            "by": ["identity 2", "Unless"] if denies else ["send", "Send"],
        },
    )
