"""Every error, in both protocols, as botocore reads it."""

from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.model.errors import AccessDenied, ServiceError, UnknownOperation
from stanchion.model.sqs import XML_NAMESPACE, OverLimit, QueueDoesNotExist
from stanchion.wire import protocol
from tests.wire import oracle

REQUEST_ID = "5d3e4f0a-6a4e-4f0c-9d5e-0b2f6a1c7e11"
MESSAGE = 'Queue "q" & <r>:\r\n\u00e9\U0001d11e'


ERRORS = [e for e in ServiceError.__subclasses__() if e.__module__.startswith("stanchion.model.")]

every_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)


@every_error
def test_json(error: type[ServiceError]) -> None:
    response = protocol.JSON.encode_error(error(MESSAGE), REQUEST_ID)
    assert response.status == error.http_status
    parsed = oracle.parsed("json", "SendMessage", response)
    assert parsed["Error"] == {
        "Code": error.query_code,
        "Message": MESSAGE,
        "QueryErrorCode": error.json_type.partition("#")[2],
        "Type": error.fault,
    }
    assert parsed["ResponseMetadata"]["RequestId"] == REQUEST_ID


@every_error
def test_query(error: type[ServiceError]) -> None:
    response = protocol.QUERY.encode_error(error(MESSAGE), REQUEST_ID)
    assert response.status == error.http_status
    parsed = oracle.parsed("query", "SendMessage", response)
    expected = {"Code": error.query_code, "Message": MESSAGE, "Type": error.fault, "Detail": ""}
    assert {key: value or "" for key, value in parsed["Error"].items()} == expected
    assert parsed["ResponseMetadata"]["RequestId"] == REQUEST_ID


def test_json_bytes() -> None:
    response = protocol.JSON.encode_error(OverLimit("Too much."), REQUEST_ID)
    assert response.headers == (
        ("x-amzn-RequestId", REQUEST_ID),
        ("x-amzn-query-error", "OverLimit;Sender"),
        ("Content-Type", "application/x-amz-json-1.0"),
    )
    assert response.body == b'{"__type":"com.amazonaws.sqs#OverLimit","message":"Too much."}'


def test_access_denied_has_a_capital_message() -> None:
    response = protocol.JSON.encode_error(AccessDenied("No."), REQUEST_ID)
    type_name = "com.amazon.coral.service#AccessDeniedException"
    assert msgspec.json.decode(response.body) == {"__type": type_name, "Message": "No."}


def test_without_words_there_is_no_message() -> None:
    response = protocol.JSON.encode_error(UnknownOperation(), REQUEST_ID)
    assert response.body == b'{"__type":"com.amazon.coral.service#UnknownOperationException"}'


def test_query_bytes() -> None:
    response = protocol.QUERY.encode_error(AccessDenied("No."), REQUEST_ID)
    assert response.headers == (("x-amzn-RequestId", REQUEST_ID), ("Content-Type", "text/xml"))
    assert response.body.decode() == (
        f'<?xml version="1.0"?><ErrorResponse xmlns="{XML_NAMESPACE}"><Error><Type>Sender</Type>'
        "<Code>AccessDenied</Code><Message>No.</Message><Detail/></Error>"
        f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    )


def test_a_missing_queue_in_each_protocol() -> None:
    error = QueueDoesNotExist("The specified queue does not exist.")
    assert _message("json", protocol.JSON, error) == "The specified queue does not exist."
    assert _message("query", protocol.QUERY, error) == (
        "The specified queue does not exist for this wsdl version."
    )
    body = msgspec.json.decode(protocol.QUERY_JSON.encode_error(error, REQUEST_ID).body)
    assert body["Error"]["Message"] == "The specified queue does not exist for this wsdl version."


def _message(kind: str, codec: protocol.Protocol, error: ServiceError) -> str:
    parsed = oracle.parsed(kind, "SendMessage", codec.encode_error(error, REQUEST_ID))
    return str(parsed["Error"]["Message"])


def test_query_as_json() -> None:
    response = protocol.QUERY_JSON.encode_error(AccessDenied("No."), REQUEST_ID)
    assert response.status == 403
    assert ("Content-Type", "application/json") in response.headers
    assert msgspec.json.decode(response.body) == {
        "Error": {"Code": "AccessDenied", "Message": "No.", "Type": "Sender"},
        "RequestId": REQUEST_ID,
    }


@given(st.text(st.characters()))
def test_xml_is_well_formed_whatever_is_said(message: str) -> None:
    # Lone surrogates and control characters included: a client may have put them there.
    response = protocol.QUERY.encode_error(OverLimit(message), REQUEST_ID)
    root = ElementTree.fromstring(response.body)
    text = root.findtext(f"{{{XML_NAMESPACE}}}Error/{{{XML_NAMESPACE}}}Message")
    assert len(text or "") == len(message)
