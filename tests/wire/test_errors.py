"""Every error, in both protocols, as botocore reads it."""

from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.model import errors, iam, kms
from stanchion.model.errors import AccessDenied, ServiceError, UnknownOperation
from stanchion.model.sqs import SERVICE, OverLimit, QueueDoesNotExist
from stanchion.wire import protocol
from tests.wire import oracle

NAMESPACE = SERVICE.xml_namespace
REQUEST_ID = "5d3e4f0a-6a4e-4f0c-9d5e-0b2f6a1c7e11"
MESSAGE = 'Queue "q" & <r>:\r\n\u00e9\U0001d11e'


def _errors(service: str) -> list[type[ServiceError]]:
    modules = {"stanchion.model.errors", f"stanchion.model.{service}"}
    return [error for error in ServiceError.__subclasses__() if error.__module__ in modules]


every_error_of_sqs = pytest.mark.parametrize("error", _errors("sqs"))


@every_error_of_sqs
def test_sqs_in_json(error: type[ServiceError]) -> None:
    response = protocol.SQS_JSON.encode_error(error(MESSAGE), REQUEST_ID)
    assert response.status == error.http_status
    parsed = oracle.parsed("json", "SendMessage", response)
    assert parsed["Error"] == {
        "Code": error.query_code,
        "Message": MESSAGE,
        "QueryErrorCode": error.json_type.partition("#")[2],
        "Type": error.fault,
    }
    assert parsed["ResponseMetadata"]["RequestId"] == REQUEST_ID


@every_error_of_sqs
def test_sqs_in_query(error: type[ServiceError]) -> None:
    response = protocol.SQS_QUERY.encode_error(error(MESSAGE), REQUEST_ID)
    assert response.status == error.http_status
    parsed = oracle.parsed("query", "SendMessage", response)
    expected = {"Code": error.query_code, "Message": MESSAGE, "Type": error.fault, "Detail": ""}
    assert {key: value or "" for key, value in parsed["Error"].items()} == expected
    assert parsed["ResponseMetadata"]["RequestId"] == REQUEST_ID


@pytest.mark.parametrize(
    ("wire", "error"), [(wire, error) for wire in ("iam", "sts") for error in _errors(wire)]
)
def test_iam_and_sts(wire: str, error: type[ServiceError]) -> None:
    ours = oracle.WIRES[wire].ours
    response = ours.encode_error(error(MESSAGE), REQUEST_ID)
    assert response.status == error.http_status
    parsed = oracle.parsed(wire, next(iter(ours.service.operations)), response)
    expected = {"Code": error.query_code, "Message": MESSAGE, "Type": error.fault}
    assert parsed["Error"] == expected
    assert parsed["ResponseMetadata"]["RequestId"] == REQUEST_ID


@pytest.mark.parametrize("error", _errors("kms"))
def test_kms(error: type[ServiceError]) -> None:
    response = protocol.KMS_JSON.encode_error(error(MESSAGE), REQUEST_ID)
    assert response.status == (400 if error.fault == "Sender" else error.http_status)
    parsed = oracle.parsed("kms", "Encrypt", response)
    assert parsed["Error"] == {"Code": error.json_type.split("#")[-1], "Message": MESSAGE}
    assert parsed["ResponseMetadata"]["RequestId"] == REQUEST_ID


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AccessDenied, "AccessDeniedException"),
        (errors.InvalidClientTokenId, "UnrecognizedClientException"),
        (errors.SignatureDoesNotMatch, "InvalidSignatureException"),
        (errors.IncompleteSignature, "IncompleteSignatureException"),
        (errors.MissingAuthenticationToken, "MissingAuthenticationTokenException"),
        (errors.ExpiredToken, "ExpiredTokenException"),
        (errors.ValidationError, "ValidationException"),
        (errors.MalformedInput, "SerializationException"),
        (kms.NotFoundException, "NotFoundException"),
    ],
)
def test_what_kms_calls_it(error: type[ServiceError], code: str) -> None:
    response = protocol.KMS_JSON.encode_error(error("No."), REQUEST_ID)
    key = "Message" if error is errors.AccessDenied else "message"
    assert msgspec.json.decode(response.body) == {"__type": code, key: "No."}
    assert response.headers == (
        ("x-amzn-RequestId", REQUEST_ID),
        ("Content-Type", "application/x-amz-json-1.1"),
    )


def test_the_bytes_of_an_error_of_iam() -> None:
    response = protocol.IAM_QUERY.encode_error(iam.NoSuchEntityException("No <u>."), REQUEST_ID)
    assert response.status == 404
    assert response.body.decode() == (
        '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error>'
        "<Type>Sender</Type><Code>NoSuchEntity</Code><Message>No &lt;u&gt;.</Message></Error>"
        f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    )


def test_an_expired_token_has_its_words() -> None:
    response = protocol.STS_QUERY.encode_error(errors.ExpiredToken(), REQUEST_ID)
    assert response.status == 403
    parsed = oracle.parsed("sts", "GetCallerIdentity", response)
    assert parsed["Error"]["Message"] == "The security token included in the request is expired"


def test_json_bytes() -> None:
    response = protocol.SQS_JSON.encode_error(OverLimit("Too much."), REQUEST_ID)
    assert response.headers == (
        ("x-amzn-RequestId", REQUEST_ID),
        ("x-amzn-query-error", "OverLimit;Sender"),
        ("Content-Type", "application/x-amz-json-1.0"),
    )
    assert response.body == b'{"__type":"com.amazonaws.sqs#OverLimit","message":"Too much."}'


def test_access_denied_has_a_capital_message() -> None:
    response = protocol.SQS_JSON.encode_error(AccessDenied("No."), REQUEST_ID)
    type_name = "com.amazon.coral.service#AccessDeniedException"
    assert msgspec.json.decode(response.body) == {"__type": type_name, "Message": "No."}


def test_without_words_there_is_no_message() -> None:
    response = protocol.SQS_JSON.encode_error(UnknownOperation(), REQUEST_ID)
    assert response.body == b'{"__type":"com.amazon.coral.service#UnknownOperationException"}'


def test_query_bytes() -> None:
    response = protocol.SQS_QUERY.encode_error(AccessDenied("No."), REQUEST_ID)
    assert response.headers == (("x-amzn-RequestId", REQUEST_ID), ("Content-Type", "text/xml"))
    assert response.body.decode() == (
        f'<?xml version="1.0"?><ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type>'
        "<Code>AccessDenied</Code><Message>No.</Message><Detail/></Error>"
        f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    )


def test_a_missing_queue_in_each_protocol() -> None:
    error = QueueDoesNotExist("The specified queue does not exist.")
    assert _message("json", protocol.SQS_JSON, error) == "The specified queue does not exist."
    assert _message("query", protocol.SQS_QUERY, error) == (
        "The specified queue does not exist for this wsdl version."
    )
    body = msgspec.json.decode(protocol.SQS_QUERY_JSON.encode_error(error, REQUEST_ID).body)
    assert body["Error"]["Message"] == "The specified queue does not exist for this wsdl version."


def _message(kind: str, codec: protocol.Protocol, error: ServiceError) -> str:
    parsed = oracle.parsed(kind, "SendMessage", codec.encode_error(error, REQUEST_ID))
    return str(parsed["Error"]["Message"])


def test_query_as_json() -> None:
    response = protocol.SQS_QUERY_JSON.encode_error(AccessDenied("No."), REQUEST_ID)
    assert response.status == 403
    assert ("Content-Type", "application/json") in response.headers
    assert msgspec.json.decode(response.body) == {
        "Error": {"Code": "AccessDenied", "Message": "No.", "Type": "Sender"},
        "RequestId": REQUEST_ID,
    }


@given(st.text(st.characters()))
def test_xml_is_well_formed_whatever_is_said(message: str) -> None:
    # Lone surrogates and control characters included: a client may have put them there.
    response = protocol.SQS_QUERY.encode_error(OverLimit(message), REQUEST_ID)
    root = ElementTree.fromstring(response.body)
    text = root.findtext(f"{{{NAMESPACE}}}Error/{{{NAMESPACE}}}Message")
    assert len(text or "") == len(message)
