"""Grants: permissions on a key that are given and taken back one at a time, beside its policy.

A grant counts from the moment it is made, so a grant token adds nothing to it; `grant_tokens` makes
and checks them. Users and roles are kept by their unique ids, like those in policies. What a grant
allows is the business of `grant_policies`, and who may retire one that of `retiring`.
"""

import json
import re
from hashlib import sha256

from msgspec import structs

from stanchion.access.policy_principals import Reader, UnknownPrincipal, to_arns, to_ids
from stanchion.kms import limits, paging
from stanchion.kms.entities import Grant, Key, is_service
from stanchion.kms.finding import (
    Name,
    arn_of,
    find,
    find_named,
    put,
    read_name,
    record_name,
    usable,
)
from stanchion.kms.grant_policies import grants_of
from stanchion.kms.grant_tokens import check_tokens, read_token, token_of
from stanchion.kms.retiring import check_retiring, may_not_retire
from stanchion.kms.rotation import instant
from stanchion.kms.service import Kms, action
from stanchion.kms.using import end_dry_run
from stanchion.model.errors import ValidationError
from stanchion.model.kms import (
    CreateGrantRequest,
    CreateGrantResponse,
    GrantConstraints,
    GrantListEntry,
    InvalidArnException,
    InvalidGrantIdException,
    LimitExceededException,
    ListGrantsRequest,
    ListGrantsResponse,
    ListRetirableGrantsRequest,
    NotFoundException,
    RetireGrantRequest,
    RevokeGrantRequest,
    UnsupportedOperationException,
)
from stanchion.service import Call
from stanchion.store.documents import Draft


@action
async def create_grant(kms: Kms, call: Call, request: CreateGrantRequest) -> CreateGrantResponse:
    """AWS: the same again, under the same Name, is the grant that there is."""
    check_tokens(kms, request.grant_tokens)
    constraints = _constraints(request.constraints)
    fresh_id = kms.entropy(32).hex()

    async def work(draft: Draft) -> tuple[Key, Grant]:
        key = usable(await find(kms, call, request.key_id, reader=draft, aliases=False))
        grant = Grant(
            id=fresh_id,
            key_id=key.id,
            name=request.name or "",
            grantee=await _grantee(draft, request),
            retiring=await _retiring(draft, request),
            operations=_operations(key, request.operations or []),
            context_equals=constraints.encryption_context_equals or {},
            context_subset=constraints.encryption_context_subset or {},
            created_at_ms=kms.clock.now_ms(),
            issuer=f"arn:aws:iam::{call.caller.account_id}:root",
        )
        _check_context(key, grant)
        if grant.name:
            grant = structs.replace(grant, id=_id_of(grant))
        end_dry_run(request.dry_run)
        await _add(draft, key, grant)
        return key, grant

    key, grant = await kms.documents.change(work)
    return CreateGrantResponse(grant_token=token_of(kms, key, grant), grant_id=grant.id)


def _id_of(grant: Grant) -> str:
    """Of everything but when it was made: what makes a named grant the same."""
    same = structs.replace(
        grant, id="", created_at_ms=0, operations=tuple(sorted(grant.operations))
    )
    return sha256(json.dumps(structs.asdict(same), sort_keys=True).encode()).hexdigest()


async def _add(draft: Draft, key: Key, grant: Grant) -> None:
    """Unless it is there. Raises `LimitExceededException`."""
    record = _record(key, grant.id)
    if await draft.get(Grant, key.account_id, record) is not None:
        return
    if key.grants >= limits.GRANTS_MAX:
        raise LimitExceededException(
            f"The limit of {limits.GRANTS_MAX} grants has been reached for {arn_of(key)}."
        )
    put(draft, structs.replace(key, grants=key.grants + 1))
    draft.put(grant, key.account_id, record)


def _record(key: Key, grant_id: str) -> str:
    return record_name(key.region, f"{key.id}/{grant_id}")


# --- What a grant may say -------------------------------------------------------------------------

_ALWAYS = {"CreateGrant", "DescribeKey", "RetireGrant"}
_OPERATIONS = {
    "ENCRYPT_DECRYPT": _ALWAYS
    | {
        "Decrypt",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
    },
    "GENERATE_VERIFY_MAC": _ALWAYS | {"GenerateMac", "VerifyMac"},
}
"""What can be granted, by the KeyUsage. Infrastructure code asks for key pairs as well."""


def _operations(key: Key, operations: list[str]) -> tuple[str, ...]:
    """As they were given, each once. Raises `ValidationError`."""
    if not operations:
        raise ValidationError("A grant needs at least one operation")
    for operation in operations:
        if operation not in _OPERATIONS[key.usage]:
            raise ValidationError(
                f"Operation {operation} cannot be granted on a key whose usage is {key.usage}"
            )
    return tuple(dict.fromkeys(operations))


def _constraints(given: GrantConstraints | None) -> GrantConstraints:
    """An empty map is none: infrastructure code sends the one that it does not mean as empty.

    Raises `ValidationError` and `UnsupportedOperationException`.
    """
    constraints = given or GrantConstraints()
    if constraints.source_arn is not None:
        raise UnsupportedOperationException("Grant constraint SourceArn is not supported.")
    for context in (constraints.encryption_context_equals, constraints.encryption_context_subset):
        if not context:
            continue
        if len(context) > limits.GRANT_CONTEXT_PAIRS_MAX:
            raise ValidationError(
                "An encryption context of a grant constraint has at most"
                f" {limits.GRANT_CONTEXT_PAIRS_MAX} pairs"
            )
        if max(map(len, context.values())) > limits.GRANT_CONTEXT_VALUE_CHARACTERS_MAX:
            raise ValidationError(
                "A value in the encryption context of a grant constraint cannot be longer than"
                f" {limits.GRANT_CONTEXT_VALUE_CHARACTERS_MAX} characters"
            )
    return constraints


def _check_context(key: Key, grant: Grant) -> None:
    """AWS: HMAC keys know no encryption context, so it can be no constraint."""
    if key.usage != "ENCRYPT_DECRYPT" and (grant.context_equals or grant.context_subset):
        raise ValidationError(
            f"An encryption context cannot constrain a grant on a key whose usage is {key.usage}"
        )


# --- Principals -----------------------------------------------------------------------------------


async def _grantee(reader: Reader, request: CreateGrantRequest) -> str:
    given, service = request.grantee_principal, request.grantee_service_principal
    if (given is None) == (service is None):
        raise ValidationError("Please specify either GranteePrincipal or GranteeServicePrincipal")
    return service or await _kept(reader, given or "")


async def _retiring(reader: Reader, request: CreateGrantRequest) -> str:
    given, service = request.retiring_principal, request.retiring_service_principal
    if given is not None and service is not None:
        raise ValidationError("Please specify either RetiringPrincipal or RetiringServicePrincipal")
    return service or (await _kept(reader, given) if given else "")


_PRINCIPAL = re.compile(
    r"arn:aws:(?:iam::\d{12}:(?:root|(?:user|role)/.+)"
    r"|sts::\d{12}:(?:assumed-role/.+/.+|federated-user/.+))",
    re.ASCII,
)


async def _kept(reader: Reader, principal: str) -> str:
    """A principal as it is kept: a user or role by its id. Raises `InvalidArnException`."""
    if _PRINCIPAL.fullmatch(principal):
        try:
            return _principal(await to_ids(reader, _document(principal)))
        except UnknownPrincipal:
            pass
    raise InvalidArnException(f"ARN does not refer to a valid principal: {principal}")


async def _told(reader: Reader, principal: str) -> str:
    """A principal as it was given, or the id of one that is gone."""
    return _principal(await to_arns(reader, _document(principal)))


def _document(principal: str) -> str:
    """As a policy names it, which is what can be translated."""
    return json.dumps({"Statement": {"Principal": {"AWS": principal}}})


def _principal(document: str) -> str:
    principal: str = json.loads(document)["Statement"]["Principal"]["AWS"]
    return principal


# --- Lists ----------------------------------------------------------------------------------------


@action
async def list_grants(kms: Kms, call: Call, request: ListGrantsRequest) -> ListGrantsResponse:
    """Of one key, in any state."""
    key = await find(kms, call, request.key_id, aliases=False)
    found = await grants_of(kms, key)
    if request.grant_id is not None:
        _check_id(request.grant_id)
        found = [grant for grant in found if grant.id == request.grant_id]
    for given in (request.grantee_principal, request.grantee_service_principal):
        if given is not None:
            meant = (given, await _meant(kms, given))
            found = [grant for grant in found if grant.grantee in meant]
    page = paging.page_of(found, lambda grant: grant.id, request, paging.ALIASES)
    return await _page(kms, call, key.account_id, page)


_GRANT_ID = re.compile(r"[0-9a-f]{64}")


def _check_id(grant_id: str | None) -> str:
    """Raises `InvalidGrantIdException`."""
    if _GRANT_ID.fullmatch(grant_id or "") is None:
        raise InvalidGrantIdException(f"Invalid grant ID '{grant_id}'")
    return grant_id or ""


async def _meant(kms: Kms, principal: str) -> str:
    """What grants that name a principal have."""
    try:
        return await _kept(kms.documents, principal)
    except InvalidArnException:
        return principal


async def _page(
    kms: Kms, call: Call, account_id: str, page: paging.Page[Grant]
) -> ListGrantsResponse:
    return ListGrantsResponse(
        grants=[await _entry(kms, Name(call.region, account_id, g.key_id), g) for g in page.items],
        next_marker=page.next_marker,
        truncated=page.truncated,
    )


async def _entry(kms: Kms, key: Name, grant: Grant) -> GrantListEntry:
    entry = GrantListEntry(
        key_id=key.arn,
        grant_id=grant.id,
        name=grant.name,
        creation_date=instant(grant.created_at_ms),
        issuing_account=grant.issuer,
        operations=list(grant.operations),
    )
    if is_service(grant.grantee):
        entry.grantee_service_principal = grant.grantee
    else:
        entry.grantee_principal = await _told(kms.documents, grant.grantee)
    if is_service(grant.retiring):
        entry.retiring_service_principal = grant.retiring
    elif grant.retiring:
        entry.retiring_principal = await _told(kms.documents, grant.retiring)
    if grant.context_equals or grant.context_subset:
        entry.constraints = GrantConstraints(
            encryption_context_equals=grant.context_equals or None,
            encryption_context_subset=grant.context_subset or None,
        )
    return entry


_LISTED_AT_ONCE = 1000


@action
async def list_retirable_grants(
    kms: Kms, call: Call, request: ListRetirableGrantsRequest
) -> ListGrantsResponse:
    """Those on the keys of the caller's account in this region."""
    given, service = request.retiring_principal, request.retiring_service_principal
    if (given is None) == (service is None):
        raise ValidationError("Please specify either RetiringPrincipal or RetiringServicePrincipal")
    account_id = call.caller.account_id
    retiring = service or await _meant(kms, given or "")
    found = [g for g in await _grants_in(kms, call.region, account_id) if g.retiring == retiring]
    page = paging.page_of(found, lambda g: f"{g.key_id}/{g.id}", request, paging.ALIASES)
    return await _page(kms, call, account_id, page)


async def _grants_in(kms: Kms, region: str, account_id: str) -> list[Grant]:
    found: list[Grant] = []
    after = ""
    while True:
        page = await kms.documents.list(
            Grant, account_id, prefix=record_name(region, ""), after=after, limit=_LISTED_AT_ONCE
        )
        found += [grant for _, grant in page]
        if len(page) < _LISTED_AT_ONCE:
            return found
        after = page[-1][0]


# --- The end --------------------------------------------------------------------------------------


@action
async def revoke_grant(kms: Kms, call: Call, request: RevokeGrantRequest) -> None:
    grant_id = _check_id(request.grant_id)

    async def work(draft: Draft) -> None:
        key = await find(kms, call, request.key_id, reader=draft, aliases=False)
        if await draft.get(Grant, key.account_id, _record(key, grant_id)) is None:
            raise _no_grant(grant_id)
        end_dry_run(request.dry_run)
        _take(draft, key, grant_id)

    await kms.documents.change(work)


def _no_grant(grant_id: str) -> NotFoundException:
    return NotFoundException(f"Grant '{grant_id}' does not exist")


def _take(draft: Draft, key: Key, grant_id: str) -> None:
    draft.delete(Grant, key.account_id, _record(key, grant_id))
    put(draft, structs.replace(key, grants=max(0, key.grants - 1)))


@action
async def retire_grant(kms: Kms, call: Call, request: RetireGrantRequest) -> None:
    """Nobody is told of a key or grant of another account but those who may retire it."""
    name, grant_id = _named(kms, call, request)
    is_own = name.account_id == call.caller.account_id

    async def work(draft: Draft) -> None:
        try:
            key = await find_named(kms, name, reader=draft)
            grant = await draft.get(Grant, key.account_id, _record(key, grant_id))
            if grant is None:
                raise _no_grant(grant_id)
        except NotFoundException:
            raise (_no_grant(grant_id) if is_own else may_not_retire(call, name.arn)) from None
        check_retiring(kms, call, key, grant)
        end_dry_run(request.dry_run)
        _take(draft, key, grant_id)

    await kms.documents.change(work)


def _named(kms: Kms, call: Call, request: RetireGrantRequest) -> tuple[Name, str]:
    """The key and the id of the grant that is meant.

    Raises `ValidationError`, `InvalidGrantTokenException`, `InvalidGrantIdException`, and what
    `read_name` raises.
    """
    if request.grant_token is not None:
        if request.key_id is not None or request.grant_id is not None:
            raise ValidationError("Please specify either a grant token, or a key ID and a grant ID")
        return read_token(kms, call.region, request.grant_token)
    if request.key_id is None or request.grant_id is None:
        raise ValidationError("Please specify either a grant token, or a key ID and a grant ID")
    return read_name(call, request.key_id, aliases=False), _check_id(request.grant_id)
