"""Every operation, on every wire, through botocore's own serializer and parser."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stanchion.http.message import HttpRequest
from stanchion.model import iam, kms
from stanchion.wire import protocol
from stanchion.wire.protocol import choose
from tests.wire import oracle

REQUEST_ID = "5d3e4f0a-6a4e-4f0c-9d5e-0b2f6a1c7e11"

every_call = pytest.mark.parametrize(("wire", "name"), oracle.CALLS)
query_calls = pytest.mark.parametrize(
    ("wire", "name"), [call for call in oracle.CALLS if oracle.WIRES[call[0]].kind == "query"]
)
few_examples = settings(
    max_examples=max(5, settings().max_examples // 4),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@every_call
@few_examples
@given(data=st.data())
def test_requests(wire: str, name: str, data: st.DataObject) -> None:
    shape = oracle.operation_model(wire, name).input_shape
    parameters = data.draw(oracle.values(shape, oracle.ANY_TEXT))
    if wire == "query":
        # Both are AttributeName.N on the wire, so one cannot be sent beside the other.
        parameters.pop("MessageSystemAttributeNames", None)
    _received(wire, name, oracle.request(wire, name, parameters), parameters)


@query_calls
@few_examples
@given(data=st.data())
def test_requests_in_a_query_string(wire: str, name: str, data: st.DataObject) -> None:
    shape = oracle.operation_model(wire, name).input_shape
    parameters = data.draw(oracle.values(shape, oracle.ANY_TEXT))
    parameters.pop("MessageSystemAttributeNames", None)
    form = oracle.request(wire, name, parameters).body.decode()
    _received(wire, name, HttpRequest("GET", "/", form, {}, b"", False, "127.0.0.1"), parameters)


def _received(wire: str, name: str, request: HttpRequest, parameters: oracle.Parameters) -> None:
    ours = oracle.WIRES[wire].ours
    assert choose(request) is ours
    operation, decoded = ours.decode(request)
    assert operation is ours.service.operations[name]
    assert type(decoded) is operation.input
    received = oracle.parameters_of(decoded)
    if wire == "query":
        assert received.pop("MessageSystemAttributeNames", None) == (
            parameters.get("AttributeNames") if name == "ReceiveMessage" else None
        )
    assert received == parameters


@every_call
@few_examples
@given(data=st.data())
def test_replies(wire: str, name: str, data: st.DataObject) -> None:
    text = oracle.XML_TEXT if oracle.WIRES[wire].kind == "query" else oracle.ANY_TEXT
    expected = data.draw(oracle.values(oracle.operation_model(wire, name).output_shape, text))
    ours = oracle.WIRES[wire].ours
    operation = ours.service.operations[name]
    output = msgspec.convert(expected, operation.output) if operation.output else None
    parsed = oracle.parsed(wire, name, ours.encode(operation, output, REQUEST_ID))
    metadata = parsed.pop("ResponseMetadata")
    assert metadata["RequestId"] == REQUEST_ID
    assert metadata["HTTPStatusCode"] == 200
    assert parsed == expected


def test_an_empty_list_is_not_an_absent_one() -> None:
    request = oracle.request("iam", "UntagUser", {"UserName": "u", "TagKeys": []})
    assert choose(request).decode(request)[1] == iam.UntagUserRequest(user_name="u", tag_keys=[])


def test_the_bytes_of_a_reply_of_iam() -> None:
    user = iam.User(
        user_name="a&b",
        create_date=datetime(2026, 1, 31, 12, 0, 0, 999_999, tzinfo=UTC),
        tags=[iam.Tag(key="k", value="v")],
    )
    operation = iam.OPERATIONS["CreateUser"]
    output = iam.CreateUserResponse(user=user)
    response = protocol.IAM_QUERY.encode(operation, output, REQUEST_ID)
    assert response.body.decode() == (
        '<CreateUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><CreateUserResult>'
        "<User><UserName>a&amp;b</UserName><CreateDate>2026-01-31T12:00:00Z</CreateDate><Tags>"
        "<member><Key>k</Key><Value>v</Value></member></Tags></User></CreateUserResult>"
        f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"
        "</CreateUserResponse>"
    )


def test_the_bytes_of_a_map_of_iam() -> None:
    operation = iam.OPERATIONS["GetAccountSummary"]
    output = iam.GetAccountSummaryResponse(summary_map={"Users": 3})
    body = protocol.IAM_QUERY.encode(operation, output, REQUEST_ID).body.decode()
    entry = "<entry><key>Users</key><value>3</value></entry>"
    assert f"<SummaryMap>{entry}</SummaryMap>" in body


def test_the_bytes_of_replies_of_kms() -> None:
    created = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
    metadata = kms.KeyMetadata(key_id="k", creation_date=created)
    operation = kms.OPERATIONS["CreateKey"]
    output = kms.CreateKeyResponse(key_metadata=metadata)
    response = protocol.KMS_JSON.encode(operation, output, REQUEST_ID)
    assert response.body == b'{"KeyMetadata":{"KeyId":"k","CreationDate":1769860800.25}}'
    assert ("Content-Type", "application/x-amz-json-1.1") in response.headers
    keys = kms.ListKeysResponse(keys=[], truncated=False)
    listed = protocol.KMS_JSON.encode(kms.OPERATIONS["ListKeys"], keys, REQUEST_ID)
    assert listed.body == b'{"Keys":[],"Truncated":false}'
