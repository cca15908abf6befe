"""Conformance: commands about queues, accounts and secrets."""

from stanchion.store.contract import (
    CountMessages,
    CreateQueue,
    Delete,
    DeleteQueue,
    GetQueue,
    Lease,
    ListQueues,
    PurgeQueue,
    QueueCreated,
    QueueDeletedRecently,
    QueueExists,
    QueueName,
    QueueRules,
    Send,
    UpdateQueue,
)
from tests.store.driver import Driver, claim, create_queue

ACCOUNT, REGION = "000000000000", "eu-west-1"
RULES = QueueRules(retention_ms=1000)


def test_a_created_queue_is_found_as_it_was_made(driver: Driver) -> None:
    name = QueueName(ACCOUNT, REGION, "orders")
    created = driver.run(CreateQueue(name, {"DelaySeconds": "5"}, {"team": "a b"}, RULES, 0))
    assert isinstance(created, QueueCreated)
    record = created.record
    assert record.name == name
    assert record.version == 1
    assert record.attributes == {"DelaySeconds": "5"}
    assert record.tags == {"team": "a b"}
    assert record.created_at_ms == record.modified_at_ms == driver.now_ms
    assert driver.run(GetQueue(name)) == record


def test_creating_it_again_answers_what_there_is(driver: Driver) -> None:
    record = driver.create("orders")
    assert driver.run(create_queue("orders")) == QueueExists(record)


def test_two_creations_in_one_flush_make_one_queue(driver: Driver) -> None:
    first, second = driver.flush(create_queue("orders"), create_queue("orders")).answers
    assert isinstance(first, QueueCreated)
    assert second == QueueExists(first.record)


def test_names_are_apart_by_account_and_region(driver: Driver) -> None:
    names = [QueueName(a, r, "q") for a in ("1", "2") for r in ("x", "y")]
    answers = [driver.run(CreateQueue(name, {}, {}, RULES, 0)) for name in names]
    assert all(isinstance(answer, QueueCreated) for answer in answers)


def test_an_unknown_queue_is_none_everywhere(driver: Driver) -> None:
    assert driver.run(GetQueue(QueueName(ACCOUNT, REGION, "none"))) is None
    assert driver.run(UpdateQueue(99, 1, {}, {}, RULES)) is None
    assert driver.run(DeleteQueue(99)) is False
    assert driver.run(PurgeQueue(99, 0)) == "no_queue"
    assert driver.run(CountMessages(99)) is None
    assert driver.run(Send(99, (driver.message(),))) is False
    assert driver.run(claim(99)) is None
    assert driver.run(Delete(99, (Lease(1, 1),))) is None
    assert driver.show(99, 0, Lease(1, 1)) is None


def test_an_update_needs_the_version_that_is_there(driver: Driver) -> None:
    record = driver.create("orders")
    driver.wait(1000)
    updated = driver.run(UpdateQueue(record.id, 1, {"DelaySeconds": "1"}, {"t": "v"}, RULES))
    assert updated is not None
    assert (updated.version, updated.attributes, updated.tags) == (
        2,
        {"DelaySeconds": "1"},
        {"t": "v"},
    )
    assert updated.modified_at_ms == updated.created_at_ms + 1000
    assert driver.run(UpdateQueue(record.id, 1, {}, {}, RULES)) is None
    assert driver.run(GetQueue(record.name)) == updated


def test_a_deleted_name_is_quarantined_and_its_id_never_comes_back(driver: Driver) -> None:
    old = driver.create("orders")
    driver.send(old.id, "a")
    assert driver.run(DeleteQueue(old.id)) is True
    assert driver.run(DeleteQueue(old.id)) is False
    driver.wait(59_999)
    assert driver.run(create_queue("orders")) == QueueDeletedRecently()
    driver.wait(1)
    new = driver.create("orders")
    assert new.id > old.id
    assert driver.bodies(new.id) == []
    assert driver.run(claim(old.id)) is None


def test_queues_are_listed_by_prefix_in_order_and_in_pages(driver: Driver) -> None:
    for name in ("b", "a-2", "a-1", "a", "A", "c_%"):
        driver.create(name)
    driver.run(CreateQueue(QueueName(ACCOUNT, "elsewhere", "a-3"), {}, {}, RULES, 0))

    def listed(prefix: str, after: str, limit: int) -> list[str]:
        records = driver.run(ListQueues(ACCOUNT, REGION, prefix, after, limit))
        return [record.name.name for record in records]

    assert listed("", "", 10) == ["A", "a", "a-1", "a-2", "b", "c_%"]
    assert listed("a", "", 10) == ["a", "a-1", "a-2"]
    assert listed("a", "a", 1) == ["a-1"]
    assert listed("a-", "a-2", 10) == []
    assert listed("", "b", 10) == ["c_%"]
