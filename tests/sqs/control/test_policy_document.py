"""Policies: what is well-formed, and how a document is stored."""

import json
from typing import Any

import pytest

from stanchion.model.sqs import OverLimit
from stanchion.sqs import policy_document
from stanchion.store.contract import QueueName

QUEUE = QueueName("123456789012", "eu-central-1", "q")
STATEMENT = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}


def normalised(document: Any, queue: QueueName = QUEUE) -> Any:
    text = document if isinstance(document, str) else json.dumps(document)
    stored = policy_document.normalise(text, queue)
    return None if stored is None else json.loads(stored)


def with_statement(**changes: Any) -> dict[str, Any]:
    """A document whose statement has these members instead; None takes one away."""
    merged = {**STATEMENT, **changes}
    statement = {key: value for key, value in merged.items() if value is not None}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Sid": "x"},
        {"Effect": "Deny"},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": ["arn:aws:iam::111122223333:user/a/b+c=d,e.f@g"]}},
        {"Principal": {"AWS": "arn:aws-cn:iam::111122223333:role/x"}},
        {"Principal": {"AWS": "arn:aws:sts::111122223333:assumed-role/r/s"}},
        {"Principal": {"AWS": "AIDAABCDEFGHIJKLMNOPQ"}},
        {"Principal": {"Service": "sns.amazonaws.com"}},
        {"Principal": {"Service": ["s3.amazonaws.com", "sns.amazonaws.com"], "AWS": "*"}},
        {"Principal": None, "NotPrincipal": {"AWS": "arn:aws:iam::111122223333:root"}},
        {"Action": "*"},
        {"Action": "SQS:*"},
        {"Action": "sqs:Get*"},
        {"Action": "sqs:sendmessage"},
        {"Action": ["sqs:SendMessage", "sqs:ReceiveMessage"]},
        {"Action": None, "NotAction": "sqs:DeleteQueue"},
        {"Resource": "arn:aws:sqs:*:123456789012:jobs_*"},
        {"Resource": ["arn:aws:sqs:eu-central-1:123456789012:${aws:username}"]},
        {"Resource": None, "NotResource": "arn:aws:sqs:eu-central-1:123456789012:q"},
        {"Condition": {}},
        {"Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {"Condition": {"Bool": {"aws:SecureTransport": False}}},
        {"Condition": {"ArnLike": {"aws:SourceArn": ["arn:aws:s3:::a", "arn:aws:s3:::b"]}}},
        {"Condition": {"ForAnyValue:StringEqualsIfExists": {"aws:TagKeys": ["a"]}}},
        {"Condition": {"Null": {"aws:TokenIssueTime": "true"}, "NumericLessThan": {"k": 3}}},
    ],
    ids=str,
)
def test_a_well_formed_statement_is_stored_as_it_is(changes: dict[str, Any]) -> None:
    document = with_statement(**changes)
    assert normalised(document) == document


@pytest.mark.parametrize(
    "changes",
    [
        {"Unknown": "x"},
        {"Sid": 1},
        {"Effect": None},
        {"Effect": "allow"},
        {"Effect": ["Allow"]},
        {"Principal": None},
        {"NotPrincipal": "*"},
        {"Principal": []},
        {"Principal": "111122223333"},
        {"Principal": {}},
        {"Principal": {"Nobody": "*"}},
        {"Principal": {"AWS": []}},
        {"Principal": {"AWS": ""}},
        {"Principal": {"AWS": 111122223333}},
        {"Principal": {"AWS": "12345"}},
        {"Principal": {"AWS": "arn:aws:iam::111122223333:user/*"}},
        {"Principal": {"AWS": "arn:aws:iam::*:root"}},
        {"Principal": {"AWS": "arn:aws:s3:::bucket"}},
        {"Principal": {"Service": "not a service"}},
        {"Action": None},
        {"NotAction": "sqs:*"},
        {"Action": []},
        {"Action": "SendMessage"},
        {"Action": "sqs:"},
        {"Action": "sqs:Nope"},
        {"Action": "sqs:SendMessageBatch"},
        {"Action": "s3:GetObject"},
        {"Action": {"sqs": "SendMessage"}},
        {"Resource": None},
        {"NotResource": "*"},
        {"Resource": "q"},
        {"Resource": "arn:aws:s3:eu-central-1:123456789012:q"},
        {"Resource": []},
        {"Condition": "x"},
        {"Condition": {"StringSortOf": {"k": "v"}}},
        {"Condition": {"NullIfExists": {"k": "true"}}},
        {"Condition": {"Bool": {}}},
        {"Condition": {"Bool": "x"}},
        {"Condition": {"Bool": {"k": {"deep": "er"}}}},
        {"Condition": {"Bool": {"k": None}}},
        {"Condition": {"Bool": {f"k{n}": "true" for n in range(11)}}},
        {"Principal": {"AWS": [f"{n:012}" for n in range(51)]}},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_malformed_statement_is_refused(changes: dict[str, Any]) -> None:
    assert normalised(with_statement(**changes)) is None


@pytest.mark.parametrize(
    "document",
    [
        "x",
        "[]",
        "null",
        "1",
        "{}",
        '{"Statement":[]}',
        '{"Statement":"x"}',
        '{"Statement":[1]}',
        {"Statement": [STATEMENT], "Version": "2020-01-01"},
        {"Statement": [STATEMENT], "Version": ["2012-10-17"]},
        {"Statement": [STATEMENT], "Id": 1},
        {"Statement": [STATEMENT], "Extra": 1},
        json.dumps(with_statement(Sid="x"))[:-1],
        '{"Statement":[],"Statement":[' + json.dumps(STATEMENT) + "]}",
        json.dumps(with_statement(Condition={"NumericEquals": {"k": 1}})).replace("1}", "NaN}"),
        '{"Statement":' + "[" * 4000 + "]" * 4000 + "}",
        json.dumps(with_statement(Sid="\ud800")),
        "\ud800",
    ],
    ids=lambda document: str(document)[:40].encode("ascii", "replace").decode(),
)
def test_a_malformed_document_is_refused(document: Any) -> None:
    assert normalised(document) is None


def test_account_ids_become_root_arns_of_the_regions_partition() -> None:
    document = with_statement(Principal={"AWS": ["111122223333", "*"]})
    china = QueueName("123456789012", "cn-north-1", "q")
    for queue, partition in ((QUEUE, "aws"), (china, "aws-cn")):
        (statement,) = normalised(document, queue)["Statement"]
        assert statement["Principal"] == {"AWS": [f"arn:{partition}:iam::111122223333:root", "*"]}
    single = {**STATEMENT, "Principal": {"AWS": "111122223333"}}
    stored = normalised({"Statement": single})
    assert stored["Statement"]["Principal"] == {"AWS": "arn:aws:iam::111122223333:root"}


@pytest.mark.parametrize("number", ["1.50", "1e2", "1e999", "0.10000000000000000000001"])
def test_a_fraction_keeps_its_digits_as_text(number: str) -> None:
    condition = {"NumericLessThan": {"aws:EpochTime": "@"}}
    text = json.dumps(with_statement(Condition=condition)).replace('"@"', number)
    stored = policy_document.normalise(text, QUEUE)
    assert stored is not None
    (statement,) = json.loads(stored)["Statement"]
    assert statement["Condition"] == {"NumericLessThan": {"aws:EpochTime": number}}
    assert policy_document.normalise(stored, QUEUE) == stored
    policy = policy_document.named(stored)
    assert policy is not None
    assert policy.policy is not None


def test_a_policy_is_stored_compact_in_its_own_order() -> None:
    text = json.dumps({"Statement": [STATEMENT], "Id": "ü"}, indent=3)
    stored = policy_document.normalise(text, QUEUE)
    assert stored == (
        '{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage",'
        '"Resource":"*"}],"Id":"ü"}'
    )
    assert policy_document.normalise(stored, QUEUE) == stored


def test_a_policy_has_a_size() -> None:
    frame = len(json.dumps(with_statement(Sid="")))
    assert normalised(with_statement(Sid="x" * (8192 - frame))) is not None
    assert normalised(with_statement(Sid="x" * (8193 - frame))) is None


def test_a_policy_has_a_number_of_statements_and_actions() -> None:
    assert normalised({"Statement": [STATEMENT] * 20}) is not None
    with pytest.raises(OverLimit) as refusal:
        normalised({"Statement": [STATEMENT] * 21})
    assert refusal.value.message == (
        "21 statements were found in the submitted policy, max allowed is 20"
    )
    assert normalised(with_statement(Action=["sqs:SendMessage"] * 7)) is not None
    with pytest.raises(OverLimit) as refusal:
        normalised(with_statement(Action=["sqs:SendMessage"] * 8))
    assert refusal.value.message == "8 Actions were found, maximum allowed is 7."


def test_policies_that_say_the_same_are_equivalent() -> None:
    one = json.dumps({"Statement": [{**STATEMENT, "Action": ["sqs:A", "sqs:B"]}]})
    other = json.dumps({"Statement": {**STATEMENT, "Action": ["sqs:B", "sqs:A"]}})
    assert policy_document.equivalent(one, other)
    assert not policy_document.equivalent(one, json.dumps({"Statement": STATEMENT}))
