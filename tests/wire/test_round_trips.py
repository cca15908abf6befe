"""Every operation, in both protocols, through botocore's own serializer and parser."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.http.message import HttpRequest
from stanchion.model.sqs import OPERATIONS
from stanchion.wire.protocol import choose
from tests.wire import oracle

REQUEST_ID = "5d3e4f0a-6a4e-4f0c-9d5e-0b2f6a1c7e11"

every_operation = pytest.mark.parametrize("name", oracle.OPERATION_NAMES)
few_examples = settings(max_examples=max(5, settings().max_examples // 3))


@every_operation
@few_examples
@given(data=st.data())
def test_json_requests(name: str, data: st.DataObject) -> None:
    shape = oracle.operation_model("json", name).input_shape
    parameters = data.draw(oracle.values(shape, oracle.ANY_TEXT))
    request = oracle.request("json", name, parameters)
    operation, decoded = choose(request).decode(request)
    assert operation is OPERATIONS[name]
    assert type(decoded) is operation.input
    assert oracle.parameters_of(decoded) == parameters


@every_operation
@few_examples
@given(data=st.data())
def test_query_requests(name: str, data: st.DataObject) -> None:
    shape = oracle.operation_model("query", name).input_shape
    parameters = data.draw(oracle.values(shape, oracle.ANY_TEXT))
    # Both are AttributeName.N on the wire, so one cannot be sent beside the other.
    parameters.pop("MessageSystemAttributeNames", None)
    posted = oracle.request("query", name, parameters)
    got = HttpRequest("GET", "/", posted.body.decode(), {}, b"", False, "127.0.0.1")
    for request in (posted, got):
        operation, decoded = choose(request).decode(request)
        assert operation is OPERATIONS[name]
        received = oracle.parameters_of(decoded)
        assert received.pop("MessageSystemAttributeNames", None) == (
            parameters.get("AttributeNames") if name == "ReceiveMessage" else None
        )
        assert received == parameters


@pytest.mark.parametrize(("kind", "text"), [("json", oracle.ANY_TEXT), ("query", oracle.XML_TEXT)])
@every_operation
@few_examples
@given(data=st.data())
def test_replies(kind: str, text: st.SearchStrategy[str], name: str, data: st.DataObject) -> None:
    expected = data.draw(oracle.values(oracle.operation_model(kind, name).output_shape, text))
    operation = OPERATIONS[name]
    output = msgspec.convert(expected, operation.output) if operation.output else None
    response = oracle.PROTOCOLS[kind].encode(operation, output, REQUEST_ID)
    parsed = oracle.parsed(kind, name, response)
    metadata = parsed.pop("ResponseMetadata")
    assert metadata["RequestId"] == REQUEST_ID
    assert metadata["HTTPStatusCode"] == 200
    assert parsed == expected
