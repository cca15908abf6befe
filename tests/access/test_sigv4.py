"""What verifies."""

import pytest

from stanchion.access import sigv4
from stanchion.http.message import HttpRequest
from stanchion.model.errors import (
    SignatureDoesNotMatch,
)
from tests.access.signing import (
    ACCESS_KEY_ID,
    BODY,
    HOST,
    JSON_HEADERS,
    MISMATCH,
    QUEUE_URL,
    SIGNED_AT_S,
    presigned,
    refused,
    signed,
    verify,
)

# --- Vectors ------------------------------------------------------------------------------------


def test_header_vector() -> None:
    request = HttpRequest(
        "POST",
        "/",
        "",
        {
            "host": HOST,
            "content-type": "application/x-amz-json-1.0",
            "x-amz-date": "20260102T030405Z",
            "x-amz-target": "AmazonSQS.ListQueues",
            "authorization": "AWS4-HMAC-SHA256 "
            "Credential=AKIDEXAMPLE/20260102/us-east-1/sqs/aws4_request, "
            "SignedHeaders=content-type;host;x-amz-date;x-amz-target, "
            "Signature=32c13de9e6c13492576c4816160d8ab54d6000b79a05cc07598fefca9661df96",
        },
        BODY,
        True,
        "::1",
    )
    assert verify(request).scope.access_key_id == "AKIDEXAMPLE"


def test_presigned_vector() -> None:
    query = (
        "Action=SendMessage&MessageBody=a%20b&Version=2012-11-05&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fus-east-1%2Fsqs%2Faws4_request"
        "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=8c7365aea6188c9699af2a5c4fd4ad0fbefd06dd1eb8324bdd5593b6b9b7614f"
    )
    request = HttpRequest("GET", "/123456789012/MyQueue", query, {"host": HOST}, b"", True, "::1")
    assert verify(request).expires_s == 60


# --- What verifies ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/123456789012/MyQueue.fifo",
        "//123456789012//MyQueue/",
        "/a/./b/../c",
        "/..",
        "/a%20b/%C3%A9",
        "/tilde~and:colon",
    ],
)
def test_paths(path: str) -> None:
    assert verify(signed(url=f"https://{HOST}{path}"))


@pytest.mark.parametrize(
    "query",
    ["b=2&a=1", "a=%20b%2Fc", "a", "a=2&a=1", "Action=SendMessage&MessageBody=%2B%26%3D~"],
)
def test_query_strings(query: str) -> None:
    # As a client must: sorted and encoded before signing, sent in any order.
    canonical = "&".join(sorted(item if "=" in item else f"{item}=" for item in query.split("&")))
    request = signed("GET", f"https://{HOST}/?{canonical}", body=b"")
    request.query = query
    assert verify(request)


def test_a_plus_sign_means_what_the_query_protocol_takes_it_for() -> None:
    request = signed("GET", f"https://{HOST}/?MessageBody=a%20b", body=b"")
    request.query = "MessageBody=a+b"
    assert verify(request)
    request.query = "MessageBody=a%2Bb"
    assert refused(request).message.startswith(MISMATCH)


def test_white_space_in_header_values_is_collapsed() -> None:
    request = signed(headers={**JSON_HEADERS, "X-Amz-Meta": "a b c"})
    request.headers["x-amz-meta"] = "  a   b\tc "
    assert verify(request)


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("port", [":80", ":443"])
def test_a_default_port_may_be_signed_or_not(port: str, secure: bool) -> None:
    scheme = "http" if port == ":443" else "https"  # so that botocore keeps the port
    request = signed(url=f"{scheme}://{HOST}{port}/")
    request.secure = secure
    request.headers["host"] = HOST
    assert verify(request)
    request = signed()
    request.headers["host"] = HOST + port
    assert verify(request)


def test_another_port_has_to_match() -> None:
    request = signed(url="http://localhost:9324/")
    request.headers["host"] = "localhost:9325"
    assert refused(request).message.startswith(MISMATCH)


def test_a_host_that_a_proxy_replaced() -> None:
    request = signed(url="https://queues.example.com/")
    request.headers["host"] = "10.0.0.7:9324"
    assert verify(request, hosts=("queues.example.com",))
    assert refused(request).message.startswith(MISMATCH)


@pytest.mark.parametrize("separator", [",", ", ", " , "])
def test_separators_of_the_header(separator: str) -> None:
    request = signed()
    request.headers["authorization"] = request.headers["authorization"].replace(", ", separator)
    assert verify(request)


def test_parts_of_the_header_in_another_order() -> None:
    request = signed()
    algorithm, _, rest = request.headers["authorization"].partition(" ")
    request.headers["authorization"] = f"{algorithm} {', '.join(reversed(rest.split(', ')))}"
    assert verify(request)


def test_a_very_long_list_of_headers_is_not_remembered_but_verifies() -> None:
    request = signed(headers={f"X-Header-{n:03}": str(n) for n in range(150)})
    assert len(request.headers["authorization"]) > sigv4._REMEMBERED_CHARS_MAX
    assert verify(request)


def test_the_date_header_stands_in_for_x_amz_date() -> None:
    request = signed(headers={**JSON_HEADERS, "Date": "Fri, 02 Jan 2026 03:04:05 GMT"})
    assert "x-amz-date" not in request.headers
    assert verify(request).signed_at == "20260102T030405Z"


@pytest.mark.parametrize("age_s", [-900, 0, 900])
def test_clocks_may_be_a_quarter_of_an_hour_apart(age_s: int) -> None:
    assert verify(signed(), now_s=SIGNED_AT_S + age_s)


def test_presigned_until_it_expires() -> None:
    url = f"{QUEUE_URL}?Action=SendMessage&MessageBody=a%20b"
    assert verify(presigned(url, 3600), now_s=SIGNED_AT_S + 3600)
    expired = refused(presigned(url, 3600), now_s=SIGNED_AT_S + 3601)
    assert isinstance(expired, SignatureDoesNotMatch)
    assert expired.message == (
        "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z "
        "(20260102T040406Z - 3600 sec.)"
    )


def test_requests_of_one_client_are_parsed_once() -> None:
    sigv4._remembered_scope.cache_clear()
    for _ in range(3):
        verify(signed())
    assert sigv4._remembered_scope.cache_info().misses == 1
    assert ACCESS_KEY_ID in signed().headers["authorization"]
