"""OIDC providers, through their actions."""

from typing import Any

import pytest

from stanchion.access.entities import OidcProvider
from stanchion.iam.names import instant
from stanchion.iam.oidc_providers import CLIENT_IDS_MAX, THUMBPRINTS_MAX
from stanchion.model.errors import ValidationError
from stanchion.model.iam import (
    AddClientIDToOpenIDConnectProviderRequest,
    CreateOpenIDConnectProviderRequest,
    DeleteOpenIDConnectProviderRequest,
    EntityAlreadyExistsException,
    GetOpenIDConnectProviderRequest,
    InvalidInputException,
    LimitExceededException,
    ListOpenIDConnectProvidersRequest,
    ListOpenIDConnectProviderTagsRequest,
    NoSuchEntityException,
    RemoveClientIDFromOpenIDConnectProviderRequest,
    Tag,
    TagOpenIDConnectProviderRequest,
    UntagOpenIDConnectProviderRequest,
    UpdateOpenIDConnectProviderThumbprintRequest,
)
from tests.iam.harness import ACCOUNT, OTHER_ACCOUNT, Service
from tests.sqs.harness import START_MS

ISSUER = "oidc.example.com/id/AB12"
ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"
THUMBPRINT = "0123456789abcdefABCD" * 2


@pytest.fixture
def service() -> Service:
    return Service()


def create(service: Service, url: str = f"https://{ISSUER}", **more: Any) -> str:
    answer = service.do(CreateOpenIDConnectProviderRequest(url=url, **more))
    return str(answer.open_id_connect_provider_arn)


def shown(service: Service) -> Any:
    return service.do(GetOpenIDConnectProviderRequest(open_id_connect_provider_arn=ARN))


def test_a_new_provider(service: Service) -> None:
    request = CreateOpenIDConnectProviderRequest(
        url=f"https://{ISSUER}",
        client_id_list=["b", "a", "b"],
        thumbprint_list=[THUMBPRINT],
        tags=[Tag(key="k", value="v")],
    )
    answer = service.do(request)
    assert answer.open_id_connect_provider_arn == ARN
    assert answer.tags == [Tag(key="k", value="v")]
    provider = shown(service)
    assert provider.url == ISSUER
    assert (provider.client_id_list, provider.thumbprint_list) == (["b", "a"], [THUMBPRINT])
    assert provider.create_date == instant(START_MS)
    assert provider.tags == [Tag(key="k", value="v")]
    assert service.exact(OidcProvider, ACCOUNT, ISSUER) is not None


@pytest.mark.parametrize(
    "url", ["https://a.example", "https://a.example/", "https://a.example:8443/realms/x~y"]
)
def test_urls_of_issuers(service: Service, url: str) -> None:
    assert create(service, url) == f"arn:aws:iam::{ACCOUNT}:oidc-provider/{url[8:]}"


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "a.example",
        "https://",
        "https://A.example",
        "https://user@a.example/",
        "https://a.example/?x=1",
        "https://a.example/#x",
        "https://a.example/ x",
        "https://a.example/\n",
    ],
)
def test_what_is_no_url_of_an_issuer(service: Service, url: str) -> None:
    refusal = service.refuses(CreateOpenIDConnectProviderRequest(url=url))
    assert isinstance(refusal, ValidationError)


def test_there_is_one_for_an_issuer(service: Service) -> None:
    create(service)
    refusal = service.refuses(CreateOpenIDConnectProviderRequest(url=f"https://{ISSUER}"))
    assert isinstance(refusal, EntityAlreadyExistsException)
    assert refusal.message == f"Provider with url https://{ISSUER} already exists."


def test_listing_and_deleting(service: Service) -> None:
    other = create(service, "https://a.example")
    create(service)

    def listed() -> list[str]:
        found = service.do(ListOpenIDConnectProvidersRequest()).open_id_connect_provider_list
        return [entry.arn for entry in found]

    assert listed() == [other, ARN]
    service.do(DeleteOpenIDConnectProviderRequest(open_id_connect_provider_arn=other))
    assert listed() == [ARN]


def test_client_ids(service: Service) -> None:
    create(service, client_id_list=["a"])
    for client_id in ("b", "a"):
        service.do(
            AddClientIDToOpenIDConnectProviderRequest(
                open_id_connect_provider_arn=ARN, client_id=client_id
            )
        )
    assert shown(service).client_id_list == ["a", "b"]
    for client_id in ("a", "none"):
        service.do(
            RemoveClientIDFromOpenIDConnectProviderRequest(
                open_id_connect_provider_arn=ARN, client_id=client_id
            )
        )
    assert shown(service).client_id_list == ["b"]


def test_there_may_be_a_hundred_client_ids(service: Service) -> None:
    create(service, client_id_list=[str(n) for n in range(CLIENT_IDS_MAX)])
    add = AddClientIDToOpenIDConnectProviderRequest
    refusal = service.refuses(add(open_id_connect_provider_arn=ARN, client_id="more"))
    assert isinstance(refusal, LimitExceededException)
    service.do(add(open_id_connect_provider_arn=ARN, client_id="0"))


def test_thumbprints(service: Service) -> None:
    create(service)
    update = UpdateOpenIDConnectProviderThumbprintRequest
    service.do(update(open_id_connect_provider_arn=ARN, thumbprint_list=[THUMBPRINT]))
    assert shown(service).thumbprint_list == [THUMBPRINT]
    for wrong in (["z" * 40], [THUMBPRINT] * (THUMBPRINTS_MAX + 1)):
        refusal = service.refuses(update(open_id_connect_provider_arn=ARN, thumbprint_list=wrong))
        assert isinstance(refusal, InvalidInputException)
    assert shown(service).thumbprint_list == [THUMBPRINT]


def test_tags(service: Service) -> None:
    create(service, tags=[Tag(key="Team", value="a"), Tag(key="x", value="")])
    tag = TagOpenIDConnectProviderRequest
    service.do(tag(open_id_connect_provider_arn=ARN, tags=[Tag(key="team", value="b")]))
    untag = UntagOpenIDConnectProviderRequest
    service.do(untag(open_id_connect_provider_arn=ARN, tag_keys=["X"]))
    listed = service.do(ListOpenIDConnectProviderTagsRequest(open_id_connect_provider_arn=ARN))
    assert listed.tags == [Tag(key="team", value="b")]
    assert not listed.is_truncated


NONE = f"arn:aws:iam::{ACCOUNT}:oidc-provider/none.example"


@pytest.mark.parametrize(
    "request_of_none",
    [
        GetOpenIDConnectProviderRequest(open_id_connect_provider_arn=NONE),
        DeleteOpenIDConnectProviderRequest(open_id_connect_provider_arn=NONE),
        AddClientIDToOpenIDConnectProviderRequest(open_id_connect_provider_arn=NONE, client_id="a"),
        RemoveClientIDFromOpenIDConnectProviderRequest(
            open_id_connect_provider_arn=NONE, client_id="a"
        ),
        UpdateOpenIDConnectProviderThumbprintRequest(
            open_id_connect_provider_arn=NONE, thumbprint_list=[]
        ),
        TagOpenIDConnectProviderRequest(open_id_connect_provider_arn=NONE, tags=[]),
        UntagOpenIDConnectProviderRequest(open_id_connect_provider_arn=NONE, tag_keys=[]),
        ListOpenIDConnectProviderTagsRequest(open_id_connect_provider_arn=NONE),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_is_not_there(service: Service, request_of_none: Any) -> None:
    refusal = service.refuses(request_of_none)
    assert isinstance(refusal, NoSuchEntityException)
    assert refusal.message == f"OpenIDConnect Provider not found for arn {NONE}"


def test_an_arn_has_to_be_one_of_the_account(service: Service) -> None:
    create(service)
    theirs = ARN.replace(ACCOUNT, OTHER_ACCOUNT)
    refusal = service.refuses(GetOpenIDConnectProviderRequest(open_id_connect_provider_arn=theirs))
    assert isinstance(refusal, NoSuchEntityException)
    no_arn = ARN.replace("oidc-provider", "saml-provider")
    refusal = service.refuses(GetOpenIDConnectProviderRequest(open_id_connect_provider_arn=no_arn))
    assert isinstance(refusal, InvalidInputException)
