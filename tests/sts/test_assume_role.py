"""AssumeRole: who may, what comes of it, and what it says when one may not."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from stanchion.access.identity import Caller, NamedPolicy
from stanchion.access.policy.document import parse
from stanchion.model.sts import ProvidedContext, Tag
from tests.sqs.harness import START_MS
from tests.sts.harness import (
    ACCOUNT,
    BY_ACCOUNT,
    MAY_ASSUME,
    OTHER,
    ROOT,
    ROOT_ARN,
    Service,
    assuming,
    policy,
    policy_arn,
    trust,
)

ALICE_ARN = f"arn:aws:iam::{ACCOUNT}:user/alice"


@pytest.fixture
def service() -> Service:
    return Service()


def denied(caller: Caller, arn: str, action: str = "sts:AssumeRole") -> tuple[str, str]:
    return (
        "AccessDenied",
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {arn}",
    )


def test_the_answer(service: Service) -> None:
    arn = service.role("Sender", BY_ACCOUNT, path="/ops/")
    alice = service.user("alice", *MAY_ASSUME)
    answer = service.assume(alice, arn, role_session_name="work", duration_seconds=900)
    assert answer.assumed_role_user.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/Sender/work"
    assert answer.assumed_role_user.assumed_role_id == "AROASENDER00000000000:work"
    assert answer.packed_policy_size is None
    assert answer.source_identity is None
    expected = datetime.fromtimestamp(START_MS // 1000 + 900, UTC)
    assert answer.credentials.expiration == expected
    assert answer.credentials.access_key_id.startswith("ASIA")
    caller = service.caller(answer.credentials)
    assert (caller.kind, caller.role_arn, caller.entity_id) == (
        "role",
        arn,
        "AROASENDER00000000000",
    )
    assert caller.arn == answer.assumed_role_user.arn
    assert service.session(answer.credentials).secret == answer.credentials.secret_access_key


# --- Who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("principal", "own_actions", "may"),
    [
        ({"AWS": ROOT_ARN}, ["sts:AssumeRole"], True),
        ({"AWS": ROOT_ARN}, [], False),
        ({"AWS": ACCOUNT}, ["sts:AssumeRole"], True),
        ({"AWS": ALICE_ARN}, [], True),
        ({"AWS": "AIDAALICE000000000000"}, [], True),
        ({"AWS": "AIDABOB00000000000000"}, ["sts:*"], False),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"}, ["sts:*"], False),
        ({"AWS": f"arn:aws:iam::{OTHER}:root"}, ["sts:*"], False),
        ({"Service": "sqs.amazonaws.com"}, ["sts:*"], False),
        ("*", [], True),
    ],
)
def test_in_the_own_account(
    service: Service, principal: Any, own_actions: list[str], may: bool
) -> None:
    arn = service.role("Sender", trust(principal))
    alice = service.user("alice", *own_actions)
    if may:
        service.assume(alice, arn)
    else:
        assert service.refuses(assuming(arn), alice) == denied(alice, arn)


@pytest.mark.parametrize(
    ("principal", "own_actions", "may"),
    [
        ({"AWS": ROOT_ARN}, ["sts:AssumeRole"], True),
        ({"AWS": ROOT_ARN}, [], False),
        ({"AWS": ALICE_ARN}, ["sts:AssumeRole"], True),
        ({"AWS": ALICE_ARN}, [], False),
        ({"AWS": f"arn:aws:iam::{OTHER}:root"}, ["sts:*"], False),
        ("*", ["sts:AssumeRole"], True),
        ("*", [], False),
    ],
)
def test_across_accounts_both_must_allow(
    service: Service, principal: Any, own_actions: list[str], may: bool
) -> None:
    arn = service.role("Sender", trust(principal), account_id=OTHER)
    alice = service.user("alice", *own_actions)
    if may:
        caller = service.assumed(alice, arn)
        assert caller.account_id == OTHER
    else:
        assert service.refuses(assuming(arn), alice) == denied(alice, arn)


def test_an_explicit_deny_wins_and_gives_no_reason(service: Service) -> None:
    arn = service.role("Sender", trust({"AWS": ALICE_ARN}))
    deny = policy("sts:*", Effect="Deny")
    alice = service.user("alice", inline={"no": deny})
    assert service.refuses(assuming(arn), alice) == denied(alice, arn)


def test_a_trust_policy_that_cannot_be_read_denies(service: Service) -> None:
    arn = service.role("Sender", "{")
    alice = service.user("alice", "*")
    assert service.refuses(assuming(arn), alice) == denied(alice, arn)


def test_unknown_and_forbidden_roles_look_the_same(service: Service) -> None:
    alice = service.user("alice", "sts:AssumeRole")
    real = service.role("Sender", trust({"Service": "sqs.amazonaws.com"}))
    unknown = [
        real.replace("Sender", "Other"),
        real.replace("/Sender", "/path/Sender"),
        real.replace("Sender", "SENDER"),
        real.replace(ACCOUNT, OTHER),
        real.replace(ACCOUNT, "999999999999"),
    ]
    for arn in (real, *unknown):
        # What is only known of a role that exists must not be told either.
        for more in ({}, {"duration_seconds": 43_200}, {"policy_arns": [policy_arn("gone")]}):
            assert service.refuses(assuming(arn, **more), alice) == denied(alice, arn)


def test_a_role_has_one_arn(service: Service) -> None:
    arn = service.role("Sender", BY_ACCOUNT, path="/ops/")
    alice = service.user("alice", *MAY_ASSUME)
    service.assume(alice, arn)
    for other in (
        arn.replace("Sender", "sender"),
        arn.replace("/ops/", "/"),
        arn.replace("/ops/", "/Ops/"),
        arn.replace("/ops/", "/ops/ops/"),
        arn.replace(ACCOUNT, OTHER),
    ):
        assert service.refuses(assuming(other), alice) == denied(alice, other)


def test_root_assumes_no_role(service: Service) -> None:
    arn = service.role("Sender", trust("*"))
    expected = ("AccessDenied", "Roles may not be assumed by root accounts.")
    assert service.refuses(assuming(arn), ROOT) == expected


def test_what_is_no_arn_of_a_role(service: Service) -> None:
    alice = service.user("alice", "*")
    for arn in (
        f"arn:aws:iam::{ACCOUNT}:user/alice",
        "arn:aws:iam::12:role/aaaaaaaaaaa",
        f"arn:aws:iam::{ACCOUNT}:role/",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/a/b",
    ):
        assert service.refuses(assuming(arn), alice) == ("ValidationError", f"{arn} is invalid")


# --- Conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        ({"sts:ExternalId": "42"}, {"external_id": "42"}, {"external_id": "43"}),
        ({"sts:ExternalId": "42"}, {"external_id": "42"}, {}),
        ({"sts:RoleSessionName": "work"}, {"role_session_name": "work"}, {}),
        ({"sts:SourceIdentity": "al"}, {"source_identity": "al"}, {"source_identity": "bo"}),
        (
            {"aws:RequestTag/team": "a"},
            {"tags": [Tag(key="Team", value="a")]},
            {"tags": [Tag(key="Team", value="b")]},
        ),
        (
            {"sts:TransitiveTagKeys": "team"},
            {"tags": [Tag(key="team", value="a")], "transitive_tag_keys": ["team"]},
            {"tags": [Tag(key="team", value="a")]},
        ),
        ({"aws:username": "alice"}, {}, None),
        ({"aws:ResourceTag/stage": "test"}, {}, None),
        ({"iam:ResourceTag/stage": "live"}, None, {}),
    ],
)
def test_conditions_of_the_trust_policy(
    service: Service,
    condition: dict[str, str],
    good: dict[str, Any] | None,
    bad: dict[str, Any] | None,
) -> None:
    conditional = trust({"AWS": ALICE_ARN}, *MAY_ASSUME, Condition={"StringEquals": condition})
    arn = service.role("Sender", conditional, tags={"Stage": "test"})
    alice = service.user("alice")
    if good is not None:
        service.assume(alice, arn, **good)
    if bad is not None:
        assert service.refuses(assuming(arn, **bad), alice) == denied(alice, arn)


def test_tag_keys_are_a_condition_of_their_own(service: Service) -> None:
    only_team = {"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}
    arn = service.role("Sender", trust({"AWS": ALICE_ARN}, *MAY_ASSUME, Condition=only_team))
    alice = service.user("alice")
    service.assume(alice, arn, tags=[Tag(key="team", value="a")])
    both = [Tag(key="team", value="a"), Tag(key="cost", value="b")]
    assert service.refuses(assuming(arn, tags=both), alice) == denied(alice, arn)


@pytest.mark.parametrize(
    ("parameters", "action"),
    [
        ({"tags": [Tag(key="team", value="a")]}, "sts:TagSession"),
        ({"source_identity": "alice"}, "sts:SetSourceIdentity"),
    ],
)
def test_tags_and_source_identity_need_permissions_on_both_sides(
    service: Service, parameters: dict[str, Any], action: str
) -> None:
    alice = service.user("alice", "sts:AssumeRole")
    bob = service.user("bob", *MAY_ASSUME)
    lenient = service.role("Lenient", BY_ACCOUNT)
    strict = service.role("Strict", trust({"AWS": ROOT_ARN}))
    service.assume(bob, lenient, **parameters)
    for caller, arn in ((alice, lenient), (bob, strict)):
        expected = denied(caller, arn, action)
        assert service.refuses(assuming(arn, **parameters), caller) == expected


# --- Chains ---------------------------------------------------------------------------------------


def test_a_chain_lasts_an_hour(service: Service) -> None:
    first = service.role("First", BY_ACCOUNT, *MAY_ASSUME, session_s_max=43_200)
    second = service.role("Second", BY_ACCOUNT, session_s_max=43_200)
    chained = service.assumed(service.user("alice", *MAY_ASSUME), first, duration_seconds=43_200)
    service.assume(chained, second, duration_seconds=3600)
    assert service.refuses(assuming(second, duration_seconds=3601), chained) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role "
        "chaining",
    )


def test_a_role_says_how_long(service: Service) -> None:
    arn = service.role("Sender", BY_ACCOUNT, session_s_max=7200)
    alice = service.user("alice", *MAY_ASSUME)
    service.assume(alice, arn, duration_seconds=7200)
    assert service.refuses(assuming(arn, duration_seconds=7201), alice) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )
    for outside in (899, 43_201):
        code, _ = service.refuses(assuming(arn, duration_seconds=outside), alice)
        assert code == "ValidationError"


def test_transitive_tags_go_on_and_cannot_be_overridden(service: Service) -> None:
    first = service.role("First", BY_ACCOUNT, *MAY_ASSUME, tags={"Team": "of-role", "zone": "z"})
    second = service.role("Second", BY_ACCOUNT, *MAY_ASSUME)
    third = service.role("Third", BY_ACCOUNT)
    tags = [Tag(key="team", value="a"), Tag(key="cost", value="b")]
    alice = service.user("alice", *MAY_ASSUME)
    one = service.assumed(alice, first, tags=tags, transitive_tag_keys=["TEAM"])
    assert one.keys["aws:principaltag/team"] == ("a",)
    assert one.keys["aws:principaltag/zone"] == ("z",)
    assert one.transitive_tags == {"team": "a"}
    two = service.assumed(one, second)
    assert two.keys["aws:principaltag/team"] == ("a",)
    assert "aws:principaltag/cost" not in two.keys
    three = service.assumed(two, third, tags=[Tag(key="cost", value="c")])
    assert three.keys["aws:principaltag/team"] == ("a",)
    assert three.transitive_tags == {"team": "a"}
    other = [Tag(key="Team", value="b")]
    assert service.refuses(assuming(third, tags=other), two) == (
        "InvalidParameterValue",
        "One of the specified transitive tag keys can't be set because it conflicts with a "
        "transitive tag key from the calling session.",
    )


def test_inherited_tags_need_the_permission_too(service: Service) -> None:
    first = service.role("First", BY_ACCOUNT, *MAY_ASSUME)
    strict = service.role("Strict", trust({"AWS": ROOT_ARN}))
    tags = [Tag(key="team", value="a")]
    alice = service.user("alice", *MAY_ASSUME)
    tagged = service.assumed(alice, first, tags=tags, transitive_tag_keys=["team"])
    assert service.refuses(assuming(strict), tagged) == denied(tagged, strict, "sts:TagSession")
    plain = service.assumed(alice, first, tags=tags)
    service.assume(plain, strict)


def test_the_source_identity_stays(service: Service) -> None:
    first = service.role("First", BY_ACCOUNT, *MAY_ASSUME)
    second = service.role("Second", BY_ACCOUNT)
    strict = service.role("Strict", trust({"AWS": ROOT_ARN}))
    alice = service.user("alice", *MAY_ASSUME)
    one = service.assumed(alice, first, source_identity="alice")
    answer = service.assume(one, second)
    assert answer.source_identity == "alice"
    assert service.caller(answer.credentials).keys["aws:sourceidentity"] == ("alice",)
    service.assume(one, second, source_identity="alice")
    code, text = service.refuses(assuming(second, source_identity="bob"), one)
    assert (code, "conflicts" in text) == ("InvalidParameterValue", True)
    expected = denied(one, strict, "sts:SetSourceIdentity")
    assert service.refuses(assuming(strict), one) == expected


def test_a_role_that_was_made_again_is_another(service: Service) -> None:
    arn = service.role("Sender", BY_ACCOUNT)
    answer = service.assume(service.user("alice", *MAY_ASSUME), arn)
    service.caller(answer.credentials)
    service.role("Sender", BY_ACCOUNT, id="AROAANOTHER0000000000")
    with pytest.raises(AssertionError):
        service.caller(answer.credentials)


# --- What there is not ----------------------------------------------------------------------------


def test_there_are_no_mfa_devices_nor_context_providers(service: Service) -> None:
    role = service.role("Sender", BY_ACCOUNT)
    alice = service.user("alice", *MAY_ASSUME)
    asked = assuming(role, serial_number=f"arn:aws:iam::{ACCOUNT}:mfa/x", token_code="123456")
    assert service.refuses(asked, alice) == (
        "AccessDenied",
        "MultiFactorAuthentication failed with invalid MFA one time pass code.",
    )
    context = ProvidedContext(provider_arn="arn:aws:iam::aws:contextProvider/X")
    code, text = service.refuses(assuming(role, provided_contexts=[context]), alice)
    assert (code, text.startswith("ProvidedContexts:")) == ("ValidationError", True)


def test_the_limits_of_the_caller_hold(service: Service) -> None:
    """A boundary and session policies bound what a user or session may assume."""
    arn = service.role("Sender", BY_ACCOUNT)
    none = NamedPolicy("boundary", parse(policy("sqs:*"), "identity"))
    alice = service.user("alice", *MAY_ASSUME)
    bounded = structs.replace(alice, grants=structs.replace(alice.grants, boundary=none))
    in_session = structs.replace(alice, grants=structs.replace(alice.grants, session=(none,)))
    service.assume(alice, arn)
    for caller in (bounded, in_session):
        assert service.refuses(assuming(arn), caller) == denied(caller, arn)
