"""ARNs and unique ids in policies: what is replaced, what is refused, and that all else stays."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.access.entities import Group, Role, UniqueId, User
from stanchion.access.policy_principals import UnknownPrincipal, to_arns, to_ids
from tests.sqs.harness import finish

ACCOUNT = "123456789012"
ALICE = "arn:aws:iam::123456789012:user/staff/Alice"
WORKER = "arn:aws:iam::123456789012:role/worker"
ALICE_ID = "AIDA0000000000000ALICE"
WORKER_ID = "AROA000000000000WORKER"
STAFF_ID = "AGPA0000000000000STAFF"
GONE_ID = "AIDA00000000000000GONE"
ROOT = "arn:aws:iam::999999999999:root"
SESSION = "arn:aws:sts::123456789012:assumed-role/nobody/session"


class People:
    """Documents by what they are and where; `get` is all that is needed of them."""

    def __init__(self) -> None:
        alice = User(name="Alice", path="/staff/", id=ALICE_ID, created_at_ms=0)
        self.found: dict[tuple[Any, str, str], Any] = {
            (User, ACCOUNT, "alice"): alice,
            (Role, ACCOUNT, "worker"): Role(name="worker", id=WORKER_ID, created_at_ms=0, trust=""),
            (Group, ACCOUNT, "staff"): Group(name="staff", id=STAFF_ID, created_at_ms=0),
            (UniqueId, "", ALICE_ID): UniqueId(account_id=ACCOUNT, sort="user", name="Alice"),
            (UniqueId, "", WORKER_ID): UniqueId(account_id=ACCOUNT, sort="role", name="worker"),
            (UniqueId, "", STAFF_ID): UniqueId(account_id=ACCOUNT, sort="group", name="staff"),
        }

    async def get(self, sort: Any, account_id: str, name: str) -> Any:
        return self.found.get((sort, account_id, name))


def ids(text: str, people: People | None = None) -> str:
    return finish(to_ids(people or People(), text))


def arns(text: str, people: People | None = None, partition: str = "aws") -> str:
    return finish(to_arns(people or People(), text, partition))


def naming(principal: str) -> str:
    return json.dumps({"Statement": {"Principal": {"AWS": principal}}})


# --- Examples -------------------------------------------------------------------------------------


def test_users_and_roles_are_kept_by_their_ids() -> None:
    text = f'{{"Statement": [ {{"Principal":{{"AWS":["{ALICE}",\n "{WORKER}"]}}, "Sid":"x"}} ]}}'
    stored = text.replace(ALICE, ALICE_ID).replace(WORKER, WORKER_ID)
    assert ids(text) == stored
    assert arns(stored) == text


def test_a_single_statement_and_not_principal_count_too() -> None:
    text = f'{{"Statement":{{"NotPrincipal":{{"AWS":"{ALICE}"}}}}}}'
    assert ids(text) == text.replace(ALICE, ALICE_ID)


def test_an_arn_may_be_written_with_escapes() -> None:
    text = naming(ALICE).replace("/", "\\/").replace("AWS", "\\u0041WS")
    assert json.loads(ids(text)) == json.loads(naming(ALICE_ID))


def test_elsewhere_an_arn_is_only_text() -> None:
    text = json.dumps(
        {
            "Id": ALICE,
            "Statement": [
                {
                    "Sid": ALICE,
                    "Principal": {"AWS": "*", "Federated": ALICE, "Service": [ALICE]},
                    "Resource": [ALICE],
                    "Condition": {"ArnEquals": {"AWS": ALICE, "Principal": {"AWS": ALICE}}},
                }
            ],
        }
    )
    assert ids(text) == text


@pytest.mark.parametrize("principal", ["*", ACCOUNT, "999999999999", ROOT, SESSION, ALICE_ID])
def test_everyone_accounts_sessions_and_known_ids_stay(principal: str) -> None:
    assert ids(naming(principal)) == naming(principal)


@pytest.mark.parametrize(
    "principal",
    [
        "arn:aws:iam::123456789012:user/Alice",  # another path
        "arn:aws:iam::123456789012:user/staff/alice",  # another case
        "arn:aws:iam::123456789012:role/staff/Alice",
        "arn:aws:iam::123456789012:user/nobody",
        "arn:aws:iam::999999999999:user/staff/Alice",
        "arn:aws:iam::123456789012:group/staff",
        "arn:aws:iam::123456789012:user/*",
        "arn:aws:iam::123456789012:root/x",
        "arn:aws:iam::123456789012:",
        STAFF_ID,
        GONE_ID,
    ],
)
def test_who_is_not_there_is_refused(principal: str) -> None:
    with pytest.raises(UnknownPrincipal) as refusal:
        ids(naming(principal))
    assert refusal.value.principal == principal
    assert str(refusal.value) == f'Invalid principal in policy: "AWS":"{principal}"'


def test_who_is_gone_is_shown_by_the_id() -> None:
    assert arns(naming(GONE_ID)) == naming(GONE_ID)


def test_another_of_the_name_is_not_meant() -> None:
    people = People()
    again = User(name="Alice", path="/staff/", id=GONE_ID, created_at_ms=0)
    people.found[User, ACCOUNT, "alice"] = again
    people.found[UniqueId, "", GONE_ID] = people.found.pop((UniqueId, "", ALICE_ID))
    assert arns(naming(ALICE_ID), people) == naming(ALICE_ID)
    assert ids(naming(ALICE), people) == naming(GONE_ID)


def test_an_id_whose_owner_says_otherwise_is_shown_as_it_is() -> None:
    people = People()
    people.found[UniqueId, "", GONE_ID] = people.found[UniqueId, "", ALICE_ID]
    assert arns(naming(GONE_ID), people) == naming(GONE_ID)


def test_in_another_partition() -> None:
    chinese = ALICE.replace("arn:aws:", "arn:aws-cn:")
    assert ids(naming(chinese)) == naming(ALICE_ID)
    assert arns(naming(ALICE_ID), partition="aws-cn") == naming(chinese)


# --- Any document ---------------------------------------------------------------------------------

KNOWN = {ALICE: ALICE_ID, WORKER: WORKER_ID}

principals = st.sampled_from([*KNOWN, "*", ROOT, SESSION, ACCOUNT])
names = st.sampled_from(["AWS", "Service", "Statement", "Principal", "NotPrincipal", "Sid", 'a"b{'])
scalars = (
    principals | st.text(max_size=5) | st.integers() | st.floats(allow_nan=False) | st.booleans()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
one_or_more = principals | st.lists(principals, min_size=1, max_size=3)
statements = st.fixed_dictionaries(
    {"Principal": st.fixed_dictionaries({"AWS": one_or_more}, optional={"Service": values})},
    optional={
        "NotPrincipal": st.fixed_dictionaries({"AWS": one_or_more}),
        "Sid": st.text(max_size=5),
        "Resource": st.lists(principals, max_size=2),
        "Condition": values,
    },
)
documents = st.fixed_dictionaries(
    {"Statement": statements | st.lists(statements, max_size=3)}, optional={"Id": values}
)
layouts = st.sampled_from(
    [{}, {"indent": 1}, {"separators": (",", ":")}, {"separators": (" , ", " : ")}]
)


def replaced(document: Any) -> Any:
    """What `to_ids` has to do, by way of the parsed document."""
    found = document["Statement"]
    for statement in found if isinstance(found, list) else [found]:
        for member in ("Principal", "NotPrincipal"):
            if member in statement:
                given_names = statement[member]["AWS"]
                statement[member]["AWS"] = (
                    [KNOWN.get(name, name) for name in given_names]
                    if isinstance(given_names, list)
                    else KNOWN.get(given_names, given_names)
                )
    return document


@settings(max_examples=150, deadline=None)
@given(documents, layouts, st.booleans())
def test_there_and_back(document: Any, layout: dict[str, Any], is_ascii: bool) -> None:
    text = json.dumps(document, ensure_ascii=is_ascii, **layout)
    stored = ids(text)
    assert json.loads(stored) == replaced(json.loads(text))
    assert arns(stored) == text
    assert ids(stored) == stored


@settings(max_examples=150, deadline=None)
@given(values)
def test_what_is_no_policy_passes_or_names_somebody_unknown(document: Any) -> None:
    text = json.dumps(document)
    assert isinstance(ids(text), str)
    assert arns(text) == text
