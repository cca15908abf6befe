"""Inline policies, through their actions; the same for users, groups and roles."""

from typing import Any
from urllib.parse import unquote

import pytest

from stanchion.iam import limits
from stanchion.model import iam
from stanchion.model.iam import (
    LimitExceededException,
    MalformedPolicyDocumentException,
    NoSuchEntityException,
)
from tests.iam.harness import Service, allow
from tests.iam.policies import allow_of_size, create_role

SORTS = ("user", "group", "role")


class Owner:
    """Somebody of a sort, named `x`, and the requests about the policies of that sort."""

    def __init__(self, service: Service, sort: str) -> None:
        self.service = service
        self.sort = sort
        create = {
            "user": service.user,
            "group": service.group,
            "role": lambda name: create_role(service, name),
        }
        create[sort]("X")

    def request(self, operation: str, name: str = "x", **more: Any) -> Any:
        return getattr(iam, f"{operation}Request")(**{f"{self.sort}_name": name}, **more)

    def put(self, policy_name: str, document: str = allow("sqs:SendMessage")) -> Any:
        return self.request(
            f"Put{self.sort.capitalize()}Policy",
            policy_name=policy_name,
            policy_document=document,
        )

    def get(self, policy_name: str) -> Any:
        return self.request(f"Get{self.sort.capitalize()}Policy", policy_name=policy_name)

    def delete(self, policy_name: str) -> Any:
        return self.request(f"Delete{self.sort.capitalize()}Policy", policy_name=policy_name)

    def listing(self, **more: Any) -> Any:
        return self.request(f"List{self.sort.capitalize()}Policies", **more)

    def names(self) -> list[str]:
        return list(self.service.do(self.listing()).policy_names)


@pytest.fixture(params=SORTS)
def owner(request: pytest.FixtureRequest) -> Owner:
    return Owner(Service(), request.param)


def test_a_policy_is_shown_as_it_was_given(owner: Owner) -> None:
    document = allow("sqs:SendMessage").replace(",", ",\n  ")
    owner.service.do(owner.put("Send", document))
    shown = owner.service.do(owner.get("Send"))
    assert unquote(shown.policy_document) == document
    assert "%0A" in shown.policy_document
    assert (shown.policy_name, getattr(shown, f"{owner.sort}_name")) == ("Send", "X")


def test_putting_it_again_replaces_it(owner: Owner) -> None:
    owner.service.do(owner.put("send"))
    owner.service.do(owner.put("send", allow("sqs:*")))
    assert owner.names() == ["send"]
    assert unquote(owner.service.do(owner.get("send")).policy_document) == allow("sqs:*")


def test_listing_by_page(owner: Owner) -> None:
    for name in ("b", "c", "a"):
        owner.service.do(owner.put(name))
    first = owner.service.do(owner.listing(max_items=2))
    assert (first.policy_names, first.is_truncated) == (["a", "b"], True)
    rest = owner.service.do(owner.listing(marker=first.marker))
    assert (rest.policy_names, rest.is_truncated, rest.marker) == (["c"], False, None)


def test_deleting(owner: Owner) -> None:
    owner.service.do(owner.put("a"))
    owner.service.do(owner.put("b"))
    owner.service.do(owner.delete("a"))
    assert owner.names() == ["b"]


def test_a_policy_that_is_not_there(owner: Owner) -> None:
    for request in (owner.get("none"), owner.delete("none")):
        refusal = owner.service.refuses(request)
        assert isinstance(refusal, NoSuchEntityException)
        assert refusal.message == f"The {owner.sort} policy with name none cannot be found."


def test_an_owner_who_is_not_there(owner: Owner) -> None:
    sort = owner.sort.capitalize()
    document = allow("sqs:SendMessage")
    for request in (
        owner.request(f"Put{sort}Policy", "none", policy_name="p", policy_document=document),
        owner.request(f"Get{sort}Policy", "none", policy_name="p"),
        owner.request(f"Delete{sort}Policy", "none", policy_name="p"),
        owner.request(f"List{sort}Policies", "none"),
    ):
        refusal = owner.service.refuses(request)
        assert isinstance(refusal, NoSuchEntityException)
        assert refusal.message == f"The {owner.sort} with name none cannot be found."


def test_a_malformed_document(owner: Owner) -> None:
    refusal = owner.service.refuses(owner.put("p", '{"Statement":[]}'))
    assert isinstance(refusal, MalformedPolicyDocumentException)
    assert refusal.message == "Statement: there must be at least one"
    assert owner.names() == []


def test_all_together_may_only_be_so_long(owner: Owner) -> None:
    most = {
        "user": limits.USER_POLICIES_BYTES_MAX,
        "group": limits.GROUP_POLICIES_BYTES_MAX,
        "role": limits.ROLE_POLICIES_BYTES_MAX,
    }[owner.sort]
    owner.service.do(owner.put("a", allow_of_size(200)))
    refusal = owner.service.refuses(owner.put("b", allow_of_size(most - 199)))
    assert isinstance(refusal, LimitExceededException)
    assert refusal.message == f"Maximum policy size of {most} bytes exceeded for {owner.sort} X"
    owner.service.do(owner.put("b", allow_of_size(most - 200)))
    # What is replaced does not count beside what replaces it.
    owner.service.do(owner.put("b", allow_of_size(most - 200)))
