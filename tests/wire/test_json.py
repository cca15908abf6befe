"""AWS JSON, by example: what is accepted, what is refused and in which words."""

import pytest

from stanchion.http.message import HttpRequest
from stanchion.model.errors import MalformedInput, UnknownOperation
from stanchion.model.sqs import (
    OPERATIONS,
    DeleteMessageBatchResult,
    DeleteMessageBatchResultEntry,
    ListQueuesResult,
    MessageAttributeValue,
    ReceiveMessageResult,
    SendMessageRequest,
    SendMessageResult,
)
from stanchion.wire.protocol import SQS_JSON

REQUEST_ID = "5d3e4f0a-6a4e-4f0c-9d5e-0b2f6a1c7e11"
BLUE = MessageAttributeValue(data_type="String", string_value="blue")

STRUCTURE_START = "Start of structure or map found where not expected."
LIST_START = "Start of list found where not expected"


def _request(body: bytes, target: str | None = "AmazonSQS.SendMessage") -> HttpRequest:
    headers = {"content-type": "application/x-amz-json-1.0"}
    if target is not None:
        headers["x-amz-target"] = target
    return HttpRequest("POST", "/", "", headers, body, False, "127.0.0.1")


def test_a_request() -> None:
    operation, decoded = SQS_JSON.decode(
        _request(
            b'{"QueueUrl":"https://sqs.us-east-1.amazonaws.com/123456789012/q","MessageBody":'
            b'"hello","MessageAttributes":{"color":{"DataType":"String","StringValue":"blue"}}}'
        )
    )
    assert operation is OPERATIONS["SendMessage"]
    assert decoded == SendMessageRequest(
        queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/q",
        message_body="hello",
        message_attributes={
            "color": MessageAttributeValue(data_type="String", string_value="blue")
        },
    )


def test_a_reply() -> None:
    output = SendMessageResult(
        md5_of_message_attributes="da1b33cc3cbfe8b1630921e78e6b9880",
        md5_of_message_body="5d41402abc4b2a76b9719d911017c592",
        message_id="219f8380-2770-4cc2-8c3e-5c715e145f5e",
    )
    response = SQS_JSON.encode(OPERATIONS["SendMessage"], output, REQUEST_ID)
    assert response.status == 200
    assert response.headers == (
        ("x-amzn-RequestId", REQUEST_ID),
        ("Content-Type", "application/x-amz-json-1.0"),
    )
    assert response.body == (
        b'{"MD5OfMessageBody":"5d41402abc4b2a76b9719d911017c592",'
        b'"MD5OfMessageAttributes":"da1b33cc3cbfe8b1630921e78e6b9880",'
        b'"MessageId":"219f8380-2770-4cc2-8c3e-5c715e145f5e"}'
    )


def test_unknown_members_and_nulls_are_absent() -> None:
    _, decoded = SQS_JSON.decode(
        _request(b'{"Surprise":[{}],"DelaySeconds":null,"MessageBody":"x"}')
    )
    assert decoded == SendMessageRequest(message_body="x")


def test_the_name_of_the_tags_to_create_with_is_lower_case() -> None:
    body = b'{"QueueName":"q","Tags":{"a":"1"}}'
    _, decoded = SQS_JSON.decode(_request(body, "AmazonSQS.CreateQueue"))
    assert decoded == OPERATIONS["CreateQueue"].input(queue_name="q")


@pytest.mark.parametrize(
    "target", [None, "", "SendMessage", "AmazonSQS.", "AmazonSQS.Nope", "AmazonSNS.SendMessage"]
)
def test_unknown_operations(target: str | None) -> None:
    with pytest.raises(UnknownOperation):
        SQS_JSON.decode(_request(b"{}", target))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", LIST_START),
        (b'"x"', "STRING_VALUE can not be converted to a Structure or Map"),
        (b"null", "NULL_VALUE can not be converted to a Structure or Map"),
        (b'{"DelaySeconds":"5"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"DelaySeconds":1.5}', "NUMBER_VALUE can not be converted to an Integer"),
        (b'{"DelaySeconds":1e400}', "NUMBER_VALUE can not be converted to an Integer"),
        (b'{"DelaySeconds":true}', "BOOLEAN_VALUE can not be converted to an Integer"),
        (b'{"DelaySeconds":{}}', STRUCTURE_START),
        (b'{"MessageBody":5}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"MessageBody":5.5}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"MessageBody":[]}', LIST_START),
        (b'{"MessageBody":{}}', STRUCTURE_START),
        (b'{"MessageAttributes":[]}', LIST_START),
        (
            b'{"MessageAttributes":{"a":5}}',
            "NUMBER_VALUE can not be converted to a Structure or Map",
        ),
        (
            b'{"MessageAttributes":{"a":{"BinaryValue":"!"}}}',
            "STRING_VALUE can not be converted to a Blob",
        ),
        (b'{"MessageAttributes":{"a":{"StringListValues":{}}}}', STRUCTURE_START),
    ],
)
def test_wrong_types(body: bytes, message: str) -> None:
    with pytest.raises(MalformedInput) as refused:
        SQS_JSON.decode(_request(body))
    assert refused.value.message == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}{}",
        b"<xml/>",
        b"\xff",
        b'{"MessageBody":"\xff"}',
        b'{"MessageBody":"\xed\xa0\x80"}',
        b'{"MessageBody":"\\ud800"}',
        b'{"MessageBody":"a\x01"}',
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"DelaySeconds":' + b"1" * 10_000 + b"}",
    ],
)
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(MalformedInput):
        SQS_JSON.decode(_request(body))


def test_void_replies_have_no_bytes() -> None:
    for operation in OPERATIONS.values():
        response = SQS_JSON.encode(operation, None, REQUEST_ID)
        assert response.body == (b"" if operation.output is None else b"{}")
        assert ("Content-Type", "application/x-amz-json-1.0") in response.headers


def test_what_is_empty_is_left_out() -> None:
    empty = SQS_JSON.encode(
        OPERATIONS["ReceiveMessage"], ReceiveMessageResult(messages=[]), REQUEST_ID
    )
    assert empty.body == b"{}"
    queues = ListQueuesResult(queue_urls=[], next_token="")
    assert SQS_JSON.encode(OPERATIONS["ListQueues"], queues, REQUEST_ID).body == b'{"NextToken":""}'
    deleted = DeleteMessageBatchResult(
        successful=[DeleteMessageBatchResultEntry(id="a")], failed=[]
    )
    response = SQS_JSON.encode(OPERATIONS["DeleteMessageBatch"], deleted, REQUEST_ID)
    assert response.body == b'{"Successful":[{"Id":"a"}]}'
    assert deleted.failed == []
