"""Conditions about the request itself: where it comes from, when, and by what program."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.access_control.stage import (
    ACCOUNT,
    ROOT,
    Key,
    Stage,
    allow,
    deny,
    not_allowed,
    open_stage,
    queue_arn,
)
from tests.access_control.wire import Reply, Wire, request, signed

PROXY_IP, ELSEWHERE_IP = "127.0.0.2", "127.0.0.3"
USER = f"arn:aws:iam::{ACCOUNT}:user"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server that trusts a proxy, and is reached from elsewhere too."""
    folder = tmp_path_factory.mktemp("conditions")
    with open_stage(folder, {"trusted_proxies": PROXY_IP}) as opened:
        yield opened


@pytest.fixture(scope="module")
def queue(stage: Stage) -> str:
    return stage.queue("q")


def user(stage: Stage, name: str, **condition: Any) -> Key:
    """A new user who may send on that condition."""
    return stage.user(name, allow("sqs:SendMessage", Condition=condition))


def send_from(stage: Stage, source_ip: str, key: Key, queue: str, **headers: str) -> Reply:
    """A message sent from an address of this machine, with headers of a proxy."""
    message = {"QueueUrl": queue, "MessageBody": "hello"}
    wire = Wire(stage.http, source_ip)
    try:
        written = request(stage.http, "json", "SendMessage", message)
        return wire.send(signed(written, key, "sqs"), **headers)
    finally:
        wire.close()


def seconds_ahead(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- Where from -----------------------------------------------------------------------------------


def test_the_address_of_a_client(stage: Stage, queue: str) -> None:
    key = user(stage, "local", IpAddress={"aws:SourceIp": "127.0.0.3/32"})
    # Again and again: a remembered decision is for one address.
    for _ in range(2):
        assert send_from(stage, ELSEWHERE_IP, key, queue).status == 200
        refused = send_from(stage, "127.0.0.1", key, queue)
        assert refused.text == not_allowed(f"{USER}/local", "SendMessage", queue_arn("q"))
    assert send_from(stage, PROXY_IP, key, queue).code == "AccessDenied"


def test_the_address_that_a_trusted_proxy_says(stage: Stage, queue: str) -> None:
    key = user(stage, "office", IpAddress={"aws:SourceIp": "203.0.113.0/24"})
    through = {"X_Forwarded_For": "203.0.113.7"}
    assert send_from(stage, PROXY_IP, key, queue, **through).status == 200
    # From anybody else it is a header like any other.
    for source_ip in ("127.0.0.1", ELSEWHERE_IP):
        assert send_from(stage, source_ip, key, queue, **through).code == "AccessDenied"
    # What a client made up stands before what the proxy added.
    made_up = {"X_Forwarded_For": "203.0.113.7, 198.51.100.9"}
    assert send_from(stage, PROXY_IP, key, queue, **made_up).code == "AccessDenied"
    added = {"X_Forwarded_For": "198.51.100.9, 203.0.113.7"}
    assert send_from(stage, PROXY_IP, key, queue, **added).status == 200
    nonsense = {"X_Forwarded_For": "203.0.113.7, somewhere"}
    assert send_from(stage, PROXY_IP, key, queue, **nonsense).code == "AccessDenied"


@pytest.mark.parametrize(
    "header", ["Forwarded", "X_Real_IP", "X_Client_IP", "True_Client_IP", "CF_Connecting_IP"]
)
def test_no_other_header_says_where_from(stage: Stage, queue: str, header: str) -> None:
    value = "for=203.0.113.7;proto=https" if header == "Forwarded" else "203.0.113.7"
    key = user(stage, f"by-{header.lower()}", IpAddress={"aws:SourceIp": "203.0.113.0/24"})
    assert send_from(stage, PROXY_IP, key, queue, **{header: value}).code == "AccessDenied"


def test_a_deny_for_all_other_addresses(stage: Stage) -> None:
    url = stage.queue(
        "inside",
        deny(
            "sqs:SendMessage",
            Principal="*",
            Condition={"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "127.0.0.3"]}},
        ),
    )
    assert send_from(stage, ELSEWHERE_IP, ROOT, url).status == 200
    refused = send_from(stage, "127.0.0.1", ROOT, url)
    reason = "with an explicit deny in a resource-based policy"
    who = f"arn:aws:iam::{ACCOUNT}:root"
    assert refused.text == not_allowed(who, "SendMessage", queue_arn("inside"), reason)
    spoofed = send_from(stage, "127.0.0.1", ROOT, url, X_Forwarded_For="10.1.2.3")
    assert spoofed.code == "AccessDenied"
    assert send_from(stage, PROXY_IP, ROOT, url, X_Forwarded_For="10.1.2.3").status == 200


def test_tls_that_a_trusted_proxy_says(stage: Stage) -> None:
    demands_tls = {"Bool": {"aws:SecureTransport": "false"}}
    url = stage.queue("tls", deny("sqs:*", Principal="*", Condition=demands_tls))
    https = {"X_Forwarded_For": "198.51.100.9", "X_Forwarded_Proto": "https"}
    assert send_from(stage, PROXY_IP, ROOT, url, **https).status == 200
    for source_ip, headers in (
        ("127.0.0.1", https),
        (PROXY_IP, {}),
        (PROXY_IP, https | {"X_Forwarded_Proto": "http"}),
        (PROXY_IP, https | {"X_Forwarded_Proto": "https, http"}),
        (PROXY_IP, {"X_Forwarded_For": "198.51.100.9"}),
    ):
        refused = send_from(stage, source_ip, ROOT, url, **headers)
        assert (refused.status, refused.code) == (400, "InvalidSecurity")


# --- When -----------------------------------------------------------------------------------------


def test_the_time_of_day(stage: Stage, queue: str) -> None:
    before = {"DateLessThan": {"aws:CurrentTime": seconds_ahead(600)}}
    after = {"DateGreaterThan": {"aws:CurrentTime": seconds_ahead(600)}}
    over = {"DateLessThan": {"aws:CurrentTime": seconds_ahead(-600)}}
    assert stage.sends(user(stage, "still", **before), queue)
    assert stage.refuses_send(user(stage, "not-yet", **after), queue).code == "AccessDenied"
    assert stage.refuses_send(user(stage, "no-more", **over), queue).code == "AccessDenied"
    epoch = {"NumericGreaterThan": {"aws:EpochTime": "1700000000"}}
    assert stage.sends(user(stage, "epoch", **epoch), queue)


# --- By what --------------------------------------------------------------------------------------


def test_the_program(stage: Stage, queue: str) -> None:
    key = user(stage, "by-agent", StringLike={"aws:UserAgent": "*robot/2.?*"})
    robot = stage.client("sqs", key, user_agent_extra="robot/2.1")
    other = stage.client("sqs", key, user_agent_extra="robot/3.1")
    for _ in range(2):
        assert robot.send_message(QueueUrl=queue, MessageBody="hello")["MessageId"]
        with pytest.raises(other.exceptions.ClientError, match="AccessDenied"):
            other.send_message(QueueUrl=queue, MessageBody="hello")


def test_where_a_link_was(stage: Stage, queue: str) -> None:
    key = user(stage, "by-referer", StringLike={"aws:Referer": "https://console.example.com/*"})
    link = {"Referer": "https://console.example.com/queues"}
    assert send_from(stage, "127.0.0.1", key, queue, **link).status == 200
    assert send_from(stage, "127.0.0.1", key, queue).code == "AccessDenied"


# --- What is not known ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["aws:SourceVpce", "aws:SourceArn", "aws:PrincipalOrgID", "aws:MadeUp", "sqs:MadeUp"]
)
def test_what_a_request_does_not_have(stage: Stage, queue: str, key: str) -> None:
    """A condition that asks for it fails; one that asks for something else holds."""
    name = key.replace(":", "-")
    positive = user(stage, f"is-{name}", StringEquals={key: "x"})
    assert stage.refuses_send(positive, queue).code == "AccessDenied"
    negative = user(stage, f"not-{name}", StringNotEquals={key: "x"})
    assert stage.sends(negative, queue)
    lenient = user(stage, f"if-{name}", StringEqualsIfExists={key: "x"})
    assert stage.sends(lenient, queue)
    absent = user(stage, f"null-{name}", Null={key: "true"})
    assert stage.sends(absent, queue)


@pytest.mark.parametrize("header", ["aws_SourceArn", "X_Amz_Source_Arn", "X_Amz_Source_Account"])
def test_no_header_makes_a_service_of_a_client(stage: Stage, header: str) -> None:
    condition = {"StringLike": {"aws:SourceArn": "*"}}
    service = {"Service": "sns.amazonaws.com"}
    name = f"for-sns-{header.lower()}"
    url = stage.queue(name, allow("sqs:SendMessage", Principal=service, Condition=condition))
    key = stage.user(f"no-{header.lower()}")
    arn = {header: f"arn:aws:sns:eu-west-1:{ACCOUNT}:topic"}
    assert send_from(stage, "127.0.0.1", key, url, **arn).code == "AccessDenied"


def test_the_region_of_a_request(stage: Stage, queue: str) -> None:
    key = user(stage, "regional", StringEquals={"aws:RequestedRegion": "eu-west-1"})
    assert stage.sends(key, queue)
    elsewhere = user(stage, "elsewhere", StringEquals={"aws:RequestedRegion": "us-east-1"})
    assert stage.refuses_send(elsewhere, queue).code == "AccessDenied"
