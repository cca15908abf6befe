"""The table of `bench/run.py`: bars, their loosening, and paired ratios."""

import pytest
from bench.table import Line, markdown, median_ratio


@pytest.mark.parametrize(
    ("value", "direction", "slack", "passes"),
    [
        (0.18, "at least", 1, True),
        (0.17, "at least", 1, False),
        (0.10, "at least", 2, True),
        (0.08, "at least", 2, False),
        (0.18, "at most", 1, True),
        (0.19, "at most", 1, False),
        (0.35, "at most", 2, True),
        (0.37, "at most", 2, False),
    ],
)
def test_a_bar_is_cleared_or_not(value: float, direction: str, slack: float, passes: bool) -> None:
    line = Line("x", "y", value, 0.18, "at least" if direction == "at least" else "at most")
    assert line.passes(slack) is passes
    assert ("**FAIL**" in markdown([line], slack)) is not passes


def test_a_line_without_a_bar_only_informs() -> None:
    assert Line("x", "y").passes(1)
    assert "| x | y | | | |" in markdown([Line("x", "y")], 1)


def test_loosened_bars_are_marked() -> None:
    line = Line("x", "y", 1, 3, unit=" MB")
    assert "at least 3 MB |" in markdown([line], 1)
    assert "at least 3 MB, loosened 4 ×" in markdown([line], 4)


def test_ratios_are_of_neighbouring_runs() -> None:
    # The machine was half as fast in the second pair.
    assert median_ratio([20.0, 10.0, 18.0], [100.0, 50.0, 100.0]) == 0.2
