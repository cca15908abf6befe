"""Aliases: making, moving, deleting and listing them."""

import pytest

from stanchion.kms import limits
from stanchion.kms.keys import destroy_due
from stanchion.kms.managed_keys import aws_managed_key
from stanchion.model.errors import AccessDenied, ValidationError
from stanchion.model.kms import (
    AlreadyExistsException,
    CreateAliasRequest,
    DeleteAliasRequest,
    InvalidAliasNameException,
    KMSInvalidStateException,
    LimitExceededException,
    ListAliasesRequest,
    NotFoundException,
    ScheduleKeyDeletionRequest,
    UpdateAliasRequest,
)
from tests.kms.harness import ACCOUNT, DAY_S, REGION, Service
from tests.sqs.harness import finish

PREFIX = f"arn:aws:kms:{REGION}:{ACCOUNT}:"


def names(service: Service, **more: str) -> list[str]:
    return [a.alias_name for a in service.ask(ListAliasesRequest(**more)).aliases]


def test_an_alias_is_listed_with_its_key() -> None:
    service = Service()
    key_id = service.key()
    service.ask(CreateAliasRequest(alias_name="alias/a/b", target_key_id=key_id))
    (alias,) = service.ask(ListAliasesRequest()).aliases
    assert alias.alias_name == "alias/a/b"
    assert alias.alias_arn == f"{PREFIX}alias/a/b"
    assert alias.target_key_id == key_id
    assert alias.creation_date == alias.last_updated_date
    assert service.found(key_id).aliases == ("alias/a/b",)


def test_aliases_are_unique() -> None:
    service = Service()
    key_id = service.key()
    service.alias("alias/a", key_id)
    refusal = service.refuses(CreateAliasRequest(alias_name="alias/a", target_key_id=key_id))
    assert isinstance(refusal, AlreadyExistsException)
    assert refusal.message == f"An alias with the name {PREFIX}alias/a already exists"
    service.alias("alias/A", key_id)
    assert names(service) == ["alias/A", "alias/a"]


def test_an_alias_moves_to_another_key() -> None:
    service = Service()
    old, new = service.key(), service.key()
    service.alias("alias/a", old)
    service.clock.advance(5)
    service.ask(UpdateAliasRequest(alias_name="alias/a", target_key_id=f"{PREFIX}key/{new}"))
    assert service.found("alias/a").id == new
    assert (service.found(old).aliases, service.found(new).aliases) == ((), ("alias/a",))
    (alias,) = service.ask(ListAliasesRequest()).aliases
    assert (alias.last_updated_date - alias.creation_date).total_seconds() == 5


def test_an_alias_may_be_moved_to_where_it_is() -> None:
    service = Service()
    key_id = service.key()
    service.alias("alias/a", key_id)
    service.ask(UpdateAliasRequest(alias_name="alias/a", target_key_id=key_id))
    assert service.found(key_id).aliases == ("alias/a",)


def test_an_alias_stays_with_its_kind_of_key() -> None:
    service = Service()
    old, new = service.key(), service.key(key_spec="HMAC_256", key_usage="GENERATE_VERIFY_MAC")
    service.alias("alias/a", old)
    refusal = service.refuses(UpdateAliasRequest(alias_name="alias/a", target_key_id=new))
    assert isinstance(refusal, ValidationError)
    assert service.found("alias/a").id == old
    assert service.found(old).aliases == ("alias/a",)


def test_a_deleted_alias_leaves_the_key() -> None:
    service = Service()
    key_id = service.key()
    service.alias("alias/a", key_id)
    service.do(ScheduleKeyDeletionRequest(key_id=key_id))
    service.ask(DeleteAliasRequest(alias_name="alias/a"))
    assert names(service) == []
    assert service.found(key_id).aliases == ()
    with pytest.raises(NotFoundException):
        service.found("alias/a")


@pytest.mark.parametrize(
    "request_",
    [
        DeleteAliasRequest(alias_name="alias/no"),
        UpdateAliasRequest(alias_name="alias/no", target_key_id="ID"),
    ],
)
@pytest.mark.parametrize("is_asked", [True, False])
def test_an_alias_that_is_not_there(
    request_: DeleteAliasRequest | UpdateAliasRequest, is_asked: bool
) -> None:
    service = Service()
    key_id = service.key()
    if isinstance(request_, UpdateAliasRequest):
        request_.target_key_id = key_id
    with pytest.raises(NotFoundException, match=f"Alias {PREFIX}alias/no is not found."):
        service.ask(request_) if is_asked else service.do(request_)


def test_no_alias_is_made_for_a_key_that_waits_for_its_end() -> None:
    service = Service()
    key_id, other = service.key(), service.key()
    service.alias("alias/a", other)
    service.do(ScheduleKeyDeletionRequest(key_id=key_id))
    for request in (
        CreateAliasRequest(alias_name="alias/b", target_key_id=key_id),
        UpdateAliasRequest(alias_name="alias/a", target_key_id=key_id),
    ):
        assert isinstance(service.refuses(request), KMSInvalidStateException)
    assert names(service) == ["alias/a"]


def test_aliases_of_aws_are_not_for_customers() -> None:
    service = Service()
    key_id = service.key()
    finish(aws_managed_key(service.kms, ACCOUNT, REGION, "sqs"))
    create = CreateAliasRequest(alias_name="alias/aws/mine", target_key_id=key_id)
    assert isinstance(service.refuses(create), InvalidAliasNameException)
    for request in (
        UpdateAliasRequest(alias_name="alias/aws/sqs", target_key_id=key_id),
        DeleteAliasRequest(alias_name="alias/aws/sqs"),
    ):
        assert isinstance(service.refuses(request), AccessDenied)
        with pytest.raises(InvalidAliasNameException):
            service.do(request)


@pytest.mark.parametrize("name", ["alias/with space", "alias/ümlaut", "alias/" + "x" * 251])
def test_names_are_checked(name: str) -> None:
    service = Service()
    request = CreateAliasRequest(alias_name=name, target_key_id=service.key())
    assert isinstance(service.refuses(request), ValidationError)


def test_a_key_has_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ALIASES_PER_KEY_MAX", 2)
    service = Service()
    full, other = service.key(), service.key()
    service.alias("alias/1", full)
    service.alias("alias/2", full)
    service.alias("alias/3", other)
    for request in (
        CreateAliasRequest(alias_name="alias/4", target_key_id=full),
        UpdateAliasRequest(alias_name="alias/3", target_key_id=full),
    ):
        assert isinstance(service.refuses(request), LimitExceededException)


def test_the_aliases_of_one_key() -> None:
    service = Service()
    key_id = service.key()
    for name in ("alias/b", "alias/a"):
        service.alias(name, key_id)
    service.alias("alias/0", service.key())
    assert names(service, key_id=key_id) == ["alias/a", "alias/b"]
    assert names(service) == ["alias/0", "alias/a", "alias/b"]
    page = service.ask(ListAliasesRequest(key_id=key_id, limit=1))
    assert page.truncated
    assert names(service, key_id=key_id, marker=page.next_marker) == ["alias/b"]


def test_the_aliases_of_another_account_are_not_told() -> None:
    service = Service()
    there = f"{PREFIX}key/{service.key()}"
    missing = f"{PREFIX}key/12345678-1234-1234-1234-123456789012"
    texts = set()
    for arn in (there, missing):
        refusal = service.refuses(ListAliasesRequest(key_id=arn), service.other_root)
        assert isinstance(refusal, NotFoundException)
        texts.add(refusal.message.replace(arn, "ARN"))
    assert texts == {"Key 'ARN' does not exist"}


def test_an_alias_is_free_again_when_its_key_is_gone() -> None:
    service = Service()
    key_id = service.key()
    service.alias("alias/a", key_id)
    service.do(ScheduleKeyDeletionRequest(key_id=key_id))
    service.clock.advance(30 * DAY_S)
    other = service.key()
    service.ask(CreateAliasRequest(alias_name="alias/a", target_key_id=other))
    assert service.found("alias/a").id == other
    finish(destroy_due(service.kms))
    assert service.found("alias/a").id == other
    assert names(service) == ["alias/a"]
