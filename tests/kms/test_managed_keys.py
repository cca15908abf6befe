"""The keys that AWS manages: made when asked for, used through their service, never changed."""

from typing import Any

import pytest

from stanchion.access.policy.context import Values
from stanchion.kms.authorisation import check
from stanchion.kms.entities import Key
from stanchion.kms.managed_keys import aws_managed_key
from stanchion.model.errors import AccessDenied
from stanchion.model.kms import (
    CancelKeyDeletionRequest,
    CreateAliasRequest,
    CreateGrantRequest,
    DescribeKeyRequest,
    DisableKeyRequest,
    DisableKeyRotationRequest,
    EncryptRequest,
    GetKeyRotationStatusRequest,
    ListAliasesRequest,
    NotFoundException,
    PutKeyPolicyRequest,
    RotateKeyOnDemandRequest,
    ScheduleKeyDeletionRequest,
    Tag,
    TagResourceRequest,
    UpdateKeyDescriptionRequest,
)
from stanchion.service import Call
from tests.kms.harness import ACCOUNT, OTHER_ACCOUNT, REGION, Service, allow, deny, key_policy
from tests.sqs.harness import finish

VIA_SQS: dict[str, Values] = {"kms:viaservice": (f"sqs.{REGION}.amazonaws.com",)}


def made(service: Service, account_id: str = ACCOUNT, region: str = REGION) -> Key:
    return finish(aws_managed_key(service.kms, account_id, region, "sqs"))


def test_there_is_one_for_each_account_and_region() -> None:
    service = Service()
    key = made(service)
    assert made(service) == key
    assert service.found("alias/aws/sqs") == key
    others = [made(service, OTHER_ACCOUNT), made(service, ACCOUNT, "us-east-1")]
    assert len({key.id, *(other.id for other in others)}) == 3


@pytest.mark.parametrize("name", ["alias/aws/sqs", f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/sqs"])
def test_describing_it_makes_it(name: str) -> None:
    service = Service()
    assert service.ask(ListAliasesRequest()).aliases == []
    alice = service.user("alice", allow("kms:DescribeKey"))
    told = service.ask(DescribeKeyRequest(key_id=name), alice).key_metadata
    assert (told.key_manager, told.key_state) == ("AWS", "Enabled")
    (alias,) = service.ask(ListAliasesRequest()).aliases
    assert (alias.alias_name, alias.target_key_id) == ("alias/aws/sqs", told.key_id)
    status = service.ask(GetKeyRotationStatusRequest(key_id=told.key_id))
    assert (status.key_rotation_enabled, status.rotation_period_in_days) == (True, 365)


def test_another_account_does_not_make_it() -> None:
    service = Service()
    request = DescribeKeyRequest(key_id=f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/sqs")
    assert isinstance(service.refuses(request, service.other_root), AccessDenied)
    for call in (service.call, service.other_root):
        assert service.ask(ListAliasesRequest(), call).aliases == []


def test_other_services_have_none() -> None:
    refusal = Service().refuses(DescribeKeyRequest(key_id="alias/aws/s3"))
    assert isinstance(refusal, NotFoundException)


def may(service: Service, call: Call, key: Key, asked: dict[str, Values]) -> bool:
    try:
        finish(check(service.kms, call, "kms:GenerateDataKey", key, asked=asked))
    except AccessDenied:
        return False
    return True


def test_all_of_the_account_use_it_through_the_service() -> None:
    service = Service()
    key = made(service)
    assert may(service, service.user("alice"), key, VIA_SQS)
    assert may(service, service.call, key, VIA_SQS)
    assert not may(service, service.user("mallory", deny("kms:*")), key, VIA_SQS)
    assert not may(service, service.user("alice"), key, {})
    elsewhere: dict[str, Values] = {"kms:viaservice": ("sqs.us-east-1.amazonaws.com",)}
    assert not may(service, service.user("alice"), key, elsewhere)


def test_no_other_account_uses_it() -> None:
    service = Service()
    key = made(service)
    bob = service.user("bob", allow("kms:*"), account_id=OTHER_ACCOUNT)
    for call in (bob, service.other_root):
        assert not may(service, call, key, VIA_SQS)
    # The caller's account is not for the asking.
    asked = {**VIA_SQS, "kms:calleraccount": (ACCOUNT,)}
    assert not may(service, service.other_root, key, asked)


@pytest.mark.parametrize(
    ("request_type", "more"),
    [
        (CancelKeyDeletionRequest, {}),
        (CreateGrantRequest, {"grantee_principal": "x", "operations": ["Decrypt"]}),
        (DisableKeyRequest, {}),
        (DisableKeyRotationRequest, {}),
        (EncryptRequest, {"plaintext": b"x"}),
        (PutKeyPolicyRequest, {"policy": key_policy()}),
        (RotateKeyOnDemandRequest, {}),
        (ScheduleKeyDeletionRequest, {}),
        (TagResourceRequest, {"tags": [Tag(tag_key="a", tag_value="b")]}),
        (UpdateKeyDescriptionRequest, {"description": "mine"}),
    ],
)
def test_not_even_root_changes_it(request_type: Any, more: dict[str, Any]) -> None:
    service = Service()
    key = made(service)
    refusal = service.refuses(request_type(key_id=key.id, **more))
    assert isinstance(refusal, AccessDenied)
    assert made(service) == key


def test_it_has_the_alias_of_aws_only() -> None:
    service = Service()
    request = CreateAliasRequest(alias_name="alias/mine", target_key_id=made(service).id)
    assert isinstance(service.refuses(request), AccessDenied)
