"""GetSessionToken, GetFederationToken, and who may call what."""

from typing import Any

import pytest

from stanchion.access.entities import AccessKey
from stanchion.access.identity import NamedPolicy, anonymous, root_of
from stanchion.access.policy.document import parse
from stanchion.model.sts import (
    AssumeRoleRequest,
    AssumeRoleWithWebIdentityRequest,
    GetAccessKeyInfoRequest,
    GetCallerIdentityRequest,
    GetFederationTokenRequest,
    GetSessionTokenRequest,
    PolicyDescriptorType,
    Tag,
)
from stanchion.sts.authorisation import RULES, UNSIGNED
from stanchion.sts.service import REGISTRY
from tests.sqs.harness import START_MS
from tests.sts.harness import ACCOUNT, MAY_ASSUME, OTHER, ROOT, Service, assuming, policy, trust

FEDERATION = ("sts:GetFederationToken", "sts:TagSession")


@pytest.fixture
def service() -> Service:
    return Service()


# --- Who may call what ----------------------------------------------------------------------------


def test_every_operation_has_a_rule() -> None:
    assert set(RULES) == set(REGISTRY.model.operations)


@pytest.mark.parametrize("operation", sorted(set(RULES) - UNSIGNED))
def test_nobody_unknown_is_answered(service: Service, operation: str) -> None:
    request = REGISTRY.model.operations[operation].input()
    expected = ("MissingAuthenticationToken", "Request is missing Authentication Token")
    assert service.refuses(request, anonymous("192.0.2.1")) == expected


def test_required_parameters(service: Service) -> None:
    for request in (
        AssumeRoleRequest(),
        AssumeRoleWithWebIdentityRequest(),
        GetFederationTokenRequest(),
        GetAccessKeyInfoRequest(),
    ):
        code, text = service.refuses(request, service.user())
        assert code == "ValidationError"
        assert "Member must not be null" in text


def test_a_caller_learns_who_it_is_whatever_policies_say(service: Service) -> None:
    request = GetCallerIdentityRequest()
    deny = service.user("alice", inline={"no": policy("*", Effect="Deny")})
    answer = service.ask(request, deny)
    assert answer.arn == f"arn:aws:iam::{ACCOUNT}:user/alice"
    assert answer.user_id == "AIDAALICE000000000000"
    assert answer.account == ACCOUNT
    answer = service.ask(request, ROOT)
    assert (answer.user_id, answer.arn) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
    bob = service.user("bob", *MAY_ASSUME)
    role = service.role("Sender", trust({"AWS": bob.arn}))
    answer = service.ask(request, service.assumed(bob, role))
    assert answer.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/Sender/session"
    assert answer.user_id == "AROASENDER00000000000:session"


def test_whose_a_key_is(service: Service) -> None:
    for account_id, key_id in ((ACCOUNT, "AKIAAAAAAAAAAAAAAAAA"), (OTHER, "AKIABBBBBBBBBBBBBBBB")):
        key = AccessKey(
            access_key_id=key_id, account_id=account_id, sealed_secret=b"", created_at_ms=0
        )
        service.put(key, "", key_id)
        request = GetAccessKeyInfoRequest(access_key_id=key_id)
        assert service.ask(request, ROOT).account == account_id
    unknown = GetAccessKeyInfoRequest(access_key_id="AKIACCCCCCCCCCCCCCCC")
    assert service.refuses(unknown, ROOT)[0] == "ValidationError"
    alice = service.user("alice")
    code, text = service.refuses(request, alice)
    assert code == "AccessDenied"
    assert "no identity-based policy allows the sts:GetAccessKeyInfo action" in text
    service.ask(request, service.user("bob", "sts:GetAccessKeyInfo"))


# --- GetSessionToken ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked_s", "user_s", "root_s"),
    [(None, 43_200, 3600), (900, 900, 900), (129_600, 129_600, 3600)],
)
def test_how_long_sessions_last(
    service: Service, asked_s: int | None, user_s: int, root_s: int
) -> None:
    alice = service.user("alice", *FEDERATION)
    for caller, expected_s in ((alice, user_s), (ROOT, root_s)):
        for request in (
            GetSessionTokenRequest(duration_seconds=asked_s),
            GetFederationTokenRequest(name="web", duration_seconds=asked_s),
        ):
            credentials = service.ask(request, caller).credentials
            session = service.session(credentials)
            assert session.expires_at_s - session.issued_at_s == expected_s
            assert session.issued_at_s == START_MS // 1000


@pytest.mark.parametrize("asked_s", [899, 129_601])
def test_durations_outside_the_limits(service: Service, asked_s: int) -> None:
    for request in (
        GetSessionTokenRequest(duration_seconds=asked_s),
        GetFederationTokenRequest(name="web", duration_seconds=asked_s),
    ):
        assert service.refuses(request, ROOT)[0] == "ValidationError"


def test_a_session_is_its_user(service: Service) -> None:
    denying = service.user("alice", inline={"no": policy("sts:*", Effect="Deny")})
    caller = service.caller(service.ask(GetSessionTokenRequest(), denying).credentials)
    assert (caller.kind, caller.arn, caller.sender_id) == ("user", denying.arn, denying.sender_id)
    assert caller.keys["aws:multifactorauthpresent"] == ("false",)
    root = service.caller(service.ask(GetSessionTokenRequest(), ROOT).credentials)
    assert (root.kind, root.arn) == ("root", ROOT.arn)


def test_a_session_may_assume_roles_and_little_else(service: Service) -> None:
    alice = service.user("alice", "sts:*")
    role = service.role("Sender", trust({"AWS": alice.arn}), "sts:*")
    session = service.caller(service.ask(GetSessionTokenRequest(), alice).credentials)
    service.assume(session, role)
    service.ask(GetCallerIdentityRequest(), session)
    root_session = service.caller(service.ask(GetSessionTokenRequest(), ROOT).credentials)
    code, text = service.refuses(assuming(role), root_session)
    assert text == "Roles may not be assumed by root accounts."
    in_role = service.assumed(alice, role)
    for caller in (session, root_session, in_role):
        for request, name in (
            (GetSessionTokenRequest(), "GetSessionToken"),
            (GetFederationTokenRequest(name="web"), "GetFederationToken"),
        ):
            expected = ("AccessDenied", f"Cannot call {name} with session credentials")
            assert service.refuses(request, caller) == expected
    code, _ = service.refuses(GetAccessKeyInfoRequest(access_key_id="A" * 20), session)
    assert code == "AccessDenied"
    # A role may ask, and is told what is wrong with the question.
    code, _ = service.refuses(GetAccessKeyInfoRequest(access_key_id="A" * 20), in_role)
    assert code == "ValidationError"


def test_there_are_no_mfa_devices(service: Service) -> None:
    for more in ({"token_code": "123456"}, {"serial_number": "GAHT12345678"}):
        assert service.refuses(GetSessionTokenRequest(**more), ROOT) == (
            "AccessDenied",
            "MultiFactorAuthentication failed with invalid MFA one time pass code.",
        )


def test_a_user_that_was_made_again_is_another(service: Service) -> None:
    alice = service.user("alice")
    credentials = service.ask(GetSessionTokenRequest(), alice).credentials
    service.caller(credentials)
    service.user("alice", id="AIDAANOTHER0000000000")
    with pytest.raises(AssertionError):
        service.caller(credentials)


# --- GetFederationToken ---------------------------------------------------------------------------


def test_a_federated_user(service: Service) -> None:
    alice = service.user("alice", *FEDERATION, "sqs:*", tags={"Team": "a", "zone": "z"})
    allowed = policy("sqs:SendMessage")
    tags = [Tag(key="team", value="b")]
    answer = service.ask(GetFederationTokenRequest(name="web", policy=allowed, tags=tags), alice)
    assert answer.federated_user.arn == f"arn:aws:sts::{ACCOUNT}:federated-user/web"
    assert answer.federated_user.federated_user_id == f"{ACCOUNT}:web"
    assert answer.packed_policy_size >= 1
    caller = service.caller(answer.credentials)
    assert (caller.kind, caller.arn) == ("federated", answer.federated_user.arn)
    assert caller.sender_id == f"{ACCOUNT}:web"
    assert caller.grants.session == (NamedPolicy("session policy", parse(allowed, "identity")),)
    # Tags of the user, those of the session first.
    assert caller.keys["aws:principaltag/team"] == ("b",)
    assert caller.keys["aws:principaltag/zone"] == ("z",)
    identity = service.ask(GetCallerIdentityRequest(), caller)
    assert identity.user_id == f"{ACCOUNT}:web"


def test_without_session_policies_a_federated_user_has_no_permissions(service: Service) -> None:
    alice = service.user("alice", *FEDERATION, "sqs:*")
    answer = service.ask(GetFederationTokenRequest(name="web"), alice)
    assert answer.packed_policy_size is None
    assert service.caller(answer.credentials).grants.identity == ()


def test_federation_needs_permission(service: Service) -> None:
    only_web = policy(FEDERATION[0], Resource=f"arn:aws:sts::{ACCOUNT}:federated-user/web")
    alice = service.user("alice", inline={"own": only_web})
    service.ask(GetFederationTokenRequest(name="web"), alice)
    assert service.refuses(GetFederationTokenRequest(name="other"), alice) == (
        "AccessDenied",
        f"User: {alice.arn} is not authorized to perform: sts:GetFederationToken on resource: "
        f"arn:aws:sts::{ACCOUNT}:federated-user/other because no identity-based policy allows the "
        "sts:GetFederationToken action",
    )
    tagged = GetFederationTokenRequest(name="web", tags=[Tag(key="a", value="b")])
    code, text = service.refuses(tagged, alice)
    assert (code, "sts:TagSession" in text) == ("AccessDenied", True)


def test_conditions_on_tags(service: Service) -> None:
    team_a = {"StringEquals": {"aws:RequestTag/team": "a"}}
    alice = service.user("alice", inline={"own": policy(*FEDERATION, Condition=team_a)})
    good, bad = (
        GetFederationTokenRequest(name="web", tags=[Tag(key="team", value=value)])
        for value in ("a", "b")
    )
    service.ask(good, alice)
    assert service.refuses(bad, alice)[0] == "AccessDenied"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"policy": "{"}, "MalformedPolicyDocument"),
        ({"policy": " " * 2049}, "ValidationError"),
        (
            {"policy_arns": [PolicyDescriptorType(arn=f"arn:aws:iam::{OTHER}:policy/x")]},
            "ValidationError",
        ),
        ({"tags": [Tag(key="a", value="1"), Tag(key="A", value="1")]}, "InvalidParameterValue"),
        ({"name": "x" * 33}, "ValidationError"),
        ({"name": "a b"}, "ValidationError"),
    ],
)
def test_what_is_refused(service: Service, parameters: dict[str, Any], code: str) -> None:
    request = GetFederationTokenRequest(**({"name": "web"} | parameters))
    assert service.refuses(request, ROOT)[0] == code


def test_a_federated_user_calls_nothing_else(service: Service) -> None:
    answer = service.ask(GetFederationTokenRequest(name="web", policy=policy("*")), ROOT)
    caller = service.caller(answer.credentials)
    role = service.role("Sender", trust("*"))
    for request in (
        assuming(role),
        GetSessionTokenRequest(),
        GetFederationTokenRequest(name="web"),
        GetAccessKeyInfoRequest(access_key_id="A" * 20),
    ):
        assert service.refuses(request, caller)[0] == "AccessDenied"


def test_the_other_account_is_its_own(service: Service) -> None:
    answer = service.ask(GetFederationTokenRequest(name="web"), root_of(OTHER, "AKIAX"))
    assert answer.federated_user.arn == f"arn:aws:sts::{OTHER}:federated-user/web"
