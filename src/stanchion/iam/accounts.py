"""The account as a whole: its alias, and how much of everything there is in it.

An account has at most one alias, and no two accounts have the same: both are written in one draft.
"""

from msgspec import structs

from stanchion.access.entities import (
    Account,
    AccountAlias,
    Group,
    ManagedPolicy,
    OidcProvider,
    Role,
    User,
)
from stanchion.iam import limits, names, paging
from stanchion.iam.service import Iam, action
from stanchion.model.iam import (
    CreateAccountAliasRequest,
    DeleteAccountAliasRequest,
    EntityAlreadyExistsException,
    GetAccountSummaryRequest,
    GetAccountSummaryResponse,
    InvalidInputException,
    ListAccountAliasesRequest,
    ListAccountAliasesResponse,
    NoSuchEntityException,
)
from stanchion.service import Call
from stanchion.store.documents import Document, Draft


@action
async def create_account_alias(iam: Iam, call: Call, request: CreateAccountAliasRequest) -> None:
    """The new alias takes the place of the one there was."""
    account_id, alias = call.caller.account_id, request.account_alias or ""
    if len(alias) == 12 and alias.isdigit():
        raise InvalidInputException("An account alias must not look like an account id.")

    async def work(draft: Draft) -> None:
        account = await _account(draft, account_id)
        if await draft.get(AccountAlias, "", alias) is not None:
            raise EntityAlreadyExistsException(f"The account alias {alias} already exists.")
        if account.alias:
            draft.delete(AccountAlias, "", account.alias)
        draft.put(AccountAlias(account_id=account_id), "", alias)
        draft.put(structs.replace(account, alias=alias), "", account_id)

    await iam.documents.change(work)


async def _account(reader: names.Reader, account_id: str) -> Account:
    account = await reader.get(Account, "", account_id)
    if account is None:
        raise NoSuchEntityException(f"The account with id {account_id} cannot be found.")
    return account


@action
async def delete_account_alias(iam: Iam, call: Call, request: DeleteAccountAliasRequest) -> None:
    account_id, alias = call.caller.account_id, request.account_alias or ""

    async def work(draft: Draft) -> None:
        account = await _account(draft, account_id)
        if account.alias != alias:
            raise NoSuchEntityException(f"The account alias {alias} cannot be found.")
        draft.delete(AccountAlias, "", alias)
        draft.put(structs.replace(account, alias=""), "", account_id)

    await iam.documents.change(work)


@action
async def list_account_aliases(
    iam: Iam, call: Call, request: ListAccountAliasesRequest
) -> ListAccountAliasesResponse:
    account = await _account(iam.documents, call.caller.account_id)
    page = paging.page_of([account.alias] if account.alias else [], str.lower, request)
    return ListAccountAliasesResponse(
        account_aliases=page.items, is_truncated=page.is_truncated, marker=page.marker
    )


_QUOTAS = {
    "UsersQuota": limits.USERS_MAX,
    "GroupsQuota": limits.GROUPS_MAX,
    "RolesQuota": limits.ROLES_MAX,
    "PoliciesQuota": limits.POLICIES_MAX,
    "AccessKeysPerUserQuota": limits.ACCESS_KEYS_PER_USER_MAX,
    "GroupsPerUserQuota": limits.GROUPS_PER_USER_MAX,
    "AttachedPoliciesPerUserQuota": limits.ATTACHED_POLICIES_MAX,
    "AttachedPoliciesPerGroupQuota": limits.ATTACHED_POLICIES_MAX,
    "AttachedPoliciesPerRoleQuota": limits.ATTACHED_POLICIES_MAX,
    "VersionsPerPolicyQuota": limits.POLICY_VERSIONS_MAX,
    "UserPolicySizeQuota": limits.USER_POLICIES_BYTES_MAX,
    "GroupPolicySizeQuota": limits.GROUP_POLICIES_BYTES_MAX,
    "RolePolicySizeQuota": limits.ROLE_POLICIES_BYTES_MAX,
    "PolicySizeQuota": limits.MANAGED_POLICY_BYTES_MAX,
    "AssumeRolePolicySizeQuota": limits.TRUST_POLICY_BYTES_MAX,
}
_SORTS: dict[str, type[Document]] = {
    "Users": User,
    "Groups": Group,
    "Roles": Role,
    "Policies": ManagedPolicy,
    "Providers": OidcProvider,
}
# What AWS counts and what does not exist here.
_ABSENT = (
    "AccountMFAEnabled",
    "AccountPasswordPresent",
    "AccountSigningCertificatesPresent",
    "InstanceProfiles",
    "MFADevices",
    "MFADevicesInUse",
    "ServerCertificates",
)


@action
async def get_account_summary(
    iam: Iam, call: Call, request: GetAccountSummaryRequest
) -> GetAccountSummaryResponse:
    account_id = call.caller.account_id
    account = await _account(iam.documents, account_id)
    summary = dict.fromkeys(_ABSENT, 0) | _QUOTAS
    for name, sort in _SORTS.items():
        summary[name] = await names.count(iam.documents, sort, account_id)
    summary["AccountAccessKeysPresent"] = int(bool(account.root_access_key_ids))
    return GetAccountSummaryResponse(summary_map=summary)
