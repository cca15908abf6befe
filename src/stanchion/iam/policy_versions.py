"""The versions of a managed policy, one of which is in force: the default.

At most five are kept; their numbers are not used again. Called by the gateway through the registry.
"""

from collections.abc import Sequence

from msgspec import structs

from stanchion.access.aws_policies import AwsPolicy
from stanchion.access.entities import ManagedPolicy
from stanchion.access.entities import PolicyVersion as Version
from stanchion.iam import documents, limits, managed, names
from stanchion.iam.paging import page_of
from stanchion.iam.policies import AWS_POLICY_DATE
from stanchion.iam.service import Iam, action
from stanchion.model.iam import (
    CreatePolicyVersionRequest,
    CreatePolicyVersionResponse,
    DeleteConflictException,
    DeletePolicyVersionRequest,
    GetPolicyVersionRequest,
    GetPolicyVersionResponse,
    LimitExceededException,
    ListPolicyVersionsRequest,
    ListPolicyVersionsResponse,
    NoSuchEntityException,
    PolicyVersion,
    SetDefaultPolicyVersionRequest,
)
from stanchion.service import Call
from stanchion.store.documents import Draft


@action
async def create_policy_version(
    iam: Iam, call: Call, request: CreatePolicyVersionRequest
) -> CreatePolicyVersionResponse:
    account_id, now_ms = call.caller.account_id, iam.clock.now_ms()
    document = documents.managed(request.policy_document or "")

    async def work(draft: Draft) -> PolicyVersion:
        policy = await managed.find_own(draft, account_id, request.policy_arn or "")
        if len(policy.versions) >= limits.POLICY_VERSIONS_MAX:
            raise LimitExceededException(
                f"A managed policy can have up to {limits.POLICY_VERSIONS_MAX} versions. Before you"
                " create a new version, you must delete an existing version."
            )
        number = policy.last_version + 1
        version = Version(f"v{number}", document, now_ms)
        changed = structs.replace(
            policy,
            versions=(*policy.versions, version),
            last_version=number,
            default_version=version.id if request.set_as_default else policy.default_version,
            updated_at_ms=now_ms,
        )
        names.put(draft, account_id, changed)
        return _told(version, changed.default_version)

    return CreatePolicyVersionResponse(policy_version=await iam.documents.change(work))


def _told(version: Version, default: str) -> PolicyVersion:
    """As replies have it, without its document."""
    return PolicyVersion(
        version_id=version.id,
        is_default_version=version.id == default,
        create_date=names.instant(version.created_at_ms),
    )


@action
async def get_policy_version(
    iam: Iam, call: Call, request: GetPolicyVersionRequest
) -> GetPolicyVersionResponse:
    policy = await managed.find(iam.documents, call.caller.account_id, request.policy_arn or "")
    version = _version(_versions(policy), request.policy_arn, request.version_id)
    told = _told(version, _default(policy))
    told.document = names.percent_encoded(version.document)
    return GetPolicyVersionResponse(policy_version=told)


_AWS_VERSION = "v1"


def _versions(policy: ManagedPolicy | AwsPolicy) -> Sequence[Version]:
    if isinstance(policy, ManagedPolicy):
        return policy.versions
    created_at_ms = int(AWS_POLICY_DATE.timestamp()) * 1000
    return (Version(_AWS_VERSION, policy.document, created_at_ms),)


def _default(policy: ManagedPolicy | AwsPolicy) -> str:
    return policy.default_version if isinstance(policy, ManagedPolicy) else _AWS_VERSION


def _version(versions: Sequence[Version], arn: str | None, version_id: str | None) -> Version:
    for version in versions:
        if version.id == version_id:
            return version
    raise NoSuchEntityException(
        f"Policy {arn} version {version_id} does not exist or is not attachable."
    )


@action
async def list_policy_versions(
    iam: Iam, call: Call, request: ListPolicyVersionsRequest
) -> ListPolicyVersionsResponse:
    """The latest first."""
    policy = await managed.find(iam.documents, call.caller.account_id, request.policy_arn or "")
    page = page_of(_versions(policy), _sorting_key, request)
    return ListPolicyVersionsResponse(
        versions=[_told(version, _default(policy)) for version in page.items],
        is_truncated=page.is_truncated,
        marker=page.marker,
    )


_NUMBERS_MAX = 10**12


def _sorting_key(version: Version) -> str:
    return str(_NUMBERS_MAX * 2 - int(version.id.removeprefix("v")))


@action
async def delete_policy_version(iam: Iam, call: Call, request: DeletePolicyVersionRequest) -> None:
    account_id = call.caller.account_id

    async def work(draft: Draft) -> None:
        policy = await managed.find_own(draft, account_id, request.policy_arn or "")
        version = _version(policy.versions, request.policy_arn, request.version_id)
        if version.id == policy.default_version:
            raise DeleteConflictException("Cannot delete the default version of a policy.")
        rest = tuple(other for other in policy.versions if other.id != version.id)
        names.put(draft, account_id, structs.replace(policy, versions=rest))

    await iam.documents.change(work)


@action
async def set_default_policy_version(
    iam: Iam, call: Call, request: SetDefaultPolicyVersionRequest
) -> None:
    account_id, now_ms = call.caller.account_id, iam.clock.now_ms()

    async def work(draft: Draft) -> None:
        policy = await managed.find_own(draft, account_id, request.policy_arn or "")
        version = _version(policy.versions, request.policy_arn, request.version_id)
        changed = structs.replace(policy, default_version=version.id, updated_at_ms=now_ms)
        names.put(draft, account_id, changed)

    await iam.documents.change(work)
