"""A checker that never caught anything proves nothing: each planted violation must be found."""

from dataclasses import replace

import pytest

from tests.crash.checker import violations
from tests.crash.history import Delivery, Event, History


def send(token: str, at_ms: float = 0, **changes: object) -> Event:
    return replace(Event("p", "send", at_ms, at_ms + 1, "ok", token), **changes)


def receive(token: str, at_ms: float, count: int = 1, **changes: object) -> Event:
    delivery = Delivery(token, count, f"{token}-{count}", intact=True)
    event = Event("c", "receive", at_ms, at_ms + 1, "ok", visibility_ms=100, deliveries=(delivery,))
    return replace(event, **changes)


def delete(token: str, at_ms: float, **changes: object) -> Event:
    return replace(Event("c", "delete", at_ms, at_ms + 1, "ok", token), **changes)


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
    ],
)
def test_a_planted_violation_is_found(rule: str, planted: list[Event]) -> None:
    assert rule in {violation[:2] for violation in violations(History(planted))}
