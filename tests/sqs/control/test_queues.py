"""DeleteQueue, GetQueueUrl, PurgeQueue and ListQueues."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.model.errors import AccessDenied, InvalidParameterValue
from stanchion.model.sqs import (
    DeleteQueueRequest,
    GetQueueUrlRequest,
    ListQueuesRequest,
    PurgeQueueInProgress,
    PurgeQueueRequest,
    QueueDoesNotExist,
)
from stanchion.service import Call
from stanchion.sqs.service import Limits
from stanchion.store.contract import CountMessages, MessageCounts, NewMessage, Send
from tests.sqs.harness import ACCOUNT, ORIGIN, Service, call_of, finish, known

NAME_RULE = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"


def test_a_deleted_queue_does_not_exist() -> None:
    service = Service()
    url = service.create()
    assert service.do(DeleteQueueRequest(queue_url=url)) is None
    assert known(service.catalogue, service.call, url) is None
    for request in (
        DeleteQueueRequest(queue_url=url),
        PurgeQueueRequest(queue_url=url),
        GetQueueUrlRequest(queue_name="q"),
    ):
        error = service.refuses(request)
        assert isinstance(error, QueueDoesNotExist)
        assert error.message == "The specified queue does not exist."


def test_long_polls_end_when_their_queue_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    url = service.create()
    queue = finish(service.catalogue.resolve(service.call, url))
    closed: list[int] = []
    monkeypatch.setattr(service.signals, "close_queue", closed.append)
    service.do(DeleteQueueRequest(queue_url=url))
    assert closed == [queue.id]


def test_a_queue_of_another_account_cannot_be_deleted() -> None:
    service = Service()
    url = service.create()
    error = service.refuses(DeleteQueueRequest(queue_url=url), call_of("999999999999"))
    assert isinstance(error, AccessDenied)
    service.do(GetQueueUrlRequest(queue_name="q"))


@pytest.mark.parametrize("owner", [None, ACCOUNT])
def test_a_queue_url_is_found_by_name(owner: str | None) -> None:
    service = Service()
    service.create()
    request = GetQueueUrlRequest(queue_name="q", queue_owner_aws_account_id=owner)
    assert service.do(request).queue_url == f"{ORIGIN}/{ACCOUNT}/q"


@pytest.mark.parametrize("name", [None, ""])
def test_a_queue_url_needs_a_name(name: str | None) -> None:
    error = Service().refuses(GetQueueUrlRequest(queue_name=name))
    assert isinstance(error, InvalidParameterValue)
    assert error.message == NAME_RULE


@pytest.mark.parametrize("name", ["missing", "missing.fifo", "not a name"])
def test_the_url_of_a_missing_queue_does_not_exist(name: str) -> None:
    error = Service().refuses(GetQueueUrlRequest(queue_name=name))
    assert isinstance(error, QueueDoesNotExist)
    assert error.message == "The specified queue does not exist."


@pytest.mark.parametrize("name", ["q", "missing"])
def test_the_queues_of_another_account_are_as_if_missing(name: str) -> None:
    service = Service()
    service.create()
    request = GetQueueUrlRequest(queue_name=name, queue_owner_aws_account_id=ACCOUNT)
    error = service.refuses(request, call_of("999999999999"))
    assert isinstance(error, QueueDoesNotExist)
    assert error.message == "The specified queue does not exist or you do not have access to it."


def test_a_purge_drops_every_message() -> None:
    service = Service()
    url = service.create()
    queue = finish(service.catalogue.resolve(service.call, url))
    message = NewMessage("id", b"body", b"", "sender", 0)
    finish(service.store.run(Send(queue.id, (message,))))
    assert service.do(PurgeQueueRequest(queue_url=url)) is None
    assert finish(service.store.run(CountMessages(queue.id))) == MessageCounts(0, 0, 0)


def test_a_queue_is_purged_at_most_once_a_minute() -> None:
    service = Service()
    url = service.create()
    other = service.create("other")
    service.do(PurgeQueueRequest(queue_url=url))
    service.clock.advance(59.9)
    error = service.refuses(PurgeQueueRequest(queue_url=url))
    assert isinstance(error, PurgeQueueInProgress)
    assert error.message == "Only one PurgeQueue operation on q is allowed every 60 seconds."
    service.do(PurgeQueueRequest(queue_url=other))
    service.clock.advance(0.1)
    service.do(PurgeQueueRequest(queue_url=url))


def test_the_purge_interval_can_be_set() -> None:
    service = Service(Limits(purge_interval_s=0))
    url = service.create()
    service.do(PurgeQueueRequest(queue_url=url))
    service.do(PurgeQueueRequest(queue_url=url))


# --- ListQueues ----------------------------------------------------------------------------------


def listed(service: Service, **parameters: Any) -> tuple[list[str], str | None]:
    """The names on a page, and the token of the next."""
    answer = service.do(ListQueuesRequest(**parameters))
    return [url.rpartition("/")[2] for url in answer.queue_urls or ()], answer.next_token


def with_queues(*names: str) -> Service:
    service = Service()
    for name in names:
        service.create(name)
    return service


def test_a_list_of_nothing_is_empty() -> None:
    answer = Service().do(ListQueuesRequest())
    assert (answer.queue_urls, answer.next_token) == (None, None)


def test_a_list_has_the_queues_of_the_caller_that_start_with_the_prefix() -> None:
    service = with_queues("b-2", "a-1", "b-1", "B-3", "b%x".replace("%", "_"))
    assert listed(service) == (["B-3", "a-1", "b-1", "b-2", "b_x"], None)
    assert listed(service, queue_name_prefix="b-") == (["b-1", "b-2"], None)
    assert listed(service, queue_name_prefix="b_") == (["b_x"], None)
    stranger = service.do(ListQueuesRequest(), call_of("999999999999"))
    assert stranger.queue_urls is None
    elsewhere = service.do(ListQueuesRequest(), call_of(ACCOUNT, "eu-west-1"))
    assert elsewhere.queue_urls is None


def test_without_max_results_there_is_no_token() -> None:
    service = Service()
    for number in range(1001):
        service.create(f"q{number:04}")
    names, token = listed(service)
    assert (len(names), token) == (1000, None)
    names, token = listed(service, max_results=1000)
    assert len(names) == 1000
    assert listed(service, max_results=1000, next_token=token) == (["q1000"], None)


def test_the_last_page_has_no_token() -> None:
    service = with_queues("a", "b")
    assert listed(service, max_results=2) == (["a", "b"], None)


PAGED_NAMES = st.sets(st.text("ab-_", min_size=1, max_size=4), max_size=12)


@given(names=PAGED_NAMES, prefix=st.sampled_from(["", "a", "b-", "_"]), size=st.integers(1, 5))
def test_paging_visits_every_queue_once(names: set[str], prefix: str, size: int) -> None:
    service = with_queues(*names)
    seen: list[str] = []
    token = None
    while True:
        page, token = listed(service, queue_name_prefix=prefix, max_results=size, next_token=token)
        seen += page
        assert len(page) <= size
        if token is None:
            break
        assert len(page) == size
    assert seen == sorted(name for name in names if name.startswith(prefix))


def test_a_page_goes_on_where_the_last_one_ended_whatever_was_deleted() -> None:
    service = with_queues("a", "b", "c")
    names, token = listed(service, max_results=2)
    assert names == ["a", "b"]
    service.do(DeleteQueueRequest(queue_url="b"))
    assert listed(service, max_results=2, next_token=token) == (["c"], None)


@pytest.mark.parametrize("max_results", [-1, 0, 1001])
def test_max_results_has_a_range(max_results: int) -> None:
    error = Service().refuses(ListQueuesRequest(max_results=max_results))
    assert isinstance(error, InvalidParameterValue)
    assert error.message == (
        "Value for parameter MaxResults is invalid."
        " Reason: MaxResults must be an integer between 1 and 1000."
    )


def refused_token(service: Service, call: Call | None = None, **parameters: Any) -> str:
    error = service.refuses(ListQueuesRequest(**parameters), call)
    assert isinstance(error, InvalidParameterValue)
    return error.message


def test_a_token_needs_max_results() -> None:
    service = with_queues("a", "b")
    _, token = listed(service, max_results=1)
    assert refused_token(service, next_token=token) == (
        "MaxResults is a mandatory parameter when you provide a value for NextToken."
    )


def test_a_token_is_good_for_its_prefix_only() -> None:
    service = with_queues("a1", "a2")
    _, token = listed(service, max_results=1, queue_name_prefix="a")
    assert refused_token(service, max_results=1, next_token=token) == (
        "Invalid NextToken value. If you are passing in NextToken,"
        " you must not change the other request parameters."
    )


@pytest.mark.parametrize("token", ["", "x", "AAAA", "ümlaut", "A" * 200, "\ud800"])
def test_a_token_that_was_never_issued_is_refused(token: str) -> None:
    message = refused_token(Service(), max_results=1, next_token=token)
    assert message == "Invalid or expired next token."


def test_a_token_cannot_be_altered_or_taken_elsewhere() -> None:
    service = with_queues("a1", "a2")
    _, token = listed(service, max_results=1)
    assert token is not None
    altered = ("B" if token[0] == "A" else "A") + token[1:]
    for call, tried in (
        (None, altered),
        (call_of("999999999999"), token),
        (call_of(ACCOUNT, "eu-west-1"), token),
    ):
        message = refused_token(service, call, max_results=1, next_token=tried)
        assert message == "Invalid or expired next token."
