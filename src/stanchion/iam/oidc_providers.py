"""OIDC providers: issuers of tokens, with which those whom roles trust may assume them.

Kept by their URL without `https://`, as the claims of policies are named. What a token must satisfy
is the business of STS. Called by the gateway through the registry.
"""

import re
from collections.abc import Callable, Iterable

from msgspec import structs

from stanchion.access.entities import OidcProvider
from stanchion.iam import names, tags
from stanchion.iam.paging import page_of
from stanchion.iam.service import Iam, action
from stanchion.model.errors import ValidationError
from stanchion.model.iam import (
    AddClientIDToOpenIDConnectProviderRequest,
    CreateOpenIDConnectProviderRequest,
    CreateOpenIDConnectProviderResponse,
    DeleteOpenIDConnectProviderRequest,
    EntityAlreadyExistsException,
    GetOpenIDConnectProviderRequest,
    GetOpenIDConnectProviderResponse,
    InvalidInputException,
    ListOpenIDConnectProvidersRequest,
    ListOpenIDConnectProvidersResponse,
    ListOpenIDConnectProviderTagsRequest,
    ListOpenIDConnectProviderTagsResponse,
    NoSuchEntityException,
    OpenIDConnectProviderListEntry,
    RemoveClientIDFromOpenIDConnectProviderRequest,
    TagOpenIDConnectProviderRequest,
    UntagOpenIDConnectProviderRequest,
    UpdateOpenIDConnectProviderThumbprintRequest,
)
from stanchion.service import Call
from stanchion.store.documents import Draft

CLIENT_IDS_MAX = 100
THUMBPRINTS_MAX = 5


@action
async def create_open_id_connect_provider(
    iam: Iam, call: Call, request: CreateOpenIDConnectProviderRequest
) -> CreateOpenIDConnectProviderResponse:
    account_id = call.caller.account_id
    provider = OidcProvider(
        url=_url(request.url or ""),
        client_ids=_client_ids(request.client_id_list or ()),
        thumbprints=_thumbprints(request.thumbprint_list or ()),
        created_at_ms=iam.clock.now_ms(),
        tags=tags.given(request.tags),
    )

    async def work(draft: Draft) -> None:
        if await draft.get(OidcProvider, account_id, provider.url) is not None:
            raise EntityAlreadyExistsException(
                f"Provider with url https://{provider.url} already exists."
            )
        await names.check_quota(iam.documents, OidcProvider, account_id)
        draft.put(provider, account_id, provider.url)

    await iam.documents.change(work)
    return CreateOpenIDConnectProviderResponse(
        open_id_connect_provider_arn=provider_arn(account_id, provider),
        tags=tags.told(provider.tags) or None,
    )


_URL = re.compile(r"https://([a-z0-9.-]+(?::[0-9]{1,5})?(?:/[\w.~%!$&'()*+,;=:@/-]*)?)", re.ASCII)


def _url(given: str) -> str:
    """An issuer's URL without `https://`. Unlike with AWS it may have a port."""
    match = _URL.fullmatch(given)
    if match is None:
        raise ValidationError(
            "Invalid Open ID Connect Provider URL: it must begin with https:// and have a host in"
            " lower case, and no query"
        )
    return match[1]


def _client_ids(given: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order given."""
    found = tuple(dict.fromkeys(given))
    if len(found) > CLIENT_IDS_MAX:
        raise names.over_quota("ClientIdsPerOpenIdConnectProvider", CLIENT_IDS_MAX)
    return found


_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}", re.ASCII)


def _thumbprints(given: Iterable[str]) -> tuple[str, ...]:
    found = tuple(given)
    if len(found) > THUMBPRINTS_MAX:
        raise InvalidInputException(
            f"Thumbprint list must contain at most {THUMBPRINTS_MAX} entries."
        )
    for thumbprint in found:
        if not _THUMBPRINT.fullmatch(thumbprint):
            raise InvalidInputException(f"Thumbprint {thumbprint} is not 40 hexadecimal digits.")
    return found


def provider_arn(account_id: str, provider: OidcProvider) -> str:
    return f"arn:aws:iam::{account_id}:oidc-provider/{provider.url}"


@action
async def get_open_id_connect_provider(
    iam: Iam, call: Call, request: GetOpenIDConnectProviderRequest
) -> GetOpenIDConnectProviderResponse:
    account_id = call.caller.account_id
    provider = await _find(iam.documents, account_id, request.open_id_connect_provider_arn)
    return GetOpenIDConnectProviderResponse(
        url=provider.url,
        client_id_list=list(provider.client_ids),
        thumbprint_list=list(provider.thumbprints),
        create_date=names.instant(provider.created_at_ms),
        tags=tags.told(provider.tags),
    )


async def _find(reader: names.Reader, account_id: str, arn: str | None) -> OidcProvider:
    """Providers of other accounts are not there for this one."""
    head, slash, url = (arn or "").partition("/")
    if not slash or not re.fullmatch(r"arn:aws:iam::[0-9]{12}:oidc-provider", head, re.ASCII):
        raise InvalidInputException(f"ARN {arn} is not valid.")
    found = await reader.get(OidcProvider, account_id, url)
    if found is None or provider_arn(account_id, found) != arn:
        raise NoSuchEntityException(f"OpenIDConnect Provider not found for arn {arn}")
    return found


@action
async def list_open_id_connect_providers(
    iam: Iam, call: Call, request: ListOpenIDConnectProvidersRequest
) -> ListOpenIDConnectProvidersResponse:
    account_id = call.caller.account_id
    found = await iam.documents.list(OidcProvider, account_id)
    return ListOpenIDConnectProvidersResponse(
        open_id_connect_provider_list=[
            OpenIDConnectProviderListEntry(arn=provider_arn(account_id, provider))
            for _, provider in found
        ]
    )


@action
async def delete_open_id_connect_provider(
    iam: Iam, call: Call, request: DeleteOpenIDConnectProviderRequest
) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        provider = await _find(draft, account_id, request.open_id_connect_provider_arn)
        draft.delete(OidcProvider, account_id, provider.url)

    await iam.documents.change(work)


# --- Changes --------------------------------------------------------------------------------------


@action
async def add_client_id_to_open_id_connect_provider(
    iam: Iam, call: Call, request: AddClientIDToOpenIDConnectProviderRequest
) -> None:
    """One that is there already is no error."""

    def edit(provider: OidcProvider) -> OidcProvider:
        client_ids = _client_ids((*provider.client_ids, request.client_id or ""))
        return structs.replace(provider, client_ids=client_ids)

    await _edit(iam, call, request.open_id_connect_provider_arn, edit)


@action
async def remove_client_id_from_open_id_connect_provider(
    iam: Iam, call: Call, request: RemoveClientIDFromOpenIDConnectProviderRequest
) -> None:
    """One that is not there is no error."""

    def edit(provider: OidcProvider) -> OidcProvider:
        rest = tuple(known for known in provider.client_ids if known != request.client_id)
        return structs.replace(provider, client_ids=rest)

    await _edit(iam, call, request.open_id_connect_provider_arn, edit)


@action
async def update_open_id_connect_provider_thumbprint(
    iam: Iam, call: Call, request: UpdateOpenIDConnectProviderThumbprintRequest
) -> None:
    def edit(provider: OidcProvider) -> OidcProvider:
        thumbprints = _thumbprints(request.thumbprint_list or ())
        return structs.replace(provider, thumbprints=thumbprints)

    await _edit(iam, call, request.open_id_connect_provider_arn, edit)


@action
async def tag_open_id_connect_provider(
    iam: Iam, call: Call, request: TagOpenIDConnectProviderRequest
) -> None:
    def edit(provider: OidcProvider) -> OidcProvider:
        return structs.replace(provider, tags=tags.merged(provider.tags, request.tags))

    await _edit(iam, call, request.open_id_connect_provider_arn, edit)


@action
async def untag_open_id_connect_provider(
    iam: Iam, call: Call, request: UntagOpenIDConnectProviderRequest
) -> None:
    def edit(provider: OidcProvider) -> OidcProvider:
        return structs.replace(provider, tags=tags.without(provider.tags, request.tag_keys))

    await _edit(iam, call, request.open_id_connect_provider_arn, edit)


async def _edit(
    iam: Iam, call: Call, arn: str | None, edit: Callable[[OidcProvider], OidcProvider]
) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        provider = await _find(draft, account_id, arn)
        draft.put(edit(provider), account_id, provider.url)

    await iam.documents.change(work)


@action
async def list_open_id_connect_provider_tags(
    iam: Iam, call: Call, request: ListOpenIDConnectProviderTagsRequest
) -> ListOpenIDConnectProviderTagsResponse:
    account_id = call.caller.account_id
    provider = await _find(iam.documents, account_id, request.open_id_connect_provider_arn)
    page = page_of(tags.told(provider.tags), lambda tag: tag.key or "", request)
    return ListOpenIDConnectProviderTagsResponse(
        tags=page.items, is_truncated=page.is_truncated, marker=page.marker
    )
