"""The generated modules are current, and say what the contract's tables say."""

import json
import re
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from msgspec import Struct
from tools import generate_model

from stanchion.model import errors, iam, kms, sqs, sts
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


def test_the_committed_modules_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate_model.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("service", ["sqs", "iam", "sts", "kms"])
def test_the_check_finds_what_differs(
    service: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in generate_model.MODULES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.stem == service:
            text = re.sub(r"http_status = \d+", "http_status = 499", text, count=1)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(generate_model, "MODULES", tmp_path)
    assert generate_model.main(["--check"]) == 1
    differences = capsys.readouterr().out
    assert "-    http_status = 499\n" in differences
    assert f"{service}.py" in differences


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


def test_services() -> None:
    given = {
        module.SERVICE.name: (
            module.SERVICE.api_version,
            module.SERVICE.target_prefix,
            module.SERVICE.json_version,
            module.SERVICE.xml_namespace,
            module.SERVICE.query_compatible,
        )
        for module in (sqs, iam, sts, kms)
    }
    assert given == {
        "sqs": (
            "2012-11-05",
            "AmazonSQS",
            "1.0",
            "http://queue.amazonaws.com/doc/2012-11-05/",
            True,
        ),
        "iam": ("2010-05-08", "", "", "https://iam.amazonaws.com/doc/2010-05-08/", False),
        "sts": ("2011-06-15", "", "", "https://sts.amazonaws.com/doc/2011-06-15/", False),
        "kms": ("2014-11-01", "TrentService", "1.1", "", False),
    }


@pytest.mark.parametrize("module", [sqs, iam, sts, kms], ids=lambda module: module.SERVICE.name)
def test_members_are_those_of_the_model(module: ModuleType) -> None:
    service = module.SERVICE
    assert service.operations is module.OPERATIONS
    model = generate_model.merged_model(service.name)
    assert list(service.operations) == list(model["operations"])
    for name, operation in service.operations.items():
        assert operation.name == name
        _same(operation.input, model["operations"][name]["input"]["shape"], model)
        output = model["operations"][name].get("output")
        if output is None:
            assert operation.output is None
            assert operation.result_wrapper is None
        else:
            assert operation.output is not None
            assert operation.result_wrapper == output.get("resultWrapper")
            _same(operation.output, output["shape"], model)


def _same(structure: type, name: str, model: generate_model.Json) -> None:
    assert structure.__name__ == name
    assert [member.name for member in members(structure)] == list(model["shapes"][name]["members"])


def test_an_operation_that_takes_nothing() -> None:
    assert members(iam.OPERATIONS["GetAccountSummary"].input) == ()


def test_no_request_holds_an_instant() -> None:
    # Neither codec reads one.
    for module in (sqs, iam, sts, kms):
        for operation in module.OPERATIONS.values():
            assert datetime not in _kinds(operation.input)
    assert datetime in _kinds(iam.GetUserResponse)


def _kinds(kind: Any) -> set[Any]:
    if isinstance(kind, type) and issubclass(kind, Struct):
        return {kind}.union(*(_kinds(member.type) for member in members(kind)))
    return {kind}.union(*map(_kinds, get_args(kind)))


def test_default_query_names_of_lists_and_maps() -> None:
    tags = {member.field: member for member in members(iam.TagUserRequest)}["tags"]
    assert tags.query == QueryName("Tags", item="member")
    (summary,) = members(iam.GetAccountSummaryResponse)
    assert summary.query == QueryName("SummaryMap", "key", "value", "entry")


@pytest.mark.parametrize(
    ("error", "status", "code", "fault"),
    [
        (iam.NoSuchEntityException, 404, "NoSuchEntity", "Sender"),
        (iam.EntityAlreadyExistsException, 409, "EntityAlreadyExists", "Sender"),
        (iam.MalformedPolicyDocumentException, 400, "MalformedPolicyDocument", "Sender"),
        (iam.ServiceFailureException, 500, "ServiceFailure", "Receiver"),
        (sts.ExpiredTokenException, 400, "ExpiredTokenException", "Sender"),
        (sts.RegionDisabledException, 403, "RegionDisabledException", "Sender"),
        (kms.NotFoundException, 400, "NotFoundException", "Sender"),
        (kms.KMSInternalException, 500, "KMSInternalException", "Receiver"),
        (kms.DependencyTimeoutException, 503, "DependencyTimeoutException", "Receiver"),
    ],
)
def test_errors_of_the_other_services(
    error: type[ServiceError], status: int, code: str, fault: str
) -> None:
    assert (error.http_status, error.query_code, error.fault) == (status, code, fault)


def test_only_what_is_used_is_generated() -> None:
    assert not hasattr(iam, "SSHPublicKey")
    assert not hasattr(kms, "SignRequest")
    assert not hasattr(sts, "JWTPayloadSizeExceededException")


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


def test_sqs_is_left_to_its_actions() -> None:
    for operation in sqs.OPERATIONS.values():
        for member in members(operation.input):
            assert (member.required, member.limits) == (False, None)


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
