"""Patterns, actions, resources and principals: what a statement speaks of, and to whom."""

import json
import re
from itertools import product
from typing import Any

import pytest

from stanchion.access.identity import Caller, Grants, NamedPolicy, anonymous, root_of
from stanchion.access.policy import rules
from stanchion.access.policy.context import Context
from stanchion.access.policy.decision import Reason, Request, decide, text
from stanchion.access.policy.document import Kind, Policy, Principals, parse
from stanchion.access.policy.patterns import any_of, arn_glob, arn_parts, atoms, glob
from stanchion.access.policy.principals import Level, Names

HOME, AWAY = "111111111111", "222222222222"
QUEUE = f"arn:aws:sqs:us-east-1:{HOME}:orders"

ALICE = Caller("user", HOME, f"arn:aws:iam::{HOME}:user/team/alice", "AIDA1", entity_id="AIDA1")
WORKER = Caller(
    "role",
    HOME,
    f"arn:aws:sts::{HOME}:assumed-role/worker/one",
    "AROA1:one",
    role_arn=f"arn:aws:iam::{HOME}:role/jobs/worker",
    entity_id="AROA1",
)
FEDERATED = Caller("federated", HOME, f"arn:aws:sts::{HOME}:federated-user/fred", f"{HOME}:fred")
ROOT = root_of(HOME, "AKIA")
SERVICE = Caller("service", "", "sns.amazonaws.com", "sns.amazonaws.com")
WEB = Caller("web", HOME, f"arn:aws:iam::{HOME}:oidc-provider/issuer.example", "subject")
NOBODY = anonymous("10.0.0.1")
EVERYBODY = (ALICE, WORKER, FEDERATED, ROOT, SERVICE, WEB, NOBODY)


# --- Patterns -------------------------------------------------------------------------------------


def test_patterns_match_as_regular_expressions_do() -> None:
    texts = ["".join(text) for length in range(6) for text in product("ab", repeat=length)]
    for length in range(6):
        for pattern in map("".join, product("ab*?", repeat=length)):
            expression = re.compile(pattern.replace("*", ".*").replace("?", "."), re.DOTALL)
            matches = glob(atoms(pattern))
            wrong = [text for text in texts if matches(text) != bool(expression.fullmatch(text))]
            assert wrong == [], pattern


def test_patterns_do_not_blow_up() -> None:
    # Would take longer than the universe lasts, with an expression that backtracks.
    assert not glob(atoms("a*" * 200 + "b"))("a" * 5000)
    assert not glob(atoms("*?a" * 200 + "b"))("a" * 5000)


def test_several_patterns() -> None:
    matches = any_of([atoms("a"), atoms("b*"), atoms("?c")])
    assert [matches(text) for text in ("a", "bb", "xc", "c", "")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert not any_of([])("")
    assert any_of([atoms("x"), atoms("*")])("anything")
    literals = any_of([atoms("a"), atoms("b")])
    assert [literals(text) for text in ("a", "b", "ab")] == [True, True, False]


def test_the_parts_of_an_arn_match_each_by_itself() -> None:
    matches = arn_glob(atoms("arn:aws:s*:*:1:a*"))
    assert matches(arn_parts("arn:aws:sqs:here:1:a:b/c"))
    assert not matches(arn_parts("arn:aws:sqs:here:2:1:a"))
    for arn in ("*", "arn:aws:sqs:here:1", "arn:*"):
        with pytest.raises(ValueError, match="must be an ARN"):
            arn_glob(atoms(arn))
    for arn in ("arn:aws:sqs:here:1", "urn:aws:sqs:here:1:a", ""):
        with pytest.raises(ValueError, match="must be an ARN"):
            arn_parts(arn)


# --- Actions and resources ------------------------------------------------------------------------


def policy(kind: Kind = "identity", version: str = "2012-10-17", **elements: Any) -> Policy:
    statement: dict[str, Any] = {"Effect": "Allow"}
    if not elements.keys() & {"Action", "NotAction"}:
        statement["Action"] = "*"
    if not elements.keys() & {"Resource", "NotResource"}:
        statement["Resource"] = "*"
    return parse(json.dumps({"Version": version, "Statement": statement | elements}), kind)


def allows(
    found: Policy, action: str = "sqs:sendmessage", resource: str = QUEUE, **keys: str
) -> bool:
    context = Context({f"aws:{key}": (value,) for key, value in keys.items()})
    return rules.allowing(found, rules.Asked(action, resource, context)) is not None


def denies(found: Policy, resource: str = QUEUE, **keys: str) -> bool:
    context = Context({f"aws:{key}": (value,) for key, value in keys.items()})
    return rules.denying(found, rules.Asked("sqs:sendmessage", resource, context)) is not None


@pytest.mark.parametrize(
    ("action", "speaks_of_it"),
    [
        ("*", True),
        ("SQS:SENDMESSAGE", True),
        ("sqs:*", True),
        ("sqs:Send*", True),
        ("sqs:?endMessage", True),
        ("sqs:Send", False),
        ("sqs:SendMessage?", False),
        ("sns:*", False),
    ],
)
def test_actions(action: str, speaks_of_it: bool) -> None:
    assert allows(policy(Action=[action])) == speaks_of_it
    assert allows(policy(NotAction=[action])) != speaks_of_it


@pytest.mark.parametrize(
    ("resource", "covers_it"),
    [
        ("*", True),
        (QUEUE, True),
        (f"{QUEUE}s", False),
        (f"arn:aws:sqs:*:{HOME}:ord*", True),
        (f"arn:aws:sqs:*:{HOME}:Ord*", False),
        ("arn:aws:*:orders::*", False),
        ("arn:*:*:*:*:orders", True),
        ("arn:aws:sqs:us-east-1:*:?rders", True),
    ],
)
def test_resources(resource: str, covers_it: bool) -> None:
    assert allows(policy(Resource=resource)) == covers_it
    assert allows(policy(NotResource=resource)) != covers_it


def test_a_star_in_a_resource_reaches_over_colons() -> None:
    assert allows(policy(Resource="arn:aws:kms:::k*z"), resource="arn:aws:kms:::key/a:b/z")
    assert allows(policy(Resource="arn:aws:s*:::z"), resource="arn:aws:sqs:us-east-1:1:::z")


def test_an_action_without_a_resource_needs_a_star() -> None:
    assert allows(policy(Resource="*"), resource="*")
    assert not allows(policy(Resource="arn:*:*:*:*:*"), resource="*")


MINE = f"arn:aws:sqs:us-east-1:{HOME}:${{aws:username}}"


def test_variables_in_resources() -> None:
    own = policy(Resource=[MINE, f"{MINE}-*"])
    assert allows(own, username="orders")
    assert allows(own, resource=f"{QUEUE}-1", username="orders")
    assert not allows(own, resource=f"{QUEUE}1", username="orders")
    assert not allows(own, username="*")
    assert not allows(own)
    assert not allows(policy(version="2008-10-17", Resource=MINE), username="orders")


def test_what_stands_for_nothing_leaves_the_other_resources() -> None:
    assert allows(policy(Resource=[MINE, QUEUE]))
    assert allows(policy(Resource=[MINE, "*"]))
    assert not denies(policy(Effect="Deny", Resource=MINE))
    assert denies(policy(Effect="Deny", Resource=MINE), username="orders")


def test_variables_in_what_is_left_out() -> None:
    assert allows(policy(NotResource=MINE), username="other")
    assert not allows(policy(NotResource=MINE), username="orders")
    # Nobody can say what an Allow leaves out; a Deny leaves out nothing.
    assert not allows(policy(NotResource=MINE))
    assert denies(policy(Effect="Deny", NotResource=MINE))
    assert not denies(policy(Effect="Deny", NotResource=[MINE, QUEUE]))
    assert not denies(policy(Effect="Deny", NotResource=MINE), username="orders")


def test_all_conditions_must_hold() -> None:
    both = policy(Condition={"StringEquals": {"aws:a": "1"}, "Null": {"aws:b": "false"}})
    assert allows(both, a="1", b="")
    assert not allows(both, a="1")
    assert not allows(both, b="")


def test_a_policy_for_resources_allows_nothing_as_an_identity_policy() -> None:
    found = policy("resource", Principal="*")
    assert not allows(found)
    assert denies(policy("resource", Effect="Deny", Principal={"AWS": AWAY}))


def test_any_number_of_actions_may_be_asked_for() -> None:
    found = policy(Action="sqs:*9")
    for number in range(rules.ACTIONS_REMEMBERED_MAX + 10):
        assert allows(found, action=f"sqs:{number}") == str(number).endswith("9")
    assert len(found.__dict__["program"].by_action) <= rules.ACTIONS_REMEMBERED_MAX


# --- Principals -----------------------------------------------------------------------------------


def named(**principals: Any) -> Names:
    return Names(Principals(**principals), is_negated=False)


@pytest.mark.parametrize(
    ("caller", "name", "level"),
    [
        (ALICE, ALICE.arn, Level.EXACT),
        (ALICE, "AIDA1", Level.EXACT),
        (ALICE, f"arn:aws-cn:iam::{HOME}:user/team/alice", Level.EXACT),
        (ALICE, f"arn:aws:iam::{HOME}:user/alice", Level.NOBODY),
        (ALICE, f"arn:aws:iam::{AWAY}:user/team/alice", Level.NOBODY),
        (ALICE, f"arn:aws:iam::{HOME}:root", Level.ACCOUNT),
        (ALICE, f"arn:aws-us-gov:iam::{HOME}:root", Level.ACCOUNT),
        (ALICE, f"arn:aws:iam::{AWAY}:root", Level.NOBODY),
        (WORKER, WORKER.arn, Level.EXACT),
        (WORKER, f"arn:aws:sts::{HOME}:assumed-role/worker/two", Level.NOBODY),
        (WORKER, WORKER.role_arn, Level.ROLE),
        (WORKER, "AROA1", Level.ROLE),
        (WORKER, f"arn:aws:iam::{HOME}:role/worker", Level.NOBODY),
        (WORKER, f"arn:aws:iam::{HOME}:root", Level.ACCOUNT),
        (FEDERATED, FEDERATED.arn, Level.EXACT),
        (FEDERATED, f"arn:aws:iam::{HOME}:root", Level.ACCOUNT),
        (ROOT, f"arn:aws:iam::{HOME}:root", Level.ACCOUNT),
        (WEB, f"arn:aws:iam::{HOME}:root", Level.NOBODY),
        (NOBODY, f"arn:aws:iam::{HOME}:root", Level.NOBODY),
        (SERVICE, "AIDA1", Level.NOBODY),
    ],
)
def test_how_directly_a_name_means_a_caller(caller: Caller, name: str, level: Level) -> None:
    names = named(aws=("AIDAOTHER", name))
    assert names.allows(caller) is level
    assert names.denies(caller) == (level is not Level.NOBODY)


def test_the_most_direct_name_counts() -> None:
    root = f"arn:aws:iam::{HOME}:root"
    assert named(everyone=True, aws=(root, ALICE.arn)).allows(ALICE) is Level.EXACT
    assert named(everyone=True, aws=(root,)).allows(ALICE) is Level.EVERYONE
    assert named(aws=(root, WORKER.role_arn)).allows(WORKER) is Level.ROLE


def test_everyone() -> None:
    names = named(everyone=True)
    allowed = [caller.kind for caller in EVERYBODY if names.allows(caller) is Level.EVERYONE]
    # A token is not enough: its issuer must be named.
    assert allowed == ["user", "role", "federated", "root", "service", "anonymous"]
    assert all(names.denies(caller) for caller in EVERYBODY)


def test_services_and_issuers() -> None:
    service = named(services=("sns.amazonaws.com",))
    assert [caller.kind for caller in EVERYBODY if service.allows(caller)] == ["service"]
    issuer = named(federated=(WEB.arn,))
    assert [caller.kind for caller in EVERYBODY if issuer.denies(caller)] == ["web"]
    assert not any(named(canonical=("AIDA1",)).denies(caller) for caller in EVERYBODY)


def spared(*names: str, **principals: Any) -> list[str]:
    """Whom a Deny of everybody but these leaves alone."""
    found = Names(Principals(aws=names, **principals), is_negated=True)
    return [caller.kind for caller in EVERYBODY if not found.denies(caller)]


def test_denying_everybody_but_some() -> None:
    home, away = f"arn:aws:iam::{HOME}:root", f"arn:aws:iam::{AWAY}:user/x"
    other_session = f"arn:aws:sts::{HOME}:assumed-role/worker/two"
    assert spared(ALICE.arn) == ["user"]
    assert spared("AIDA1") == ["user"]
    assert spared(WORKER.arn) == ["role"]
    assert spared(WORKER.role_arn) == ["role"]
    assert spared(home) == spared(home, away) == ["user", "role", "federated", "root"]
    assert spared(services=("sns.amazonaws.com",)) == ["service"]
    assert spared(everyone=True) == [caller.kind for caller in EVERYBODY]
    # The account and the role that are listed beside one of theirs are there for its sake only.
    assert spared(home, ALICE.arn) == ["user", "root"]
    assert spared(home, WORKER.role_arn) == ["role", "root"]
    assert spared(home, WORKER.role_arn, other_session) == ["root"]
    assert spared(home, "AIDAOTHER") == ["root"]


def test_allowing_everybody_but_some() -> None:
    def left(**principals: Any) -> list[str]:
        found = Names(Principals(**principals), is_negated=True)
        return [caller.kind for caller in EVERYBODY if found.allows(caller) is Level.EVERYONE]

    assert left(aws=(ALICE.arn,)) == ["role", "federated", "root", "service", "anonymous"]
    assert left(aws=(f"arn:aws:iam::{HOME}:root", ALICE.arn)) == ["service", "anonymous"]
    assert left(everyone=True) == left(canonical=("somebody",)) == []


# --- Decisions: what the table of cases does not ask ----------------------------------------------


def test_the_reason_names_the_action() -> None:
    expected = "because no identity-based policy allows the sqs:sendmessage action"
    assert text(Reason.NO_IDENTITY, "sqs:sendmessage") == expected
    denied = "with an explicit deny in a resource-based policy"
    assert text(Reason.DENIED_BY_RESOURCE, "sqs:sendmessage") == denied


def test_a_denial_names_its_statement() -> None:
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    found = policy("resource", Effect="Deny", Principal="*", Condition=condition)
    context = Context({"aws:securetransport": ("false",)})
    request = Request("sqs:SendMessage", QUEUE, HOME)
    decision = decide(ROOT, request, context, NamedPolicy("the queue's policy", found))
    assert (decision.allowed, decision.reason) == (False, Reason.DENIED_BY_RESOURCE)
    assert (decision.policy, decision.statement) == ("the queue's policy", "Statement[0]")
    assert decision.condition_keys == ("aws:securetransport",)


@pytest.mark.parametrize(
    ("grants", "resource_policy", "reason"),
    [
        (Grants(identity=(NamedPolicy("x", None),)), None, Reason.DENIED_BY_IDENTITY),
        (Grants(), NamedPolicy("x", None), Reason.DENIED_BY_RESOURCE),
        (Grants(boundary=NamedPolicy("x", None)), None, Reason.DENIED_BY_BOUNDARY),
        (Grants(session=(NamedPolicy("x", None),)), None, Reason.DENIED_BY_SESSION),
    ],
)
def test_a_policy_that_cannot_be_read_denies(
    grants: Grants, resource_policy: NamedPolicy | None, reason: Reason
) -> None:
    everything = NamedPolicy("everything", policy())
    identity = (everything, *grants.identity)
    own = Grants(identity, grants.boundary, grants.session)
    caller = Caller("user", HOME, ALICE.arn, "AIDA1", grants=own)
    request = Request("sqs:SendMessage", QUEUE, HOME)
    decision = decide(caller, request, Context(), resource_policy)
    assert (decision.allowed, decision.reason, decision.policy) == (False, reason, "x")


def test_nobody_without_an_account_owns_what_has_none() -> None:
    found = NamedPolicy("x", policy("resource", Principal="*"))
    request = Request("sqs:CreateQueue", "*", "", shareable=False)
    for caller in (NOBODY, SERVICE):
        assert decide(caller, request, Context(), found).reason is Reason.NO_RESOURCE


@pytest.mark.parametrize(("action", "sees"), [("sqs:SendMessage", False), ("kms:Decrypt", True)])
def test_the_policy_of_a_queue_does_not_see_its_tags(action: str, sees: bool) -> None:
    condition = {"StringEquals": {"aws:ResourceTag/team": "red"}}
    found = NamedPolicy("x", policy("resource", Principal="*", Condition=condition))
    context = Context({"aws:resourcetag/team": ("red",)})
    assert decide(ALICE, Request(action, QUEUE, HOME), context, found).allowed == sees
    own = Grants((NamedPolicy("own", policy(Condition=condition)),))
    caller = Caller("user", HOME, ALICE.arn, "AIDA1", grants=own)
    assert decide(caller, Request(action, QUEUE, HOME), context, None).allowed
