"""The service with an OIDC issuer that an account knows, and a role for those with its tokens."""

import asyncio
from typing import Any

import pytest

from stanchion.access.entities import OidcProvider
from stanchion.access.identity import anonymous
from stanchion.model.errors import ServiceError
from stanchion.model.sts import AssumeRoleWithWebIdentityRequest
from tests.sqs.harness import START_MS
from tests.sts.harness import ACCOUNT, Service, trust
from tests.sts.issuer import URL, Issuer, signed

NOW_S = START_MS // 1000
HOST = URL.removeprefix("https://")
PROVIDER_ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{HOST}"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/Pod"
WEB = "sts:AssumeRoleWithWebIdentity"
CLAIMS: dict[str, Any] = {
    "iss": URL,
    "aud": ["sts.amazonaws.com"],
    "sub": "system:serviceaccount:default:app",
    "iat": NOW_S - 10,
    "exp": NOW_S + 3600,
}
NO_KEY = (
    "Couldn't retrieve verification key from your identity provider,  please reference "
    "AssumeRoleWithWebIdentity documentation for requirements"
)


class Cluster:
    """The service, an issuer that account `ACCOUNT` knows, and a role for its tokens."""

    def __init__(self, **service: Any) -> None:
        self.issuer = Issuer()
        self.service = Service(**({"fetch": self.issuer.fetch} | service))
        self.clock = self.service.clock
        self.provider = OidcProvider(
            url=HOST, client_ids=("sts.amazonaws.com", "web"), created_at_ms=0
        )
        self.service.put(self.provider, ACCOUNT, HOST)
        self.trust({})

    def trust(self, condition: dict[str, Any], *actions: str) -> None:
        document = trust({"Federated": PROVIDER_ARN}, WEB, *actions, Condition=condition)
        self.service.role("Pod", document, "sqs:*")

    def ask(self, token: str, arn: str = ROLE_ARN, **more: Any) -> Any:
        request = AssumeRoleWithWebIdentityRequest(
            **({"role_arn": arn, "role_session_name": "app", "web_identity_token": token} | more)
        )
        return asyncio.run(self.service.asking(request, anonymous("192.0.2.1")))

    def claiming(self, **claims: Any) -> Any:
        """The answer for a good token with other claims."""
        return self.ask(signed(claims_with(claims)))

    def refuses(self, token: str, arn: str = ROLE_ARN, **more: Any) -> tuple[str, str]:
        with pytest.raises(ServiceError) as refusal:
            self.ask(token, arn, **more)
        return refusal.value.query_code, refusal.value.message

    def refuses_claims(self, **claims: Any) -> tuple[str, str]:
        return self.refuses(signed(claims_with(claims)))


def claims_with(changes: dict[str, Any]) -> dict[str, Any]:
    """Good claims with others; None takes one away."""
    return {name: value for name, value in (CLAIMS | changes).items() if value is not None}
