"""Entities by name: uniqueness, unique ids, quotas."""

import re
from random import Random

import pytest

from stanchion.access.entities import Group, UniqueId, User
from stanchion.access.identity import Caller, root_of
from stanchion.iam import names
from stanchion.model.errors import ValidationError
from stanchion.model.iam import LimitExceededException
from tests.iam.harness import ACCOUNT, OTHER_ACCOUNT, Service, call_of
from tests.sqs.harness import finish


def test_unique_ids() -> None:
    entropy = Random(1).randbytes
    ids = {names.new_id("AIDA", entropy) for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"AIDA[A-Z2-7]{17}", unique_id) for unique_id in ids)


def test_percent_encoding_is_that_of_the_rfc() -> None:
    assert names.percent_encoded('{"a": "b/c~d*é"}') == (
        "%7B%22a%22%3A%20%22b%2Fc~d%2A%C3%A9%22%7D"
    )


def test_an_instant_has_whole_seconds() -> None:
    assert names.instant(1_700_000_000_999).isoformat() == "2023-11-14T22:13:20+00:00"


def test_the_caller_s_own_name() -> None:
    service = Service()
    service.user("Alice")
    assert names.own_user(service.call_by("alice").caller) == "Alice"
    assert names.own_user(root_of(ACCOUNT, "AKIA")) == ""
    with pytest.raises(ValidationError) as refusal:
        names.own_user(Caller("role", ACCOUNT, "arn", "id"))
    assert refusal.value.message == "Must specify userName when calling with non-User credentials"


def test_a_unique_id_is_somebody_s_for_as_long_as_there_is_somebody() -> None:
    service = Service()
    user = service.user("Alice")
    found = service.get(UniqueId, "", "x")
    assert found is None
    (owner,) = [owner for _, owner in finish(service.documents.list(UniqueId, ""))]
    assert owner == UniqueId(account_id=ACCOUNT, sort="user", name="Alice")
    (name,) = [name for name, _ in finish(service.documents.list(UniqueId, ""))]
    assert name == user.user_id


def test_counting_goes_beyond_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_COUNTED_AT_ONCE", 2)
    service = Service()
    for number in range(5):
        assert finish(names.count(service.documents, User, ACCOUNT)) == number
        service.user(f"user{number}")
    assert finish(names.count(service.documents, User, OTHER_ACCOUNT)) == 0


def test_the_quota_of_an_account_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(names._QUOTAS, Group, ("GroupsPerAccount", 1))
    service = Service()
    service.group("one")
    with pytest.raises(LimitExceededException) as refusal:
        service.group("two")
    assert refusal.value.message == "Cannot exceed quota for GroupsPerAccount: 1"
    service.call = call_of(root_of(OTHER_ACCOUNT, "AKIA"))
    service.group("one")
