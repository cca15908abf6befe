"""AssumeRoleWithWebIdentity: which tokens are believed, and what a trust policy may ask of them."""

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from msgspec import structs

from stanchion.model.sts import PolicyDescriptorType
from stanchion.sts.https import FetchFailed
from tests.sts.cluster import CLAIMS, HOST, NOW_S, PROVIDER_ARN, ROLE_ARN, WEB, Cluster, claims_with
from tests.sts.harness import ACCOUNT, OTHER, ROOT_ARN, policy, trust
from tests.sts.issuer import URL, jwk_of, rsa_key, signed


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_the_answer(cluster: Cluster) -> None:
    answer = cluster.ask(signed(CLAIMS), duration_seconds=900)
    assert answer.assumed_role_user.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/Pod/app"
    assert answer.subject_from_web_identity_token == CLAIMS["sub"]
    assert answer.provider == PROVIDER_ARN
    assert answer.audience == "sts.amazonaws.com"
    assert (answer.packed_policy_size, answer.source_identity) == (None, None)
    assert int(answer.credentials.expiration.timestamp()) == NOW_S + 900
    caller = cluster.service.caller(answer.credentials)
    assert caller.kind == "role"
    assert caller.keys[f"{HOST}:sub"] == (CLAIMS["sub"],)
    assert caller.keys["aws:federatedprovider"] == (PROVIDER_ARN,)


# --- Claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": NOW_S - 59}, None),
        ({"exp": NOW_S - 60}, "ExpiredTokenException"),
        ({"exp": NOW_S - 59.5}, None),
        ({"nbf": NOW_S + 60}, None),
        ({"nbf": NOW_S + 61}, "IDPRejectedClaim"),
        ({"iat": NOW_S + 60}, None),
        ({"iat": NOW_S + 61}, "IDPRejectedClaim"),
        ({"exp": None}, "InvalidIdentityToken"),
        ({"iat": None}, "InvalidIdentityToken"),
        ({"sub": None}, "InvalidIdentityToken"),
        ({"sub": ""}, "InvalidIdentityToken"),
        ({"sub": "s" * 255}, None),
        ({"sub": "s" * 256}, "InvalidIdentityToken"),
        ({"sub": ["a"]}, "InvalidIdentityToken"),
        ({"aud": None}, "InvalidIdentityToken"),
        ({"aud": []}, "InvalidIdentityToken"),
        ({"aud": "web"}, None),
        ({"aud": "other"}, "InvalidIdentityToken"),
        ({"aud": ["other", "web"]}, None),
        ({"aud": [["web"]]}, "InvalidIdentityToken"),
        ({"aud": {"web": 1}}, "InvalidIdentityToken"),
        ({"aud": "other", "azp": "web"}, None),
        ({"aud": "web", "azp": "other"}, "InvalidIdentityToken"),
        ({"iss": f"{URL}/"}, "InvalidIdentityToken"),
        ({"iss": HOST}, "InvalidIdentityToken"),
        ({"iss": f"http://{HOST}"}, "InvalidIdentityToken"),
        ({"iss": "https://other.example.com"}, "InvalidIdentityToken"),
        ({"iss": None}, "InvalidIdentityToken"),
    ],
)
def test_claims(cluster: Cluster, claims: dict[str, Any], code: str | None) -> None:
    if code is None:
        cluster.claiming(**claims)
    else:
        assert cluster.refuses_claims(**claims)[0] == code


@pytest.mark.parametrize(
    "instant", [True, "1", [1], {}, float("nan"), float("inf"), 10**400, -(10**13), False]
)
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
def test_instants_that_are_none(cluster: Cluster, name: str, instant: Any) -> None:
    token = _signed_raw(claims_with({name: instant}))
    code, text = cluster.refuses(token)
    assert (code, name in text) == ("InvalidIdentityToken", True)


def _signed_raw(claims: dict[str, Any]) -> str:
    """Signed, whatever the claims are made of."""
    return jwt.api_jws.encode(json.dumps(claims).encode(), rsa_key(), "RS256", {"kid": "rsa"})


def test_a_token_ends_on_the_second(cluster: Cluster) -> None:
    cluster.clock.advance(0.877)
    assert cluster.clock.wall_s() == NOW_S + 1
    cluster.claiming(exp=NOW_S + 2 - 60)
    assert cluster.refuses_claims(exp=NOW_S + 1 - 60)[0] == "ExpiredTokenException"


def test_texts_of_aws(cluster: Cluster) -> None:
    assert cluster.refuses_claims(exp=NOW_S - 100) == (
        "ExpiredTokenException",
        f"Token expired: current date/time {NOW_S} must be before the expiration "
        f"date/time{NOW_S - 100}",
    )
    assert cluster.refuses_claims(aud="other")[1] == "Incorrect token audience"
    assert cluster.refuses_claims(sub=None)[1] == "Missing a required claim: sub"
    assert cluster.refuses_claims(iss="https://other.example.com")[1] == (
        "No OpenIDConnect provider found in your account for https://other.example.com"
    )
    token = signed(CLAIMS)
    assert cluster.refuses(token, "arn:aws:iam::1:user/longer") == (
        "ValidationError",
        "Request ARN is invalid",
    )


def test_an_issuer_is_known_by_account(cluster: Cluster) -> None:
    other = ROLE_ARN.replace(ACCOUNT, OTHER)
    document = trust({"Federated": PROVIDER_ARN}, WEB)
    cluster.service.role("Pod", document, account_id=OTHER)
    code, text = cluster.refuses(signed(CLAIMS), other)
    assert (code, "No OpenIDConnect provider" in text) == ("InvalidIdentityToken", True)
    assert cluster.issuer.asked == []


def test_an_issuer_without_keys(cluster: Cluster) -> None:
    cluster.issuer.answers[f"{URL}/keys"] = FetchFailed("away")
    assert cluster.refuses(signed(CLAIMS))[0] == "IDPCommunicationError"


def test_keys_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk_of(rsa_key(), "rsa")]}))
    cluster = Cluster(jwks_files={URL: path})
    cluster.claiming()
    assert cluster.issuer.asked == []


# --- The trust policy -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "claims", "may"),
    [
        ({"StringEquals": {f"{HOST}:sub": CLAIMS["sub"]}}, {}, True),
        ({"StringLike": {f"{HOST}:sub": "system:serviceaccount:default:*"}}, {}, True),
        ({"StringEquals": {f"{HOST}:sub": CLAIMS["sub"]}}, {"sub": "another"}, False),
        ({"StringEquals": {f"{HOST}:aud": "sts.amazonaws.com"}}, {}, True),
        ({"StringEquals": {f"{HOST}:aud": "sts.amazonaws.com"}}, {"aud": "web"}, False),
        ({"StringEquals": {f"{HOST}:aud": "web"}}, {"aud": "x", "azp": "web"}, True),
        ({"ForAnyValue:StringEquals": {f"{HOST}:amr": "mfa"}}, {"amr": ["pwd", "mfa"]}, True),
        ({"ForAnyValue:StringEquals": {f"{HOST}:amr": "mfa"}}, {"amr": ["pwd"]}, False),
        ({"ForAnyValue:StringEquals": {f"{HOST}:amr": "mfa"}}, {}, False),
        ({"StringEquals": {"sts:RoleSessionName": "app"}}, {}, True),
        ({"StringEquals": {"sts:RoleSessionName": "other"}}, {}, False),
        ({"StringEquals": {"other.example.com:sub": CLAIMS["sub"]}}, {}, False),
    ],
)
def test_conditions(
    cluster: Cluster, condition: dict[str, Any], claims: dict[str, Any], may: bool
) -> None:
    cluster.trust(condition)
    if may:
        cluster.claiming(**claims)
    else:
        assert cluster.refuses_claims(**claims) == (
            "AccessDenied",
            f"Not authorized to perform {WEB}",
        )


@pytest.mark.parametrize(
    "document",
    [
        trust({"AWS": ROOT_ARN}, WEB),
        trust("*", WEB),
        trust({"Federated": "cognito-identity.amazonaws.com"}, WEB),
        trust({"Federated": PROVIDER_ARN + "2"}, WEB),
        trust({"Federated": PROVIDER_ARN}, "sts:AssumeRole"),
        "{",
    ],
)
def test_trust_policies_that_do_not_name_the_issuer(cluster: Cluster, document: str) -> None:
    cluster.service.role("Pod", document)
    expected = ("AccessDenied", f"Not authorized to perform {WEB}")
    assert cluster.refuses(signed(CLAIMS)) == expected
    assert cluster.refuses(signed(CLAIMS), ROLE_ARN + "Unknown") == expected


TAGS = "https://aws.amazon.com/tags"


def test_tags_and_source_identity_come_with_the_token(cluster: Cluster) -> None:
    claims = {
        TAGS: {
            "principal_tags": {"Team": ["a"], "Cost": "b"},
            "transitive_tag_keys": ["Team"],
        },
        "https://aws.amazon.com/source_identity": "alice",
    }
    assert cluster.refuses_claims(**claims) == (
        "AccessDenied",
        "Not authorized to perform sts:TagSession",
    )
    condition = {
        "StringEquals": {
            "aws:RequestTag/team": "a",
            "sts:SourceIdentity": "alice",
            "sts:TransitiveTagKeys": "Team",
        }
    }
    cluster.trust(condition, "sts:TagSession", "sts:SetSourceIdentity")
    answer = cluster.claiming(**claims)
    assert answer.source_identity == "alice"
    assert answer.packed_policy_size >= 1
    caller = cluster.service.caller(answer.credentials)
    assert caller.keys["aws:principaltag/team"] == ("a",)
    assert caller.keys["aws:principaltag/cost"] == ("b",)
    assert caller.transitive_tags == {"Team": "a"}
    assert caller.keys["aws:sourceidentity"] == ("alice",)


@pytest.mark.parametrize(
    "claims",
    [
        {TAGS: []},
        {TAGS: {"principal_tags": ["a"]}},
        {TAGS: {"principal_tags": {"a": []}}},
        {TAGS: {"principal_tags": {"a": ["b", "c"]}}},
        {TAGS: {"principal_tags": {"a": [4]}}},
        {TAGS: {"principal_tags": {"a": {"b": "c"}}}},
        {TAGS: {"principal_tags": {"a": "v" * 257}}},
        {TAGS: {"principal_tags": {"a": "1", "A": "2"}}},
        {TAGS: {"principal_tags": {"aws:a": "1"}}},
        {TAGS: {"principal_tags": {f"k{n}": "" for n in range(51)}}},
        {TAGS: {"transitive_tag_keys": ["a"]}},
        {TAGS: {"transitive_tag_keys": 4}},
        {"https://aws.amazon.com/source_identity": ["alice"]},
        {"https://aws.amazon.com/source_identity": "aws:alice"},
        {"https://aws.amazon.com/source_identity": "a"},
    ],
)
def test_claims_for_tags_that_are_malformed(cluster: Cluster, claims: dict[str, Any]) -> None:
    cluster.trust({}, "sts:TagSession", "sts:SetSourceIdentity")
    assert cluster.refuses_claims(**claims)[0] == "IDPRejectedClaim"


def test_session_policies_and_durations(cluster: Cluster) -> None:
    token = signed(CLAIMS)
    caller = cluster.service.caller(cluster.ask(token, policy=policy("sqs:*")).credentials)
    assert len(caller.grants.session) == 1
    assert cluster.refuses(token, policy="{")[0] == "MalformedPolicyDocument"
    gone = [PolicyDescriptorType(arn=f"arn:aws:iam::{ACCOUNT}:policy/gone")]
    assert cluster.refuses(token, policy_arns=gone)[0] == "ValidationError"
    assert cluster.refuses(token, duration_seconds=3601)[0] == "ValidationError"


def test_an_audience_that_was_taken_back(cluster: Cluster) -> None:
    cluster.claiming()
    without = structs.replace(cluster.provider, client_ids=("web",))
    cluster.service.put(without, ACCOUNT, HOST)
    assert cluster.refuses_claims()[1] == "Incorrect token audience"
