"""Keys: making, describing and listing them, and their life up to the end.

A key that is to be deleted can be kept for days; after that it is gone for whoever looks, and
`destroy_due` erases it with all that belongs to it. The server calls that now and then.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import structs

from stanchion.kms import condition_keys, limits, materials, paging
from stanchion.kms.entities import (
    Alias,
    Grant,
    Key,
    KeyCount,
    KeyDeletion,
    deletion_name,
    key_arn,
)
from stanchion.kms.finding import arn_of, edit, find, is_gone, not_pending, put, record_name
from stanchion.kms.grant_policies import grants_of
from stanchion.kms.key_policies import accepted, default_policy
from stanchion.kms.rotation import instant, up_to_date
from stanchion.kms.service import Kms, action
from stanchion.kms.tags import merged
from stanchion.model.errors import ValidationError
from stanchion.model.kms import (
    CancelKeyDeletionRequest,
    CancelKeyDeletionResponse,
    CreateKeyRequest,
    CreateKeyResponse,
    DescribeKeyRequest,
    DescribeKeyResponse,
    DisableKeyRequest,
    EnableKeyRequest,
    KeyListEntry,
    KeyMetadata,
    KMSInvalidStateException,
    LimitExceededException,
    ListKeysRequest,
    ListKeysResponse,
    ScheduleKeyDeletionRequest,
    ScheduleKeyDeletionResponse,
    UnsupportedOperationException,
    UpdateKeyDescriptionRequest,
)
from stanchion.service import Call
from stanchion.store.documents import Draft

_DAY_MS = 24 * 60 * 60 * 1000


# --- Making ---------------------------------------------------------------------------------------


@action
async def create_key(kms: Kms, call: Call, request: CreateKeyRequest) -> CreateKeyResponse:
    spec, usage = _kind(request)
    account_id, key_id = call.caller.account_id, kms.ids.uuid()
    policy = default_policy(account_id)
    if request.policy is not None:
        bypass = bool(request.bypass_policy_lockout_safety_check)
        arn = key_arn(call.region, account_id, key_id)
        policy = await accepted(kms, call, request.policy, arn, bypass=bypass)
    bare = Key(
        id=key_id,
        account_id=account_id,
        region=call.region,
        usage=usage,
        spec=spec,
        description=request.description or "",
        created_at_ms=kms.clock.now_ms(),
        policy=policy,
        tags=merged({}, request.tags),
    )
    key = structs.replace(bare, materials=(materials.made(kms, bare),))

    async def work(draft: Draft) -> None:
        await _count(draft, key, 1)
        put(draft, key)

    await kms.documents.change(work)
    return CreateKeyResponse(key_metadata=_told(key))


async def _count(draft: Draft, key: Key, change: int) -> None:
    """Raises `LimitExceededException`."""
    found = await draft.get(KeyCount, key.account_id, key.region)
    keys = (found.keys if found else 0) + change
    if keys > limits.KEYS_MAX:
        raise LimitExceededException(
            f"The account has {limits.KEYS_MAX} keys in {key.region}, and cannot have more"
        )
    draft.put(KeyCount(keys=keys), key.account_id, key.region)


_Usage = Literal["ENCRYPT_DECRYPT", "GENERATE_VERIFY_MAC"]


def _kind(request: CreateKeyRequest) -> tuple[str, _Usage]:
    """KeySpec and KeyUsage. Raises `ValidationError` and `UnsupportedOperationException`."""
    if request.key_spec and request.customer_master_key_spec:
        raise ValidationError(
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request."
            " CustomerMasterKeySpec is deprecated."
        )
    spec, usage = condition_keys.spec_of(request), request.key_usage
    _check_supported(request, spec)
    if spec == "SYMMETRIC_DEFAULT" and usage in (None, "ENCRYPT_DECRYPT"):
        return spec, "ENCRYPT_DECRYPT"
    if spec != "SYMMETRIC_DEFAULT" and usage == "GENERATE_VERIFY_MAC":
        return spec, "GENERATE_VERIFY_MAC"
    if usage is None:
        raise ValidationError(
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption"
            " keys."
        )
    raise ValidationError(f"KeyUsage {usage} is not compatible with KeySpec {spec}")


def _check_supported(request: CreateKeyRequest, spec: str) -> None:
    for is_asked, what in (
        (spec not in materials.SPECS, f"Keys with KeySpec {spec}"),
        (request.multi_region, "Multi-Region keys"),
        (request.origin not in (None, "AWS_KMS"), f"Keys with Origin {request.origin}"),
        (request.custom_key_store_id or request.xks_key_id, "Custom key stores"),
    ):
        if is_asked:
            raise UnsupportedOperationException(f"{what} are not supported.")


# --- Looking --------------------------------------------------------------------------------------


@action
async def describe_key(kms: Kms, call: Call, request: DescribeKeyRequest) -> DescribeKeyResponse:
    key = await up_to_date(kms, await find(kms, call, request.key_id))
    return DescribeKeyResponse(key_metadata=_told(key))


def _told(key: Key) -> KeyMetadata:
    is_pending = key.state == "PendingDeletion"
    is_symmetric = key.spec == "SYMMETRIC_DEFAULT"
    return KeyMetadata(
        aws_account_id=key.account_id,
        key_id=key.id,
        arn=arn_of(key),
        creation_date=instant(key.created_at_ms),
        enabled=key.state == "Enabled",
        description=key.description,
        key_usage=key.usage,
        key_state=key.state,
        deletion_date=instant(key.deletion_at_ms) if is_pending else None,
        origin="AWS_KMS",
        key_manager=key.manager,
        customer_master_key_spec=key.spec,
        key_spec=key.spec,
        encryption_algorithms=["SYMMETRIC_DEFAULT"] if is_symmetric else None,
        mac_algorithms=None if is_symmetric else [key.spec.replace("HMAC_", "HMAC_SHA_")],
        multi_region=False,
        current_key_material_id=(
            materials.material_id(key, key.materials[-1]) if is_symmetric else None
        ),
    )


@action
async def list_keys(kms: Kms, call: Call, request: ListKeysRequest) -> ListKeysResponse:
    """A page may lack keys whose time to be deleted has come."""
    page = await paging.page_of_documents(
        kms.documents,
        Key,
        call.caller.account_id,
        record_name(call.region, ""),
        request,
        paging.KEYS,
    )
    now_ms = kms.clock.now_ms()
    there = [key for key in page.items if not is_gone(key, now_ms)]
    return ListKeysResponse(
        keys=[KeyListEntry(key_id=key.id, key_arn=arn_of(key)) for key in there],
        next_marker=page.next_marker,
        truncated=page.truncated,
    )


# --- Changing -------------------------------------------------------------------------------------


@action
async def update_key_description(
    kms: Kms, call: Call, request: UpdateKeyDescriptionRequest
) -> None:
    def change(key: Key) -> Key:
        return structs.replace(not_pending(key), description=request.description or "")

    await edit(kms, call, request.key_id, change)


@action
async def enable_key(kms: Kms, call: Call, request: EnableKeyRequest) -> None:
    await edit(kms, call, request.key_id, _into("Enabled"))


@action
async def disable_key(kms: Kms, call: Call, request: DisableKeyRequest) -> None:
    await edit(kms, call, request.key_id, _into("Disabled"))


def _into(state: Literal["Enabled", "Disabled"]) -> Callable[[Key], Key]:
    return lambda key: structs.replace(not_pending(key), state=state)


# --- The end --------------------------------------------------------------------------------------


@action
async def schedule_key_deletion(
    kms: Kms, call: Call, request: ScheduleKeyDeletionRequest
) -> ScheduleKeyDeletionResponse:
    days = request.pending_window_in_days
    if days is None:
        days = limits.PENDING_WINDOW_DAYS_DEFAULT
    if not limits.PENDING_WINDOW_DAYS_MIN <= days <= limits.PENDING_WINDOW_DAYS_MAX:
        raise ValidationError(
            f"PendingWindowInDays should be between {limits.PENDING_WINDOW_DAYS_MIN} and"
            f" {limits.PENDING_WINDOW_DAYS_MAX}, but it is {days}"
        )

    async def work(draft: Draft) -> Key:
        key = not_pending(await find(kms, call, request.key_id, reader=draft, aliases=False))
        deletion_at_ms = kms.clock.now_ms() + days * _DAY_MS
        key = structs.replace(key, state="PendingDeletion", deletion_at_ms=deletion_at_ms)
        put(draft, key)
        deletion = KeyDeletion(account_id=key.account_id, region=key.region, key_id=key.id)
        draft.put(deletion, "", deletion_name(key))
        return key

    key = await kms.documents.change(work)
    return ScheduleKeyDeletionResponse(
        key_id=arn_of(key),
        deletion_date=instant(key.deletion_at_ms),
        key_state=key.state,
        pending_window_in_days=days,
    )


@action
async def cancel_key_deletion(
    kms: Kms, call: Call, request: CancelKeyDeletionRequest
) -> CancelKeyDeletionResponse:
    async def work(draft: Draft) -> Key:
        key = await find(kms, call, request.key_id, reader=draft, aliases=False)
        if key.state != "PendingDeletion":
            raise KMSInvalidStateException(f"{arn_of(key)} is not pending deletion.")
        draft.delete(KeyDeletion, "", deletion_name(key))
        put(draft, structs.replace(key, state="Disabled", deletion_at_ms=0))
        return key

    return CancelKeyDeletionResponse(key_id=arn_of(await kms.documents.change(work)))


async def destroy_due(kms: Kms) -> bool:
    """Erase keys whose time to be deleted has come. Answer: whether to call again at once."""
    due = await kms.documents.list(KeyDeletion, "", limit=limits.DESTROYED_AT_ONCE_MAX)
    for name, deletion in due:
        at_ms = int(name.partition("/")[0])
        if at_ms > kms.clock.now_ms():
            return False
        await _destroy(kms, name, deletion)
    return len(due) == limits.DESTROYED_AT_ONCE_MAX


async def _destroy(kms: Kms, name: str, deletion: KeyDeletion) -> None:
    """A deletion that was cancelled meanwhile destroys nothing."""
    record = record_name(deletion.region, deletion.key_id)
    key, _ = await kms.documents.read(Key, deletion.account_id, record)
    if key is not None and is_gone(key, kms.clock.now_ms()):
        await _delete_grants(kms, key)

    async def work(draft: Draft) -> None:
        draft.delete(KeyDeletion, "", name)
        key = await draft.get(Key, deletion.account_id, record)
        if key is None or not is_gone(key, kms.clock.now_ms()):
            return
        await _count(draft, key, -1)
        for alias in key.aliases:
            draft.delete(Alias, key.account_id, record_name(key.region, alias))
        draft.delete(Key, key.account_id, record)

    await kms.documents.change(work)


async def _delete_grants(kms: Kms, key: Key) -> None:
    """There may be many; the key is gone already, so they need not go all at once."""
    names = [record_name(key.region, f"{key.id}/{grant.id}") for grant in await grants_of(kms, key)]
    for start in range(0, len(names), limits.GRANTS_DELETED_AT_ONCE):
        some = names[start : start + limits.GRANTS_DELETED_AT_ONCE]

        async def work(draft: Draft, some: list[str] = some) -> None:
            for name in some:
                draft.delete(Grant, key.account_id, name)

        await kms.documents.change(work)
