"""What goes over the wire: signatures as botocore makes them, bodies as asked for."""

import json

import pytest

from stanchion.loadgen.calls import Calls, ReceivedMessage, failed_entries, received
from stanchion.loadgen.plan import Credentials, Endpoint
from tests.loadgen.plans import plan
from tests.loadgen.tiny_sqs import ACCESS_KEY_ID, SECRET, botocore_signature


class _Clock:
    def __init__(self) -> None:
        self.now_s = 1_700_000_000.9

    def wall_s(self) -> float:
        return self.now_s

    def now_ms(self) -> int:
        return int(self.now_s * 1000)


def _parts(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST / HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert int(headers["Content-Length"]) == len(body)
    return headers, body


def _assert_signed_as_botocore(request: bytes, url: str, region: str) -> None:
    headers, body = _parts(request)
    fields = dict(f.split("=", 1) for f in headers["Authorization"].split(" ", 1)[1].split(", "))
    signed = {name: headers[name] for name in fields["SignedHeaders"].split(";")}
    assert set(signed) >= {"content-type", "host", "x-amz-date", "x-amz-target"}
    assert fields["Signature"] == botocore_signature(url, signed, body, region, "sqs")


@pytest.mark.parametrize("token", [None, "a+token/=="])
@pytest.mark.parametrize("batch", [1, 10])
def test_every_request_is_signed_as_botocore_signs_it(token: str | None, batch: int) -> None:
    credentials = Credentials(ACCESS_KEY_ID, SECRET, token)
    clock = _Clock()
    calls = Calls(plan(credentials=credentials, batch=batch), clock)
    for now_s in (1_700_000_000.9, 1_700_000_001.0, 1_700_090_000.0):
        clock.now_s = now_s
        for request in (calls.send(), calls.receive(), calls.delete([ReceivedMessage("h+/=")])):
            _assert_signed_as_botocore(request, "http://sqs.example.com:9324", "eu-west-1")


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (Endpoint("sqs.eu-west-1.amazonaws.com", 443, True, None, "eu-west-1"), "https://{}"),
        (Endpoint("localhost", 80, False, None, "eu-west-1"), "http://{}"),
        (Endpoint("::1", 9324, False, None, "eu-west-1"), "http://[{}]:9324"),
    ],
)
def test_the_host_is_signed_as_the_url_has_it(endpoint: Endpoint, url: str) -> None:
    request = Calls(plan(endpoint=endpoint), _Clock()).send()
    _assert_signed_as_botocore(request, url.format(endpoint.host), "eu-west-1")


def test_the_date_is_the_clocks() -> None:
    headers, _ = _parts(Calls(plan(), _Clock()).send())
    assert headers["x-amz-date"] == "20231114T221320Z"


@pytest.mark.parametrize("body_bytes", [1, 15, 16, 17, 1024])
@pytest.mark.parametrize("batch", [1, 2, 10])
def test_bodies_have_the_size_asked_for_and_differ(body_bytes: int, batch: int) -> None:
    calls = Calls(plan(body_bytes=body_bytes, batch=batch), _Clock())
    given = [json.loads(_parts(calls.send())[1]) for _ in range(2)]
    entries = [entry for request in given for entry in request.get("Entries", [request])]
    bodies = [entry["MessageBody"] for entry in entries]
    assert {len(body) for body in bodies} == {body_bytes}
    assert len(set(bodies)) == min(10**body_bytes, 2 * batch)
    assert {request["QueueUrl"] for request in given} == {plan().queue_url}


def test_workers_send_different_bodies() -> None:
    first, second = (Calls(plan(worker=n), _Clock()) for n in (0, 1))
    assert _parts(first.send())[1] != _parts(second.send())[1]


def test_a_batch_of_deletes_names_every_handle_once() -> None:
    calls = Calls(plan(batch=10), _Clock())
    _, body = _parts(calls.delete([ReceivedMessage("a"), ReceivedMessage("b")]))
    entries = json.loads(body)["Entries"]
    assert [entry["ReceiptHandle"] for entry in entries] == ["a", "b"]
    assert len({entry["Id"] for entry in entries}) == 2


def test_a_receive_asks_for_a_batch_and_waits_as_planned() -> None:
    _, body = _parts(Calls(plan(batch=7, wait_s=20), _Clock()).receive())
    assert json.loads(body) == {
        "QueueUrl": plan().queue_url,
        "MaxNumberOfMessages": 7,
        "WaitTimeSeconds": 20,
    }


def test_an_empty_receive_has_no_messages() -> None:
    assert received(b"{}") == []


def test_failed_entries_are_named_by_code() -> None:
    reply = b'{"Successful":[],"Failed":[{"Id":"0","Code":"InternalError","SenderFault":false}]}'
    assert failed_entries(reply) == ["InternalError"]
    assert failed_entries(b'{"Successful":[{"Id":"0"}]}') == []
