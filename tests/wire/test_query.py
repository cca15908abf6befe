"""AWS Query, by example: the parameters, the documents, and the JSON of the same tree."""

import msgspec
import pytest

from stanchion.http.message import HttpRequest
from stanchion.model import sqs
from stanchion.model.errors import MalformedInput, MissingAction, UnknownOperation
from stanchion.model.sqs import OPERATIONS, MessageAttributeValue
from stanchion.wire.protocol import SQS_QUERY, SQS_QUERY_JSON

REQUEST_ID = "5d3e4f0a-6a4e-4f0c-9d5e-0b2f6a1c7e11"
BLUE = MessageAttributeValue(data_type="String", string_value="blue")
METADATA = f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"


def _post(form: str, query_string: str = "") -> HttpRequest:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    path = "/123456789012/q"
    return HttpRequest("POST", path, query_string, headers, form.encode(), False, "127.0.0.1")


def _input(form: str) -> msgspec.Struct:
    return SQS_QUERY.decode(_post(form))[1]


def _document(operation: str, inside: str) -> str:
    return (
        f'<?xml version="1.0"?><{operation}Response xmlns="{sqs.SERVICE.xml_namespace}">{inside}'
        f"{METADATA}</{operation}Response>"
    )


def test_a_send() -> None:
    operation, decoded = SQS_QUERY.decode(
        _post(
            "Action=SendMessage&Version=2012-11-05&MessageBody=hello&MessageAttribute.1.Name=color"
            "&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=blue"
        )
    )
    assert operation is OPERATIONS["SendMessage"]
    assert decoded == sqs.SendMessageRequest(
        message_body="hello",
        message_attributes={
            "color": MessageAttributeValue(data_type="String", string_value="blue")
        },
    )


def test_a_send_is_answered() -> None:
    output = sqs.SendMessageResult(md5_of_message_body="5d41", message_id="219f")
    response = SQS_QUERY.encode(OPERATIONS["SendMessage"], output, REQUEST_ID)
    assert response.status == 200
    assert response.headers == (("x-amzn-RequestId", REQUEST_ID), ("Content-Type", "text/xml"))
    inside = "<MD5OfMessageBody>5d41</MD5OfMessageBody><MessageId>219f</MessageId>"
    assert response.body.decode() == (
        _document("SendMessage", f"<SendMessageResult>{inside}</SendMessageResult>")
    )


def test_a_receive() -> None:
    _, decoded = SQS_QUERY.decode(
        _post(
            "Action=ReceiveMessage&Version=2012-11-05&MaxNumberOfMessages=1&AttributeName.1=All"
            "&MessageAttributeName.1=All"
        )
    )
    assert decoded == sqs.ReceiveMessageRequest(
        max_number_of_messages=1,
        attribute_names=["All"],
        message_system_attribute_names=["All"],
        message_attribute_names=["All"],
    )


def test_a_receive_is_answered() -> None:
    message = sqs.Message(
        message_id="219f",
        body="a\r\n<b>",
        attributes={"SentTimestamp": "1767323045000"},
        message_attributes={
            "color": BLUE,
            "blob": MessageAttributeValue(data_type="Binary", binary_value=b"\x01\x02\x03"),
        },
    )
    output = sqs.ReceiveMessageResult(messages=[message])
    response = SQS_QUERY.encode(OPERATIONS["ReceiveMessage"], output, REQUEST_ID)
    assert response.body.decode() == _document(
        "ReceiveMessage",
        "<ReceiveMessageResult><Message><MessageId>219f</MessageId><Body>a&#xD;\n&lt;b&gt;</Body>"
        "<Attribute><Name>SentTimestamp</Name><Value>1767323045000</Value></Attribute>"
        "<MessageAttribute><Name>color</Name><Value><StringValue>blue</StringValue>"
        "<DataType>String</DataType></Value></MessageAttribute>"
        "<MessageAttribute><Name>blob</Name><Value><BinaryValue>AQID</BinaryValue>"
        "<DataType>Binary</DataType></Value></MessageAttribute></Message></ReceiveMessageResult>",
    )


def test_a_void_reply_has_no_result() -> None:
    response = SQS_QUERY.encode(OPERATIONS["DeleteMessage"], None, REQUEST_ID)
    assert response.body.decode() == _document("DeleteMessage", "")


@pytest.mark.parametrize("output", [None, sqs.ReceiveMessageResult(messages=[])])
def test_an_empty_reply_has_an_empty_result(output: sqs.ReceiveMessageResult | None) -> None:
    response = SQS_QUERY.encode(OPERATIONS["ReceiveMessage"], output, REQUEST_ID)
    inside = "<ReceiveMessageResult></ReceiveMessageResult>"
    assert response.body.decode() == _document("ReceiveMessage", inside)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("AttributeName=All", ["All"]),
        ("AttributeName.1=All", ["All"]),
        ("AttributeName.10=c&AttributeName.9=b&AttributeName.2=a", ["a", "b", "c"]),
        ("AttributeName.1=a&AttributeName.3=b", ["a", "b"]),
        ("AttributeName.1=a&AttributeName.9999999999=b", ["a", "b"]),
        ("AttributeName.0=a", ["a"]),
        ("AttributeName=", None),
        ("AttributeNames=", None),
    ],
)
def test_lists(form: str, expected: list[str] | None) -> None:
    decoded = _input(f"Action=GetQueueAttributes&{form}")
    assert decoded == sqs.GetQueueAttributesRequest(attribute_names=expected)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("Attribute.Name=DelaySeconds&Attribute.Value=5", {"DelaySeconds": "5"}),
        ("Attribute.1.Name=a&Attribute.1.Value=1", {"a": "1"}),
        (
            "Attribute.2.Name=b&Attribute.2.Value=2&Attribute.1.Value=1&Attribute.1.Name=a",
            {"a": "1", "b": "2"},
        ),
        ("Attribute.1.Name=a", {"a": ""}),
        ("Attribute.1.Value=1", {"": "1"}),
        ("Attribute.1=a", None),
    ],
)
def test_maps(form: str, expected: dict[str, str] | None) -> None:
    decoded = _input(f"Action=SetQueueAttributes&{form}")
    assert decoded == sqs.SetQueueAttributesRequest(attributes=expected)


def test_tags_are_keys_and_values() -> None:
    form = "Action=TagQueue&Tag.1.Key=a&Tag.1.Value=1&Tag.2.Key=b&Tag.2.Value="
    assert _input(form) == sqs.TagQueueRequest(tags={"a": "1", "b": ""})


def test_batch_entries() -> None:
    entry = "SendMessageBatchRequestEntry"
    decoded = _input(
        f"Action=SendMessageBatch&{entry}.2.Id=b&{entry}.1.Id=a&{entry}.1.MessageBody=x"
        f"&{entry}.1.MessageAttribute.1.Name=n&{entry}.1.MessageAttribute.1.Value.BinaryValue=AQID"
        f"&{entry}.1.DelaySeconds=-1"
    )
    assert decoded == sqs.SendMessageBatchRequest(
        entries=[
            sqs.SendMessageBatchRequestEntry(
                id="a",
                message_body="x",
                delay_seconds=-1,
                message_attributes={"n": MessageAttributeValue(binary_value=b"\x01\x02\x03")},
            ),
            sqs.SendMessageBatchRequestEntry(id="b"),
        ]
    )


def test_an_entry_without_an_index() -> None:
    decoded = _input("Action=DeleteMessageBatch&DeleteMessageBatchRequestEntry.Id=a")
    assert decoded == sqs.DeleteMessageBatchRequest(
        entries=[sqs.DeleteMessageBatchRequestEntry(id="a")]
    )


def test_a_get_and_a_query_string_beside_a_form() -> None:
    request = HttpRequest(
        "GET", "/", "Action=ListQueues&QueueNamePrefix=a%20b+c", {}, b"", False, "127.0.0.1"
    )
    expected = sqs.ListQueuesRequest(queue_name_prefix="a b c")
    assert SQS_QUERY.decode(request)[1] == expected
    assert SQS_QUERY.decode(_post("QueueNamePrefix=a+b%20c", "Action=ListQueues"))[1] == expected


def test_unknown_parameters_and_versions_are_ignored() -> None:
    form = "Action=ListQueues&Version=1999-01-01&X-Amz-Date=now&Surprise.1.Name=x&MaxResults=3"
    assert _input(form) == sqs.ListQueuesRequest(max_results=3)


@pytest.mark.parametrize("form", ["", "Version=2012-11-05", "Action=", "Action.1=SendMessage"])
def test_without_an_action(form: str) -> None:
    with pytest.raises(MissingAction):
        SQS_QUERY.decode(_post(form))


def test_an_unknown_action() -> None:
    with pytest.raises(UnknownOperation) as refused:
        SQS_QUERY.decode(_post("Action=DropTable"))
    assert refused.value.message == "The action DropTable is not valid for this endpoint."


@pytest.mark.parametrize(
    "parameter",
    [
        "DelaySeconds=abc",
        "DelaySeconds=",
        "DelaySeconds=1.0",
        "DelaySeconds=1_0",
        "DelaySeconds=%D9%A1",
        "DelaySeconds=" + "1" * 5000,
        "DelaySeconds.1=5",
        "MessageBody.1=x",
        "MessageBody=x&MessageBody.1=x",
        "MessageBody.1=x&MessageBody=x",
        "MessageBody=%FF",
        "MessageBody=%zz",
        "MessageBody=%4",
        "MessageAttribute.1.Name=a&MessageAttribute.1.Value=b",
        "MessageAttribute.1.Name=a&MessageAttribute.1.Value.BinaryValue=!!",
        "MessageAttribute.1.Name=a&MessageAttribute.1.Value.BinaryValue=AQI",
        "&" * 10_000,
    ],
)
def test_malformed_parameters(parameter: str) -> None:
    with pytest.raises(MalformedInput):
        _input(f"Action=SendMessage&{parameter}")


def test_a_reply_as_json() -> None:
    output = sqs.SendMessageResult(md5_of_message_body="5d41", message_id="219f")
    response = SQS_QUERY_JSON.encode(OPERATIONS["SendMessage"], output, REQUEST_ID)
    assert ("Content-Type", "application/json") in response.headers
    assert response.body.decode() == (
        f'{{"SendMessageResponse":{{"ResponseMetadata":{{"RequestId":"{REQUEST_ID}"}},'
        '"SendMessageResult":{"MD5OfMessageAttributes":null,"MD5OfMessageBody":"5d41",'
        '"MD5OfMessageSystemAttributes":null,"MessageId":"219f","SequenceNumber":null}}}'
    )


def test_nested_nulls_as_json() -> None:
    value = MessageAttributeValue(data_type="Binary", binary_value=b"\x01\x02\x03")
    output = sqs.ReceiveMessageResult(
        messages=[sqs.Message(body="x", message_attributes={"b": value})]
    )
    response = SQS_QUERY_JSON.encode(OPERATIONS["ReceiveMessage"], output, REQUEST_ID)
    result = msgspec.json.decode(response.body)["ReceiveMessageResponse"]["ReceiveMessageResult"]
    (message,) = result["Messages"]
    assert message["MessageId"] is None
    assert message["MessageAttributes"]["b"] == {
        "StringValue": None,
        "BinaryValue": "AQID",
        "StringListValues": None,
        "BinaryListValues": None,
        "DataType": "Binary",
    }


def test_void_and_empty_replies_as_json() -> None:
    void = SQS_QUERY_JSON.encode(OPERATIONS["DeleteMessage"], None, REQUEST_ID)
    metadata = {"ResponseMetadata": {"RequestId": REQUEST_ID}}
    assert msgspec.json.decode(void.body) == {"DeleteMessageResponse": metadata}
    empty = SQS_QUERY_JSON.encode(OPERATIONS["ReceiveMessage"], None, REQUEST_ID)
    assert msgspec.json.decode(empty.body) == {
        "ReceiveMessageResponse": metadata | {"ReceiveMessageResult": {"Messages": None}}
    }
