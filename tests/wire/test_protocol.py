"""Which protocol a request is taken to speak."""

import pytest

from stanchion.http.message import HttpRequest
from stanchion.wire.protocol import JSON, QUERY, QUERY_JSON, Protocol, choose

FORM = "application/x-www-form-urlencoded; charset=utf-8"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-amz-target": "AmazonSQS.ListQueues"}, JSON),
        ({"x-amz-target": "AmazonSQS.ListQueues", "content-type": FORM}, JSON),
        ({"content-type": "application/x-amz-json-1.0"}, JSON),
        ({"content-type": "Application/X-AMZ-JSON-1.1"}, JSON),
        ({"content-type": "application/x-amz-json-1.0", "accept": "application/json"}, JSON),
        ({"content-type": FORM}, QUERY),
        ({"content-type": FORM, "accept": "*/*"}, QUERY),
        ({"content-type": FORM, "accept": "application/json"}, QUERY_JSON),
        ({"accept": "text/plain, application/json;q=0.5"}, QUERY_JSON),
        ({}, QUERY),
    ],
)
@pytest.mark.parametrize("path", ["/", "/123456789012/q", "/anything/at/all"])
def test_only_the_headers_count(headers: dict[str, str], expected: Protocol, path: str) -> None:
    request = HttpRequest("POST", path, "", headers, b"", False, "127.0.0.1")
    assert choose(request) is expected
