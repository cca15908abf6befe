"""A rate of messages: slots that are evenly spaced, whichever connection takes them."""

from stanchion.loadgen.lane import Run


def test_slots_are_evenly_spaced() -> None:
    run = Run(sends_per_s=4.0)
    assert [run.slot_s(10.0) for _ in range(3)] == [10.0, 10.25, 10.5]


def test_slots_that_were_missed_are_not_made_up_for() -> None:
    run = Run(sends_per_s=4.0)
    assert [run.slot_s(now_s) for now_s in (10.0, 17.0, 17.0)] == [10.0, 17.0, 17.25]
