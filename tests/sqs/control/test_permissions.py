"""AddPermission and RemovePermission: what they write into the policy, and what they refuse."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.model.errors import InvalidParameterValue, MissingParameter, ServiceError
from stanchion.model.sqs import (
    AddPermissionRequest,
    OverLimit,
    QueueDoesNotExist,
    RemovePermissionRequest,
    SetQueueAttributesRequest,
)
from tests.sqs.harness import Fault, Service, known, pairs_of_faults

ARN = "arn:aws:sqs:eu-central-1:123456789012:q"
LABEL_RULE = (
    "Reason: Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
)
UNVERIFIED = "Value [] for parameter PrincipalId is invalid. Reason: Unable to verify."


def with_queue(**attributes: str) -> Service:
    service = Service()
    service.create(**attributes)
    return service


def adding(label: str | None = "one", **changes: Any) -> AddPermissionRequest:
    parameters = {
        "queue_url": "q",
        "aws_account_ids": ["111122223333"],
        "actions": ["SendMessage"],
        **changes,
    }
    return AddPermissionRequest(label=label, **parameters)


def policy_text(service: Service) -> str | None:
    queue = known(service.catalogue, service.call, "q")
    assert queue is not None
    return queue.record.attributes.get("Policy")


def policy(service: Service) -> Any:
    return json.loads(policy_text(service) or "null")


def test_the_first_permission_makes_the_policy() -> None:
    service = with_queue()
    assert service.do(adding()) is None
    assert policy(service) == {
        "Version": "2008-10-17",
        "Id": f"{ARN}/SQSDefaultPolicy",
        "Statement": [
            {
                "Sid": "one",
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
                "Action": "SQS:SendMessage",
                "Resource": ARN,
            }
        ],
    }


def test_several_accounts_and_actions_are_lists() -> None:
    service = with_queue()
    accounts = ["111122223333", "444455556666"]
    service.do(adding(aws_account_ids=accounts, actions=["*", "ReceiveMessage"]))
    (statement,) = policy(service)["Statement"]
    assert statement["Principal"] == {
        "AWS": ["arn:aws:iam::111122223333:root", "arn:aws:iam::444455556666:root"]
    }
    assert statement["Action"] == ["SQS:*", "SQS:ReceiveMessage"]


def test_a_permission_is_added_to_the_policy_there_is() -> None:
    single = {"Effect": "Deny", "Principal": "*", "Action": "sqs:PurgeQueue", "Resource": "*"}
    service = with_queue(Policy=json.dumps({"Version": "2012-10-17", "Statement": single}))
    service.do(adding())
    changed = policy(service)
    assert changed["Version"] == "2012-10-17"
    assert changed["Statement"][0] == single
    assert changed["Statement"][1]["Sid"] == "one"


def test_what_is_written_is_acceptable_as_a_policy() -> None:
    service = with_queue()
    service.do(adding(actions=["*"]))
    text = policy_text(service)
    assert text is not None
    service.do(SetQueueAttributesRequest(queue_url="q", attributes={"Policy": text}))
    assert policy_text(service) == text


LABELS = st.text("aZ9-_", min_size=1, max_size=80)
GRANTABLE = [
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
]
ACTIONS = st.lists(st.sampled_from(GRANTABLE), min_size=1, max_size=7)
ACCOUNTS = st.lists(st.from_regex("[0-9]{12}", fullmatch=True), min_size=1, max_size=4)


@given(
    labels=st.lists(LABELS, min_size=2, max_size=2, unique=True),
    actions=ACTIONS,
    accounts=ACCOUNTS,
)
def test_removing_undoes_adding(labels: list[str], actions: list[str], accounts: list[str]) -> None:
    service = with_queue()
    kept, passing = labels
    service.do(adding(kept))
    before = policy_text(service)
    service.do(adding(passing, actions=actions, aws_account_ids=accounts))
    assert policy_text(service) != before
    assert service.do(RemovePermissionRequest(queue_url="q", label=passing)) is None
    assert policy_text(service) == before
    service.do(RemovePermissionRequest(queue_url="q", label=kept))
    assert policy_text(service) is None


def test_the_same_permission_again_changes_nothing() -> None:
    service = with_queue()
    service.do(adding())
    before = policy_text(service)
    service.do(adding())
    assert policy_text(service) == before


def test_a_label_is_used_once() -> None:
    service = with_queue()
    service.do(adding())
    error = service.refuses(adding(actions=["ReceiveMessage"]))
    assert isinstance(error, InvalidParameterValue)
    assert error.message == "Value one for parameter Label is invalid. Reason: Already exists."


@pytest.mark.parametrize("label", ["a b", "ü", "x" * 81, "a\n"])
def test_a_label_has_its_characters(label: str) -> None:
    error = with_queue().refuses(adding(label))
    assert isinstance(error, InvalidParameterValue)
    assert error.message == f"Value {label} for parameter Label is invalid. {LABEL_RULE}"


@pytest.mark.parametrize("label", [None, ""])
def test_a_label_must_be_given(label: str | None) -> None:
    for request in (adding(label), RemovePermissionRequest(queue_url="q", label=label)):
        error = with_queue().refuses(request)
        assert isinstance(error, MissingParameter)
        assert error.message == "The request must contain the parameter Label."


@pytest.mark.parametrize(
    ("accounts", "shown"),
    [
        (None, "[]"),
        ([], "[]"),
        (["12345678901"], "[12345678901]"),
        (["*"], "[*]"),
        (["111122223333", "arn:aws:iam::1:root"], "[111122223333, arn:aws:iam::1:root]"),
    ],
)
def test_only_accounts_are_let_in(accounts: list[str] | None, shown: str) -> None:
    error = with_queue().refuses(adding(aws_account_ids=accounts))
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        f"Value {shown} for parameter PrincipalId is invalid. Reason: Unable to verify."
    )


@pytest.mark.parametrize(
    "name",
    [
        "AddPermission",
        "CreateQueue",
        "DeleteQueue",
        "ListQueues",
        "ListQueueTags",
        "RemovePermission",
        "SetQueueAttributes",
        "TagQueue",
        "UntagQueue",
        "SendMessageBatch",
        "StartMessageMoveTask",
        "Nope",
    ],
)
def test_what_only_the_owner_may_do_cannot_be_granted(name: str) -> None:
    error = with_queue().refuses(adding(actions=["SendMessage", name]))
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        f"Value SQS:{name} for parameter ActionName is invalid."
        " Reason: Only the queue owner is allowed to invoke this action."
    )


def test_at_most_seven_actions() -> None:
    error = with_queue().refuses(adding(actions=["SendMessage"] * 8))
    assert isinstance(error, OverLimit)
    assert error.message == "8 Actions were found, maximum allowed is 7."


def test_at_most_twenty_statements() -> None:
    service = with_queue()
    for number in range(20):
        service.do(adding(f"l{number}"))
    error = service.refuses(adding("one-more"))
    assert isinstance(error, OverLimit)
    assert error.message == "21 Statements were found, maximum allowed is 20."


def test_a_policy_does_not_grow_beyond_what_could_be_set() -> None:
    service = with_queue()
    accounts = [f"{number:012}" for number in range(300)]
    assert isinstance(service.refuses(adding(aws_account_ids=accounts)), OverLimit)


def test_removing_an_unknown_label_is_refused() -> None:
    service = with_queue()
    service.do(adding())
    error = service.refuses(RemovePermissionRequest(queue_url="q", label="two"))
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        "Value two for parameter Label is invalid. Reason: can't find label on existing policy."
    )
    fresh = with_queue().refuses(RemovePermissionRequest(queue_url="q", label="two"))
    assert fresh.message == error.message


FAULTS: list[Fault] = [
    ({"queue_url": "missing"}, (QueueDoesNotExist, "The specified queue does not exist.")),
    (
        {"label": "a b"},
        (InvalidParameterValue, f"Value a b for parameter Label is invalid. {LABEL_RULE}"),
    ),
    ({"actions": []}, (MissingParameter, "The request must contain the parameter Actions.")),
    ({"aws_account_ids": []}, (InvalidParameterValue, UNVERIFIED)),
    (
        {"actions": ["SendMessage"] * 8},
        (OverLimit, "8 Actions were found, maximum allowed is 7."),
    ),
    (
        {"actions": ["TagQueue"]},
        (
            InvalidParameterValue,
            "Value SQS:TagQueue for parameter ActionName is invalid."
            " Reason: Only the queue owner is allowed to invoke this action.",
        ),
    ),
    (
        {"label": "taken"},
        (
            InvalidParameterValue,
            "Value taken for parameter Label is invalid. Reason: Already exists.",
        ),
    ),
]


@pytest.mark.parametrize(("parameters", "expected"), [*FAULTS, *pairs_of_faults(FAULTS)], ids=str)
def test_of_two_faults_the_first_is_reported(
    parameters: dict[str, Any], expected: tuple[type[ServiceError], str]
) -> None:
    service = with_queue()
    service.do(adding("taken", actions=["DeleteMessage"]))
    error = service.refuses(adding(**{"label": "new", **parameters}))
    assert (type(error), error.message) == expected
