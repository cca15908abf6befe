"""Queue URLs and ARNs: what is written, and what is read out of what clients send."""

import pytest

from stanchion.model.sqs import InvalidAddress
from stanchion.sqs.urls import (
    QueueReference,
    partition,
    queue_arn,
    queue_url,
    read_arn,
    read_queue_url,
)
from stanchion.store.contract import QueueName

NAME = QueueName("123456789012", "eu-central-1", "jobs")


def test_a_queue_url_is_made_of_what_the_client_asked_for() -> None:
    assert queue_url("http://mq.local:9324", NAME) == "http://mq.local:9324/123456789012/jobs"


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("eu-central-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eusc-de-east-1", "aws-eusc"),
        ("my-cellar", "aws"),
    ],
)
def test_the_partition_follows_the_region(region: str, expected: str) -> None:
    assert partition(region) == expected
    assert queue_arn(NAME._replace(region=region)) == (
        f"arn:{expected}:sqs:{region}:123456789012:jobs"
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:9324/123456789012/jobs",
        "https://anything.example/with/a/prefix/123456789012/jobs",
        "http://[::1]:9324/123456789012/jobs",
        "/123456789012/jobs",
        "123456789012/jobs",
    ],
)
def test_only_the_last_two_segments_count(url: str) -> None:
    assert read_queue_url(url) == QueueReference("123456789012", "jobs")


def test_a_bare_name_is_of_the_callers_account() -> None:
    assert read_queue_url("jobs") == QueueReference(None, "jobs")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "http://whatever",
        "http://whatever/",
        "http://whatever/jobs",
        "http://whatever/queue/jobs",
        "http://whatever/12345678901/jobs",
        "http://whatever/١٢٣٤٥٦٧٨٩٠١٢/jobs",
        "http://whatever/123456789012/",
        "http://whatever/123456789012",
    ],
)
def test_garbage_names_no_queue(url: str) -> None:
    assert read_queue_url(url) is None


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.us-west-2.amazonaws.com", "us-west-2"),
        ("SQS.us-west-2.AmazonAWS.com", "us-west-2"),
        ("sqs.us-west-2.amazonaws.com:443", "us-west-2"),
        ("sqs-fips.us-west-2.amazonaws.com", "us-west-2"),
        ("sqs.us-west-2.api.aws", "us-west-2"),
        ("sqs-fips.us-west-2.api.aws", "us-west-2"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("us-west-2.queue.amazonaws.com", "us-west-2"),
        ("cn-north-1.queue.amazonaws.com.cn", "cn-north-1"),
        ("queue.amazonaws.com", "us-east-1"),
        ("vpce-0a1b-xyz.sqs.us-west-2.vpce.amazonaws.com", "us-west-2"),
        ("sqs.us-west-2.localhost.example", ""),
        ("localhost:9324", ""),
    ],
)
def test_the_hosts_of_the_hosted_service_are_known(host: str, region: str) -> None:
    reference = read_queue_url(f"https://{host}/123456789012/jobs")
    assert reference is not None
    assert reference.endpoint_region == region


def test_an_endpoint_of_another_region_is_refused_and_of_this_one_is_not() -> None:
    reference = read_queue_url("https://sqs.us-west-2.amazonaws.com/123456789012/jobs")
    assert reference is not None
    reference.check_endpoint("us-west-2")
    with pytest.raises(InvalidAddress) as refusal:
        reference.check_endpoint("eu-central-1")
    assert refusal.value.message == (
        "The address https://sqs.us-west-2.amazonaws.com/ is not valid for this endpoint."
    )


# --- ARNs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("region", ["eu-central-1", "cn-north-1", "us-gov-east-1", "any-where"])
def test_the_arn_of_a_queue_names_that_queue(region: str) -> None:
    name = QueueName("123456789012", region, "jobs.fifo")
    arn = read_arn(queue_arn(name))
    assert arn is not None
    assert arn.queue_name() == name


@pytest.mark.parametrize(
    "text", ["", "jobs", "arn:aws:sqs:r:123456789012", "arn:aws:sqs::123456789012:q", "x:a:b:c:d:e"]
)
def test_what_lacks_a_part_is_no_arn(text: str) -> None:
    assert read_arn(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:sns:eu-central-1:123456789012:jobs",
        "arn:aws-cn:sqs:eu-central-1:123456789012:jobs",
        "arn:aws:sqs:eu-central-1:12345678901:jobs",
    ],
)
def test_an_arn_of_something_else_names_no_queue(text: str) -> None:
    arn = read_arn(text)
    assert arn is not None
    assert arn.queue_name() is None
