"""A checker that never caught anything proves nothing: each planted violation must be found."""

from dataclasses import replace

import pytest

from tests.crash.checker import violations
from tests.crash.history import Delivery, Event, History, Redrive


def send(token: str, at_ms: float = 0, **changes: object) -> Event:
    return replace(Event("p", "send", at_ms, at_ms + 1, "ok", token), **changes)


def receive(token: str, at_ms: float, count: int = 1, **changes: object) -> Event:
    delivery = Delivery(token, count, f"{token}-{count}", intact=True)
    event = Event("c", "receive", at_ms, at_ms + 1, "ok", visibility_ms=100, deliveries=(delivery,))
    return replace(event, **changes)


def delete(token: str, at_ms: float, **changes: object) -> Event:
    return replace(Event("c", "delete", at_ms, at_ms + 1, "ok", token), **changes)


def sent(token: str, sequence: int, at_ms: float = 0, **changes: object) -> Event:
    """A send to a FIFO queue."""
    event = send(token, at_ms, group="g", deduplication_id=token, message_id=f"m-{token}")
    return replace(event, sequence=sequence, **changes)


def fifo_delivery(token: str, sequence: int, count: int = 1, group: str = "g") -> Delivery:
    return Delivery(token, count, f"{token}-{count}", True, f"m-{token}", group, token, sequence)


def taken(at_ms: float, *messages: tuple[str, int], count: int = 1, **changes: object) -> Event:
    """A receive from a FIFO queue."""
    deliveries = tuple(fifo_delivery(*message, count=count) for message in messages)
    event = Event("c", "receive", at_ms, at_ms + 1, "ok", visibility_ms=100)
    return replace(event, deliveries=deliveries, **changes)


REDRIVES = {"q": Redrive("dead", 1)}


def test_a_clean_history_passes() -> None:
    history = [
        send("a"),
        send("b", delay_ms=5),
        send("unheard-of", outcome="unknown"),
        receive("a", 10),
        receive("b", 20),
        receive("b", 150, count=2),
        delete("a", 30),
        delete("b", 160),
    ]
    assert violations(History(history)) == []


def test_a_send_without_an_answer_may_have_been_the_first() -> None:
    """A repeat is told the number of a call whose answer was lost, however late it comes."""
    history = [
        sent("a", 0, outcome="unknown"),
        sent("b", 2, at_ms=10),
        sent("a", 1, at_ms=20),
        taken(30, ("a", 1), ("b", 2)),
    ]
    assert violations(History(history)) == []


def test_a_clean_fifo_history_passes() -> None:
    history = [
        sent("a", 1),
        sent("a", 1, at_ms=5),
        sent("b", 2, at_ms=10),
        sent("c", 3, at_ms=20, group="h"),
        taken(30, ("a", 1), ("b", 2), attempt_id="r"),
        taken(40, ("a", 1), ("b", 2), attempt_id="r"),
        replace(taken(45, ("c", 3)), deliveries=(fifo_delivery("c", 3, group="h"),)),
        delete("a", 50),
        taken(200, ("b", 2), count=2),
        delete("b", 210),
        delete("c", 60),
    ]
    assert violations(History(history)) == []


def test_a_clean_move_to_a_dead_letter_queue_passes() -> None:
    history = [
        send("a", queue="q"),
        receive("a", 10, queue="q"),
        receive("a", 200, count=2, queue="dead"),
        delete("a", 210, queue="dead"),
        send("late", 400, queue="q"),
        Event("o", "purge", 390, 410, "ok", queue="q"),
    ]
    assert violations(History(history, REDRIVES)) == []


def test_a_move_task_makes_new_messages() -> None:
    old, new = (
        receive("a", at_ms, deliveries=(Delivery("a", 1, "h", True, message_id),))
        for at_ms, message_id in ((10, "m1"), (20, "m2"))
    )
    moved = Event("o", "move", 11, 12, "ok")
    assert violations(History([send("a"), old, moved, new])) == []
    assert {v[:2] for v in violations(History([send("a"), old, new]))} == {"S1"}


def test_a_gap_in_the_counts_needs_a_lost_reply() -> None:
    seen = [send("a"), receive("a", 10), receive("a", 300, count=3)]
    lost = Event("c", "receive", 150, 151, "unknown")
    assert violations(History([*seen, lost])) == []
    assert [v[:2] for v in violations(History(seen))] == ["S5"]


@pytest.mark.parametrize(
    ("rule", "planted"),
    [
        ("S1", [receive("ghost", 10)]),
        ("S1", [send("a", outcome="fail"), receive("a", 10)]),
        ("S2", [send("lost")]),
        ("S2", [send("lost"), delete("lost", 5, outcome="fail")]),
        ("S3", [send("a"), receive("a", 10), delete("a", 20), receive("a", 200, count=2)]),
        ("S4", [send("a"), receive("a", 10), receive("a", 50, count=2)]),
        ("S5", [send("a"), receive("a", 10), receive("a", 200)]),
        ("S5", [send("a"), receive("a", 300), receive("a", 10, count=2, visibility_ms=0)]),
        ("S6", [send("a", delay_ms=1000), receive("a", 500)]),
        (
            "S7",
            [
                send("a"),
                receive("a", 10, deliveries=(Delivery("a", 1, "h", intact=False),)),
            ],
        ),
        ("S8", [send("a"), receive("a", 10, count=2, queue="q")]),
        ("S8", [send("a"), receive("a", 10, queue="q"), receive("a", 20, queue="dead")]),
        (
            "S8",
            [
                send("a"),
                receive("a", 10, count=2, queue="dead"),
                receive("a", 200, count=1, queue="q"),
            ],
        ),
        (
            "S8",
            [
                send("a"),
                receive("a", 10),
                delete("a", 20, queue="q"),
                delete("a", 20, queue="dead"),
            ],
        ),
        (
            "S9",
            [
                send("a", queue="q"),
                Event("o", "purge", 5, 6, "ok", queue="q"),
                receive("a", 10, queue="q"),
            ],
        ),
        (
            "S9",
            [
                send("a", queue="q"),
                Event("o", "delete_queue", 5, 6, "ok", queue="q"),
                receive("a", 10, queue="q"),
            ],
        ),
        ("S2", [send("a", 10, queue="q"), Event("o", "purge", 5, 6, "ok", queue="q")]),
        ("F1", [sent("a", 2), sent("b", 1, at_ms=10)]),
        ("F1", [sent("a", 1), sent("b", 2), taken(10, ("b", 2)), taken(200, ("a", 1))]),
        ("F1", [sent("a", 1), sent("b", 2), taken(10, ("b", 2), ("a", 1))]),
        ("F2", [sent("a", 1), sent("b", 2), taken(10, ("a", 1)), taken(50, ("b", 2))]),
        (
            "F2",  # released later, or not by this delete
            [
                *(sent("a", 1), sent("b", 2), taken(10, ("a", 1)), taken(50, ("b", 2))),
                *(delete("a", 60), delete("b", 70)),
            ],
        ),
        ("F2", [taken(10, ("a", 1)), taken(10.5, ("b", 2))]),
        ("F3", [sent("a", 1), sent("a", 2, at_ms=10)]),
        ("F3", [sent("a", 1), sent("a", 1, at_ms=10, message_id="m-2")]),
        (
            "F3",
            [
                taken(10, ("a", 1)),
                replace(
                    taken(200),
                    deliveries=(replace(fifo_delivery("b", 2), deduplication_id="a"),),
                ),
            ],
        ),
        (
            "F4",
            [
                taken(10, ("a", 1), ("b", 2), attempt_id="r"),
                taken(50, ("a", 1), attempt_id="r"),
            ],
        ),
        ("F4", [taken(10, ("a", 1), attempt_id="r"), taken(50, attempt_id="r")]),
    ],
)
def test_a_planted_violation_is_found(rule: str, planted: list[Event]) -> None:
    assert rule in {violation[:2] for violation in violations(History(planted, REDRIVES))}
