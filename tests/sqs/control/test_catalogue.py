"""The catalogue: which queue a request means, and what the cache may never answer."""

from typing import Any

import pytest

from stanchion.access.authoriser import Resource
from stanchion.keys.providers import RING
from stanchion.model.sqs import InvalidAddress, QueueDoesNotExist
from stanchion.sqs.catalogue import Catalogue, Queue, view_of
from stanchion.sqs.encryption import Encryption
from stanchion.store.contract import (
    Command,
    CreateQueue,
    DeleteQueue,
    GetQueue,
    QueueName,
    QueueRecord,
    QueueRules,
    UpdateQueue,
)
from tests.sqs.harness import ACCOUNT, ORIGIN, REGION, Service, call_of, finish, known

NAME = QueueName(ACCOUNT, REGION, "q")
DOES_NOT_EXIST = "The specified queue does not exist."


def record(
    queue_id: int = 1, version: int = 1, created_at_ms: int = 0, **attributes: str
) -> QueueRecord:
    return QueueRecord(queue_id, NAME, version, attributes, {}, created_at_ms, created_at_ms)


def put(catalogue: Catalogue, answered: QueueRecord) -> Queue:
    """Take in what was answered just now."""
    return catalogue.put(answered, catalogue.edition)


def test_a_view_has_the_defaults() -> None:
    assert view_of(record()) == Queue(
        id=1,
        name=NAME,
        arn="arn:aws:sqs:eu-central-1:123456789012:q",
        delay_ms=0,
        visibility_timeout_ms=30_000,
        receive_wait_s=0,
        message_bytes_max=1_048_576,
        is_fifo=False,
        deduplicates_content=False,
        deduplicates_by_group=False,
        has_high_throughput=False,
        encryption=Encryption(RING, "", 3600),
        access=Resource(),
        stamp=(1, 1),
        record=record(),
    )


def test_a_view_has_what_was_set() -> None:
    queue = view_of(
        record(
            DelaySeconds="1",
            VisibilityTimeout="2",
            ReceiveMessageWaitTimeSeconds="3",
            MaximumMessageSize="2048",
        )
    )
    assert queue.delay_ms == 1000
    assert queue.visibility_timeout_ms == 2000
    assert queue.receive_wait_s == 3
    assert queue.message_bytes_max == 2048


def test_a_fifo_queue_leaves_its_delay_to_the_store() -> None:
    queue = view_of(record(FifoQueue="true", DelaySeconds="1"))
    assert queue.is_fifo
    assert queue.delay_ms == 0
    assert not queue.deduplicates_content
    assert not queue.deduplicates_by_group


def test_throughput_is_high_when_both_attributes_say_so() -> None:
    scope = {"FifoQueue": "true", "DeduplicationScope": "messageGroup"}
    assert not view_of(record(**scope)).has_high_throughput
    queue = view_of(record(**scope, FifoThroughputLimit="perMessageGroupId"))
    assert queue.has_high_throughput
    assert queue.deduplicates_by_group


@pytest.mark.parametrize("url", [f"{ORIGIN}/{ACCOUNT}/q", "https://elsewhere/123456789012/q", "q"])
def test_a_queue_is_found_by_any_of_its_urls(url: str) -> None:
    service = Service()
    service.create("q")
    assert finish(service.catalogue.resolve(service.call, url)).name == NAME


def test_a_queue_is_found_without_asking_the_store_again() -> None:
    service = Service()
    url = service.create("q")
    service.store.commands.clear()
    assert known(service.catalogue, service.call, url) is not None
    finish(service.catalogue.resolve(service.call, url))
    assert service.store.commands == []


def test_a_queue_that_is_not_in_the_cache_is_read_from_the_store() -> None:
    service = Service()
    url = service.create("q")
    fresh = Catalogue(service.store)
    assert known(fresh, service.call, url) is None
    assert finish(fresh.resolve(service.call, url)).name == NAME
    assert known(fresh, service.call, url) is not None


@pytest.mark.parametrize("url", [None, "", "http://whatever", "missing", f"{ORIGIN}/{ACCOUNT}/no"])
def test_what_is_not_there_does_not_exist(url: str | None) -> None:
    service = Service()
    with pytest.raises(QueueDoesNotExist) as refusal:
        finish(service.catalogue.resolve(service.call, url))
    assert refusal.value.message == DOES_NOT_EXIST


@pytest.mark.parametrize("url", [None, ""])
def test_without_a_url_the_path_names_the_queue(url: str | None) -> None:
    service = Service()
    service.create("q")
    call = call_of(ACCOUNT, path=f"/{ACCOUNT}/q")
    assert finish(service.catalogue.resolve(call, url)).name == NAME


def test_regions_are_namespaces_of_their_own() -> None:
    service = Service()
    url = service.create("q")
    with pytest.raises(QueueDoesNotExist):
        finish(service.catalogue.resolve(call_of(ACCOUNT, "eu-west-1"), url))


def test_the_endpoint_of_another_region_is_no_address() -> None:
    service = Service()
    service.create("q")
    url = "https://sqs.us-west-2.amazonaws.com/123456789012/q"
    for _ in range(2):  # the second time from the memory of URLs
        with pytest.raises(InvalidAddress):
            known(service.catalogue, service.call, url)
    assert known(service.catalogue, call_of(ACCOUNT, "us-west-2"), url) is None


def test_a_bare_name_never_finds_the_queue_of_another_account() -> None:
    service = Service()
    service.create("q")
    assert known(service.catalogue, service.call, "q") is not None
    assert known(service.catalogue, call_of("999999999999"), "q") is None


def test_an_older_version_never_replaces_a_newer_one() -> None:
    catalogue = Service().catalogue
    put(catalogue, record(version=2, DelaySeconds="2"))
    kept = put(catalogue, record(version=1, DelaySeconds="1"))
    assert kept.delay_ms == 2000
    cached = catalogue.cached(NAME)
    assert cached is not None
    assert cached.delay_ms == 2000
    assert put(catalogue, record(version=3, DelaySeconds="3")).delay_ms == 3000


def test_a_later_queue_of_the_same_name_replaces_an_earlier_one_and_not_the_reverse() -> None:
    catalogue = Service().catalogue
    put(catalogue, record(queue_id=1, version=7, created_at_ms=1000))
    assert put(catalogue, record(queue_id=2, version=1, created_at_ms=2000)).id == 2
    assert put(catalogue, record(queue_id=1, version=8, created_at_ms=1000)).id == 2


def test_the_least_recently_used_queue_goes() -> None:
    catalogue = Catalogue(Service().store, queues_max=2)
    a, b, c = (QueueName(ACCOUNT, REGION, name) for name in "abc")
    for queue_id, name in enumerate((a, b), 1):
        put(catalogue, QueueRecord(queue_id, name, 1, {}, {}, 0, 0))
    catalogue.cached(a)
    put(catalogue, QueueRecord(3, c, 1, {}, {}, 0, 0))
    assert [catalogue.cached(name) is not None for name in (a, b, c)] == [True, False, True]


def test_what_is_gone_is_forgotten_but_not_its_successor() -> None:
    catalogue = Service().catalogue
    first = put(catalogue, record(queue_id=1))
    assert catalogue.gone(first).message == DOES_NOT_EXIST
    assert catalogue.cached(NAME) is None
    put(catalogue, record(queue_id=2))
    catalogue.forget(first)
    assert catalogue.cached(NAME) is not None


class DeletedMeanwhile:
    """A store whose answer to a read is on its way while the queue is deleted."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.catalogue: Catalogue

    async def run(self, command: Command[Any]) -> Any:
        answer = await self.service.store.run(command)
        if isinstance(command, GetQueue) and answer is not None:
            await self.service.store.run(DeleteQueue(answer.id))
            self.catalogue.forget(view_of(answer))
        return answer


def test_a_read_that_a_delete_overtook_is_not_kept() -> None:
    service = Service()
    finish(service.store.run(CreateQueue(NAME, {}, {}, QueueRules(60_000), 0)))
    store = DeletedMeanwhile(service)
    store.catalogue = Catalogue(store)
    finish(store.catalogue.find(NAME))
    assert store.catalogue.cached(NAME) is None


class Elsewhere:
    """A service, and another process that changes queues of the same store."""

    def __init__(self) -> None:
        self.service = Service()
        self.catalogue = self.service.catalogue
        self.follow()

    def follow(self) -> list[str]:
        """Names of the queues that were forgotten because of that."""
        now_ms = self.service.clock.now_ms()
        return [queue.name.name for queue in finish(self.catalogue.follow(now_ms))]

    def known(self, name: str) -> Queue | None:
        return self.catalogue.cached((ACCOUNT, REGION, name))

    def create(self, *names: str) -> None:
        """Queues that this process knows, and has been told of."""
        for name in names:
            self.service.create(name)
        self.follow()
        for name in names:
            finish(self.catalogue.find(QueueName(ACCOUNT, REGION, name)))

    def update(self, name: str, **attributes: str) -> None:
        queue = self.known(name)
        assert queue is not None
        update = UpdateQueue(queue.id, queue.record.version, attributes, {}, QueueRules(60_000))
        assert finish(self.service.store.run(update)) is not None

    def delete(self, name: str) -> None:
        queue = self.known(name)
        assert queue is not None
        assert finish(self.service.store.run(DeleteQueue(queue.id)))


def test_what_another_process_has_changed_is_forgotten_and_nothing_else() -> None:
    elsewhere = Elsewhere()
    elsewhere.create("changed", "deleted", "as-it-was")
    elsewhere.update("changed", DelaySeconds="7")
    elsewhere.delete("deleted")
    kept = elsewhere.known("as-it-was")
    assert elsewhere.follow() == ["changed", "deleted"]
    assert elsewhere.known("as-it-was") is kept
    found = finish(elsewhere.catalogue.find(QueueName(ACCOUNT, REGION, "changed")))
    assert found.delay_ms == 7000
    with pytest.raises(QueueDoesNotExist):
        finish(elsewhere.catalogue.find(QueueName(ACCOUNT, REGION, "deleted")))
    assert elsewhere.follow() == []


def test_many_changes_are_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stanchion.sqs.limits.CHANGES_MAX", 2)
    elsewhere = Elsewhere()
    names = [f"queue-{number}" for number in range(5)]
    elsewhere.create(*names)
    for name in names:
        elsewhere.update(name)
    assert elsewhere.follow() == names


def test_an_answer_from_before_a_change_is_not_kept() -> None:
    elsewhere = Elsewhere()
    elsewhere.create("q")
    before = elsewhere.known("q")
    assert before is not None
    edition = elsewhere.catalogue.edition
    elsewhere.update("q", DelaySeconds="7")
    elsewhere.follow()
    assert elsewhere.catalogue.put(before.record, edition).stamp == before.stamp
    assert elsewhere.known("q") is None


@pytest.mark.parametrize("seconds", [-10, 3600])
def test_nothing_is_believed_when_changes_may_have_been_missed(seconds: int) -> None:
    elsewhere = Elsewhere()
    elsewhere.create("q")
    elsewhere.service.clock.advance(seconds)
    assert elsewhere.follow() == ["q"]
    assert elsewhere.known("q") is None


def test_the_memory_of_urls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stanchion.sqs.limits.CACHED_URLS_MAX", 3)
    service = Service()
    service.create("q")
    for number in range(10):
        known(service.catalogue, service.call, f"http://host{number}/{ACCOUNT}/q")
    assert len(service.catalogue._references) == 3
    known(service.catalogue, service.call, f"http://{'x' * 600}/{ACCOUNT}/q")
    assert len(service.catalogue._references) == 3
