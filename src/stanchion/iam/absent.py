"""What AWS's users, roles and accounts may have and those here never do: passwords, devices, ...

Clients ask for them before they delete a user or a role, so the lists are here, always empty, and
a login profile is never found. Nothing here creates any, and nothing may: they would be believed.
Called by the gateway through the registry.
"""

from stanchion.access.entities import Role, User
from stanchion.iam import names, paging
from stanchion.iam.service import Iam, action
from stanchion.model.errors import ValidationError
from stanchion.model.iam import (
    DeleteLoginProfileRequest,
    GetLoginProfileRequest,
    GetLoginProfileResponse,
    ListInstanceProfilesForRoleRequest,
    ListInstanceProfilesForRoleResponse,
    ListMFADevicesRequest,
    ListMFADevicesResponse,
    ListServiceSpecificCredentialsRequest,
    ListServiceSpecificCredentialsResponse,
    ListSigningCertificatesRequest,
    ListSigningCertificatesResponse,
    ListSSHPublicKeysRequest,
    ListSSHPublicKeysResponse,
    ListVirtualMFADevicesRequest,
    ListVirtualMFADevicesResponse,
    NoSuchEntityException,
)
from stanchion.service import Call


@action
async def list_instance_profiles_for_role(
    iam: Iam, call: Call, request: ListInstanceProfilesForRoleRequest
) -> ListInstanceProfilesForRoleResponse:
    paging.start(request)
    await names.find(iam.documents, Role, call.caller.account_id, request.role_name or "")
    return ListInstanceProfilesForRoleResponse(instance_profiles=[], is_truncated=False)


@action
async def list_ssh_public_keys(
    iam: Iam, call: Call, request: ListSSHPublicKeysRequest
) -> ListSSHPublicKeysResponse:
    paging.start(request)
    await _user(iam, call, request.user_name)
    return ListSSHPublicKeysResponse(ssh_public_keys=[], is_truncated=False)


async def _user(iam: Iam, call: Call, user_name: str | None) -> str:
    """The name of the user who is named, or else calls; empty for root.

    Raises `NoSuchEntityException`, and `ValidationError` for callers who are no users.
    """
    name = user_name or names.own_user(call.caller)
    if name:
        return (await names.find(iam.documents, User, call.caller.account_id, name)).name
    return ""


@action
async def list_mfa_devices(
    iam: Iam, call: Call, request: ListMFADevicesRequest
) -> ListMFADevicesResponse:
    paging.start(request)
    await _user(iam, call, request.user_name)
    return ListMFADevicesResponse(mfa_devices=[], is_truncated=False)


@action
async def list_virtual_mfa_devices(
    iam: Iam, call: Call, request: ListVirtualMFADevicesRequest
) -> ListVirtualMFADevicesResponse:
    """Of the whole account."""
    paging.start(request)
    return ListVirtualMFADevicesResponse(virtual_mfa_devices=[], is_truncated=False)


@action
async def list_signing_certificates(
    iam: Iam, call: Call, request: ListSigningCertificatesRequest
) -> ListSigningCertificatesResponse:
    paging.start(request)
    await _user(iam, call, request.user_name)
    return ListSigningCertificatesResponse(certificates=[], is_truncated=False)


@action
async def list_service_specific_credentials(
    iam: Iam, call: Call, request: ListServiceSpecificCredentialsRequest
) -> ListServiceSpecificCredentialsResponse:
    paging.start(request)
    if not request.all_users:
        await _user(iam, call, request.user_name)
    elif request.user_name:
        raise ValidationError("UserName and AllUsers cannot be specified together.")
    return ListServiceSpecificCredentialsResponse(
        service_specific_credentials=[], is_truncated=False
    )


@action
async def get_login_profile(
    iam: Iam, call: Call, request: GetLoginProfileRequest
) -> GetLoginProfileResponse:
    raise _no_login_profile(await _user(iam, call, request.user_name))


def _no_login_profile(user: str) -> NoSuchEntityException:
    return NoSuchEntityException(f"Login Profile for User {user or 'root'} cannot be found.")


@action
async def delete_login_profile(iam: Iam, call: Call, request: DeleteLoginProfileRequest) -> None:
    raise _no_login_profile(await _user(iam, call, request.user_name))
