"""The generated module is current, and says what the contract's tables say."""

import json
from pathlib import Path

import pytest
from tools import generate_model

from stanchion.model import errors, sqs
from stanchion.model.errors import ServiceError
from stanchion.model.shapes import QueryName, members

SIMPLE_QUEUE_SERVICE = "AWS.SimpleQueueService."

VOID = {
    "AddPermission",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "DeleteQueue",
    "PurgeQueue",
    "RemovePermission",
    "SetQueueAttributes",
    "TagQueue",
    "UntagQueue",
}

STATUSES_AND_CODES = {
    "BatchEntryIdsNotDistinct": (400, SIMPLE_QUEUE_SERVICE + "BatchEntryIdsNotDistinct"),
    "BatchRequestTooLong": (400, SIMPLE_QUEUE_SERVICE + "BatchRequestTooLong"),
    "EmptyBatchRequest": (400, SIMPLE_QUEUE_SERVICE + "EmptyBatchRequest"),
    "InvalidAddress": (404, "InvalidAddress"),
    "InvalidAttributeName": (400, "InvalidAttributeName"),
    "InvalidAttributeValue": (400, "InvalidAttributeValue"),
    "InvalidBatchEntryId": (400, SIMPLE_QUEUE_SERVICE + "InvalidBatchEntryId"),
    "InvalidIdFormat": (400, "InvalidIdFormat"),
    "InvalidMessageContents": (400, "InvalidMessageContents"),
    "InvalidSecurity": (400, "InvalidSecurity"),
    "KmsAccessDenied": (400, "KMS.AccessDeniedException"),
    "KmsDisabled": (400, "KMS.DisabledException"),
    "KmsInvalidKeyUsage": (400, "KMS.InvalidKeyUsageException"),
    "KmsInvalidState": (400, "KMS.InvalidStateException"),
    "KmsNotFound": (400, "KMS.NotFoundException"),
    "KmsOptInRequired": (403, "KMS.OptInRequired"),
    "KmsThrottled": (400, "KMS.ThrottlingException"),
    "MessageNotInflight": (400, SIMPLE_QUEUE_SERVICE + "MessageNotInflight"),
    "OverLimit": (403, "OverLimit"),
    "PurgeQueueInProgress": (403, SIMPLE_QUEUE_SERVICE + "PurgeQueueInProgress"),
    "QueueDeletedRecently": (400, SIMPLE_QUEUE_SERVICE + "QueueDeletedRecently"),
    "QueueDoesNotExist": (400, SIMPLE_QUEUE_SERVICE + "NonExistentQueue"),
    "QueueNameExists": (400, "QueueAlreadyExists"),
    "ReceiptHandleIsInvalid": (404, "ReceiptHandleIsInvalid"),
    "RequestThrottled": (403, "RequestThrottled"),
    "ResourceNotFoundException": (404, "ResourceNotFoundException"),
    "TooManyEntriesInBatchRequest": (400, SIMPLE_QUEUE_SERVICE + "TooManyEntriesInBatchRequest"),
    "UnsupportedOperation": (400, SIMPLE_QUEUE_SERVICE + "UnsupportedOperation"),
}


def test_the_committed_module_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate_model.main(["--check"]) == 0, capsys.readouterr().out


def test_the_check_finds_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "sqs.py"
    text = generate_model.MODULE.read_text(encoding="utf-8")
    stale.write_text(text.replace("http_status = 404", "http_status = 400", 1), encoding="utf-8")
    monkeypatch.setattr(generate_model, "MODULE", stale)
    assert generate_model.main(["--check"]) == 1
    assert "+    http_status = 404\n" in capsys.readouterr().out


def test_the_overlay_is_what_a_query_model_gives() -> None:
    # Overlaying a model with its own Query traits and deriving them again changes nothing.
    committed = generate_model.OVERLAY.read_text(encoding="utf-8")
    overlay = json.loads(committed)
    assert generate_model.overlay_text(overlay) == committed


def test_operations() -> None:
    assert len(sqs.OPERATIONS) == 23
    assert {name for name, operation in sqs.OPERATIONS.items() if operation.output is None} == VOID
    for name, operation in sqs.OPERATIONS.items():
        assert operation.name == name
        assert operation.result_wrapper == (None if name in VOID else f"{name}Result")
    assert sqs.TARGET_PREFIX == "AmazonSQS"
    assert sqs.API_VERSION == "2012-11-05"
    assert sqs.XML_NAMESPACE == "http://queue.amazonaws.com/doc/2012-11-05/"


def test_members_are_those_of_the_model() -> None:
    model = generate_model.merged_model()
    for operation in model["operations"].values():
        for side in ("input", "output"):
            if side in operation:
                name = operation[side]["shape"]
                names = [member.name for member in members(getattr(sqs, name))]
                assert names == list(model["shapes"][name]["members"])


def test_names_that_break_the_rule() -> None:
    assert _wire_names(sqs.CreateQueueRequest)["tags"] == "tags"
    assert _wire_names(sqs.TagQueueRequest)["tags"] == "Tags"
    assert _wire_names(sqs.ListDeadLetterSourceQueuesResult)["queue_urls"] == "queueUrls"
    assert _wire_names(sqs.ListQueuesResult)["queue_urls"] == "QueueUrls"
    assert _wire_names(sqs.Message)["md5_of_body"] == "MD5OfBody"
    assert _wire_names(sqs.AddPermissionRequest)["aws_account_ids"] == "AWSAccountIds"


def _wire_names(structure: type) -> dict[str, str]:
    return {member.field: member.name for member in members(structure)}


def test_query_names() -> None:
    receive = {member.field: member.query for member in members(sqs.ReceiveMessageRequest)}
    assert receive["attribute_names"] == QueryName("AttributeName")
    assert receive["message_system_attribute_names"] == QueryName("AttributeName")
    assert receive["queue_url"] == QueryName("QueueUrl")
    tag = {member.field: member for member in members(sqs.TagQueueRequest)}["tags"]
    assert tag.query == QueryName("Tag", "Key", "Value")
    assert tag.type == dict[str, str]


def test_what_is_required() -> None:
    assert sqs.REQUIRED[sqs.SendMessageRequest] == ("QueueUrl", "MessageBody")
    assert sqs.ListQueuesRequest not in sqs.REQUIRED


def test_errors() -> None:
    generated = {
        name: (error.http_status, error.query_code)
        for name, error in vars(sqs).items()
        if isinstance(error, type) and issubclass(error, ServiceError) and error is not ServiceError
    }
    assert generated == STATUSES_AND_CODES
    for name in generated:
        assert getattr(sqs, name).json_type == f"com.amazonaws.sqs#{name}"
        assert not hasattr(errors, name)
