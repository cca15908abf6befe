"""What does not verify, what each failure is called, and which one is told first."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from stanchion.access import sigv4
from stanchion.http.message import HttpRequest
from stanchion.model.errors import (
    IncompleteSignature,
    SignatureDoesNotMatch,
)
from tests.access.signing import (
    BODY,
    HOST,
    JSON_HEADERS,
    MISMATCH,
    QUEUE_URL,
    SIGNED_AT,
    SIGNED_AT_S,
    presigned,
    refused,
    signed,
    verify,
    without,
)


def test_altered_requests_are_refused() -> None:
    def altered(**changes: object) -> HttpRequest:
        request = signed()
        for name, value in changes.items():
            setattr(request, name, value)
        return request

    for request in (
        altered(method="GET"),
        altered(path="/other"),
        altered(query="a=1"),
        altered(body=BODY + b" "),
        altered(headers={**signed().headers, "x-amz-target": "AmazonSQS.DeleteQueue"}),
        altered(headers={**signed().headers, "x-amz-date": "20260102T030406Z"}),
        altered(headers={**signed().headers, "host": "elsewhere"}),
        signed(secret="another"),
    ):
        error = refused(request)
        assert isinstance(error, SignatureDoesNotMatch)
        assert error.message == (
            f"{MISMATCH} Check your AWS Secret Access Key and signing method. "
            "Consult the service documentation for details."
        )


def test_the_body_is_hashed_whatever_a_header_says_of_it() -> None:
    request = signed(headers={**JSON_HEADERS, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    request.body = b"another"
    assert refused(request).message.startswith(MISMATCH)


@pytest.mark.parametrize("digest", ["", "0" * 64, "é" * 64, "\udcff" * 64, "00", "0" * 5000])
def test_signatures_that_cannot_be(digest: str) -> None:
    request = signed()
    prefix, _, _ = request.headers["authorization"].rpartition("=")
    request.headers["authorization"] = f"{prefix}={digest}"
    assert isinstance(
        refused(request), IncompleteSignature if not digest else SignatureDoesNotMatch
    )


def test_no_credentials() -> None:
    request = HttpRequest("POST", "/1/q", "", {"host": "h:9324"}, BODY, False, "::1")
    assert sigv4.read(request) is None


@pytest.mark.parametrize("part", ["Credential", "Signature", "SignedHeaders"])
def test_a_part_is_missing(part: str) -> None:
    request = without(signed(), part)
    error = refused(request)
    assert isinstance(error, IncompleteSignature)
    assert error.message == (
        f"Authorization header requires '{part}' parameter. "
        f"Authorization={request.headers['authorization']}"
    )


def test_every_part_is_missing() -> None:
    headers = {"authorization": "AWS4-HMAC-SHA256", "host": HOST}
    error = refused(HttpRequest("POST", "/", "", headers, BODY, False, "::1"))
    assert error.message == (
        "Authorization header requires 'Credential' parameter. "
        "Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. "
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        "Authorization=AWS4-HMAC-SHA256"
    )


@pytest.mark.parametrize("authorization", ["", "Basic dXNlcjpwYXNz", "AWS4-ECDSA-P256-SHA256 x"])
def test_other_algorithms(authorization: str) -> None:
    request = signed()
    request.headers["authorization"] = authorization
    error = refused(request)
    assert isinstance(error, IncompleteSignature)
    assert error.message == f"Unsupported AWS 'algorithm': '{authorization.partition(' ')[0]}'."


@pytest.mark.parametrize("credential", ["AKID", "/20260102/us-east-1/sqs/aws4_request"])
def test_a_credential_of_too_few_elements(credential: str) -> None:
    request = signed()
    request.headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature={'0' * 64}"
    )
    error = refused(request)
    assert isinstance(error, IncompleteSignature)
    assert error.message.startswith("Credential must have exactly 5 slash-delimited elements")


@pytest.mark.parametrize(
    "date", ["", "20260102", "2026-01-02T03:04:05", "20261302T030405Z", "٢٠٢٦٠١٠٢T٠٣٠٤٠٥Z"]
)
def test_dates_that_are_none(date: str) -> None:
    request = signed()
    request.headers["x-amz-date"] = date
    error = refused(request)
    assert isinstance(error, IncompleteSignature)
    assert error.message.startswith(f"Date must be in ISO-8601 'basic format'. Got '{date}'.")


@pytest.mark.parametrize("date", ["yesterday", "Fri, 99 Jan 2026 03:04:05 GMT"])
def test_date_headers_that_are_none(date: str) -> None:
    request = signed()
    del request.headers["x-amz-date"]
    request.headers["date"] = date
    assert isinstance(refused(request), IncompleteSignature)


def test_an_unsigned_host() -> None:
    request = signed()
    request.headers["authorization"] = request.headers["authorization"].replace(";host", "")
    error = refused(request)
    assert isinstance(error, SignatureDoesNotMatch)
    assert error.message.startswith("'Host' or ':authority' must be a 'SignedHeader'")


def test_a_signature_does_for_one_operation_only() -> None:
    headers = {name: text for name, text in JSON_HEADERS.items() if name != "X-Amz-Target"}
    assert len(headers) < len(JSON_HEADERS)
    request = signed(headers=headers)
    request.headers["x-amz-target"] = "AmazonSQS.DeleteQueue"
    error = refused(request)
    assert isinstance(error, SignatureDoesNotMatch)
    assert error.message.startswith("'X-Amz-Target' must be a 'SignedHeader'")


@pytest.mark.parametrize("region", ["us_east", "US-EAST-1", "é", "x" * 33, "-"])
def test_regions_that_are_none(region: str) -> None:
    request = signed()
    request.headers["authorization"] = request.headers["authorization"].replace("us-east-1", region)
    assert refused(request).message == (
        f"Credential should be scoped to a valid region, not '{region}'."
    )


def test_regions_may_be_restricted() -> None:
    assert verify(signed(region="eu-west-1"), regions=frozenset({"eu-west-1"}))
    error = refused(signed(), regions=frozenset({"eu-west-1"}))
    assert isinstance(error, SignatureDoesNotMatch)
    assert error.message == "Credential should be scoped to a valid region, not 'us-east-1'."


def test_another_service() -> None:
    error = refused(signed(service="sns"))
    assert isinstance(error, SignatureDoesNotMatch)
    assert error.message == "Credential should be scoped to correct service: 'sqs'."


def test_another_terminator() -> None:
    request = signed()
    request.headers["authorization"] = request.headers["authorization"].replace(
        "aws4_request", "aws5_request"
    )
    assert refused(request).message == (
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."
    )


def test_the_scope_is_of_another_day() -> None:
    request = signed()
    request.headers["authorization"] = request.headers["authorization"].replace(
        "20260102", "20260101"
    )
    assert refused(request).message == (
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
        "HTTP: '20260101' != '20260102', from '20260102T030405Z'."
    )


def test_an_old_signature() -> None:
    error = refused(signed(), now_s=SIGNED_AT_S + 901)
    assert isinstance(error, SignatureDoesNotMatch)
    assert error.message == (
        "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z "
        "(20260102T031906Z - 15 min.)"
    )


def test_a_signature_of_the_future() -> None:
    error = refused(signed(at=SIGNED_AT + timedelta(seconds=901)))
    assert isinstance(error, SignatureDoesNotMatch)
    assert error.message == (
        "Signature not yet current: 20260102T031906Z is still later than 20260102T031905Z "
        "(20260102T030405Z + 15 min.)"
    )


@pytest.mark.parametrize(
    "parameter",
    ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"],
)
def test_a_presigned_parameter_is_missing(parameter: str) -> None:
    request = presigned(f"{QUEUE_URL}?Action=ReceiveMessage")
    items = request.query.split("&")
    request.query = "&".join(i for i in items if not i.startswith(f"X-Amz-{parameter}="))
    error = refused(request)
    assert isinstance(error, IncompleteSignature)
    assert error.message == (
        f"AWS query-string parameters must include 'X-Amz-{parameter}'. "
        "Re-examine the query-string parameters."
    )


@pytest.mark.parametrize("expires", ["0", "604801", "-1", "1e3", "99999999999", "²"])
def test_lifetimes_that_presigned_requests_cannot_have(expires: str) -> None:
    request = presigned(QUEUE_URL)
    request.query = request.query.replace("Expires=60", f"Expires={expires}")
    assert isinstance(refused(request), IncompleteSignature)


def test_altered_presigned_requests_are_refused() -> None:
    request = presigned(f"{QUEUE_URL}?Action=SendMessage&MessageBody=a")
    request.query = request.query.replace("MessageBody=a", "MessageBody=b")
    assert refused(request).message.startswith(MISMATCH)


# --- Order --------------------------------------------------------------------------------------


@dataclass
class Fault:
    name: str
    text: str
    replacement: tuple[str, str]


FAULTS = [
    Fault("form", "Authorization header requires 'SignedHeaders'", ("SignedHeaders", "Signed")),
    Fault("region", "Credential should be scoped to a valid region", ("us-east-1", "US")),
    Fault("service", "Credential should be scoped to correct service", ("/sqs/", "/sns/")),
    Fault("day", "Date in Credential scope", ("20260102", "20251231")),
    Fault("host", "'Host' or ':authority'", (";host", "")),
    Fault("signature", MISMATCH, ("Signature=", "Signature=0")),
]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [(a, b) for n, a in enumerate(FAULTS) for b in FAULTS[n + 1 :]],
    ids=lambda fault: fault.name,
)
def test_of_two_faults_the_earlier_check_wins(earlier: Fault, later: Fault) -> None:
    request = signed()
    for fault in (earlier, later):
        request.headers["authorization"] = request.headers["authorization"].replace(
            *fault.replacement
        )
    assert refused(request).message.startswith(earlier.text)
