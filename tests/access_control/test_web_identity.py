"""AssumeRoleWithWebIdentity, as pods of a cluster use it with their service account's token."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from tests.access_control.stage import (
    ACCOUNT,
    REGION,
    Stage,
    allow,
    denied,
    key_of,
    open_stage,
    refusal,
    trusting,
)
from tests.sts import issuer

INVALID = (403, "InvalidClientTokenId", "The security token included in the request is invalid.")
EXPIRED = (403, "ExpiredToken", "The security token included in the request is expired")
STS = f"arn:aws:sts::{ACCOUNT}"
IAM = f"arn:aws:iam::{ACCOUNT}"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server that has an issuer's keys in a file."""
    folder = tmp_path_factory.mktemp("sts")
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [issuer.jwk_of(issuer.rsa_key(), "rsa")]}))
    with open_stage(folder, {"oidc_jwks": f"{issuer.URL}={jwks}"}) as opened:
        yield opened


@pytest.fixture(scope="module")
def queue(stage: Stage) -> str:
    return stage.queue("q", tags={"team": "blue"})


PROVIDER = issuer.URL.removeprefix("https://")
WEB = "sts:AssumeRoleWithWebIdentity"


def service_account_token(**changes: Any) -> str:
    """As the API server of a cluster signs them."""
    now_s = int(time.time())
    claims = {
        "iss": issuer.URL,
        "aud": ["sts.amazonaws.com"],
        "sub": "system:serviceaccount:shop:orders",
        "iat": now_s - 10,
        "nbf": now_s - 10,
        "exp": now_s + 3600,
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "orders", "uid": "1"}},
    }
    return issuer.signed(claims | changes)


@pytest.fixture(scope="module")
def pod(stage: Stage) -> str:
    """The role of a pod."""
    stage.iam.create_open_id_connect_provider(
        Url=issuer.URL, ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40]
    )
    trust = trusting(
        {"Federated": f"{IAM}:oidc-provider/{PROVIDER}"},
        WEB,
        Condition={
            "StringEquals": {
                f"{PROVIDER}:sub": "system:serviceaccount:shop:orders",
                f"{PROVIDER}:aud": "sts.amazonaws.com",
            }
        },
    )
    return stage.role("pod", allow("sqs:SendMessage"), trust=trust)


@pytest.fixture
def web(stage: Stage, pod: str) -> Callable[..., Any]:
    unsigned = stage.client("sts", signature_version=UNSIGNED)

    def assume(token: str, arn: str = pod) -> Any:
        return unsigned.assume_role_with_web_identity(
            RoleArn=arn, RoleSessionName="orders-1", WebIdentityToken=token
        )

    return assume


def test_a_pod_uses_a_queue(stage: Stage, web: Callable[..., Any], queue: str) -> None:
    answer = web(service_account_token())
    assert answer["SubjectFromWebIdentityToken"] == "system:serviceaccount:shop:orders"
    session = key_of(answer["Credentials"])
    assert stage.identity(session)[2] == f"{STS}:assumed-role/pod/orders-1"
    assert stage.sends(session, queue)
    denied(lambda: stage.client("sqs", session).receive_message(QueueUrl=queue))


def test_the_usual_environment_of_a_pod_is_enough(
    stage: Stage, pod: str, queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No code of its own: boto3 finds role and token, and asks STS."""
    token = tmp_path / "token"
    token.write_text(service_account_token())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    environment = {
        "AWS_ROLE_ARN": pod,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ENDPOINT_URL": stage.http,
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.Session().client("sqs", config=Config(retries={"total_max_attempts": 1}))
    assert client.send_message(QueueUrl=queue, MessageBody="hello")["MessageId"]
    client.close()


def test_tokens_that_get_nothing(web: Callable[..., Any]) -> None:
    now_s = int(time.time())
    forged = service_account_token().rpartition(".")[0] + "." + "A" * 342
    for token, code in (
        (service_account_token(exp=now_s - 600, iat=now_s - 1200), "ExpiredTokenException"),
        (service_account_token(aud=["elsewhere"]), "InvalidIdentityToken"),
        (service_account_token(iss="https://other.example.com"), "InvalidIdentityToken"),
        (service_account_token(sub="system:serviceaccount:shop:admin"), "AccessDenied"),
        (forged, "InvalidIdentityToken"),
        ("not.a.token", "InvalidIdentityToken"),
    ):
        found = refusal(partial(web, token))
        assert found.code == code
        assert found.status in (400, 403)


def test_a_pod_becomes_no_role_that_does_not_trust_its_issuer(
    stage: Stage, web: Callable[..., Any]
) -> None:
    everybody = stage.role("everybodys", trust=trusting("*", WEB, "sts:AssumeRole"))
    for arn in (everybody, f"{IAM}:role/missing-one"):
        denied(partial(web, service_account_token(), arn), f"Not authorized to perform {WEB}")
