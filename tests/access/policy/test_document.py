"""What is a policy, what is not, and what is said about the latter."""

import json
from typing import Any

import pytest

from stanchion.access.policy.document import (
    Condition,
    Kind,
    MalformedPolicy,
    Policy,
    Principals,
    context_keys,
    parse,
    root_arn,
)

QUEUE = "arn:aws:sqs:us-east-1:111111111111:orders"
ALICE = "arn:aws:iam::111111111111:user/team/alice"


def identity(version: str = "2012-10-17", **elements: Any) -> Policy:
    statement = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*", **elements}
    return parse(json.dumps({"Version": version, "Statement": statement}), "identity")


def resource(principal: Any, partition: str = "aws") -> Principals:
    statement = {"Effect": "Allow", "Action": "sqs:*", "Resource": QUEUE, "Principal": principal}
    found = parse(json.dumps({"Statement": statement}), "resource", partition)
    assert found.statements[0].principals is not None
    return found.statements[0].principals


def refusal(text: str, kind: Kind = "identity") -> str:
    with pytest.raises(MalformedPolicy) as caught:
        parse(text, kind)
    return str(caught.value)


def refused(kind: Kind = "identity", **elements: Any) -> str:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": "sqs:*"}
    if kind != "trust":
        statement["Resource"] = "*"
    if kind != "identity":
        statement["Principal"] = "*"
    statement |= elements
    given = {name: value for name, value in statement.items() if value is not None}
    return refusal(json.dumps({"Version": "2012-10-17", "Statement": [given]}), kind)


def test_everything_that_is_written_is_kept() -> None:
    statement = {
        "Sid": "Send",
        "Effect": "Deny",
        "NotPrincipal": {"AWS": ALICE},
        "NotAction": ["sqs:Send*", "SQS:GetQueueUrl"],
        "NotResource": QUEUE,
        "Condition": {"ForAnyValue:StringLikeIfExists": {"aws:TagKeys": ["a*", True, 4, 1.50]}},
    }
    policy = parse(json.dumps({"Id": "x", "Statement": statement}), "resource")
    (found,) = policy.statements
    assert (policy.version, policy.id) == ("2008-10-17", "x")
    assert (found.index, found.sid, found.effect) == (0, "Send", "Deny")
    assert (found.principals, found.not_principals) == (Principals(aws=(ALICE,)), True)
    assert (found.actions, found.not_actions) == (("sqs:Send*", "SQS:GetQueueUrl"), True)
    assert (found.resources, found.not_resources) == ((QUEUE,), True)
    values = ("a*", "true", "4", "1.5")
    condition = Condition("StringLike", "ForAnyValue", True, "aws:tagkeys", values, "aws:TagKeys")
    assert found.conditions == (condition,)


def test_a_trust_policy_has_no_resource() -> None:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    (found,) = parse(json.dumps({"Statement": [statement]}), "trust").statements
    assert found.resources == ("*",)
    assert found.principals == Principals(everyone=True)


def test_policies_are_equal_by_what_they_say() -> None:
    assert identity() == identity()
    assert identity() != identity(Effect="Deny")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "document: is not JSON"),
        ("[" * 100_000, "document: is not JSON"),
        ('{"Statement": NaN}', "document: NaN is not JSON"),
        ('{"Statement": -Infinity}', "document: -Infinity is not JSON"),
        (f'{{"Statement": {"9" * 5000}}}', "document: is not JSON"),
        ('{"Id": "\\ud800", "Statement": []}', "document: is not JSON"),
        ("[]", "document: must be a JSON object"),
        (
            '{"Id": "", "Statement": [], "Statement": []}',
            "document: the member 'Statement' is given twice",
        ),
        ('{"statement": []}', "document: the element 'statement' is unknown or out of place"),
        ('{"Version": "2012-10-17"}', "Statement: there must be at least one"),
        ('{"Statement": []}', "Statement: there must be at least one"),
        ('{"Statement": ["x"]}', "Statement[0]: must be a JSON object"),
        (
            '{"Version": "2012-10-18", "Statement": []}',
            "Version: must be 2012-10-17 or 2008-10-17",
        ),
        ('{"Version": null, "Statement": []}', "Version: must be 2012-10-17 or 2008-10-17"),
    ],
)
def test_documents_that_are_none(text: str, message: str) -> None:
    assert refusal(text) == message


def test_the_id_is_a_string() -> None:
    statement = '{"Effect": "Allow", "Action": "*", "Resource": "*"}'
    assert refusal(f'{{"Id": 1.5, "Statement": {statement}}}') == "Id: must be a string"


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Effect": None}, ".Effect: must be Allow or Deny"),
        ({"Effect": "allow"}, ".Effect: must be Allow or Deny"),
        ({"Effect": ["Allow"]}, ".Effect: must be Allow or Deny"),
        ({"Extra": 1}, ": the element 'Extra' is unknown or out of place"),
        ({"action": "sqs:*"}, ": the element 'action' is unknown or out of place"),
        ({"Principal": "*"}, ": the element 'Principal' is unknown or out of place"),
        ({"Sid": 1}, ".Sid: must be a string"),
        ({"Sid": "with space"}, ".Sid: may hold letters and digits only"),
        ({"Sid": "é"}, ".Sid: may hold letters and digits only"),
        ({"Action": None}, ": needs either Action or NotAction"),
        ({"NotAction": "sqs:*"}, ": needs either Action or NotAction"),
        ({"Action": []}, ".Action: must not be empty"),
        ({"Action": [1]}, ".Action: must be a string"),
        ({"Action": {}}, ".Action: must be a string"),
        ({"Action": "SendMessage"}, ".Action: 'SendMessage' must be * or such as sqs:SendMessage"),
        ({"Action": "sqs:"}, ".Action: 'sqs:' must be * or such as sqs:SendMessage"),
        ({"Action": "sqs:a:b"}, ".Action: 'sqs:a:b' must be * or such as sqs:SendMessage"),
        ({"Action": "**"}, ".Action: '**' must be * or such as sqs:SendMessage"),
        ({"Action": "sqs:*\n"}, ".Action: 'sqs:*\\n' must be * or such as sqs:SendMessage"),
        (
            {"Action": None, "NotAction": "${a:b}"},
            ".NotAction: '${a:b}' must be * or such as sqs:SendMessage",
        ),
        ({"Resource": None}, ": needs either Resource or NotResource"),
        ({"NotResource": "*"}, ": needs either Resource or NotResource"),
        ({"Resource": []}, ".Resource: must not be empty"),
        ({"Resource": "orders"}, ".Resource: 'orders' must be * or an ARN of six parts"),
        (
            {"Resource": "arn:aws:sqs:*"},
            ".Resource: 'arn:aws:sqs:*' must be * or an ARN of six parts",
        ),
        (
            {"Resource": "arn:aws:sqs:${aws:RequestedRegion}:x"},
            ".Resource: 'arn:aws:sqs:${aws:RequestedRegion}:x' must be * or an ARN of six parts",
        ),
        (
            {"Resource": "arn:aws:sqs:::${aws:username"},
            ".Resource: 'arn:aws:sqs:::${aws:username' has a policy variable that does not end,"
            " or one inside another",
        ),
        (
            {"Resource": "arn:aws:sqs:::${}"},
            ".Resource: 'arn:aws:sqs:::${}' has a policy variable without a name",
        ),
        (
            {"Resource": "arn:aws:sqs:::${a:b, c}"},
            ".Resource: 'arn:aws:sqs:::${a:b, c}' has a policy variable whose default is not"
            " in single quotes",
        ),
    ],
)
def test_statements_that_are_none(elements: dict[str, Any], message: str) -> None:
    assert refused(**elements) == f"Statement[0]{message}"


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ([], ": must be a JSON object"),
        ({"StringEquals": {}}, ".StringEquals: must be a JSON object with at least one key"),
        ({"StringEquals": "x"}, ".StringEquals: must be a JSON object with at least one key"),
        ({"StringEquals": {" ": "x"}}, ".StringEquals: a condition key has no name"),
        ({"StringNotEquals": {"k": []}}, ".StringNotEquals.k: must not be empty"),
        (
            {"Bool": {"k": None}},
            ".Bool.k: must be a string, a number or true or false, or a list of such",
        ),
        (
            {"Bool": {"k": [["true"]]}},
            ".Bool.k: must be a string, a number or true or false, or a list of such",
        ),
        ({"Equals": {"k": "x"}}, ".Equals: is not an operator"),
        ({"stringequals": {"k": "x"}}, ".stringequals: is not an operator"),
        ({"ForSome:StringEquals": {"k": "x"}}, ".ForSome:StringEquals: is not an operator"),
        ({":StringEquals": {"k": "x"}}, ".:StringEquals: is not an operator"),
        (
            {"ForAllValues:ForAnyValue:Bool": {"k": "true"}},
            ".ForAllValues:ForAnyValue:Bool: is not an operator",
        ),
        ({"BoolIfExistsIfExists": {"k": "x"}}, ".BoolIfExistsIfExists: is not an operator"),
        ({"NullIfExists": {"k": "true"}}, ".NullIfExists: is not an operator"),
        ({"ForAnyValue:Null": {"k": "true"}}, ".ForAnyValue:Null: is not an operator"),
        ({"Null": {"k": "yes"}}, ".Null.k: must be true or false"),
        ({"Bool": {"k": "yes"}}, ".Bool.k: 'yes' must be true or false"),
        ({"NumericEquals": {"k": ["1", "x"]}}, ".NumericEquals.k: 'x' must be a number"),
        ({"NumericEquals": {"k": "inf"}}, ".NumericEquals.k: 'inf' must be a number"),
        ({"BinaryEquals": {"k": "?"}}, ".BinaryEquals.k: '?' must be base64"),
        (
            {"DateEquals": {"k": "2026"}},
            ".DateEquals.k: '2026' must be a date such as 2026-01-31T12:00:00Z,"
            " or seconds since 1970",
        ),
        ({"DateEquals": {"k": "2026-02-30"}}, ".DateEquals.k: '2026-02-30' day is out of range"),
        (
            {"IpAddress": {"k": "10.0.0.0/33"}},
            ".IpAddress.k: '10.0.0.0/33' must be an IP address or a range in CIDR notation",
        ),
        (
            {"IpAddress": {"k": "10.0.0.0/0.0.0.255"}},
            ".IpAddress.k: '10.0.0.0/0.0.0.255' must be an IP address or a range in CIDR notation",
        ),
        ({"ArnLike": {"k": "*"}}, ".ArnLike.k: '*' must be an ARN of six parts"),
        (
            {"StringLike": {"k": "${a"}},
            ".StringLike.k: '${a' has a policy variable that does not end, or one inside another",
        ),
    ],
)
def test_conditions_that_are_none(condition: Any, message: str) -> None:
    assert refused(Condition=condition).startswith(f"Statement[0].Condition{message}")


def test_what_a_variable_stands_for_is_not_known_yet() -> None:
    conditions = {"NumericEquals": {"k": "${aws:PrincipalTag/n}"}, "ArnLike": {"k": "${a:b}"}}
    assert len(identity(Condition=conditions).statements[0].conditions) == 2
    with pytest.raises(MalformedPolicy, match="must be a number"):
        identity("2008-10-17", Condition=conditions)
    # In the older version these are ordinary characters.
    assert identity("2008-10-17", Resource="arn:aws:sqs:::${")


def test_statement_ids_are_unique_where_iam_says_so() -> None:
    statement = {"Sid": "A", "Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    bare = {name: value for name, value in statement.items() if name != "Sid"}
    text = json.dumps({"Statement": [bare, bare, statement, statement]})
    assert refusal(text) == "Statement[3].Sid: is not unique"
    owned = {**statement, "Sid": "no matter what", "Principal": "*"}
    assert len(parse(json.dumps({"Statement": [owned, owned]}), "resource").statements) == 2


def test_trust_has_principals_and_no_resource() -> None:
    assert (
        refused("trust", Principal=None) == "Statement[0]: needs either Principal or NotPrincipal"
    )
    out_of_place = "Statement[0]: the element 'Resource' is unknown or out of place"
    assert refused("trust", Resource="*") == out_of_place
    assert refused("trust", Sid="no letters!").endswith("may hold letters and digits only")


def test_principals_of_every_sort() -> None:
    session = "arn:aws:sts::111111111111:assumed-role/worker/one"
    found = resource(
        {
            "AWS": ["222222222222", ALICE, session, "AIDAEXAMPLEEXAMPLE12", "*"],
            "Service": "sns.amazonaws.com",
            "Federated": ["accounts.google.com"],
            "CanonicalUser": "0123",
        },
        "aws-cn",
    )
    assert found == Principals(
        everyone=True,
        aws=("arn:aws-cn:iam::222222222222:root", ALICE, session, "AIDAEXAMPLEEXAMPLE12"),
        services=("sns.amazonaws.com",),
        federated=("accounts.google.com",),
        canonical=("0123",),
    )
    assert resource("*") == resource({"AWS": "*"}) == Principals(everyone=True)
    assert resource({"AWS": "222222222222"}).aws == (root_arn("222222222222", "aws"),)


@pytest.mark.parametrize(
    ("principal", "message"),
    [
        (None, ": needs either Principal or NotPrincipal"),
        ("111111111111", ".Principal: must be a JSON object"),
        ([], ".Principal: must be a JSON object"),
        ({}, ".Principal: must not be empty"),
        ({"aws": "*"}, ".Principal: the element 'aws' is unknown or out of place"),
        ({"AWS": []}, ".Principal.AWS: must not be empty"),
        ({"AWS": [1]}, ".Principal.AWS: must be a string"),
        ({"Service": "sns"}, ".Principal.Service: 'sns' is not the name of a service"),
        ({"Service": "*"}, ".Principal.Service: '*' is not the name of a service"),
        ({"Federated": ""}, ".Principal.Federated: '' names nobody"),
        ({"Federated": "*"}, ".Principal.Federated: '*' names nobody"),
        ({"CanonicalUser": "?"}, ".Principal.CanonicalUser: '?' names nobody"),
    ],
)
def test_principals_that_are_none(principal: Any, message: str) -> None:
    assert refused("resource", Principal=principal) == f"Statement[0]{message}"


@pytest.mark.parametrize(
    "name",
    [
        "11111111111",
        "arn:aws:iam::111111111111:user/*",
        "arn:aws:iam::111111111111:group/all",
        "arn:aws:iam::*:root",
        "arn:aws:sts::111111111111:user/alice",
        "arn:other:iam::111111111111:root",
        "arn:aws:iam::111111111111:root\n",
        "AIDAx",
        "alice",
    ],
)
def test_names_that_are_no_principal(name: str) -> None:
    message = refused("resource", Principal={"AWS": name})
    end = f"{name!r} is not an account, ARN or unique id of a principal"
    assert message == f"Statement[0].Principal.AWS: {end}"


def test_the_keys_that_policies_ask_about() -> None:
    condition = {
        "StringEquals": {"aws:SourceVpc": "x", "aws:PrincipalTag/Team": "${AWS:Username}"},
        "Null": {"aws:sourcevpc": "true"},
    }
    first = identity(Condition=condition)
    second = identity(Resource="arn:aws:sqs:::${aws:username, 'x'}${*}${saml:sub}")
    old = identity("2008-10-17", Resource="arn:aws:sqs:::${not:one}")
    assert context_keys([first, second, old]) == [
        "AWS:Username",
        "aws:PrincipalTag/Team",
        "aws:SourceVpc",
        "saml:sub",
    ]
