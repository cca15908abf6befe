"""Rotation: fresh material for a key, at intervals or at once; what there was before stays in use.

A rotation that is due happens when the key is next encrypted with, or looked at: `up_to_date` is
called for that. A key that is disabled or pending deletion does not rotate until it is enabled.
"""

from datetime import UTC, datetime

from msgspec import structs

from stanchion.kms import limits, materials, paging
from stanchion.kms.entities import Key, Material
from stanchion.kms.finding import arn_of, edit, find, put, record_name, usable
from stanchion.kms.service import Kms, action
from stanchion.model.kms import (
    DisableKeyRotationRequest,
    EnableKeyRotationRequest,
    GetKeyRotationStatusRequest,
    GetKeyRotationStatusResponse,
    LimitExceededException,
    ListKeyRotationsRequest,
    ListKeyRotationsResponse,
    RotateKeyOnDemandRequest,
    RotateKeyOnDemandResponse,
    RotationsListEntry,
    UnsupportedOperationException,
)
from stanchion.service import Call
from stanchion.store.documents import Draft

_DAY_MS = 24 * 60 * 60 * 1000


async def up_to_date(kms: Kms, key: Key) -> Key:
    """The key, rotated if that is due. To be called before something is encrypted with it."""
    if not _is_due(key, kms.clock.now_ms()):
        return key

    async def work(draft: Draft) -> Key:
        found = await draft.get(Key, key.account_id, record_name(key.region, key.id))
        now_ms = kms.clock.now_ms()
        if found is None or not _is_due(found, now_ms):
            return found or key
        # One rotation, however many are due; the next one comes when it always would have.
        late_ms = (now_ms - found.rotated_at_ms) % (found.rotation_days * _DAY_MS)
        added = (*found.materials, materials.made(kms, found))
        rotated = structs.replace(found, materials=added, rotated_at_ms=now_ms - late_ms)
        put(draft, rotated)
        return rotated

    return await kms.documents.change(work)


def _is_due(key: Key, now_ms: int) -> bool:
    return key.rotates and key.state == "Enabled" and _next_rotation_at_ms(key) <= now_ms


def _next_rotation_at_ms(key: Key) -> int:
    return key.rotated_at_ms + key.rotation_days * _DAY_MS


def _rotatable(key: Key) -> Key:
    """Raises `UnsupportedOperationException` for a key that is not for encryption."""
    if key.spec != "SYMMETRIC_DEFAULT":
        raise UnsupportedOperationException(
            f"{arn_of(key)} is a {key.spec} key, which does not support rotation."
        )
    return key


@action
async def enable_key_rotation(kms: Kms, call: Call, request: EnableKeyRotationRequest) -> None:
    """Also when it is enabled already: the new period begins now."""

    def change(key: Key) -> Key:
        _rotatable(usable(key))
        days = request.rotation_period_in_days
        if key.rotates and days in (None, key.rotation_days):
            return key
        return structs.replace(
            key,
            rotates=True,
            rotation_days=days or limits.ROTATION_DAYS_DEFAULT,
            rotated_at_ms=kms.clock.now_ms(),
        )

    await edit(kms, call, request.key_id, change)


@action
async def disable_key_rotation(kms: Kms, call: Call, request: DisableKeyRotationRequest) -> None:
    def change(key: Key) -> Key:
        return structs.replace(_rotatable(usable(key)), rotates=False)

    await edit(kms, call, request.key_id, change)


@action
async def get_key_rotation_status(
    kms: Kms, call: Call, request: GetKeyRotationStatusRequest
) -> GetKeyRotationStatusResponse:
    """A key that waits for its deletion does not rotate, but will again if it is kept. One that is
    not for encryption never does, which is no error here."""
    key = await up_to_date(kms, await find(kms, call, request.key_id, aliases=False))
    is_enabled = key.rotates and key.state != "PendingDeletion"
    answer = GetKeyRotationStatusResponse(key_rotation_enabled=is_enabled, key_id=key.id)
    if is_enabled:
        answer.rotation_period_in_days = key.rotation_days
        answer.next_rotation_date = instant(_next_rotation_at_ms(key))
    return answer


@action
async def rotate_key_on_demand(
    kms: Kms, call: Call, request: RotateKeyOnDemandRequest
) -> RotateKeyOnDemandResponse:
    """The dates of automatic rotation stay what they are."""

    def change(key: Key) -> Key:
        _rotatable(usable(key))
        if sum(m.is_on_demand for m in key.materials) >= limits.ON_DEMAND_ROTATIONS_MAX:
            raise LimitExceededException(
                f"The on-demand rotations limit of {limits.ON_DEMAND_ROTATIONS_MAX} has been"
                f" reached for {arn_of(key)}."
            )
        added = materials.made(kms, key, is_on_demand=True)
        return structs.replace(key, materials=(*key.materials, added))

    key = await edit(kms, call, request.key_id, change)
    return RotateKeyOnDemandResponse(key_id=key.id)


@action
async def list_key_rotations(
    kms: Kms, call: Call, request: ListKeyRotationsRequest
) -> ListKeyRotationsResponse:
    """Without ALL_KEY_MATERIAL the first material is left out: no rotation made it."""
    key = await up_to_date(kms, await find(kms, call, request.key_id, aliases=False))
    _rotatable(key)
    is_all = request.include_key_material == "ALL_KEY_MATERIAL"
    shown = key.materials if is_all else key.materials[1:]
    page = paging.page_of(shown, lambda m: f"{m.number:08d}", request, paging.KEYS)
    return ListKeyRotationsResponse(
        rotations=[_told(key, material) for material in page.items],
        next_marker=page.next_marker,
        truncated=page.truncated,
    )


def _told(key: Key, material: Material) -> RotationsListEntry:
    is_current = material.number == key.materials[-1].number
    told = RotationsListEntry(
        key_id=key.id,
        key_material_id=materials.material_id(key, material),
        key_material_state="CURRENT" if is_current else "NON_CURRENT",
    )
    if material.number != key.materials[0].number:
        told.rotation_date = instant(material.created_at_ms)
        told.rotation_type = "ON_DEMAND" if material.is_on_demand else "AUTOMATIC"
    return told


def instant(at_ms: int) -> datetime:
    """A moment as replies tell it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)
