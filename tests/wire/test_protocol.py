"""Which service a request is taken to be for, and which protocol it is taken to speak."""

import pytest

from stanchion.http.message import HttpRequest
from stanchion.model.errors import UnknownOperation
from stanchion.wire.protocol import (
    IAM_QUERY,
    KMS_JSON,
    PROTOCOLS,
    SQS_JSON,
    SQS_QUERY,
    SQS_QUERY_JSON,
    STS_QUERY,
    Protocol,
    choose,
)

FORM = "application/x-www-form-urlencoded; charset=utf-8"


def _signed_for(service: str) -> str:
    scope = f"20260131/us-east-1/{service}/aws4_request"
    credential = f"AKIDAKIDAKIDAKIDAKID/{scope}"
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=ab"


IAM, STS = "Action=ListUsers&Version=2010-05-08", "Version=2011-06-15&Action=GetCallerIdentity"
SQS = "Action=ListQueues&Version=2012-11-05"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-amz-target": "AmazonSQS.ListQueues"}, SQS_JSON),
        ({"x-amz-target": "AmazonSQS.ListQueues", "content-type": FORM}, SQS_JSON),
        ({"x-amz-target": "AmazonSQS.DropTable"}, SQS_JSON),
        ({"x-amz-target": "TrentService.Encrypt"}, KMS_JSON),
        ({"x-amz-target": "TrentService.DropTable"}, KMS_JSON),
        ({"x-amz-target": "TrentService"}, KMS_JSON),
        ({"x-amz-target": "TrentService.Encrypt", "authorization": _signed_for("sqs")}, KMS_JSON),
        ({"x-amz-target": "AmazonSNS.Publish"}, SQS_JSON),
        ({"x-amz-target": "TrentServiceEncrypt"}, SQS_JSON),
        ({"x-amz-target": ""}, SQS_JSON),
        ({"content-type": "application/x-amz-json-1.0"}, SQS_JSON),
        ({"content-type": "Application/X-AMZ-JSON-1.1"}, SQS_JSON),
        ({"content-type": "application/x-amz-json-1.0", "accept": "application/json"}, SQS_JSON),
        ({"content-type": FORM}, SQS_QUERY),
        ({"content-type": FORM, "accept": "*/*"}, SQS_QUERY),
        ({"content-type": FORM, "accept": "application/json"}, SQS_QUERY_JSON),
        ({"accept": "text/plain, application/json;q=0.5"}, SQS_QUERY_JSON),
        ({}, SQS_QUERY),
        ({"authorization": _signed_for("sqs")}, SQS_QUERY),
        ({"authorization": _signed_for("iam")}, IAM_QUERY),
        ({"authorization": _signed_for("iam"), "accept": "application/json"}, IAM_QUERY),
        ({"authorization": _signed_for("sts")}, STS_QUERY),
        ({"authorization": _signed_for("kms")}, KMS_JSON),
        ({"authorization": _signed_for("s3")}, SQS_QUERY),
        ({"authorization": "Basic aWFtOmlhbQ=="}, SQS_QUERY),
        ({"authorization": "/iam/aws4_request"}, IAM_QUERY),
        ({"authorization": "iam"}, SQS_QUERY),
    ],
)
@pytest.mark.parametrize("path", ["/", "/123456789012/q", "/anything/at/all"])
def test_headers_tell(headers: dict[str, str], expected: Protocol, path: str) -> None:
    request = HttpRequest("POST", path, "", headers, b"", False, "127.0.0.1")
    assert choose(request) is expected


@pytest.mark.parametrize(
    ("query", "form", "expected"),
    [
        (IAM, "", IAM_QUERY),
        ("", IAM, IAM_QUERY),
        (STS, "", STS_QUERY),
        ("", STS, STS_QUERY),
        (SQS, "", SQS_QUERY),
        ("", SQS, SQS_QUERY),
        ("", "Action=ListUsers&Version=1999-01-01", SQS_QUERY),
        ("", "SourceVersion=2010-05-08", SQS_QUERY),
        ("", "Version=2010-05-089", SQS_QUERY),
        ("", "MessageBody=Version=2010-05-08", SQS_QUERY),
        ("\udcff", IAM, IAM_QUERY),
    ],
)
def test_the_version_tells_of_an_unsigned_request(
    query: str, form: str, expected: Protocol
) -> None:
    assert choose(_post(query, form, {})) is expected


def test_a_signature_tells_more_than_the_version() -> None:
    assert choose(_post("", IAM, {"authorization": _signed_for("sqs")})) is SQS_QUERY
    assert choose(_post("", SQS, {"authorization": _signed_for("iam")})) is IAM_QUERY


@pytest.mark.parametrize("slash", ["/", "%2F", "%2f"])
def test_a_presigned_url_tells_its_service(slash: str) -> None:
    scope = slash.join(["AKID", "20260131", "us-east-1", "sts", "aws4_request"])
    url = f"Action=GetCallerIdentity&X-Amz-Credential={scope}&X-Amz-Expires=60"
    assert choose(_post(url, "", {})) is STS_QUERY
    sqs = url.replace("sts", "sqs")
    assert choose(_post(f"{sqs}&Version=2010-05-08", "", {})) is SQS_QUERY


def _post(query: str, form: str, headers: dict[str, str]) -> HttpRequest:
    return HttpRequest("POST", "/", query, headers, form.encode(), False, "127.0.0.1")


def test_kms_knows_no_query() -> None:
    request = _post("", "Action=ListKeys", {"authorization": _signed_for("kms")})
    with pytest.raises(UnknownOperation):
        choose(request).decode(request)


def test_each_protocol_names_its_service() -> None:
    assert [(protocol.service.name, protocol.name) for protocol in PROTOCOLS] == [
        ("sqs", "json"),
        ("sqs", "query"),
        ("sqs", "query-json"),
        ("iam", "query"),
        ("sts", "query"),
        ("kms", "json"),
    ]
