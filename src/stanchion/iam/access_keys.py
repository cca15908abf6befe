"""Access keys: of users, and of root when root asks for its own.

The secret leaves once, in the reply that made the key, and is kept sealed for `access-key:<id>`;
nothing else here ever reads it. Without a user's name an operation is about the caller.
"""

from base64 import b32encode, b64encode

from msgspec import structs

from stanchion.access import entities
from stanchion.access.entities import AccessKeyUse, Account, User
from stanchion.iam import names, paging
from stanchion.iam.limits import ACCESS_KEYS_PER_USER_MAX
from stanchion.iam.service import Iam, action
from stanchion.model.errors import ValidationError
from stanchion.model.iam import (
    AccessKey,
    AccessKeyLastUsed,
    AccessKeyMetadata,
    CreateAccessKeyRequest,
    CreateAccessKeyResponse,
    DeleteAccessKeyRequest,
    GetAccessKeyLastUsedRequest,
    GetAccessKeyLastUsedResponse,
    ListAccessKeysRequest,
    ListAccessKeysResponse,
    NoSuchEntityException,
    UpdateAccessKeyRequest,
)
from stanchion.service import Call
from stanchion.store.documents import Draft


@action
async def create_access_key(
    iam: Iam, call: Call, request: CreateAccessKeyRequest
) -> CreateAccessKeyResponse:
    account_id = call.caller.account_id
    access_key_id = f"AKIA{b32encode(iam.entropy(10)).decode()}"
    secret = b64encode(iam.entropy(30)).decode()
    sealed = iam.sealer.seal(f"access-key:{access_key_id}", secret.encode())
    key = entities.AccessKey(
        access_key_id=access_key_id,
        account_id=account_id,
        user=request.user_name or names.own_user(call.caller),
        sealed_secret=sealed,
        created_at_ms=iam.clock.now_ms(),
    )

    async def work(draft: Draft) -> entities.AccessKey:
        owner = await _owner(draft, account_id, key.user)
        ids = _ids(owner)
        if len(ids) >= ACCESS_KEYS_PER_USER_MAX:
            raise names.over_quota("AccessKeysPerUser", ACCESS_KEYS_PER_USER_MAX)
        _put_ids(draft, owner, account_id, (*ids, access_key_id))
        # The name as the user has it, whatever case the request had.
        written = structs.replace(key, user=owner.name if isinstance(owner, User) else "")
        draft.put(written, "", access_key_id)
        return written

    written = await iam.documents.change(work)
    return CreateAccessKeyResponse(
        access_key=AccessKey(
            user_name=written.user or None,
            access_key_id=access_key_id,
            status=_status(written),
            secret_access_key=secret,
            create_date=names.instant(written.created_at_ms),
        )
    )


async def _owner(reader: names.Reader, account_id: str, user: str) -> User | Account:
    """The user of that name, or the account as such when there is none."""
    if user:
        return await names.find(reader, User, account_id, user)
    account = await reader.get(Account, "", account_id)
    if account is None:
        raise NoSuchEntityException(f"The account with id {account_id} cannot be found.")
    return account


def _ids(owner: User | Account) -> tuple[str, ...]:
    return owner.access_key_ids if isinstance(owner, User) else owner.root_access_key_ids


def _put_ids(draft: Draft, owner: User | Account, account_id: str, ids: tuple[str, ...]) -> None:
    if isinstance(owner, User):
        names.put(draft, account_id, structs.replace(owner, access_key_ids=ids))
    else:
        draft.put(structs.replace(owner, root_access_key_ids=ids), "", account_id)


def _status(key: entities.AccessKey) -> str:
    return "Active" if key.is_active else "Inactive"


@action
async def list_access_keys(
    iam: Iam, call: Call, request: ListAccessKeysRequest
) -> ListAccessKeysResponse:
    account_id = call.caller.account_id
    name = request.user_name or names.own_user(call.caller)
    owner = await _owner(iam.documents, account_id, name)
    page = paging.page_of(_ids(owner), str.upper, request)
    found = [await iam.documents.get(entities.AccessKey, "", key_id) for key_id in page.items]
    return ListAccessKeysResponse(
        # One that is missing was deleted since its owner was read.
        access_key_metadata=[_metadata(key) for key in found if key is not None],
        is_truncated=page.is_truncated,
        marker=page.marker,
    )


def _metadata(key: entities.AccessKey) -> AccessKeyMetadata:
    return AccessKeyMetadata(
        user_name=key.user or None,
        access_key_id=key.access_key_id,
        status=_status(key),
        create_date=names.instant(key.created_at_ms),
    )


@action
async def update_access_key(iam: Iam, call: Call, request: UpdateAccessKeyRequest) -> None:
    if request.status not in ("Active", "Inactive"):
        # The model also has a status that only AWS sets.
        raise ValidationError(
            f"1 validation error detected: Value '{request.status}' at 'status' failed to satisfy"
            " constraint: Member must satisfy enum value set: [Active, Inactive]"
        )
    account_id, access_key_id = call.caller.account_id, request.access_key_id or ""
    name = request.user_name or names.own_user(call.caller)

    async def work(draft: Draft) -> None:
        owner = await _owner(draft, account_id, name)
        key = await _key_of(draft, owner, access_key_id)
        is_active = request.status == "Active"
        draft.put(structs.replace(key, is_active=is_active), "", access_key_id)

    await iam.documents.change(work)


async def _key_of(
    reader: names.Reader, owner: User | Account, access_key_id: str
) -> entities.AccessKey:
    """A key of this very owner. Raises `NoSuchEntityException`."""
    key = None
    if access_key_id in _ids(owner):
        key = await reader.get(entities.AccessKey, "", access_key_id)
    if key is None:
        raise _no_such_key(access_key_id)
    return key


def _no_such_key(access_key_id: str) -> NoSuchEntityException:
    return NoSuchEntityException(f"The Access Key with id {access_key_id} cannot be found.")


@action
async def delete_access_key(iam: Iam, call: Call, request: DeleteAccessKeyRequest) -> None:
    account_id, access_key_id = call.caller.account_id, request.access_key_id or ""
    name = request.user_name or names.own_user(call.caller)

    async def work(draft: Draft) -> None:
        owner = await _owner(draft, account_id, name)
        key = await _key_of(draft, owner, access_key_id)
        rest = tuple(other for other in _ids(owner) if other != key.access_key_id)
        _put_ids(draft, owner, account_id, rest)
        draft.delete(entities.AccessKey, "", access_key_id)
        draft.delete(AccessKeyUse, "", access_key_id)

    await iam.documents.change(work)


@action
async def get_access_key_last_used(
    iam: Iam, call: Call, request: GetAccessKeyLastUsedRequest
) -> GetAccessKeyLastUsedResponse:
    access_key_id = request.access_key_id or ""
    key = await iam.documents.get(entities.AccessKey, "", access_key_id)
    if key is None or key.account_id != call.caller.account_id:
        raise _no_such_key(access_key_id)
    use = await iam.uses.last(access_key_id)
    if use is None:
        last_used = AccessKeyLastUsed(service_name="N/A", region="N/A")
    else:
        last_used = AccessKeyLastUsed(
            last_used_date=names.instant(use.used_at_ms),
            service_name=use.service,
            region=use.region,
        )
    return GetAccessKeyLastUsedResponse(user_name=key.user or None, access_key_last_used=last_used)
