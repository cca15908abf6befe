"""Conformance: a moved message says what its body was sealed for, and nobody else can say it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stanchion.store.contract import (
    ClaimedMessage,
    QueueName,
    SealedAs,
    Send,
    SendFifo,
)
from stanchion.store.provenance import Provenances
from stanchion.store.sqlite import SqliteStore
from tests.store.conftest import RESERVE_BYTES
from tests.store.driver import Driver, fifo_message, message
from tests.store.redrive import VISIBILITY_MS, Queues, set_up, start

KEY = bytes(range(32))
SEALED = "\x01sealed"
ONE_DAY_MS = 86_400_000


@pytest.fixture(params=[False, True], ids=["standard", "fifo"])
def queues(request: pytest.FixtureRequest, driver: Driver) -> Queues:
    """Queues `work` and `other` whose messages go to `dead` after one receive."""
    driver.store.set_move_key(KEY)
    return set_up(driver, request.param)


def send(queues: Queues, name: str, message_id: str, body: str = SEALED) -> None:
    queue_id = queues.ids[name]
    if queues.is_fifo:
        sent = fifo_message(body, "g", message_id, message_id)
        queues.driver.run(SendFifo(queue_id, (sent,), by_group=False))
    else:
        queues.driver.run(Send(queue_id, (message(body, 0, message_id),)))


def bury(queues: Queues, name: str) -> None:
    """Receive what there is, and let it go to the dead-letter queue."""
    assert queues.claim(name, 100).messages
    queues.driver.wait(VISIBILITY_MS)
    queues.driver.upkeep()
    assert queues.counts(name) == (0, 0, 0)


def redrive(queues: Queues, source: str, destination: str | None = None) -> None:
    start(queues, destination, source=source, task_id=f"{source}-{queues.driver.now_ms}")
    queues.driver.upkeep()
    assert queues.counts(source) == (0, 0, 0)


def only(queues: Queues, name: str) -> ClaimedMessage:
    (found,) = queues.claim(name).messages
    return found


def sealed_as(queues: Queues, name: str, message_id: str) -> SealedAs:
    return SealedAs(queues.name(name), message_id)


def by_hand(queues: Queues, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What somebody can do who has the database and not the keys."""
    return queues.driver.query(statement, *parameters)


def backlog(queues: Queues, name: str) -> int:
    ((found,),) = by_hand(queues, "SELECT backlog FROM queue WHERE id = ?", queues.ids[name])
    return int(found)


def provenances(queues: Queues) -> list[object]:
    return [found for (found,) in by_hand(queues, "SELECT provenance FROM message ORDER BY 1")]


# --- Moves --------------------------------------------------------------------------------------


def test_what_never_moved_is_sealed_as_it_is(queues: Queues) -> None:
    send(queues, "work", "id-1")
    assert provenances(queues) == [None]
    assert only(queues, "work").sealed_as is None


def test_a_dead_letter_was_sealed_for_its_source(queues: Queues) -> None:
    send(queues, "work", "id-1")
    bury(queues, "work")
    found = only(queues, "dead")
    assert (found.message_id, found.body) == ("id-1", SEALED.encode())
    assert found.sealed_as == sealed_as(queues, "work", "id-1")


def test_a_message_back_home_was_sealed_for_its_first_id(queues: Queues) -> None:
    send(queues, "work", "id-1")
    bury(queues, "work")
    redrive(queues, "dead")
    found = only(queues, "work")
    assert found.message_id != "id-1"
    assert found.sealed_as == sealed_as(queues, "work", "id-1")


def test_a_chain_of_moves_keeps_the_origin(queues: Queues) -> None:
    queues.set("dead", "archive", 1)
    send(queues, "work", "id-1")
    bury(queues, "work")
    bury(queues, "dead")
    assert only(queues, "archive").sealed_as == sealed_as(queues, "work", "id-1")
    queues.driver.wait(VISIBILITY_MS)
    redrive(queues, "archive", "other")
    found = only(queues, "other")
    assert found.message_id != "id-1"
    assert found.sealed_as == sealed_as(queues, "work", "id-1")
    queues.driver.wait(VISIBILITY_MS)
    queues.driver.upkeep()
    assert only(queues, "dead").sealed_as == sealed_as(queues, "work", "id-1")


def test_a_dead_letter_that_comes_home_under_its_id_is_as_it_was(queues: Queues) -> None:
    queues.set("dead", "work", 1)
    send(queues, "work", "id-1")
    bury(queues, "work")
    bury(queues, "dead")
    found = only(queues, "work")
    assert (found.message_id, found.sealed_as) == ("id-1", None)
    queues.driver.wait(VISIBILITY_MS)
    queues.driver.upkeep()
    assert only(queues, "dead").sealed_as == sealed_as(queues, "work", "id-1")


@pytest.mark.parametrize("body", ["", "plain", "\x02other", "x\x01"])
def test_bodies_that_are_not_sealed_need_no_origin(queues: Queues, body: str) -> None:
    send(queues, "work", "id-1", body)
    bury(queues, "work")
    redrive(queues, "dead")
    assert provenances(queues) == [None]
    found = only(queues, "work")
    assert (found.body, found.sealed_as) == (body.encode(), None)


def test_each_of_many_has_its_own(queues: Queues) -> None:
    for n in range(9):
        send(queues, "work", f"id-{n}", SEALED if n % 3 else "plain")
    bury(queues, "work")
    send(queues, "other", "id-other")
    bury(queues, "other")
    found = {message.message_id: message.sealed_as for message in queues.claim("dead").messages}
    assert found == {
        **{f"id-{n}": sealed_as(queues, "work", f"id-{n}") if n % 3 else None for n in range(9)},
        "id-other": sealed_as(queues, "other", "id-other"),
    }


def test_a_repeated_attempt_says_the_same(driver: Driver) -> None:
    queues = set_up(driver, is_fifo=True)
    send(queues, "work", "id-1")
    bury(queues, "work")
    takes = [driver.take(queues.ids["dead"], attempt="attempt") for _ in range(2)]
    assert takes[0] == takes[1]
    assert takes[0].messages[0].sealed_as == sealed_as(queues, "work", "id-1")


def test_an_origin_holds_after_a_restart_under_the_same_key(tmp_path: Path) -> None:
    def opened(key: bytes) -> SqliteStore:
        store = SqliteStore.open(tmp_path, reserve_bytes=RESERVE_BYTES)
        store.set_move_key(key)
        return store

    driver = Driver(opened(KEY))
    queues = set_up(driver, is_fifo=False)
    send(queues, "work", "id-1")
    bury(queues, "work")
    driver.store.close()
    driver.store = opened(b"another key")
    assert only(queues, "dead").sealed_as is None
    driver.store.close()
    driver.wait(VISIBILITY_MS)
    driver.store = opened(KEY)
    assert only(queues, "dead").sealed_as == sealed_as(queues, "work", "id-1")
    driver.store.close()


# --- Forgeries ----------------------------------------------------------------------------------


def forged(queues: Queues) -> bytes:
    """As a message moved from `work` to `dead` would have it, under another key."""
    there = sealed_as(queues, "dead", "id-1")
    stamp = Provenances(b"another key").stamped(None, sealed_as(queues, "work", "id-1"), there)
    assert stamp is not None
    return stamp


FORGERIES: dict[str, Callable[[bytes], object]] = {
    "other-key": lambda stamp: stamp,
    "text": lambda stamp: stamp.decode(),
    "no-mac": lambda stamp: msgspec.json.encode([*msgspec.json.decode(stamp)[:2], ""]),
    "not-ascii": lambda stamp: msgspec.json.encode([*msgspec.json.decode(stamp)[:2], "\u00e9"]),
    "surrogate": lambda stamp: stamp.replace(b"id-1", rb"\ud800"),
    "not-utf-8": lambda stamp: stamp.replace(b"id-1", b"\xff"),
    "other-shape": lambda _: b"{}",
    "empty": lambda _: b"",
    "number": lambda _: 1,
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_origin_is_none_and_stays_forged(
    queues: Queues, forgery: Callable[[bytes], object]
) -> None:
    value = forgery(forged(queues))
    if not isinstance(value, bytes | None) and not isinstance(queues.driver.store, SqliteStore):
        pytest.skip("the column takes nothing but bytes")
    queues.set("dead", "archive", 1)
    send(queues, "work", "id-1")
    bury(queues, "work")
    by_hand(queues, "UPDATE message SET provenance = ?", value)
    assert only(queues, "dead").sealed_as is None
    queues.driver.wait(VISIBILITY_MS)
    queues.driver.upkeep()
    assert provenances(queues) == [value]
    assert only(queues, "archive").sealed_as is None
    queues.driver.wait(VISIBILITY_MS)
    redrive(queues, "archive", "work")
    assert provenances(queues) == [value]
    assert only(queues, "work").sealed_as is None


def test_an_origin_is_good_for_one_message_only(queues: Queues) -> None:
    for message_id in ("id-1", "id-2"):
        send(queues, "work", message_id)
    bury(queues, "work")
    (one, _) = provenances(queues)
    by_hand(queues, "UPDATE message SET provenance = ?", one)
    found = {message.message_id: message.sealed_as for message in queues.claim("dead").messages}
    assert sorted(origin is None for origin in found.values()) == [False, True]
    assert all(origin is None or origin.message_id == name for name, origin in found.items())


def test_an_origin_is_good_in_one_queue_only(queues: Queues) -> None:
    send(queues, "work", "id-1")
    bury(queues, "work")
    (stamp,) = provenances(queues)
    send(queues, "archive", "id-1")
    by_hand(
        queues,
        "UPDATE message SET provenance = ? WHERE backlog = ?",
        *(stamp, backlog(queues, "archive")),
    )
    assert only(queues, "archive").sealed_as is None
    assert only(queues, "dead").sealed_as == sealed_as(queues, "work", "id-1")


def test_a_message_put_elsewhere_by_hand_is_taken_for_a_native_of_there(queues: Queues) -> None:
    """Its body was not sealed for there, so it does not open, there or where it goes from there."""
    send(queues, "work", "id-1")
    send(queues, "other", "id-2")
    by_hand(
        queues,
        "UPDATE message_body SET body = (SELECT body FROM message_body WHERE message_id = 'id-1')"
        " WHERE message_id = 'id-2'",
    )
    bury(queues, "other")
    assert only(queues, "dead").sealed_as == sealed_as(queues, "other", "id-2")


# --- What does not change -----------------------------------------------------------------------


def test_a_moved_message_is_deleted_as_any_other(queues: Queues) -> None:
    send(queues, "work", "id-1")
    bury(queues, "work")
    assert queues.delete("dead", only(queues, "dead").lease) == ("deleted",)
    assert provenances(queues) == []


def test_a_moved_message_expires_as_any_other(queues: Queues) -> None:
    send(queues, "work", "id-1")
    bury(queues, "work")
    queues.set("dead", retention_ms=ONE_DAY_MS)
    queues.driver.wait(ONE_DAY_MS)
    queues.driver.upkeep()
    assert queues.counts("dead") == (0, 0, 0)
    assert provenances(queues) == []


# --- The stamp ----------------------------------------------------------------------------------

HERE = SealedAs(QueueName("1", "region", "here"), "id")
THERE = SealedAs(QueueName("1", "region", "there"), "id")
STAMP = Provenances(KEY).stamped(None, HERE, THERE)


@pytest.mark.parametrize(
    "place",
    [
        HERE,
        THERE._replace(message_id="i"),
        THERE._replace(queue=QueueName("2", "region", "there")),
        THERE._replace(queue=QueueName("1", "", "there")),
        THERE._replace(queue=QueueName("1region", "", "there")),
        SealedAs(QueueName("1", "region", "ther"), "eid"),
    ],
)
def test_every_part_of_the_place_counts(place: SealedAs) -> None:
    assert Provenances(KEY).sealed_as(STAMP, THERE) == HERE
    assert Provenances(KEY).sealed_as(STAMP, place) is None
    assert Provenances(KEY).stamped(STAMP, place, THERE) is None


@pytest.mark.parametrize("part", [b'"1"', b'"region"', b'"here"', b'"id"'])
def test_every_part_of_the_origin_counts(part: bytes) -> None:
    assert STAMP is not None
    assert part in STAMP
    altered = STAMP.replace(part, b'"x"', 1)
    assert Provenances(KEY).sealed_as(altered, THERE) is None


def test_a_stamp_shows_what_it_vouches_for() -> None:
    assert STAMP is not None
    queue, message_id, mac = msgspec.json.decode(STAMP)
    assert (queue, message_id) == (["1", "region", "here"], "id")
    assert len(bytes.fromhex(mac)) == 16
