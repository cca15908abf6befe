"""The account's alias and its summary, through their actions."""

import pytest

from stanchion.access.entities import Account, AccountAlias
from stanchion.access.identity import root_of
from stanchion.model.iam import (
    CreateAccessKeyRequest,
    CreateAccountAliasRequest,
    CreatePolicyRequest,
    DeleteAccountAliasRequest,
    GetAccountSummaryRequest,
    ListAccountAliasesRequest,
)
from tests.iam.harness import ACCOUNT, OTHER_ACCOUNT, Service, allow, call_of


@pytest.fixture
def service() -> Service:
    return Service()


def aliases(service: Service) -> list[str]:
    found = service.do(ListAccountAliasesRequest())
    assert found.is_truncated is False
    return list(found.account_aliases)


def test_an_account_has_one_alias(service: Service) -> None:
    assert aliases(service) == []
    service.do(CreateAccountAliasRequest(account_alias="first"))
    assert aliases(service) == ["first"]
    service.do(CreateAccountAliasRequest(account_alias="second"))
    assert aliases(service) == ["second"]
    assert service.exact(AccountAlias, "", "first") is None
    assert service.exact(AccountAlias, "", "second").account_id == ACCOUNT


@pytest.mark.parametrize("account_id", [ACCOUNT, OTHER_ACCOUNT])
def test_an_alias_that_is_taken(service: Service, account_id: str) -> None:
    service.do(CreateAccountAliasRequest(account_alias="first"))
    call = call_of(root_of(account_id, "AKIA"))
    error = service.refuses(CreateAccountAliasRequest(account_alias="first"), call)
    assert (error.query_code, error.http_status) == ("EntityAlreadyExists", 409)
    assert error.message == "The account alias first already exists."


def test_an_alias_that_looks_like_an_account(service: Service) -> None:
    error = service.refuses(CreateAccountAliasRequest(account_alias=OTHER_ACCOUNT))
    assert error.query_code == "InvalidInput"


def test_a_deleted_alias_is_free(service: Service) -> None:
    service.do(CreateAccountAliasRequest(account_alias="first"))
    service.do(DeleteAccountAliasRequest(account_alias="first"))
    assert aliases(service) == []
    service.do(
        CreateAccountAliasRequest(account_alias="first"), call_of(root_of(OTHER_ACCOUNT, "AKIA"))
    )


def test_an_alias_that_is_not_the_account_s(service: Service) -> None:
    call = call_of(root_of(OTHER_ACCOUNT, "AKIA"))
    service.do(CreateAccountAliasRequest(account_alias="other"), call)
    error = service.refuses(DeleteAccountAliasRequest(account_alias="other"))
    assert (error.query_code, error.http_status) == ("NoSuchEntity", 404)
    assert service.exact(Account, "", OTHER_ACCOUNT).alias == "other"


def test_an_account_that_is_gone(service: Service) -> None:
    call = call_of(root_of("999999999999", "AKIA"))
    for request in (
        ListAccountAliasesRequest(),
        CreateAccountAliasRequest(account_alias="first"),
        GetAccountSummaryRequest(),
    ):
        assert service.refuses(request, call).query_code == "NoSuchEntity"


def test_the_summary(service: Service) -> None:
    for name in ("a", "b"):
        service.user(name)
    service.group()
    service.do(CreatePolicyRequest(policy_name="p", policy_document=allow("sqs:*")))
    summary = service.do(GetAccountSummaryRequest()).summary_map
    counted = {name: summary[name] for name in ("Users", "Groups", "Roles", "Policies")}
    assert counted == {"Users": 2, "Groups": 1, "Roles": 0, "Policies": 1}
    assert summary["UsersQuota"] == 5000
    assert summary["AccessKeysPerUserQuota"] == 2
    assert summary["AccountMFAEnabled"] == 0
    assert summary["AccountAccessKeysPresent"] == 0
    service.do(CreateAccessKeyRequest())
    assert service.do(GetAccountSummaryRequest()).summary_map["AccountAccessKeysPresent"] == 1
